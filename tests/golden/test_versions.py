"""Versions N and N+1 side by side: what one does not understand it keeps for the one that does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import msgspec
import pytest

from replica import ingest
from replica.crdt import fold, retention
from replica.crdt.digest import SectionTotal
from replica.crdt.documents import DocKey, Document
from replica.crdt.view import view
from replica.device.holding import Holding
from replica.device.journal import State
from replica.errors import Malformed
from replica.events import payloads as p
from replica.events.event import Position, decode_event
from replica.events.kinds import REGISTRY, Kind, Registry
from replica.events.payloads import Payload
from replica.events.record import raw_records
from replica.projections import queries
from replica.projections.runner import Projector
from replica.projections.tables import open_views
from replica.store import migrations
from replica.store.engine import Database, open_sqlite
from replica.store.sql import SqlLog
from replica.sync.messages import Events, decode_frame, encode_frame
from tests.device.desk import ACCOUNT, NOW_MS, Office, careless, customer, opened

CUSTOMER = DocKey("customer", "c-1")


class CustomerChangedNext(Payload, frozen=True):
    """Version 2 of ``customer.changed``: every change says why it was made."""

    customer: p.Id
    fields: p.CustomerFields
    reason: p.Name


class CustomerTagged(Payload, frozen=True):
    """A kind that version N has never heard of."""

    customer: p.Id
    word: p.Name


def _check_reason(changes: Sequence[CustomerChangedNext]) -> None:
    if not all(changed.reason for changed in changes):
        raise Malformed("customer.changed: a change says why it was made")


def _upcast(changed: p.CustomerChanged) -> CustomerChangedNext:
    return CustomerChangedNext(changed.customer, changed.fields, "unknown")


NEXT = Registry(
    [
        *REGISTRY.kinds.values(),
        Kind("customer.changed", 2, CustomerChangedNext, check=_check_reason),
        Kind("customer.tagged", 1, CustomerTagged),
    ],
    {("customer.changed", 1): _upcast},
)


@contextmanager
def version_next() -> Iterator[None]:
    """Inside, this process is version N+1."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("kinds", "newest", "upcasters", "_by_struct", "_names"):
            patch.setattr(REGISTRY, name, getattr(NEXT, name))
        origins = {kind.name: kind.origins for kind in NEXT.kinds.values()}
        patch.setattr(ingest, "ORIGINS", origins)
        target = ("customer", lambda payload: payload.customer)
        for struct in (CustomerChangedNext, CustomerTagged):
            patch.setitem(fold._id_of, struct, target)
        keep_all = retention.Rule(("customer.tagged",), lambda _, __: None)
        patch.setitem(retention.RULES, "customer.tagged", keep_all)
        yield


Version = AbstractContextManager[None]


def version(number: int) -> Version:
    return version_next() if number else nullcontext()


class Party:
    """A device with its journal, and the version of the program that it runs."""

    def __init__(self, path: Path, number: int, running: int) -> None:
        self.path, self.number, self.running = path, number, running
        with version(running):
            self.holding: Holding = opened(path, number)

    def restart(self, running: int) -> None:
        """Another version of the program opens the same journal."""
        self.holding.close()
        self.running = running
        with version(running):
            self.holding = opened(self.path, self.number)

    def says(self, *payloads: Payload) -> list[bytes]:
        with version(self.running):
            return [made.data for made in self.holding.append(payloads, NOW_MS)]

    def document(self) -> Document:
        with version(self.running):
            found = self.holding.document(CUSTOMER)
        assert found is not None
        return found

    def sections(self) -> tuple[SectionTotal, ...]:
        return self.holding.level().sections


class Server:
    """A real log and real projections, and the version of the program that it runs."""

    def __init__(self, folder: Path) -> None:
        self.running = 0
        self.database = open_sqlite(folder / "log.db")
        migrations.upgrade(self.database)
        self.views: Database = open_sqlite(folder / "views.db", profile="rebuildable")
        open_views(self.views.write)
        self.office = Office(SqlLog(self.database))

    def exchange(self, party: Party) -> None:
        """A connection: the device pushes what it holds and takes in what follows its cursor, each
        end running its own version."""
        office, holding = self.office, party.holding
        with version(party.running):
            head = office.log.head(ACCOUNT)
            standing = holding.standing("test")
            holding.met(head.log_id, head.generation)
            page = holding.outbox(standing.answered_seq, 1 << 20, 500)
        if page.events:
            first_seq = standing.answered_seq + 1
            with version(self.running):
                answered = office.admit(holding, first_seq, page.events)
            with version(party.running):
                holding.settled(first_seq, answered)
        with version(party.running):
            while office.pull(holding):
                pass

    def customer(self) -> tuple[Document, tuple[SectionTotal, ...]]:
        """The projected customer and the digest, by the version that runs now."""
        with version(self.running):
            projector = Projector(self.views, self.office.log)
            projector.catch_up(ACCOUNT)
            with self.views.reading() as connection:
                found = queries.document(connection, ACCOUNT, CUSTOMER)
            assert found is not None
            return found, projector.digest(ACCOUNT)[1]

    def name(self) -> object:
        document, _ = self.customer()
        with version(self.running):
            return view(document)["fields"]["name"]

    def stored(self) -> list[bytes]:
        """The events of the log, byte for byte."""
        segments = self.office.log.read(ACCOUNT, Position(0), 1 << 30)
        return [data for segment in segments for data, _, _ in raw_records(segment)]

    def close(self) -> None:
        self.views.close()
        self.database.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path)
    yield made
    made.close()


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[tuple[Party, Party]]:
    """A device of version N+1 and one of version N."""
    made = Party(tmp_path / "new.db", 1, 1), Party(tmp_path / "old.db", 2, 0)
    yield made
    for party in made:
        party.holding.close()


def changed(name: str, reason: str = "moved") -> CustomerChangedNext:
    return CustomerChangedNext("c-1", p.CustomerFields(name=name), reason)


def test_the_future_is_kept_and_counts_after_the_upgrade(
    server: Server, parties: tuple[Party, Party]
) -> None:
    """A newer version of a known kind and an unknown kind are accepted by an older server, stored
    and handed on bit for bit, touch nothing there, and count on every replica as soon as it is
    upgraded, without anybody sending them again (I-12, I-13)."""
    new, old = parties
    said = new.says(customer(1, "Old"), changed("New"), CustomerTagged("c-1", "vip"))
    server.exchange(new)
    server.exchange(old)
    assert server.stored() == said
    assert server.name() == "Old"
    assert old.document() == server.customer()[0]
    assert old.sections() == server.customer()[1]
    assert new.document() != old.document(), "the author reads its own events"

    server.running = 1
    assert server.name() == "New"
    assert new.document() == server.customer()[0]
    assert new.sections() == server.customer()[1]
    old.restart(1)
    server.exchange(old)
    assert old.document() == server.customer()[0]
    assert old.sections() == server.customer()[1]
    assert server.stored() == said


def test_the_wire_hands_on_what_nobody_can_read(
    server: Server, parties: tuple[Party, Party]
) -> None:
    """A frame with events of a future version carries the author's bytes, and an end of version N
    encodes and decodes it without loss (I-13)."""
    new, _ = parties
    said = new.says(changed("New"), CustomerTagged("c-1", "vip"))
    server.exchange(new)
    page = server.office.log.read(ACCOUNT, Position(0), 1 << 20)
    frame = decode_frame(encode_frame(Events(page[-1].last, page[-1].chain, tuple(page))))
    assert isinstance(frame, Events)
    handed_on = [data for segment in frame.segments for data, _, _ in raw_records(segment)]
    assert handed_on == said
    assert [decode_event(data).version for data in handed_on] == [2, 1]


def test_an_old_event_is_upcast_and_can_go_back(
    server: Server, parties: tuple[Party, Party]
) -> None:
    """A newer server reads what an older device writes as the newest version; put back to version
    N it agrees with the older device again, and no event has changed (I-12)."""
    new, old = parties
    server.running = 1
    said = old.says(
        customer(1, "Old"), p.CustomerChanged("c-1", p.CustomerFields(name="Older still"))
    )
    server.exchange(old)
    server.exchange(new)
    document, sections = server.customer()
    (fact,) = document.facts["customer.changed"]
    with version(1):
        assert msgspec.msgpack.decode(fact.body, type=CustomerChangedNext).reason == "unknown"
    assert (new.document(), new.sections()) == (document, sections)
    assert server.name() == "Older still"

    server.running = 0
    new.restart(0)
    server.exchange(new)
    document, sections = server.customer()
    assert (old.document(), old.sections()) == (document, sections)
    assert (new.document(), new.sections()) == (document, sections)
    assert server.stored() == said


def test_a_future_event_that_breaks_its_rule_touches_nothing(
    server: Server, parties: tuple[Party, Party]
) -> None:
    """An older server cannot check a newer version and stores it; once it can, the event counts
    nowhere, everybody agrees, and what came after it counts (I-13, pitfalls P29)."""
    new, old = parties
    with careless():
        new.says(customer(1, "Old"), changed("Nobody knows why", ""), changed("New"))
    server.exchange(new)
    server.exchange(old)
    assert [row.state for row in new.holding.journal.own(1, 3)] == [State.ACKNOWLEDGED] * 3
    server.running = 1
    old.restart(1)
    server.exchange(old)
    document, sections = server.customer()
    assert [len(facts) for facts in document.facts.values()] == [1, 1]
    assert (old.document(), old.sections()) == (document, sections)
    assert (new.document(), new.sections()) == (document, sections)
