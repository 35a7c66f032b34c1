"""Exactly once for what both sides change: a crash between any two steps of a push or a pull."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_sink.sandbox import Switches
from qbo_sink.sandbox.entities import ENTITIES
from replica.events.payloads import ClassCreated, DepartmentCreated, LabelFields
from tests.qbo_sink.dying import live_and_die, open_world
from tests.qbo_sink.test_push import do, watch
from tests.qbo_sink.test_twoway import create, fields, link
from tests.qbo_sink.world import World, customer, order, product


@pytest.fixture(params=[86_400, 0], ids=["requestid-kept", "requestid-forgotten"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A company whose plan has room for as many classes as a test makes."""
    made = open_world(tmp_path, Switches(throttle=False, requestid_ttl_s=request.param))
    company = made.sandbox.books.company(made.sandbox.settings.realm)
    info = dict(made.sandbox.books.single(company.realm, "CompanyInfo"))
    info["NameValue"] = [{"Name": "OfferingSku", "Value": "QuickBooks Online Advanced"}]
    with made.sandbox.books.atomic():
        made.sandbox.books.put(company, ENTITIES["CompanyInfo"], info)
    asyncio.run(made.run())
    yield made
    made.close()


def test_a_crash_at_any_boundary_makes_no_second_class_or_department(world: World) -> None:
    """Dying at boundaries all along leaves one of each, linked (I-24, ACC-06)."""
    visited: set[str] = set()
    for die_at in range(1, 200):
        world.put(
            ClassCreated(f"k-{die_at}", LabelFields(name=f"Class {die_at}")),
            DepartmentCreated(f"d-{die_at}", LabelFields(name=f"Place {die_at}")),
        )
        boundaries = live_and_die(world, die_at)
        if not boundaries.died_at:
            break
        visited.add(boundaries.died_at)
        asyncio.run(world.run())
    asyncio.run(world.run())
    for entity in ("Class", "Department"):
        names = Counter(row["Name"] for row in world.rows(entity))
        assert max(names.values()) == 1
    for number in range(1, die_at + 1):
        assert link(world, "class", f"k-{number}")
        assert link(world, "department", f"d-{number}")
    assert any("POST" in name for name in visited)
    assert any("acknowledge" in name for name in visited)


def test_a_crash_at_any_boundary_of_a_pull_loses_and_doubles_nothing(world: World) -> None:
    """What the office changed and made arrives once, whatever step the process dies at, and not
    one write goes back there (P46)."""
    world.put(customer("c-1", "Blauer See"), product("p-1", "Chai"), order("o-1"))
    asyncio.run(world.run(times=2))
    visited: set[str] = set()
    for die_at in range(2, 200):
        phone = {"FreeFormNumber": str(die_at)}
        changed = {"entity": "Customer", "id": link(world, "customer", "c-1")}
        do(world, "edit", {**changed, "changes": {"PrimaryPhone": phone}})
        create(world, "Customer", DisplayName=f"Neu {die_at}")
        boundaries = live_and_die(world, die_at)
        if not boundaries.died_at:
            break
        visited.add(boundaries.died_at)
        asyncio.run(world.run())
    watches = watch(world)
    asyncio.run(world.run(times=2))
    assert [name for each in watches for name in each.writes()] == []
    assert fields(world, "customer", "c-1")["phone"] == str(die_at)
    names = Counter(
        fields(world, key.type, key.id)["name"] for key in world.documents if key.type == "customer"
    )
    assert max(names.values()) == 1
    assert {f"Neu {number}" for number in range(2, die_at + 1)} <= names.keys()
    assert any("met" in name or "arrive" in name for name in visited)
