"""Customers, items, classes and departments change on both sides and stay one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_sink.meeting_store import MeetingStore
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.values import write_json
from replica.events.payloads import (
    ClassChanged,
    ClassCreated,
    ClassDeleted,
    CustomerChanged,
    CustomerFields,
    DepartmentCreated,
    LabelFields,
    ProductChanged,
    ProductFields,
)
from replica.events.record import Origin
from replica.projections import tables
from tests.qbo_sink.test_push import do, watch
from tests.qbo_sink.world import ACCOUNT, World, customer, order, product


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.put(
        customer("c-1", "Blauer See", phone="1", email="see@side.example"),
        product("p-1", "Chai", sku="CHAI"),
        order("o-1"),
    )
    asyncio.run(made.run())
    later(made)
    yield made
    made.close()


def later(world: World) -> None:
    """Time passes, so that what happens next is newer than what was before."""
    world.clock.ms += 600_000


def link(world: World, kind: str, identity: str) -> str:
    external: str = world.seen(kind, identity)["links"]["quickbooks"]
    return external


def fields(world: World, kind: str, identity: str) -> dict[str, Any]:
    found: dict[str, Any] = world.seen(kind, identity)["fields"]
    return found


def edit(world: World, entity: str, external: str, **changes: Any) -> None:
    do(world, "edit", {"entity": entity, "id": external, "changes": changes})


def row(world: World, entity: str, external: str) -> dict[str, Any]:
    company = world.sandbox.books.company(world.sandbox.settings.realm)
    found: dict[str, Any] = world.sandbox.books.live(company.realm, entity, external).body
    return found


def create(world: World, entity: str, **body: Any) -> str:
    """Somebody makes a record in QuickBooks."""
    company = world.sandbox.books.company(world.sandbox.settings.realm)
    with world.sandbox.books.atomic():
        written = world.sandbox.writer(company).save(ENTITIES[entity], body, write_json(body))
    return str(written.reply["Id"])


def run(world: World, times: int = 1) -> Any:
    return asyncio.run(world.run(times=times))


def kinds(world: World) -> list[str]:
    return [kind for kind, _ in world.answers]


def test_a_change_there_reaches_us_with_only_what_changed(world: World) -> None:
    """The office's new phone comes as customer.changed of that one field (QB-07)."""
    edit(world, "Customer", link(world, "customer", "c-1"), PrimaryPhone={"FreeFormNumber": "22"})
    run(world)
    kind, payload = world.answers[-1]
    assert kind == "customer.changed"
    assert payload == CustomerChanged("c-1", CustomerFields(phone="22"))
    assert fields(world, "customer", "c-1")["name"] == "Blauer See"


def test_what_came_from_there_is_never_sent_back(world: World) -> None:
    """No echo: after a change there not one write leaves, however often it runs (P46)."""
    edit(world, "Customer", link(world, "customer", "c-1"), CompanyName="Blauer See OHG")
    edit(world, "Item", link(world, "product", "p-1"), UnitPrice=3.25)
    watches = watch(world)
    run(world, times=3)
    assert [name for each in watches for name in each.writes()] == []
    assert fields(world, "product", "p-1")["price_e4"] == 32_500
    assert kinds(world).count("customer.changed") == 1
    assert kinds(world).count("product.changed") == 1


def test_an_edit_here_is_a_sparse_update_of_what_changed(world: World) -> None:
    """Only the changed property goes, with the token that stands there."""
    external = link(world, "product", "p-1")
    watches = watch(world)
    world.put(ProductChanged("p-1", ProductFields(price_e4=41_000, unit="box")))
    run(world)
    (sent,) = [r for r in watches[0].sent if r.method == "POST" and "/item" in r.url.path]
    body = sent.read()
    assert b'"sparse":true' in body
    assert b"Description" not in body
    assert b"Sku" not in body
    assert float(row(world, "Item", external)["UnitPrice"]) == 4.1
    run(world)
    assert watches[-1].writes() == []


def test_edits_of_different_fields_on_both_sides_are_both_kept(world: World) -> None:
    """A stale token is met at once: theirs is taken, ours is sent (5010, §1.5)."""
    external = link(world, "customer", "c-1")
    edit(world, "Customer", external, CompanyName="Blauer See OHG")
    world.put(CustomerChanged("c-1", CustomerFields(phone="33")))
    report = run(world)
    assert report.errors == ()
    there, here = row(world, "Customer", external), fields(world, "customer", "c-1")
    assert (there["CompanyName"], there["PrimaryPhone"]["FreeFormNumber"]) == (
        "Blauer See OHG",
        "33",
    )
    assert (here["company"], here["phone"]) == ("Blauer See OHG", "33")


@pytest.mark.parametrize("newer", ["ours", "theirs"])
def test_a_conflict_goes_to_the_newer_value_and_the_other_stays_visible(
    world: World, newer: str
) -> None:
    """The newer value counts on both sides (CON-01); the one given up is listed (CON-10)."""
    external = link(world, "customer", "c-1")
    if newer == "ours":
        edit(world, "Customer", external, PrimaryPhone={"FreeFormNumber": "theirs"})
        later(world)
        world.put(CustomerChanged("c-1", CustomerFields(phone="ours")))
    else:
        world.put(CustomerChanged("c-1", CustomerFields(phone="ours")))
        later(world)
        edit(world, "Customer", external, PrimaryPhone={"FreeFormNumber": "theirs"})
    run(world, times=2)
    there = row(world, "Customer", external)["PrimaryPhone"]["FreeFormNumber"]
    assert (there, fields(world, "customer", "c-1")["phone"]) == (newer, newer)
    (lost,) = MeetingStore(world.ledger.write).overruled(ACCOUNT, 10)
    assert (lost.field, lost.ours, lost.theirs, lost.kept) == (
        "phone",
        '"ours"',
        '"theirs"',
        newer,
    )
    run(world)
    assert len(MeetingStore(world.ledger.write).overruled(ACCOUNT, 10)) == 1


def test_a_field_cleared_on_one_side_is_cleared_on_the_other(world: World) -> None:
    """An e-mail removed here goes away there, a phone removed there goes away here."""
    external = link(world, "customer", "c-1")
    world.put(CustomerChanged("c-1", CustomerFields(email=None)))
    run(world)
    assert not row(world, "Customer", external).get("PrimaryEmailAddr")
    edit(world, "Customer", external, PrimaryPhone=None)
    run(world)
    assert not fields(world, "customer", "c-1")["phone"]


def test_an_inactive_customer_is_a_visible_state_until_it_is_active_again(world: World) -> None:
    """The customer says so with what to do, and its name loses no suffix to us."""
    external = link(world, "customer", "c-1")
    do(world, "inactivate", {"entity": "Customer", "id": external})
    run(world)
    seen = world.seen("customer", "c-1")
    assert seen["there"]["quickbooks"]["state"] == "inactive"
    assert seen["fields"]["name"] == "Blauer See"
    edit(world, "Customer", external, Active=True)
    run(world)
    assert world.seen("customer", "c-1")["there"] == {}


@pytest.mark.parametrize("told", [True, False])
def test_a_merged_customer_moves_its_link(world: World, told: bool) -> None:
    """By a webhook or by what our estimates show: the link goes to the customer that is left, the
    next order too, and nobody has to do anything (§1.10)."""
    external = link(world, "customer", "c-1")
    do(world, "merge", {"entity": "Customer", "id": external, "into": "1"})
    if told:
        realm = world.sandbox.settings.realm
        store = MeetingStore(world.ledger.write)
        store.note_merge(realm, "Customer", external, "1", world.clock.ms)
    run(world)
    seen = world.seen("customer", "c-1")
    assert seen["links"]["quickbooks"] == "1"
    assert seen["there"]["quickbooks"]["state"] == "merged"
    answer = world.seen("order", "o-1")["answers"]["quickbooks"]
    assert answer.get("there", {}).get("state", "standing") == "standing"
    world.put(order("o-2"))
    run(world)
    (made,) = [each for each in world.rows("Estimate") if each.get("DocNumber") == "T-o-2"]
    assert made["CustomerRef"]["value"] == "1"


def test_a_customer_and_an_item_made_there_arrive_once(world: World) -> None:
    """They become records here with their links, and our edits of them go back (QB-07)."""
    who = create(world, "Customer", DisplayName="Neue Mühle", PrimaryPhone={"FreeFormNumber": "5"})
    what = create(
        world,
        "Item",
        Name="Rooibos",
        Sku="ROO",
        Type="NonInventory",
        UnitPrice="2.5",
        IncomeAccountRef={"value": "79"},
    )
    run(world, times=3)
    assert kinds(world).count("customer.created") == 1
    assert fields(world, "customer", f"qb:{who}")["name"] == "Neue Mühle"
    assert fields(world, "product", f"qb:{what}")["price_e4"] == 25_000
    assert link(world, "product", f"qb:{what}") == what
    later(world)
    world.put(CustomerChanged(f"qb:{who}", CustomerFields(phone="6")))
    assert run(world).updated == 1
    assert row(world, "Customer", who)["PrimaryPhone"]["FreeFormNumber"] == "6"


def test_a_record_of_a_name_that_is_here_does_not_arrive(world: World) -> None:
    """What both sides made under one name is not made twice here (P57)."""
    with world.views.writing() as connection:
        named = {"account": ACCOUNT, "id": "c-9", "name": "Neue Mühle"}
        connection.execute(world.views.insert(tables.customers).values(named))
    create(world, "Customer", DisplayName="Neue Mühle")
    run(world)
    assert "customer.created" not in kinds(world)


def test_classes_and_departments_there_are_records_here(world: World) -> None:
    """All of them, with their links, once (ACC-05)."""
    names = {
        world.seen(key.type, key.id)["fields"]["name"]
        for key in world.documents
        if key.type in ("class", "department")
    }
    assert names == {"Retail", "Catering", "Main Store"}
    run(world, times=2)
    assert kinds(world).count("class.created") == 2


def test_a_class_made_here_stands_there_before_the_order_that_names_it(world: World) -> None:
    """It is created first, its parent before it, and the estimate refers to it (ACC-06)."""
    world.put(
        ClassCreated("k-2", LabelFields(name="Tea", parent="k-1")),
        ClassCreated("k-1", LabelFields(name="Shops")),
        DepartmentCreated("d-1", LabelFields(name="Harbour")),
        order("o-2", class_="tea", department="Harbour"),
    )
    watches = watch(world)
    report = run(world)
    assert report.errors == ()
    assert watches[0].writes()[-1] == "estimate"
    assert row(world, "Class", link(world, "class", "k-2"))["FullyQualifiedName"] == "Shops:Tea"
    (made,) = [each for each in world.rows("Estimate") if each.get("DocNumber") == "T-o-2"]
    assert made["DepartmentRef"]["value"] == link(world, "department", "d-1")
    detail = made["Line"][0]["SalesItemLineDetail"]
    assert detail["ClassRef"]["value"] == link(world, "class", "k-2")
    later(world)
    watches.clear()
    run(world, times=2)
    assert [name for each in watches for name in each.writes()] == []


def test_a_class_deleted_here_is_inactive_there_and_the_other_way_round(world: World) -> None:
    """Deleting is making inactive, on either side (ACC-06)."""
    world.put(ClassDeleted("qb:1"), origin=Origin.WEB)
    run(world)
    assert row(world, "Class", "1")["Active"] is False
    do(world, "inactivate", {"entity": "Class", "id": "2"})
    run(world)
    assert not world.seen("class", "qb:2")["exists"]
    edit(world, "Class", "2", Active=True)
    run(world)
    assert world.seen("class", "qb:2")["exists"]


def test_a_class_renamed_on_both_sides_takes_the_newer_name(world: World) -> None:
    """Three-way by field; the name that lost is listed (§1.12, CON-01)."""
    edit(world, "Class", "1", Name="Stores")
    later(world)
    world.put(ClassChanged("qb:1", LabelFields(name="Shops")))
    run(world, times=2)
    assert row(world, "Class", "1")["Name"] == "Shops"
    assert fields(world, "class", "qb:1")["name"] == "Shops"
    (lost,) = MeetingStore(world.ledger.write).overruled(ACCOUNT, 10)
    assert (lost.theirs, lost.kept) == ('"Stores"', "ours")


def test_our_own_correction_of_a_name_does_not_come_back(world: World) -> None:
    """A customer that stands there as "… (2)" keeps its own name here, whatever is edited on either
    side afterwards, and nothing is listed as overruled (P46, CON-01)."""
    world.put(customer("c-9", "Harbour Deli"), order("o-9", "c-9"))
    run(world, times=4)
    external = link(world, "customer", "c-9")
    assert row(world, "Customer", external)["DisplayName"] == "Harbour Deli (2)"
    later(world)
    edit(world, "Customer", external, PrimaryPhone={"FreeFormNumber": "1"})
    run(world, times=2)
    world.put(CustomerChanged("c-9", CustomerFields(email="deli@side.example")))
    run(world, times=2)
    here, there = fields(world, "customer", "c-9"), row(world, "Customer", external)
    assert (here["name"], here["company"], here["phone"]) == ("Harbour Deli", None, "1")
    assert there["DisplayName"] == "Harbour Deli (2)"
    assert there["PrimaryEmailAddr"]["Address"] == "deli@side.example"
    assert MeetingStore(world.ledger.write).overruled(ACCOUNT, 10) == []
    later(world)
    world.put(CustomerChanged("c-9", CustomerFields(name="Quay Deli")))
    run(world, times=2)
    assert row(world, "Customer", external)["DisplayName"] == "Quay Deli"
    assert fields(world, "customer", "c-9")["name"] == "Quay Deli"


def test_a_name_that_became_inactive_is_seen_through_our_own_edit(world: World) -> None:
    """Made inactive there while we edit it, a customer says so, until it is active again (§2.5)."""
    external = link(world, "customer", "c-1")
    edit(world, "Customer", external, Active=False)
    world.put(CustomerChanged("c-1", CustomerFields(phone="1")))
    run(world, times=2)
    assert row(world, "Customer", external)["Active"] is False
    assert world.seen("customer", "c-1")["there"]["quickbooks"]["state"] == "inactive"
    edit(world, "Customer", external, Active=True)
    world.put(CustomerChanged("c-1", CustomerFields(phone="2")))
    run(world, times=2)
    assert world.seen("customer", "c-1")["there"] == {}
