"""The TypeScript client as a device with a scope: docs/wire-protocol.md §14 in a second language,
beside a Python device that holds the same part."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

import replica.server.first_pages
from replica.device import (
    CustomerChanged,
    CustomerFields,
    Device,
    OrderAmended,
    OrderCancelled,
    OrderCommitted,
    StockCounted,
)
from replica.events.kinds import catalogue_fingerprint
from tests.clients.driving import Driven
from tests.clients.nodes import Ended
from tests.crdt.samples import content
from tests.server.test_scope import CANARY, EVEN, stocked
from tests.server.world import Company, World

pytestmark = pytest.mark.process
EVERYTHING: dict[str, Any] = {"customers": "all", "prospects": "all", "products": "all"}


@contextmanager
def browser(world: World, company: Company, path: Path) -> Iterator[Driven]:
    """A client with an identity, which has not met the server yet."""
    with Driven(path) as driven:
        code = world.code(company, "Browser")
        driven.identity = driven.ask("enrol", url=world.url, code=code, name="Browser")
        yield driven


@contextmanager
def phone(world: World, company: Company, path: Path) -> Iterator[Device]:
    with Device.open(path) as device:
        device.enrol(world.url, world.code(company, "Phone"), "Phone")
        yield device


def grant(world: World, company: Company, device: str, wish: dict[str, Any]) -> None:
    """The office chooses for a device."""
    with world.operator(company) as office:
        answer = office.put(f"/scope?device={device}", json=wish)
        assert answer.status_code == 200, answer.text


def grant_both(
    world: World, company: Company, one: Driven, other: Device, wish: dict[str, Any]
) -> None:
    assert other.identity is not None
    for device in (one.identity["device"], other.identity.device.hex()):
        grant(world, company, device, wish)


def ids(driven: Driven, kind: str) -> list[str]:
    return sorted(one["id"] for one in driven.ask("documents", type=kind))


def synced(driven: Driven) -> dict[str, Any]:
    result: dict[str, Any] = driven.ask("sync")
    assert result["equal"]
    return result


def sections_of(digest: Any) -> dict[str, tuple[int, str]]:
    """Counts and digests but for the device's own document, which is its own alone."""
    rows = [
        (one["section"], one["count"], one["digest"]) if isinstance(one, dict) else one
        for one in digest
    ]
    return {
        name: (count, digest if isinstance(digest, str) else digest.hex())
        for name, count, digest in rows
        if name != "device"
    }


def assert_alike(driven: Driven, device: Device) -> None:
    assert sections_of(driven.ask("digest")) == sections_of(device.digest())


def test_the_rules_of_the_fold_have_the_servers_name() -> None:
    """The client computes the fingerprint that the server tells of the same kinds and rules, so it
    knows whose states it may take (wire-protocol.md §12)."""
    with Driven(Path(":memory:")) as driven:
        assert driven.ask("fingerprint") == catalogue_fingerprint().hex()


def test_a_choice_of_the_office_is_what_the_client_holds(
    world: World, company: Company, tmp_path: Path
) -> None:
    """After a grant the client drops what was not chosen, takes in what is chosen later and holds
    all again when it may; every round ends in equal digests, and in those of a Python device with
    the same scope (CFG-01, CFG-03, CFG-05, SYN-17)."""
    stocked(world, company)
    with (
        browser(world, company, tmp_path / "one.db") as one,
        phone(world, company, tmp_path / "phone.db") as device,
    ):
        synced(one)
        assert len(ids(one, "customer")) == 8
        history = one.ask("status")["history"]
        grant_both(world, company, one, device, EVEN)
        synced(one)
        assert device.sync().equal
        assert ids(one, "customer") == ["c-0", "c-2"]
        assert ids(one, "order") == ["o-0", "o-2"]
        assert ids(one, "product") == ["p-0", "p-2"]
        assert_alike(one, device)
        status = one.ask("status")
        assert (status["scope"], status["history"]) == (1, history + 1)
        assert status["storedMs"] is not None
        assert status["documentsAt"] >= status["cursor"] > 0
        assert one.ask("records") == []
        grant_both(world, company, one, device, {"customers": ["c-2", "c-4"]})
        assert synced(one)["received"] < 12
        assert device.sync().equal
        assert ids(one, "order") == ["o-2", "o-4"]
        assert_alike(one, device)
        world.write(company, CustomerChanged("c-4", CustomerFields(phone="1")))
        world.write(company, CustomerChanged("c-5", CustomerFields(phone="1")))
        synced(one)
        (four,) = [found for found in one.ask("documents", type="customer") if found["id"] == "c-4"]
        assert four["facts"][-1]["payload"]["fields"] == {"phone": "1"}
        grant_both(world, company, one, device, EVERYTHING)
        synced(one)
        assert device.sync().equal
        assert_alike(one, device)
        assert len(ids(one, "customer")) == 8
        assert one.ask("status")["scope"] == 0
        world.write(company, CustomerChanged("c-5", CustomerFields(phone="2")))
        assert synced(one)["received"] == 1
        assert device.sync().equal
        assert_alike(one, device)
        assert one.ask("records")[-1]["payload"]["fields"] == {"phone": "2"}


def test_any_chain_of_choices_ends_equal(world: World, company: Company, tmp_path: Path) -> None:
    """Whatever is chosen after whatever, with own work and work of others in between, the client
    and a Python device end with the same documents (CFG-03, SYN-03)."""
    stocked(world, company, 12, 8)
    chance = random.Random(7)
    with (
        browser(world, company, tmp_path / "one.db") as one,
        phone(world, company, tmp_path / "phone.db") as device,
    ):
        for number in range(8):
            some = [f"c-{n}" for n in range(12) if chance.random() < 0.4]
            wish: dict[str, Any] = {
                "customers": chance.choice([some, "all"]),
                "prospects": chance.choice([[], "all"]),
                "products": chance.choice([[f"p-{chance.randrange(8)}"], [], "all"]),
                "orders": "team",
            }
            grant_both(world, company, one, device, wish)
            about = f"c-{chance.randrange(12)}"
            world.write(company, CustomerChanged(about, CustomerFields(contact=f"Q {number}")))
            fields = {"phone": str(number)}
            payload = {"customer": f"c-{chance.randrange(12)}", "fields": fields}
            one.ask("record", kind="customer.changed", payload=payload)
            synced(one)
            assert device.sync().equal
            world.caught_up(company)
            synced(one)
            assert device.sync().equal
            assert_alike(one, device)


def test_stock_counts_every_sale(world: World, company: Company, tmp_path: Path) -> None:
    """Whatever part of the sales the client holds, its stock on hand is what the whole log counts,
    and its own sales are off before they are sent (OFF-06, OFF-13)."""
    stocked(world, company, 6, 3)
    chance = random.Random(11)
    with (
        browser(world, company, tmp_path / "one.db") as one,
        phone(world, company, tmp_path / "phone.db") as full,
    ):
        for number in range(7):
            wish: dict[str, Any] = {
                "customers": chance.choice([["c-0"], [f"c-{chance.randrange(6)}"], "all"]),
                "prospects": [],
                "products": chance.choice([["p-0", "p-1"], "all"]),
                "orders": chance.choice(["own", "team"]),
            }
            grant(world, company, one.identity["device"], wish)
            product = f"p-{chance.randrange(2)}"
            if chance.random() < 0.5:
                world.write(company, StockCounted(product, 10_000 * number + 5_000))
            for sale in range(2):
                line = ("l1", f"p-{chance.randrange(2)}", 1_000 * (number + 1), 10_000)
                sealed = content(line, customer=f"c-{chance.randrange(6)}")
                world.write(company, OrderCommitted(f"s-{number}-{sale}", sealed))
            if number % 3 == 2:
                world.write(company, OrderCancelled(f"s-{number}-1"))
                line = ("l1", f"p-{chance.randrange(2)}", 700, 10_000)
                amended = content(line, customer="c-1")
                world.write(company, OrderAmended(f"s-{number - 1}-0", amended))
            synced(one)
            before = one.ask("onHandE3", product=product)
            payload = {"order": f"m-{number}", "content": _content(f"c-{number % 6}", product)}
            one.ask("record", kind="order.committed", payload=payload)
            assert one.ask("onHandE3", product=product) == before - 1_000
            synced(one)
            assert full.sync().equal
            held = ids(one, "product")
            assert product in held
            assert {name: one.ask("onHandE3", product=name) for name in held} == {
                name: full.on_hand(name) for name in held
            }


def test_nothing_outside_its_scope_lies_in_the_storage(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A client whose scope was set before it met the server never has a byte of the rest, and one
    that held everything has none of it left once it is closed (CFG-05, architecture.md section
    7)."""
    stocked(world, company, 30)
    with browser(world, company, tmp_path / "first.db") as first:
        grant(world, company, first.identity["device"], EVEN)
        synced(first)
        assert ids(first, "customer") == ["c-0", "c-2"]
        assert all(CANARY.encode() not in file.read_bytes() for file in tmp_path.glob("first.db*"))
    with browser(world, company, tmp_path / "late.db") as late:
        synced(late)
        grant(world, company, late.identity["device"], EVEN)
        synced(late)
        assert CANARY not in str(late.ask("documents")) + str(late.ask("records"))
        assert "Ana 0" in str(late.ask("documents"))
    left = b"".join(file.read_bytes() for file in tmp_path.glob("late.db*"))
    assert b"Ana 0" in left
    assert CANARY.encode() not in left


def test_a_client_killed_in_the_middle_goes_on(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A transfer that dies before any of its questions goes on in the next process, and what was
    unsent by then is in, though its customer is not chosen (SYN-28, CFG-05, I-1)."""
    stocked(world, company, 40)
    path = tmp_path / "one.db"
    with browser(world, company, path) as one:
        synced(one)
        device = one.identity["device"]
    grant(world, company, device, EVEN)
    deaths = 0
    for asks in range(20):
        with Driven(path, asks=asks) as one:
            if asks == 0:
                payload = {"customer": "c-7", "fields": {"phone": "7"}}
                said = one.ask("record", kind="customer.changed", payload=payload)
            try:
                synced(one)
            except Ended:
                deaths += 1
                continue
        break
    assert deaths >= 3, "before the first page, the comparison, the last page"
    with Driven(path) as one:
        synced(one)
        assert ids(one, "customer") == ["c-0", "c-2"]
        assert [row["id"] for row in one.ask("records")] == [said]
    with world.operator(company) as office:
        assert office.get("/customers/c-7").json()["fields"]["phone"] == "7"


def test_a_first_sync_of_a_scope_goes_on_where_it_was(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client whose scope was there before it gets many small pages, dies three times
    on the way, shows counts that only grow and ends equal (SYN-01, SYN-14, SYN-28)."""
    monkeypatch.setattr(replica.server.first_pages, "SCOPE_PAGE_BYTES_TARGET", 1)
    stocked(world, company, 20, 4)
    path = tmp_path / "one.db"
    with browser(world, company, path) as one:
        wish = {"customers": [f"c-{n}" for n in range(0, 20, 2)], "prospects": []}
        grant(world, company, one.identity["device"], wish)
    for _ in range(3):
        with Driven(path, asks=4) as one, pytest.raises(Ended):
            one.ask("sync")
    with Driven(path) as one:
        synced(one)
        shown = [sum(row["done"] for row in step) for step in one.ask("progress")]
        assert shown == sorted(shown)
        assert shown[0] > 10, "it went on where the third one was"
        assert len(ids(one, "customer")) == len(ids(one, "order")) == 10


def test_what_is_unsent_stays_when_its_document_leaves(
    world: World, company: Company, tmp_path: Path
) -> None:
    """Work that cannot be sent yet is shown on top of a document that is to leave; the document
    leaves when the work is in, and the work is in the log (B10, OFF-13)."""
    stocked(world, company)
    path = tmp_path / "one.db"
    with browser(world, company, path) as one:
        synced(one)
        payload = {"order": "mine", "content": _content("c-7")}
        one.ask("record", kind="order.committed", payload=payload)
        change = {"customer": "c-7", "fields": {"phone": "7"}}
        one.ask("record", kind="customer.changed", payload=change)
        grant(world, company, one.identity["device"], EVEN)
        (seven,) = [
            found for found in one.ask("documents", type="customer") if found["id"] == "c-7"
        ]
        assert seven["facts"][-1]["payload"]["fields"] == {"phone": "7"}
        assert "mine" in ids(one, "order")
        assert one.ask("status")["pending"] == 2
        result = synced(one)
        assert result["sent"] == 2
        assert ids(one, "order") == ["mine", "o-0", "o-2"]
        assert ids(one, "customer") == ["c-0", "c-2"]
        grant(world, company, one.identity["device"], {"customers": ["c-7"]})
        synced(one)
        (seven,) = one.ask("documents", type="customer")
        assert seven["facts"][-1]["payload"]["fields"] == {"phone": "7"}


def _content(customer: str, product: str = "p-0") -> dict[str, Any]:
    made = content(("l1", product, 1_000, 50_000), customer=customer)
    lines = [list(msgspec.structs.astuple(one)) for one in made.lines]
    said = {"number": "N-1", "customer": customer, "currency": made.currency, "date": made.date}
    return {**said, "total_minor": made.total_minor, "lines": lines}


def test_a_change_reaches_a_client_that_is_connected(
    world: World, company: Company, tmp_path: Path
) -> None:
    """With a connection a change of scope is taken in at once, both ways, and Sync Now proves the
    client by its scope (CFG-03, SYN-03)."""
    stocked(world, company)
    with browser(world, company, tmp_path / "one.db") as one:
        one.ask("connect")
        synced(one)
        grant(world, company, one.identity["device"], EVEN)
        one.ask("until", status={"scope": 1, "mode": "online", "stored": True})
        assert ids(one, "customer") == ["c-0", "c-2"]
        world.write(company, OrderCommitted("o-new", content(customer="c-2")))
        with world.operator(company) as office:
            run = office.post("/sync-now?wait=1").json()
        assert [row["state"] for row in run["devices"]] == ["equal"]
        assert "o-new" in ids(one, "order")
        grant(world, company, one.identity["device"], EVERYTHING)
        one.ask("until", status={"scope": 0, "mode": "online"})
        synced(one)
        assert len(ids(one, "customer")) == 8
