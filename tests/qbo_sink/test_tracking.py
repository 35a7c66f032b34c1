"""Classes and departments that documents name: never left out without a word."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from replica.events.payloads import OrderAmended
from replica.events.record import Origin
from tests.qbo_sink.test_push import do, queue_of
from tests.qbo_sink.world import World, content, customer, order, product


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.put(customer("c-1", "Blauer See"), product("p-1", "Chai"))
    yield made
    made.close()


def names(world: World, entity: str) -> list[str]:
    return [row["Name"] for row in world.rows(entity)]


def test_a_class_that_stands_there_is_on_every_line(world: World) -> None:
    """It is found by its name, whatever its case (§1.12)."""
    do(world, "preferences", {"changes": {"AccountingInfoPrefs": {"TrackDepartments": True}}})
    (class_, *_), (department, *_) = names(world, "Class"), names(world, "Department")
    world.put(order("o-1", class_=class_.upper(), department=department))
    asyncio.run(world.run())
    (row,) = [row for row in world.rows("Estimate") if row.get("DocNumber") == "T-o-1"]
    detail = row["Line"][0]["SalesItemLineDetail"]
    assert (detail["ClassRef"]["value"], row["DepartmentRef"]["value"]) == ("1", "1")


@pytest.mark.parametrize("field", ["class_", "department"])
def test_an_unknown_class_or_department_is_a_predicted_fault(world: World, field: str) -> None:
    """The document waits with cause and fix before any call, and goes once the name is right
    (QB-15, QB-19)."""
    do(world, "preferences", {"changes": {"AccountingInfoPrefs": {"TrackDepartments": True}}})
    world.put(order("o-1", **{field: "Nowhere"}))
    asyncio.run(world.run())
    assert world.per_marker() == {}
    top = queue_of(world)[0]
    assert (top.local_id, top.state) == ("o-1", "needs_you")
    assert "of this name" in top.reason
    assert "Nowhere" in top.reason
    amended = content("T-o-1", "c-1", [("p-1", 2_000, 25_000)])
    world.put(OrderAmended("o-1", amended), origin=Origin.WEB)
    asyncio.run(world.run())
    assert world.per_marker() == {"o:o-1": 1}


def test_a_company_that_tracks_no_classes_is_told_none(world: World) -> None:
    """Where tracking is off the document goes without (ACC-04)."""
    off = {"ClassTrackingPerTxn": False, "ClassTrackingPerTxnLine": False}
    do(world, "preferences", {"changes": {"AccountingInfoPrefs": off}})
    world.put(order("o-1", class_="Nowhere"))
    asyncio.run(world.run())
    assert world.per_marker() == {"o:o-1": 1}
