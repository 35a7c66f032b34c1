"""A server: connections, the door's edge, writers of its own, and read models over a shared log.

Jobs that wait for the disk are done one by one, in any order, by whoever moves the world. Two
servers may share one log, each with its own connections; a crash takes what was in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from replica.crdt import twins
from replica.crdt.digest import SectionTotal, SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold, touched
from replica.errors import Revoked
from replica.events.event import AccountId, DeviceId, Position
from replica.events.kinds import encode_payload
from replica.events.payloads import Payload
from replica.events.ports import DeviceHead
from replica.events.record import Origin, Record, Segment, records
from replica.ingest import Admitted, Context, Fact, admit, through, write
from replica.projections.rows import Place, rows_of, seal_of
from replica.projections.tables import SEALED
from replica.sync import effects as e
from replica.sync.heads import head_in, next_epoch
from replica.sync.messages import SectionDigest
from replica.sync.server_peer import ServerPeer
from replica.sync.table import State
from tests.simulation.dice import Dice
from tests.simulation.disk import ACCOUNT, DiskLog
from tests.simulation.phone import Phone
from tests.simulation.readmodels import ReadModels

if TYPE_CHECKING:
    from tests.simulation.desk import Desk

ID = AccountId(ACCOUNT)
Item = bytes | e.Close
Job = e.Effect | e.Append
_NOWHERE = Place(0, 0, "")


class Wire:
    """One socket: both directions in order, each with its own delays; it may stall or break."""

    def __init__(self, phone: Phone, server: Server) -> None:
        self.phone, self.server = phone, server
        self.session = phone.session  # set by connect()
        self.peer = ServerPeer()
        self.up: deque[tuple[int, Item]] = deque()
        self.down: deque[tuple[int, Item]] = deque()
        self.jobs: list[Job] = []
        self.stalled: set[str] = set()
        self.heads: Sequence[DeviceHead] = ()
        self.head: DeviceHead | None = None
        self.pushes: dict[int, list[bytes]] = {}
        self.scoped = False  # documents of a scope come over HTTP in the place of the log

    @property
    def device_open(self) -> bool:
        """Whether the device still holds this socket."""
        return self.phone.session is self.session and self.phone.online

    @property
    def server_open(self) -> bool:
        return self.peer.state is not State.CLOSED

    def next_job(self, index: int) -> Job:
        """Take out a job: any order, but for appends, which the door decides as they came."""
        if isinstance(self.jobs[index], e.Append):
            index = next(at for at, job in enumerate(self.jobs) if isinstance(job, e.Append))
        return self.jobs.pop(index)

    @property
    def over(self) -> bool:
        return not (self.device_open or self.server_open or self.jobs)


class Views:
    """Documents, totals and rows: an incremental fold with its checkpoint."""

    def __init__(self, log: DiskLog) -> None:
        self._log = log
        self.drop()

    def drop(self) -> None:
        self.documents: dict[DocKey, Document] = {}
        self.rows: dict[DocKey, Any] = {}
        self.totals = SectionTotals()
        self.position, self.chain = Position(0), bytes(32)

    def sections(self) -> Sequence[SectionTotal]:
        return self.totals.sections()

    def check(self) -> None:
        """Rows of another history are worth nothing."""
        if self._log.chain_at(ID, self.position) != self.chain:
            self.drop()

    def catch_up(self, through_position: int | None = None) -> None:
        while page := self._log.read(ID, self.position, 2_000):
            if through_position is not None:
                page = [segment for segment in page if segment.last <= through_position]
            if not page:
                return
            self.take(page)

    def take(self, page: Sequence[Segment]) -> None:
        """Fold a page, then write what it changed, as the real ones do."""
        before: dict[DocKey, bytes | None] = {}
        changed: dict[DocKey, None] = {}
        for segment in page:
            for position, record in records(segment):
                for key in touched(record.event):
                    if key not in before:
                        document = self.documents.get(key)
                        before[key] = None if document is None else document.encode()
                folded = fold(self.documents, record)
                changed.update(dict.fromkeys(folded))
                self.note(position, record, folded)
        for key in changed:
            document = self.documents[key]
            self.totals.replace(key, before[key], document.encode())
            self.rows[key] = rows_at(document)
        self.position, self.chain = page[-1].last, page[-1].chain

    def note(self, position: int, record: Record, changed: Sequence[DocKey]) -> None:
        """A record was folded; for who wants to know what changed where."""


def rows_at(document: Document) -> Any:
    """What the read models show of a document."""
    seal = seal_of(document) if document.key.type in SEALED else None
    return rows_of(ACCOUNT, document, seal, _NOWHERE)


class Server:
    """One server process over ``log``; ``skew_ms`` is how wrong its own clock is."""

    def __init__(self, name: str, log: DiskLog, views: ReadModels) -> None:
        self.name = name
        self.log, self.views = log, views
        self.skew_ms = 0
        self.up = True
        self.quarantined = log.quarantined
        self.opens: Callable[[Server], Desk] | None = None
        self.desk: Desk | None = None  # where devices may hold a part of the account

    def start(self) -> None:
        self.up = True
        self.quarantined = self.log.quarantined
        self.views.check()
        if self.opens is not None:
            self.desk = self.opens(self)

    def standing(self, wire: Wire, session: bytes, revoked: bool) -> e.Standing:
        hello = wire.peer.hello
        assert hello is not None
        if revoked:
            raise Revoked("this device was taken out by the office")
        device = DeviceId(hello.device)
        scope = 0 if self.desk is None else self.desk.scopes.of(ID, device)
        wire.scoped = scope > 0
        wire.heads = self.log.device_heads(ID, device)
        wire.head = head_in(wire.heads, hello.epoch)
        return e.Standing(
            device_heads=wire.heads,
            head=self.log.head(ID),
            chain_at_cursor=self.log.chain_at(ID, Position(hello.cursor)),
            session=session,
            scope=scope,
        )

    def admit(self, wire: Wire, effect: e.Append) -> Admitted:
        """A device's push through the door, as ``replica.server.door`` does it."""
        hello = wire.peer.hello
        assert hello is not None
        assert wire.head is not None
        context = Context(
            ID,
            DeviceId(hello.device),
            hello.epoch,
            Origin.DEVICE,
            next_epoch(wire.heads, hello.epoch),
            effect.offset_ms,
            effect.received_ms,
            self.log.quarantined,
        )
        routine = admit(context, wire.head, effect.first_seq, effect.events)
        admitted = through(self.log, routine)
        wire.head = admitted.head
        return admitted

    def write(
        self, writer: str, origin: Origin, payloads: Sequence[Payload], now_ms: int
    ) -> Admitted:
        """Payloads of a writer inside the server, all or none."""
        facts = [Fact(*encode_payload(payload)) for payload in payloads]
        return self.write_facts(writer, origin, facts, now_ms)

    def write_facts(
        self, writer: str, origin: Origin, facts: Sequence[Fact], now_ms: int
    ) -> Admitted:
        device = local_device(writer)
        heads = self.log.device_heads(ID, device)
        context = Context(
            ID, device, 1, origin, next_epoch(heads, 1), 0, now_ms, self.log.quarantined
        )
        return through(self.log, write(context, head_in(heads, 1), facts))

    def digest(self, wire: Wire) -> tuple[int, Sequence[SectionDigest]]:
        """Of what the device of ``wire`` is to hold."""
        self.views.catch_up()
        if wire.scoped:
            assert self.desk is not None
            return self.desk.scopes.digest(ID, DeviceId(wire.phone.device))
        return self.views.position, [SectionDigest(*one) for one in self.views.sections()]


def found_twins(documents: Mapping[DocKey, Document]) -> list[Payload]:
    """What the server has to say of customers that have one name: neighbours by id, each pair once,
    as the product finds them in its read models."""
    named: dict[str, list[str]] = {}
    for key in sorted(documents):
        if key.type == "customer":
            for held in twins.names(documents[key]):
                named.setdefault(held.key, []).append(key.id)
    found = [
        twins.twin_found("customer", one, other, "name")
        for ids in named.values()
        for one, other in pairwise(ids)
    ]
    return [one for one in found if DocKey("twin", one.twin) not in documents]


def local_device(writer: str) -> DeviceId:
    return DeviceId(sha256(writer.encode()).digest()[:16])


def shuffled(segments: Sequence[Segment], dice: Dice) -> dict[DocKey, Document]:
    """The documents of ``segments``, folded in any order and some of them twice."""
    found = [record for segment in segments for _, record in records(segment)]
    found += [record for record in found if dice.chance(20)]
    for at in range(len(found) - 1, 0, -1):
        other = dice.below(at + 1)
        found[at], found[other] = found[other], found[at]
    documents: dict[DocKey, Document] = {}
    for record in found:
        fold(documents, record)
    return documents
