"""Reconciliation over HTTP: what differs is found, by whoever may ask and for nobody else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx2
import msgspec
import pytest

from replica.crdt.digest import document_hash
from replica.crdt.documents import DocKey
from replica.device import CustomerCreated, CustomerDeleted, CustomerFields, Device
from replica.events.payloads import Payload
from replica.limits import EVENTS_BYTES_TARGET, RECONCILE_SETS_MAX
from replica.projections.runner import Projector
from replica.server.sets import DocumentSet, LogSet, Sets
from replica.sync.reconcile import Initiator, ItemSet
from replica.sync.reconcile.sets import document_items, event_items
from tests.server.world import Company, World

FIRST = b"\x61\x00\x00\x02\x00"  # an empty list for everything: "I have nothing, what have you?"


def customers(first: int, count: int) -> list[Payload]:
    return [
        CustomerCreated(f"c-{number}", CustomerFields(name=f"Customer {number}"))
        for number in range(first, first + count)
    ]


@pytest.fixture
def token(world: World, company: Company, tmp_path: Path) -> str:
    """The token of an enrolled device."""
    with Device.open(tmp_path / "phone.db") as device:
        device.enrol(world.url, world.code(company), "phone")
        identity = device._holding.journal.identity
        assert identity is not None
        return identity.token


def post(world: World, secret: str, path: str, body: bytes) -> httpx2.Response:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx2.post(f"{world.url}/api/v1/{path}", content=body, headers=headers, timeout=30)


def reconcile(
    items: ItemSet, ask: Callable[[bytes], httpx2.Response]
) -> tuple[set[bytes], set[bytes]]:
    """What only we have, and what only the server has."""
    asking = Initiator(items)
    have: set[bytes] = set()
    need: set[bytes] = set()
    message: bytes | None = asking.initiate()
    while message is not None:
        answer = ask(message)
        assert answer.status_code == 200, answer.text
        message, more_have, more_need = asking.reconcile(answer.content)
        have.update(more_have)
        need.update(more_need)
    return have, need


def logged(world: World, company: Company) -> ItemSet:
    log = world.stores.log
    return ItemSet(event_items(log.read(company.account, 0, EVENTS_BYTES_TARGET)))  # type: ignore[arg-type]


def test_events_that_differ_are_found(world: World, company: Company) -> None:
    """Whoever lacks some events of the log and has one of its own learns exactly which."""
    world.write(company, *customers(0, 300))
    items = logged(world, company)
    missing = [one for number, one in enumerate(items) if number % 60 == 7]
    for one in missing:
        items.discard(*one)
    items.add(5, bytes(32))
    with world.operator(company) as operator:
        found = reconcile(items, lambda body: operator.post("/reconcile/events", content=body))
        assert found == ({bytes(32)}, {one.id for one in missing})
        # What came meanwhile is in the next answer.
        world.write(company, *customers(300, 2))
        _, need = reconcile(items, lambda body: operator.post("/reconcile/events", content=body))
        assert len(need) == len(missing) + 2


def test_who_may_compare_logs(world: World, company: Company, token: str) -> None:
    """The operator, managers and the account's devices; no stranger, and no form from elsewhere
    (reliability I-16, I-17)."""
    world.write(company, *customers(0, 3))
    answer = post(world, token, "reconcile/events", FIRST)
    assert answer.status_code == 200
    assert int(answer.headers["replica-position"]) >= 3
    assert post(world, "nobody", "reconcile/events", FIRST).status_code == 403
    assert httpx2.post(f"{world.url}/api/v1/reconcile/events", content=FIRST).status_code == 403
    with world.browser(company) as owner:
        assert owner.client.post("/api/v1/reconcile/events", content=FIRST).status_code == 403


def test_another_companys_events_are_never_told(world: World, company: Company, token: str) -> None:
    """The account is the token's, whatever else is said (reliability I-16)."""
    other = world.company()
    world.write(other, *customers(0, 40))
    world.write(company, *customers(0, 3))
    headers = {"authorization": f"Bearer {token}", "x-replica-account": other.account.hex()}
    url = f"{world.url}/api/v1/reconcile/events"
    answer = httpx2.post(url, content=FIRST, headers=headers)
    ids = {one.id for one in logged(world, other)}
    assert not any(one in answer.content for one in ids)
    assert all(one.id in answer.content for one in logged(world, company))


def test_documents_that_differ_are_found_and_given(
    world: World, company: Company, token: str
) -> None:
    """A device finds which documents differ and gets these, as the server has them."""
    position = world.write(company, *customers(0, 50))
    with world.stores.views.reading() as connection:
        answer = post(world, token, f"reconcile/documents?position={position}", FIRST)
        assert answer.status_code == 200
        assert int(answer.headers["replica-position"]) == position
        rows = connection.exec_driver_sql(
            "SELECT hash FROM view_documents WHERE account = ?", (company.account,)
        )
        hashes = sorted(bytes(row[0]) for row in rows)
    items = ItemSet(document_items([*hashes[3:], bytes(32)]))
    path = "reconcile/documents"
    have, need = reconcile(items, lambda body: post(world, token, path, body))
    assert (have, need) == ({bytes(32)}, set(hashes[:3]))
    given = post(world, token, "documents", b"".join([*need, bytes(32)]))
    documents = msgspec.msgpack.decode(given.content, type=list[tuple[str, str, bytes]])
    assert {document_hash(DocKey(kind, name), state) for kind, name, state in documents} == need


def test_documents_follow_changes(world: World, company: Company) -> None:
    """A changed document counts with its new hash alone."""
    world.write(company, *customers(0, 5))
    kept = DocumentSet(world.stores.views, company.account)
    kept.follow()
    count = len(kept.items)
    world.write(company, CustomerDeleted("c-1"), *customers(5, 1))
    kept.follow()
    fresh = DocumentSet(world.stores.views, company.account)
    fresh.follow()
    assert list(kept.items) == list(fresh.items)
    assert len(kept.items) == count + 1


def test_a_rebuild_at_the_same_position_is_noticed(world: World, company: Company) -> None:
    """Rows that a rebuild mended are read again though the position did not move."""
    world.write(company, *customers(0, 5))
    kept = DocumentSet(world.stores.views, company.account)
    with world.stores.views.writing() as connection:
        for table, column in (("view_documents", "hash"), ("view_section_totals", "digest")):
            connection.exec_driver_sql(
                f"UPDATE {table} SET {column} = zeroblob(32) WHERE account = ?",  # noqa: S608
                (company.account,),
            )
    kept.follow()
    assert set(kept.items) == {(0, bytes(32))}
    Projector(world.stores.views, world.stores.log).rebuild(company.account)
    kept.follow()
    assert len(kept.items) >= 5
    assert (0, bytes(32)) not in kept.items


def test_a_log_that_was_put_back_is_read_anew(world: World, company: Company) -> None:
    """Another chain at the position that was reached means another history."""
    world.write(company, *customers(0, 5))
    kept = LogSet(world.stores.log, company.account)
    kept.follow()
    kept.items.add(1, bytes(32))
    assert kept._at is not None
    kept._at = kept._at._replace(chain=bytes(32))
    kept.follow()
    assert list(kept.items) == list(logged(world, company))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("reconcile/events", b"", 400),
        ("reconcile/events", b"GET /", 400),
        ("reconcile/documents", b"\x61\x05", 400),
        ("reconcile/documents?position=x", FIRST, 400),
        ("documents", b"", 400),
        ("documents", bytes(33), 400),
        ("documents", bytes(32 * 1_001), 413),
        ("documents", bytes(32), 200),
    ],
)
def test_bad_questions_are_told(
    world: World, token: str, path: str, body: bytes, status: int
) -> None:
    """Whatever is sent gets a typed answer, never a trace (reliability I-20)."""
    assert post(world, token, path, body).status_code == status


def test_documents_of_the_future_are_not_awaited_for_ever(
    world: World, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A position that the log has not reached is told as "try again"."""
    monkeypatch.setattr("replica.server.reconcile.RECONCILE_WAIT_S", 0.05)
    assert post(world, token, "reconcile/documents?position=99999", FIRST).status_code == 503


def test_sets_of_few_accounts_are_kept(world: World) -> None:
    """Memory is bounded by the number of accounts asked for last, not of all."""
    sets = Sets(lambda account: LogSet(world.stores.log, account))
    for _ in range(RECONCILE_SETS_MAX + 2):
        sets.answer(world.company().account, FIRST)
    assert len(sets._kept) == RECONCILE_SETS_MAX
