"""What new devices begin with: the account's policy, the wish of a code, and nothing before it."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import httpx2
import pytest

import replica.device.chunks
import replica.server.chunks
from replica.device import Device, OrderCommitted
from replica.events.event import Position
from replica.events.payloads import CustomerChanged, CustomerFields
from replica.events.record import records
from replica.projections import hashes
from replica.server.beginning import Policy
from replica.server.scoped import granted
from replica.server.scopes import Wish
from replica.server.stores import new_user
from replica.store.access import Device as StoredDevice
from replica.store.access import Role
from replica.sync import messages as m
from replica.sync.chunks import decode_manifest
from tests.crdt.samples import content
from tests.server.raw import RawDevice
from tests.server.test_scope import CANARY, EVEN, hexed, ids, phone, stocked, synced
from tests.server.world import PASSWORD, Company, World


@pytest.fixture(autouse=True)
def few_events_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten events are worth a layer here."""
    monkeypatch.setattr(replica.server.chunks, "CHUNKED_EVENTS_MIN", 10)
    monkeypatch.setattr(replica.device.chunks, "CHUNKED_EVENTS_MIN", 10)


def selected(world: World, company: Company, **wish: Any) -> dict[str, Any]:
    """Let new devices begin with ``wish`` alone; the policy as the server gives it."""
    with world.operator(company) as office:
        body = {"policy": "selected", "wish": wish}
        assert office.put("/devices/policy", json=body).status_code == 200
        found: dict[str, Any] = office.get("/devices/policy").json()
        return found


def client_of(world: World, device: RawDevice) -> httpx2.Client:
    headers = {"authorization": f"Bearer {device.token}"}
    return httpx2.Client(base_url=f"{world.url}/api/v1", headers=headers, timeout=30)


def test_a_device_is_bounded_from_its_first_byte_on(world: World, company: Company) -> None:
    """A device that enrols under `selected` hears nothing of what is outside it, on no route and
    in no frame from its first HELLO on, though the same documents lie ready in bulk and its scope's
    event is still to be folded (CFG-05, decision 0014)."""
    stocked(world, company, 60)
    with client_of(world, RawDevice.enrol(world, company, "Holds all")) as client:
        chunk = decode_manifest(client.get("/snapshot").content).chunks()[0].sha256
        assert client.get(f"/chunks/{chunk}").status_code == 200
    selected(world, company, **EVEN)
    device = RawDevice.enrol(world, company)
    welcome = device.meet()
    with client_of(world, device) as client:
        answers = [
            client.get("/snapshot"),
            client.get(f"/chunks/{chunk}"),
            client.post("/reconcile/events", content=b"\x61"),
            client.get("/orders"),
            client.get("/customers"),
            client.get("/scope"),
            client.post("/scope/preview", json={}),
        ]
        assert [one.status_code for one in answers] == [204, 404, 403, 401, 401, 200, 200]
        page = client.get("/scope/changes?after=0&position=0&version=1&pending=0")
        with world.runtime.stores.views.reading() as connection:
            every = [one for _, one in hashes.changed_after(connection, company.account, 0)]
        states = client.post("/documents", content=b"".join(every))
    position = world.write(company, CustomerChanged("c-1", CustomerFields(name=f"{CANARY} again")))
    frames: list[m.Frame] = [welcome, *device.events_until(position)]
    texts = [zlib.decompress(page.content), states.content, *(one.content for one in answers)]
    texts += [m.encode_frame(frame) for frame in frames]
    assert b"Ana 0" in texts[0]
    assert b"Ana 0" in texts[1]
    assert not any(CANARY.encode() in text for text in texts)
    assert (welcome.scope, answers[5].json()["version"]) == (1, 1)
    device.close()


def test_the_event_follows_the_token(world: World, company: Company) -> None:
    """What a device begins with is written with its token, and said in the log right after its
    enrolment, as version 1 (CFG-05)."""
    selected(world, company, **EVEN, ttl_s=86_400)
    now_ms = world.runtime.now_ms()
    device = RawDevice.enrol(world, company)
    found = world.stores.control.check_token(device.token)
    scope = granted(found)
    assert (scope.version, scope.customers, scope.prospects) == (1, ("c-0", "c-2"), ())
    assert 0 <= scope.until_ms - now_ms - 86_400_000 < 60_000
    segments = world.stores.log.read(company.account, Position(0), 1 << 20)
    told = [record.event.kind for segment in segments for _, record in records(segment)]
    assert told == ["device.enrolled", "device.scoped"]


def test_a_first_sync_under_a_policy_ends_equal(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A device of the SDK that enrols under `selected` holds that and nothing else after its first
    sync, and chooses more for itself later; the policy changes nothing for devices that are in,
    whose unsent work goes on (CFG-01, CFG-04, CFG-05)."""
    stocked(world, company)
    with phone(world, company, tmp_path, "Old") as old:
        synced(old)
        old.append(OrderCommitted("offline", content(customer="c-1")))
        said = selected(world, company, products="all")
        assert said == {
            "policy": "selected",
            "wish": {"customers": [], "prospects": [], "products": "all"},
        }
        with phone(world, company, tmp_path, "New") as new:
            synced(new)
            assert (ids(new, "customer"), ids(new, "order")) == ([], [])
            assert len(ids(new, "product")) == 6
            new.set_scope(customers=["c-1"])
            synced(old)
            synced(new)
            assert ids(new, "order") == ["o-1", "offline"]
        assert len(ids(old, "customer")) == 8


def test_a_code_says_more_than_the_policy(world: World, company: Company, tmp_path: Path) -> None:
    """A scope that is given with the code counts over the policy, and what it leaves out is as the
    policy says when the device enrols, also when that was changed after the code (CFG-05)."""
    stocked(world, company)
    selected(world, company, products="all")
    with world.operator(company) as office:
        body = {"name": "Ana's", "scope": {"customers": ["c-2"], "locked": True}}
        code = office.post("/devices/codes", json=body).json()["code"]
        selected(world, company, products=["p-0"], orders="own")
        with Device.open(tmp_path / "ana.db") as device:
            device.enrol(world.url, code, "Ana's")
            synced(device)
            assert ids(device, "customer") == ["c-2"]
            assert ids(device, "product") == ["p-0"]
            shown = office.get(f"/scope?device={hexed(device)}").json()
            assert (shown["version"], shown["locked"], shown["orders"]) == (1, True, "own")
        every = {"customers": "all", "prospects": "all", "products": "all", "orders": "team"}
        body = {"name": "Office", "scope": every}
        code = office.post("/devices/codes", json=body).json()["code"]
        with Device.open(tmp_path / "office.db") as device:
            device.enrol(world.url, code, "Office")
            synced(device)
            assert len(ids(device, "customer")) == 8
        office.put("/devices/policy", json={"policy": "all"})
        assert office.get("/devices/policy").json()["policy"] == "all"
        assert world.stores.control.check_token(RawDevice.enrol(world, company).token).scope is None


def test_a_code_names_who_will_use_the_device(world: World, company: Company) -> None:
    """A code that is made for a user gives his device to him, not to who made the code; a login
    of another company is nobody (S8)."""
    other = world.company()
    with world.operator(company) as office:
        rep = f"ana-{company.login}"
        office.post("/users", json={"login": rep})
        body = {"name": "Ana's", "user": rep.upper()}
        code = office.post("/devices/codes", json=body).json()["code"]
        body = {"name": "Ana's", "user": other.login}
        assert office.post("/devices/codes", json=body).status_code == 404
    said = httpx2.post(f"{world.url}/api/v1/enrol", json={"code": code}).json()
    users = {one.login: one.id for one in world.stores.control.users(company.account)}
    assert world.stores.control.check_token(said["token"]).user == users[rep]


@pytest.mark.parametrize(
    "body",
    [
        {"policy": "some"},
        {"policy": "all", "wish": {"customers": []}},
        {"policy": "selected", "wish": {"customers": "many"}},
        {"policy": "selected", "wish": {"colour": "red"}},
    ],
)
def test_what_is_no_policy_changes_nothing(
    world: World, company: Company, body: dict[str, Any]
) -> None:
    """Nonsense is answered 400 and the policy stays; so is a code with such a scope (I-20)."""
    with world.operator(company) as office:
        assert office.put("/devices/policy", json=body).status_code == 400
        code = {"name": "Phone", "scope": {"customers": "many"}}
        assert office.post("/devices/codes", json=code).status_code == 400
        assert office.get("/devices/policy").json()["policy"] == "all"


def test_a_scope_that_no_event_can_say_is_refused_early(world: World, company: Company) -> None:
    """A policy or code whose scope would not fit into an event is refused when it is made, not
    when the device enrols (I-20)."""
    many = tuple(f"{number:0150}" for number in range(4_000))
    lists = {"customers": many, "prospects": many, "products": many}
    with world.operator(company) as office:
        body = {"policy": "selected", "wish": lists}
        assert office.put("/devices/policy", json=body).status_code == 413
        assert office.post("/devices/codes", json={"name": "P", "scope": lists}).status_code == 413


def test_the_page_asks_what_a_device_holds_at_first(world: World, company: Company) -> None:
    """The form of a code and that of the policy offer everything, products, nothing and what
    another device holds; what they do not offer is refused (CFG-01, CFG-05)."""
    with world.browser(company) as pages:
        assert "A new device holds everything." in pages.text("/devices")
        pages.post("/devices/policy", begins="products", orders="own", locked="1")
        text = pages.text("/devices")
        assert "no customers, no prospects, all products, only its own orders" in text
        assert "only the office changes it" in text
        first = granted(enrolled(world, pages.post("/devices/enrol", name="One").text))
        assert (first.customers, first.products, first.locked) == ((), None, True)
        assert (first.orders, first.version) == ("own", 1)
        answer = pages.post("/devices/enrol", name="Two", begins=f"as.{first.device}").text
        second = granted(enrolled(world, answer))
        assert (second.customers, second.orders) == ((), "own")
        answer = pages.post("/devices/enrol", name="Three", begins="all", orders="team").text
        assert granted(enrolled(world, answer)).customers is None
        for wrong in ({"begins": f"as.{'00' * 16}"}, {"orders": "mine"}, {"user": "nobody"}):
            assert pages.post("/devices/enrol", name="Four", **wrong).status_code in (400, 404)
        assert pages.post("/devices/policy", orders="team").status_code == 400
        pages.post("/devices/policy", begins="all", orders="team")
        assert "A new device holds everything." in pages.text("/devices")
        rep = new_user(f"rep-{company.login}", PASSWORD, Role.REP)
        world.stores.control.add_user(company.account, rep, now_ms=1)
    with world.browser(company, rep.login) as pages:
        assert "Enrol a device" not in pages.text("/devices")
        assert pages.post("/devices/policy", begins="nothing").status_code == 403


def enrolled(world: World, page: str) -> StoredDevice:
    """A device that comes in with the code of ``page``."""
    code = page.split('id="code">')[1].split("<", maxsplit=1)[0]
    said = httpx2.post(f"{world.url}/api/v1/enrol", json={"code": code}).json()
    return world.stores.control.check_token(said["token"])


def test_policies_are_plain_values() -> None:
    """`all` is stored as nothing at all, and `selected` with every list that it leaves out empty,
    so that no default of a later program can widen it (CFG-05)."""
    assert Policy("all").stored() is None
    stored = Policy("selected", Wish(orders="own")).stored()
    assert stored is not None
    assert stored.count(b"[]") == 3
