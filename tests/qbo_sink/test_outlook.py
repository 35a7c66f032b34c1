"""The outlook: what a pull will bring, said before it and without touching anything."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_sink.connections import month_of
from replica.events.payloads import CustomerChanged, CustomerFields
from replica.sink import Outlook
from tests.qbo_sink.test_push import do
from tests.qbo_sink.test_twoway import create, edit, later, link
from tests.qbo_sink.world import ACCOUNT, World, customer, order, product


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.put(
        customer("c-1", "Blauer See", phone="1", email="see@side.example"),
        product("p-1", "Chai"),
        order("o-1"),
    )
    asyncio.run(made.run())
    later(made)
    yield made
    made.close()


def look(world: World) -> Outlook:
    async def ask() -> Outlook:
        sink = world.make_sink()
        await sink.start()
        try:
            return await sink.outlook(ACCOUNT)
        finally:
            await sink.stop()

    return asyncio.run(ask())


def test_the_outlook_is_what_the_pull_brings(world: World) -> None:
    """Fields to take, edits that give way on either side, what is new and what was deleted; the
    pull after it finds the same number, and the look wrote nothing (architecture.md §9)."""
    assert look(world).rows == []
    edit(world, "Customer", link(world, "customer", "c-1"), PrimaryPhone={"FreeFormNumber": "9"})
    create(world, "Customer", DisplayName="Made there")
    external = world.seen("order", "o-1")["answers"]["quickbooks"]["external_id"]
    do(world, "delete", {"entity": "Estimate", "id": external})
    later(world)
    world.put(CustomerChanged("c-1", CustomerFields(phone="5", email="new@side.example")))
    first, second = look(world), look(world)
    assert first.rows == second.rows
    told: dict[str, Any] = {row.becomes: row for row in first.rows}
    assert told.keys() == {"changed", "new here", "deleted there"}
    assert told["changed"].goes_over == ["phone: 9 gives way to 5"]
    assert told["new here"].name == "Made there"
    assert told["deleted there"].local_id == "o-1"
    report = asyncio.run(world.run())
    assert report.pulled == 2, "where ours counts in everything, nothing is left to take"
    assert look(world).rows == []


def test_our_edit_that_is_older_is_said_to_give_way(world: World) -> None:
    """What the office says in QuickBooks after us takes our value's place, and the outlook says so
    first (CON-01)."""
    world.put(CustomerChanged("c-1", CustomerFields(phone="5")))
    later(world)
    edit(world, "Customer", link(world, "customer", "c-1"), PrimaryPhone={"FreeFormNumber": "9"})
    (row,) = look(world).rows
    assert (list(row.changes), list(row.gives_way)) == (["phone: 9"], ["phone: 5 gives way to 9"])


def test_a_look_is_counted_as_what_it_costs(world: World) -> None:
    """One metered read for a look, counted like every other (quickbooks.md §1.10)."""
    sink = world.make_sink()

    async def count() -> tuple[int, int]:
        await sink.start()
        try:
            month = month_of(world.clock.now_ms())
            before = sink.parts.connections.reads(ACCOUNT, month)
            await sink.outlook(ACCOUNT)
            return before, sink.parts.connections.reads(ACCOUNT, month)
        finally:
            await sink.stop()

    before, after = asyncio.run(count())
    assert after == before + 1
