"""The TypeScript client takes documents in bulk: docs/wire-protocol.md §12 in a second language."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.device import (
    CustomerChanged,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    ProductCreated,
    ProductFields,
)
from replica.limits import CHUNKED_EVENTS_MIN, LOCAL_EVENTS_MAX
from tests.clients.driving import Driven
from tests.clients.nodes import Ended
from tests.crdt.samples import content
from tests.server.world import Company, World

pytestmark = pytest.mark.process
CUSTOMERS = CHUNKED_EVENTS_MIN


@pytest.fixture(scope="module")
def company(world: World) -> Company:
    """An account whose log is long enough that documents in bulk are worth it."""
    made = world.company()
    customers(world, made, 0, CUSTOMERS)
    world.write(made, *(ProductCreated(f"p-{n}", ProductFields(name=f"P {n}")) for n in range(90)))
    world.write(
        made,
        *(OrderCommitted(f"o-{n}", content(customer=f"c-{n}", number=f"N-{n}")) for n in range(90)),
    )
    return made


def customers(world: World, company: Company, first: int, last: int) -> None:
    """Write customers, as many in one go as may be."""
    for start in range(first, last, LOCAL_EVENTS_MAX):
        numbers = range(start, min(start + LOCAL_EVENTS_MAX, last))
        made = (CustomerCreated(f"c-{n}", CustomerFields(name=f"C {n}")) for n in numbers)
        world.write(company, *made)


def enrol(world: World, company: Company, path: Path) -> None:
    with Driven(path) as one:
        one.ask("enrol", url=world.url, code=world.code(company), name="Browser")


def test_a_first_sync_in_bulk_ends_in_the_servers_digests(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A client that asks for it takes frozen documents with progress per type, then the rest of the
    log; what it shows and proves is what one that took the log has (SYN-01, SYN-28)."""
    in_bulk, by_log = tmp_path / "bulk.db", tmp_path / "log.db"
    enrol(world, company, in_bulk)
    enrol(world, company, by_log)
    with Driven(in_bulk, bulk=True) as one, Driven(by_log) as other:
        result = one.ask("sync")
        assert result["equal"]
        assert other.ask("sync")["equal"]
        shown = one.ask("progress")
        assert {row["section"] for row in shown[0]} >= {"order", "customer", "product"}
        taken = [sum(row["done"] for row in step) for step in shown]
        assert taken == sorted(taken)
        assert 0 < taken[-1] < sum(row["total"] for row in shown[-1])
        status = one.ask("status")
        assert status["fetching"] == []
        assert status["documentsAt"] >= CUSTOMERS
        assert len(one.ask("documents", type="customer")) == CUSTOMERS
        assert one.ask("digest") == other.ask("digest")
        assert len(one.ask("records")) < 10 < CUSTOMERS < len(other.ask("records"))
        move = {"product": "p-1", "qty_e3": 5}
        said = one.ask("record", kind="stock.moved", payload=move)
        world.write(company, CustomerChanged("c-7", CustomerFields(phone="7")))
        assert one.ask("sync")["equal"]
        assert other.ask("sync")["equal"]
        assert said in [row["id"] for row in one.ask("records")]
        assert one.ask("digest") == other.ask("digest")


def test_a_first_sync_that_dies_at_every_chunk_goes_on_with_the_next(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A process that is killed after each question never asks for a chunk twice, and what was
    recorded meanwhile is sent (SYN-28, I-1)."""
    path = tmp_path / "one.db"
    enrol(world, company, path)
    deaths = 0
    while deaths < 50:
        with Driven(path, bulk=True, asks=1) as one:
            try:
                assert one.ask("sync")["equal"]
                break
            except Ended:
                deaths += 1
    manifest = world.runtime.chunks.refresh(company.account, 0)
    assert manifest is not None
    assert deaths == len(manifest.chunks()), "after the manifest, and each chunk but the last"
    with Driven(path) as one:
        assert one.ask("sync")["equal"]
        assert len(one.ask("documents", type="customer")) == CUSTOMERS


def test_a_long_absence_ends_in_bulk(world: World, tmp_path: Path) -> None:
    """A client that was away for thousands of events takes the documents that changed, lays its
    unsent work on top and ends equal; with unsent work the log goes first (SYN-02, SYN-16)."""
    company, path = world.company(), tmp_path / "one.db"
    world.write(company, CustomerCreated("c-0", CustomerFields(name="First")))
    enrol(world, company, path)
    with Driven(path, bulk=True) as one:
        payload = {"customer": "c-0", "fields": {"phone": "0"}}
        own = one.ask("record", kind="customer.changed", payload=payload)
        assert one.ask("sync")["equal"]
        history = one.ask("status")["history"]
        customers(world, company, 1, CHUNKED_EVENTS_MIN + 200)
        assert one.ask("sync")["equal"]
        status = one.ask("status")
        assert status["documentsAt"] > CHUNKED_EVENTS_MIN
        assert status["history"] > history
        assert [row["id"] for row in one.ask("records") if row["id"] == own] == [own]
        (first,) = [row for row in one.ask("documents", type="customer") if row["id"] == "c-0"]
        assert first["facts"][-1]["payload"]["fields"] == {"phone": "0"}
