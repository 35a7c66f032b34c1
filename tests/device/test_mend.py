"""Mending against a running server: what differs is found, taken, proved, and told."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

import replica.device.mend
from replica.crdt.documents import DocKey, Document
from replica.device import (
    CustomerChanged,
    CustomerCreated,
    CustomerFields,
    Device,
    StockCounted,
    SyncResult,
)
from replica.device.asking import Answer, Server
from replica.device.base import Base
from replica.device.mend import mend
from replica.errors import PeerGone, StoreFailed
from replica.events.payloads import Payload
from tests.device.desk import order
from tests.server.world import Company, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running server without sinks."""
    made = World(tmp_path_factory.mktemp("data"))
    yield made
    made.stop()


@pytest.fixture
def company(world: World) -> Company:
    return world.company()


@pytest.fixture
def path(world: World, company: Company, tmp_path: Path) -> Path:
    """The journal of a device that holds what the server holds, closed."""
    file = tmp_path / "phone.db"
    world.write(company, *customers(40), StockCounted("p-1", 9_000))
    with Device.open(file) as device:
        device.enrol(world.url, world.code(company), "phone")
        device.append(order(1))
        assert device.sync(timeout_s=30).equal
    return file


def customers(count: int) -> list[Payload]:
    return [
        CustomerCreated(f"c-{number}", CustomerFields(name=f"Customer {number}"))
        for number in range(count)
    ]


def damage(path: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    """Change what is on the device's disk behind its back."""
    with closing(sqlite3.connect(path)) as database:
        for statement, values in statements:
            assert database.execute(statement, values).rowcount, statement
        database.commit()


def forget_name(state: bytes, key: DocKey) -> bytes:
    """The same document without its facts: valid bytes, another state."""
    document = Document.decode(key, state)
    document.facts.clear()
    return document.encode()


def lose_total(section: str) -> tuple[str, tuple[object, ...]]:
    """Without this the digest, which is kept by adding, would hide damaged documents."""
    return "UPDATE total SET digest = zeroblob(32) WHERE section = ?", (section,)


def sync(path: Path) -> SyncResult:
    with Device.open(path) as device:
        return device.sync(timeout_s=60)


def stored(path: Path) -> dict[tuple[str, str], bytes]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT type, id, state FROM document")
        return {(kind, identity): state for kind, identity, state in rows}


def test_documents_that_differ_are_mended_and_told(path: Path) -> None:
    """Three damaged documents and one that is missing come from the server; the round that found
    out ends equal, in the same epoch, and says which they were (SYN-03)."""
    before = stored(path)
    keys = [DocKey("customer", f"c-{number}") for number in (3, 17, 30)]
    damage(
        path,
        *(
            ("UPDATE document SET state = ? WHERE id = ?", (forget_name(before[key], key), key.id))
            for key in keys
        ),
        ("DELETE FROM document WHERE id = 'c-5'", ()),
        ("DELETE FROM document WHERE type = 'stock'", ()),
        lose_total("customer"),
    )
    result = sync(path)
    assert result.equal
    assert result.mended == tuple(sorted([*keys, ("customer", "c-5"), ("stock", "p-1")]))
    assert stored(path) == before
    with Device.open(path) as device:
        assert device._holding.journal.head.epoch == 1
        assert device.sync(timeout_s=30).mended == ()


def test_a_digest_that_is_wrong_by_itself_is_counted_again(path: Path) -> None:
    """When all documents are the server's, the sum kept beside them is what was damaged."""
    damage(path, lose_total("customer"), lose_total("order"))
    result = sync(path)
    assert (result.equal, result.mended) == (True, ())
    with Device.open(path) as device:
        assert device._holding.journal.head.epoch == 1


def test_sync_now_mends_who_differs(path: Path, world: World, company: Company) -> None:
    """Pressed in the office, the same run ends in proof for a device that was damaged: asked for
    its digest it looks at itself first (issue 5, point 7)."""
    before = stored(path)
    key = DocKey("customer", "c-7")
    damage(
        path,
        ("UPDATE document SET state = ? WHERE id = 'c-7'", (forget_name(before[key], key),)),
        lose_total("customer"),
    )
    with Device.open(path) as device:
        device.start()
        device.wait_until(lambda status: status.mode == "online")
        with world.operator(company) as operator:
            run = operator.post("/sync-now?wait=1").json()
        assert run["equal"], run
        assert stored_open(device, key) == before[key]


def stored_open(device: Device, key: DocKey) -> bytes | None:
    with device._holding.lock:
        return device._holding.journal.document(*key)


def test_pending_work_outlives_mending(path: Path, world: World, company: Company) -> None:
    """What the device has not sent yet is sent, mended documents or not (D5)."""
    before = stored(path)
    key = DocKey("customer", "c-1")
    damage(
        path,
        ("UPDATE document SET state = ? WHERE id = 'c-1'", (forget_name(before[key], key),)),
        lose_total("customer"),
    )
    world.write(company, CustomerChanged("c-2", CustomerFields(company="Meanwhile")))
    with Device.open(path) as device:
        device.append(CustomerChanged("c-1", CustomerFields(company="Unsent")))
        result = device.sync(timeout_s=60)
        assert (result.equal, result.sent) == (True, 1)
        found = device.get("customer", "c-1")
        assert found is not None
        assert (found["fields"]["name"], found["fields"]["company"]) == ("Customer 1", "Unsent")


def test_a_document_the_server_does_not_know_cannot_be_mended(path: Path) -> None:
    """Nothing is deleted on somebody's word that he has not: everything is fetched again (§6.2)."""
    state = stored(path)["customer", "c-1"]
    damage(
        path,
        ("INSERT INTO document VALUES ('customer', 'c-phantom', ?)", (state,)),
        lose_total("customer"),
    )
    with Device.open(path) as device:
        assert mend(device._holding) is None
        first = device.sync(timeout_s=60)
        assert (first.equal, first.mended) == (False, ())
        assert device.sync(timeout_s=60).equal  # the second failed proof has everything fetched
    assert ("customer", "c-phantom") not in stored(path)


def test_too_many_differences_are_not_mended_one_by_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above a bound, fetching everything is cheaper and bounded in memory."""
    monkeypatch.setattr(replica.device.mend, "MEND_DOCUMENTS_MAX", 3)
    damage(path, ("DELETE FROM document WHERE type = 'customer'", ()))
    with Device.open(path) as device:
        assert mend(device._holding) is None


Change = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "change",
    [lambda _: b"nonsense", lambda _: b"\x60", lambda data: data[:-1], lambda _: b"\x90"],
    ids=["nonsense", "another version", "cut", "nothing"],
)
def test_a_server_that_answers_nonsense_mends_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, change: Change
) -> None:
    """Whatever comes instead of an answer leaves the base as it was; the proof will tell."""
    damage(path, ("DELETE FROM document WHERE id = 'c-5'", ()))
    before = stored(path)
    real = Server.ask

    def changed(server: Server, asked: str, most: int, body: bytes) -> Answer:
        answer = real(server, asked, most, body)
        return answer._replace(data=change(answer.data))

    monkeypatch.setattr(Server, "ask", changed)
    with Device.open(path) as device:
        assert mend(device._holding) is None
    assert stored(path) == before


def test_states_of_other_rules_are_not_taken(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that folds by other rules has nothing that this device could mend with."""
    damage(path, ("DELETE FROM document WHERE id = 'c-5'", ()))
    with Device.open(path) as device:
        monkeypatch.setattr(replica.device.mend, "catalogue_fingerprint", lambda: b"other rules")
        assert mend(device._holding) is None


def test_no_connection_is_told_as_such(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mending that cannot reach the server ends as every lost connection does."""

    monkeypatch.setattr(Server, "ask", _raising(ConnectionResetError("cut")))
    with Device.open(path) as device, pytest.raises(PeerGone):
        mend(device._holding)


def test_a_connection_lost_while_mending_leaves_the_proof(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round says that both sides differ; the next one mends, in the same epoch."""
    before = stored(path)
    damage(path, ("DELETE FROM document WHERE id = 'c-5'", ()), lose_total("customer"))
    with monkeypatch.context() as cut:
        cut.setattr(replica.device.mend, "mend", _raising(PeerGone("cut")))
        assert not sync(path).equal
    with Device.open(path) as device:
        result = device.sync(timeout_s=60)
        assert (result.equal, result.mended) == (True, (("customer", "c-5"),))
        assert device._holding.journal.head.epoch == 1
    assert stored(path) == before


def test_a_disk_that_fails_while_mending_stops_the_link(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on the disk is unknown then, and only opening it again tells (D4)."""
    damage(path, ("DELETE FROM document WHERE id = 'c-5'", ()), lose_total("customer"))
    monkeypatch.setattr(Base, "adopt", _raising(StoreFailed("disk")))
    with Device.open(path) as device, pytest.raises(StoreFailed):
        device.sync(timeout_s=60)


def _raising(error: Exception) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
