"""Items of one name that are two: ours is made under a name that is free, and stays that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_sink.sandbox.injection import FaultRule
from replica.events.payloads import ProductChanged, ProductFields
from replica.sink import Deed
from tests.qbo_sink.test_port import with_sink
from tests.qbo_sink.test_push import do, queue_of, run
from tests.qbo_sink.world import ACCOUNT, World, customer, order, product

THERE = "Cheddar"  # the sample company's first item


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """An order of a product whose name an item there has, said to be another one."""
    made = World(tmp_path)
    run(made)
    made.put(customer("c-1"), product("p-1", THERE), order("o-1"))
    run(made)
    (asked,) = [row for row in queue_of(made) if row.local_id == "p-1"]
    assert asked.code == "same_name"
    match = "match:Item:product:p-1"
    with_sink(made, lambda sink: sink.act(ACCOUNT, match, "apart", Deed("Ana")))
    yield made
    made.close()


def items(world: World) -> dict[str, dict[str, Any]]:
    return {row["Name"]: row for row in world.rows("Item")}


def sold(world: World) -> str:
    """The item that the order names there."""
    (row,) = [one for one in world.rows("Estimate") if "[rp:o:o-1:" in str(one.get("PrivateNote"))]
    return str(row["Line"][0]["SalesItemLineDetail"]["ItemRef"]["value"])


def test_an_item_kept_apart_is_made_under_a_free_name(world: World) -> None:
    """After three refusals it becomes "Cheddar (2)", the order names it, the other is as it was;
    a change of its price, here or there, leaves both names alone (QB-24)."""
    before = items(world)[THERE]
    for cycle in (1, 2, 3):
        run(world)
        (row,) = [one for one in queue_of(world) if one.local_id == "p-1"]
        assert (row.code, row.attempts) == ("6240", cycle)
    run(world)
    ours = items(world)["Cheddar (2)"]
    assert (sold(world), items(world)[THERE]) == (ours["Id"], before)
    world.clock.ms += 60_000
    world.put(ProductChanged("p-1", ProductFields(price_e4=31_000)))
    run(world)
    changed = items(world)
    assert (changed["Cheddar (2)"]["UnitPrice"], changed[THERE]) == (
        ours["UnitPrice"] + 0.6,
        before,
    )
    world.clock.ms += 60_000
    do(world, "edit", {"entity": "Item", "id": ours["Id"], "changes": {"UnitPrice": 4}})
    run(world)
    assert world.seen("product", "p-1")["fields"]["name"] == THERE
    assert len(items(world)) == len(changed)


@pytest.mark.parametrize("kind", ["drop_before", "drop_after"])
@pytest.mark.parametrize("send", [1, 4])
def test_an_item_kept_apart_is_not_taken_for_the_other_in_doubt(
    world: World, kind: Any, send: int
) -> None:
    """Whichever of its sends is cut off, there is one item of ours in the end, and never is it the
    one it was kept apart from (§2.2)."""
    other = items(world)[THERE]["Id"]
    for at in range(1, 7):
        if at == send:
            world.sandbox.plan.add(FaultRule(kind=kind, match="/item"))
        run(world)
        world.clock.ms += 120_000
    assert [name for name in items(world) if name.startswith(THERE)] == [THERE, "Cheddar (2)"]
    assert sold(world) == items(world)["Cheddar (2)"]["Id"] != other
