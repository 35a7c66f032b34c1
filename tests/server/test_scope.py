"""Devices that hold a part of their account, against a running server."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest

from replica.device import (
    Content,
    CustomerChanged,
    CustomerCreated,
    CustomerFields,
    Device,
    OrderAmended,
    OrderCancelled,
    OrderCommitted,
    ProductChanged,
    ProductCreated,
    ProductFields,
    ReturnCommitted,
    StockCounted,
    SyncResult,
)
from replica.device.asking import Answer, Server
from replica.errors import Forbidden, MisuseError, PeerGone
from replica.events.event import AccountId, DeviceId
from replica.events.payloads import Payload
from replica.projections import hashes
from replica.server.scopes import Wish
from replica.sync import messages as m
from tests.crdt.samples import content
from tests.server.raw import RawDevice
from tests.server.world import Company, World

CANARY = "CANARY"


def stocked(world: World, company: Company, customers: int = 8, products: int = 6) -> None:
    """Customers and products; the odd ones carry the canary, and an order each."""
    said: list[Payload] = []
    for n in range(customers):
        name = f"{CANARY} {n}" if n % 2 else f"Ana {n}"
        said.append(CustomerCreated(f"c-{n}", CustomerFields(name=name)))
        said.append(OrderCommitted(f"o-{n}", content(customer=f"c-{n}", memo=f"{name} wants this")))
    for n in range(products):
        name = f"{CANARY} {n}" if n % 2 else f"Tea {n}"
        said.append(ProductCreated(f"p-{n}", ProductFields(name=name, price_e4=10_000)))
    world.write(company, *said)


EVEN: dict[str, Any] = {"customers": ["c-0", "c-2"], "prospects": [], "products": ["p-0", "p-2"]}


@contextmanager
def phone(world: World, company: Company, path: Path, name: str = "Phone") -> Iterator[Device]:
    with Device.open(path / f"{name}.db") as device:
        if device.identity is None:
            device.enrol(world.url, world.code(company, name), name)
        yield device


def synced(device: Device) -> SyncResult:
    result = device.sync(30)
    assert result.equal
    return result


def ids(device: Device, kind: str) -> list[str]:
    return [found["id"] for found in device.list(kind)]


def hexed(device: Device) -> str:
    assert device.identity is not None
    return device.identity.device.hex()


def test_a_choice_is_what_is_stored_and_a_change_moves_the_difference(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A device that held all drops what it did not choose, takes in what it chooses later, holds
    all again when it likes, and every round ends in equal digests (CFG-01, CFG-03, CFG-05)."""
    stocked(world, company)
    with phone(world, company, tmp_path) as device:
        synced(device)
        assert len(ids(device, "customer")) == 8
        cost = device.scope_cost(**EVEN)
        assert (cost["enters"], cost["leaves"] > 10, cost["enters_bytes"]) == (0, True, 0)
        assert device.set_scope(**EVEN) == 1
        synced(device)
        assert ids(device, "customer") == ["c-0", "c-2"]
        assert ids(device, "order") == ["o-0", "o-2"]
        assert ids(device, "product") == ["p-0", "p-2"]
        held = device.scope()
        assert held is not None
        assert held.customers == ("c-0", "c-2")
        assert device.status().stored_ms is not None
        assert device.scope_cost(customers=["c-0", "c-2", "c-4"])["enters"] == 2
        device.set_scope(customers=["c-2", "c-4"])
        result = synced(device)
        assert result.received < 12
        assert ids(device, "order") == ["o-2", "o-4"]
        world.write(company, CustomerChanged("c-4", CustomerFields(phone="1")))
        world.write(company, CustomerChanged("c-5", CustomerFields(phone="1")))
        synced(device)
        assert (device.get("customer", "c-4") or {})["fields"]["phone"] == "1"
        device.set_scope(customers="all", prospects="all", products="all")
        synced(device)
        assert len(ids(device, "customer")) == 8
        world.write(company, CustomerChanged("c-5", CustomerFields(phone="2")))
        synced(device)
        assert (device.get("customer", "c-5") or {})["fields"]["phone"] == "2"


def test_a_change_reaches_a_device_that_is_connected(
    world: World, company: Company, tmp_path: Path
) -> None:
    """With a live link a change of scope is taken in at once, both ways, also when nothing else
    happens in the account, and Sync Now proves the device by its scope (CFG-03, SYN-03)."""
    stocked(world, company)
    with phone(world, company, tmp_path) as device:
        device.start()
        synced(device)
        device.set_scope(**EVEN)
        device.wait_until(lambda status: status.stored_ms is not None)
        assert ids(device, "customer") == ["c-0", "c-2"]
        synced(device)
        with world.operator(company) as office:
            run = office.post("/sync-now?wait=1").json()
        assert [one["state"] for one in run["devices"]] == ["equal"]
        device.set_scope(customers="all", prospects="all", products="all")
        device.wait_until(
            lambda status: any(
                one.section == "customer" and one.count == 8 for one in status.sections
            )
        )
        synced(device)


def test_own_work_and_a_kill_in_the_middle(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Selling goes on while the scope changes; a transfer that breaks off anywhere goes on after a
    restart, and nothing unsent is lost (SYN-28, CFG-05)."""
    stocked(world, company)
    real, allowed = Server.ask, [99]

    def fragile(server: Server, path: str, most: int, body: bytes | None = None) -> Answer:
        allowed[0] -= path != "scope"
        if allowed[0] < 0:
            raise ConnectionResetError("cut")
        return real(server, path, most, body)

    with phone(world, company, tmp_path) as device:
        synced(device)
        device.append(OrderCommitted("mine", content(customer="c-7")))
        device.set_scope(**EVEN)
    monkeypatch.setattr(Server, "ask", fragile)
    for asks in range(4):  # before the first page, the comparison, the documents, the last page
        with phone(world, company, tmp_path) as device, contextlib.suppress(PeerGone):
            allowed[0] = asks
            device.sync(1)
    allowed[0] = 99
    with phone(world, company, tmp_path) as device:
        synced(device)
        assert ids(device, "order") == ["mine", "o-0", "o-2"]
        assert device.get("customer", "c-7") is None


def test_nothing_outside_its_scope_reaches_a_device(world: World, company: Company) -> None:
    """Every route and frame that a device's token opens is silent about what is not in its scope
    (architecture.md section 7)."""
    stocked(world, company, 60)
    hidden = content(("1", "p-0", 3_000, 1), ("2", f"{CANARY}-p", 1, 1), customer="c-1")
    world.write(company, OrderCommitted(f"{CANARY}-o", hidden))
    device = RawDevice.enrol(world, company)
    world.on_loop(lambda: _grant(world, company, device.device, EVEN))
    with httpx2.Client(
        base_url=f"{world.url}/api/v1", headers={"authorization": f"Bearer {device.token}"}
    ) as client:
        answers = [
            client.get("/snapshot"),
            client.get(f"/chunks/{'0' * 64}"),
            client.post("/reconcile/events", content=b"\x61"),
            client.get("/orders"),
            client.get("/customers"),
            client.get("/scope"),
            client.post("/scope/preview", json={}),
            client.get("/scope/waiting"),
        ]
        assert [one.status_code for one in answers] == [204, 404, 403, 401, 401, 200, 200, 200]
        page = client.get("/scope/changes?after=0&position=0&version=1&pending=0")
        assert page.status_code == 200
        with world.runtime.stores.views.reading() as connection:
            every = [one for _, one in hashes.changed_after(connection, company.account, 0)]
        states = client.post("/documents", content=b"".join(every))
        texts = [zlib.decompress(page.content), states.content]
        texts += [one.content for one in answers]
    device.meet()
    position = world.write(company, CustomerChanged("c-1", CustomerFields(name=f"{CANARY} again")))
    texts += map(m.encode_frame, device.events_until(position))
    assert b"Ana 0" in texts[0]
    assert b"sold" in texts[0]
    assert not any(CANARY.encode() in text for text in texts)
    device.close()


def test_a_customer_goes_to_another_device_after_the_work_of_the_first(
    world: World, company: Company, tmp_path: Path
) -> None:
    """Handover: the taker has the customer at once, the giver until its offline order is in; then
    he leaves with everything, whether or not anything else happens, and nothing is lost (B10)."""
    stocked(world, company)
    with phone(world, company, tmp_path, "A") as a, phone(world, company, tmp_path, "B") as b:
        synced(a)
        b.set_scope(**EVEN)
        synced(b)
        a.append(OrderCommitted("late", content(customer="c-1")))
        body = {"customers": ["c-1"], "giver": hexed(a), "taker": hexed(b)}
        with world.operator(company) as office:
            said = office.post("/scope/handover", json=body).json()
            assert said["waiting"] == [{"customer": "c-1", "to": hexed(b)}]
            synced(b)
            assert b.get("customer", "c-1")
            assert a.get("customer", "c-1")
            synced(a)
            shown = office.get(f"/scope?device={hexed(a)}").json()
            assert (shown["waiting"], shown["without"]) == ([], ["c-1"])
        assert a.get("customer", "c-1") is None
        assert ids(a, "order") == [f"o-{n}" for n in range(8) if n != 1]
        synced(b)
        assert ids(b, "order") == ["late", "o-0", "o-1", "o-2"]


def test_stock_is_that_of_a_device_that_holds_everything(
    world: World, company: Company, tmp_path: Path
) -> None:
    """Devices that see the orders of one customer, or only their own, show what is left after
    everybody's sales: also after an amendment, a return, a cancellation, a new stock-take, a change
    of scope, a handover and a restart, and less what they sold themselves and have not sent
    (OFF-06, OFF-13)."""

    def goods(customer: str, qty_e3: int) -> Content:
        return content(("1", "p", qty_e3, 10_000), customer=customer)

    world.write(
        company,
        *(CustomerCreated(f"c-{n}", CustomerFields(name=f"Ana {n}")) for n in range(3)),
        ProductCreated("p", ProductFields(name="Tea", price_e4=10_000)),
        StockCounted("p", 100_000),
    )
    with ExitStack() as stack:
        full, one, own = (
            stack.enter_context(phone(world, company, tmp_path, name))
            for name in ("Full", "One", "Own")
        )
        one.set_scope(customers=["c-0"], prospects=[])
        own.set_scope(orders="own")

        def shown() -> list[int]:
            for device in (full, one, own):
                synced(device)
            return [device.on_hand("p") for device in (full, one, own)]

        full.append(OrderCommitted("o-1", goods("c-2", 8_000)))
        synced(full)
        assert shown() == [92_000] * 3
        own.append(OrderCommitted("o-2", goods("c-1", 2_000)))
        assert own.on_hand("p") == 90_000
        synced(own)
        assert shown() == [90_000] * 3
        full.append(OrderAmended("o-1", goods("c-2", 5_000)))
        full.append(ReturnCommitted("r-1", goods("c-2", -1_000)))
        synced(full)
        assert shown() == [94_000] * 3
        world.write(company, OrderCancelled("o-2"))
        assert shown() == [96_000] * 3
        one.set_scope(customers=["c-0", "c-2"])
        own.set_scope(orders="team")
        assert shown() == [96_000] * 3
        own.set_scope(orders="own")
        one.append(OrderCommitted("o-3", goods("c-2", 6_000)))
        body = {"customers": ["c-2"], "giver": hexed(one), "taker": hexed(own)}
        with world.operator(company) as office:
            assert office.post("/scope/handover", json=body).status_code == 200
        synced(one)
        assert [shown(), shown()] == [[90_000] * 3] * 2
        assert one.get("order", "o-3") is None
    with phone(world, company, tmp_path, "One") as one:
        assert one.on_hand("p") == 90_000
        world.write(company, StockCounted("p", 50_000), OrderCommitted("o-4", goods("c-2", 1_000)))
        synced(one)
        assert one.on_hand("p") == 49_000


def test_what_waits_for_the_user_is_counted_within_the_scope(
    world: World, company: Company, tmp_path: Path
) -> None:
    """Where the user says when to sync, own work leaves, and what others changed of his part, its
    stock included, is counted and not shown until then; the rest of the account does not count
    (SYN-10, SYN-11, SYN-27)."""
    stocked(world, company)
    with Device.open(tmp_path / "till.db", downstream="manual") as device:
        device.enrol(world.url, world.code(company), "Till")
        device.set_scope(**EVEN)
        synced(device)
        device.start()
        line = ("1", "p-0", 1_000, 10_000)
        world.write(company, CustomerChanged("c-0", CustomerFields(phone="1")))
        world.write(company, CustomerChanged("c-1", CustomerFields(phone="1")))
        world.write(company, OrderCommitted("of-mine", content(line, customer="c-2")))
        world.write(company, OrderCommitted("of-others", content(line, customer="c-3")))
        device.append(OrderCommitted("mine", content(line, customer="c-0")))
        device.wait_until(lambda status: status.waiting == 3 and not status.pending)
        assert ids(device, "order") == ["mine", "o-0", "o-2"]
        assert device.on_hand("p-0") == -1_000
        assert (device.get("customer", "c-0") or {})["fields"]["phone"] is None
        synced(device)
        assert ids(device, "order") == ["mine", "o-0", "o-2", "of-mine"]
        assert device.on_hand("p-0") == -3_000
        assert device.status().waiting == 0
        world.write(company, CustomerChanged("c-3", CustomerFields(phone="2")))
        world.write(company, CustomerChanged("c-2", CustomerFields(phone="2")))
        device.wait_until(lambda status: status.waiting == 1)


def test_changes_that_come_one_by_one_are_asked_for_together(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connected device lets changes gather after a question, and asks at once for all of them
    when somebody waits for the proof (SYN-03)."""
    stocked(world, company)
    monkeypatch.setattr("replica.device.session.SCOPE_GATHER_MS", 10**9)
    real, asked = Server.ask, list[str]()

    def counted(server: Server, path: str, most: int, body: bytes | None = None) -> Answer:
        asked.append(path)
        return real(server, path, most, body)

    with phone(world, company, tmp_path) as device:
        device.set_scope(**EVEN)
        device.start()
        synced(device)
        monkeypatch.setattr(Server, "ask", counted)
        for n in range(10):
            world.write(company, CustomerChanged("c-2", CustomerFields(phone=str(n))))
        synced(device)
        assert (device.get("customer", "c-2") or {})["fields"]["phone"] == "9"
        assert 0 < len(asked) < 10


def test_expiry_is_said_and_only_strict_ones_hide(
    world: World, company: Company, tmp_path: Path
) -> None:
    """An ended selection is readable with a banner; a strict one is hidden; an empty one says why
    there is nothing (CFG-04, CFG-06)."""
    stocked(world, company)
    ahead_ms = [0]

    def now_ms() -> int:
        return world.runtime.now_ms() + ahead_ms[0]

    with Device.open(tmp_path / "till.db", now_ms=now_ms) as device:
        device.enrol(world.url, world.code(company), "Till")
        device.set_scope(**EVEN, ttl_s=86_400)
        synced(device)
        assert device.status().scope_text == ""
        ahead_ms[0] = 2 * 86_400_000
        assert "can still be read" in device.status().scope_text
        assert ids(device, "customer") == ["c-0", "c-2"]
        device.set_scope(strict=True)
        synced(device)
        assert "hidden" in device.status().scope_text
        assert ids(device, "customer") == []
        assert device.get("customer", "c-0") is None
        device.set_scope(customers=[], prospects=[], products=[], ttl_s=0)
        synced(device)
        assert "Nothing was chosen" in device.status().scope_text


def test_the_office_may_keep_a_scope(world: World, company: Company, tmp_path: Path) -> None:
    """A locked scope is changed by the office alone, and offline nobody changes one (CFG-01)."""
    with phone(world, company, tmp_path) as device:
        with world.operator(company) as office:
            asked = f"/scope?device={hexed(device)}"
            assert office.put(asked, json={"locked": True, "products": []}).status_code == 200
            assert office.put(asked, json={"products": "some"}).status_code == 400
        with pytest.raises(Forbidden):
            device.set_scope(products="all")
        with pytest.raises(MisuseError):
            device.set_scope(products="some")


def test_one_changed_product_of_many_costs_little(
    world: World, company: Company, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a scope, too, a change costs under 5 KB on the wire, and one outside it no document."""
    stocked(world, company, 2, 400)
    real, sizes = Server.ask, []

    def counted(server: Server, path: str, most: int, body: bytes | None = None) -> Answer:
        answer = real(server, path, most, body)
        heads = sum(len(f"{name}: {value}") for name, value in answer.headers.items())
        sizes.append(len(path) + len(body or b"") + len(answer.data) + heads + 150)
        return answer

    with phone(world, company, tmp_path) as device:
        device.set_scope(customers=[], prospects=[], products=[f"p-{n}" for n in range(300)])
        synced(device)
        monkeypatch.setattr(Server, "ask", counted)
        world.write(company, ProductChanged("p-7", ProductFields(price_e4=20_000)))
        synced(device)
        assert device.price_e4("p-7") == 20_000
        assert 0 < sum(sizes) < 5_000


async def _grant(world: World, company: Company, device: bytes, wish: dict[str, Any]) -> None:
    scopes = world.runtime.scopes
    found = scopes.device(AccountId(company.account), DeviceId(device))
    await scopes.wish(found, msgspec.convert(wish, Wish), office=True)
