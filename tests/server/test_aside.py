"""What the door kept out of the log, as the office sees it: cause, fix, and what waits on it."""

from __future__ import annotations

from pathlib import Path

import msgspec

from replica.device import Device
from replica.events.clock import tick
from replica.events.event import device_node, event_id
from replica.events.kinds import build_event
from replica.events.payloads import OrderCancelled, Payload
from replica.sync.messages import Outcome
from replica.sync.remedies import REMEDIES, fix
from tests.device.desk import careless
from tests.server.raw import RawDevice, customer
from tests.server.test_pages import order
from tests.server.world import Company, World


def made(phone: RawDevice, payload: Payload, *deps: bytes) -> bytes:
    """The phone's next event, naming what it builds on."""
    phone.stamp = tick(phone.stamp, phone.clock_ms(), device_node(phone.device))
    return phone.follow(
        build_event(
            phone.account,
            phone.device,
            phone.epoch,
            phone.seq + 1,
            phone.prev,
            phone.stamp,
            payload,
            deps,
        )
    )


def wrong_order() -> Payload:
    """An order whose total is not the sum of its lines."""
    good = order("o-9", "A-9")
    content = msgspec.structs.replace(good.content, total_minor=1)
    return msgspec.structs.replace(good, content=content)


def test_the_office_sees_cause_fix_and_what_waits(world: World, company: Company) -> None:
    """A bad order waits alone with what depends on it, through two steps; unrelated work of the
    same device goes on; API and page name the order, the reason, the fix and the events that wait
    (pitfalls P29, reliability I-19)."""
    phone = RawDevice.enrol(world, company, "Ana's")
    phone.meet()
    bad = made(phone, wrong_order())
    waits = made(phone, OrderCancelled("o-9"), event_id(bad))
    waits_too = made(phone, customer(3), event_id(waits))
    result = phone.settle([bad, waits, waits_too, made(phone, customer(2))])
    outcomes = [verdict.outcome for verdict in result.verdicts for _ in range(verdict.count)]
    assert outcomes == [Outcome.QUARANTINED] * 3 + [Outcome.ACCEPTED]
    phone.close()
    with world.operator(company) as client:
        rows = {row["id"]: row for row in client.get("/quarantine").json()["rows"]}
    first = rows[event_id(bad).hex()]
    assert (first["type"], first["document"], first["kind"]) == ("order", "o-9", "order.committed")
    assert (first["code"], first["fix"]) == ("payload", fix("payload"))
    assert first["waiting"] == [event_id(waits).hex(), event_id(waits_too).hex()]
    second = rows[event_id(waits).hex()]
    assert (second["code"], second["fix"]) == ("waits_on", fix("waits_on"))
    assert event_id(bad).hex() in second["detail"]
    assert rows[event_id(waits_too).hex()]["waiting"] == []
    with world.browser(company) as pages:
        page = pages.text("/conflicts")
    for words in ("Order o-9", "2 events waiting for it", REMEDIES["payload"], "Ana&#39;s"):
        assert words in page


def test_what_was_refused_has_a_fix_too(world: World, company: Company) -> None:
    """Bytes that are no event leave a hash, a reason and a fix (I-19)."""
    phone = RawDevice.enrol(world, company)
    phone.meet()
    phone.settle([phone.follow(b"no event")])
    phone.close()
    with world.operator(company) as client:
        (row,) = client.get("/quarantine").json()["rows"]
    assert (row["whole"], row["document"], row["fix"]) == (False, "", fix("malformed"))


def test_every_reason_has_a_fix() -> None:
    """Whatever the code, somebody is told what to do."""
    assert all(fix(code) == words for code, words in REMEDIES.items())
    assert fix("something new")


def test_author_and_office_read_the_same_and_the_author_corrects(
    world: World, company: Company, tmp_path: Path
) -> None:
    """A real device against a real server: both show the same document, cause and fix; the author
    corrects the order, which keeps its id and brings along what waited; then both are settled and
    their digests equal (issue 3, P29, I-19)."""
    with Device.open(tmp_path / "j.db") as device:
        device.enrol(world.url, world.code(company, "Ana's"), "Ana's")
        with careless():
            device.append(wrong_order())
        device.append(OrderCancelled("o-9", "not today"))
        device.append(customer(1))
        assert device.sync().quarantined == 2
        with world.operator(company) as client:
            shown = {row["id"]: row for row in client.get("/quarantine").json()["rows"]}
        rejected = {row.event.hex(): row for row in device.status().rejected}
        assert set(shown) == set(rejected)
        for identity, row in rejected.items():
            office = shown[identity]
            assert (office["detail"], office["fix"]) == (row.reason, row.fix)
            assert (office["type"], office["document"]) == (row.type, row.id) == ("order", "o-9")
            assert office["said_since"] == ""
        bad = next(row for row in rejected.values() if row.code == "payload")
        again = device.resubmit(bad, order("o-9", "A-9"))
        assert device.sync().equal
        assert device.status().rejected == ()
        world.caught_up(company)
        with world.operator(company) as client:
            rows = client.get("/quarantine").json()["rows"]
            assert client.get("/orders/o-9").json()["state"] == "cancelled"
        assert {row["said_since"] for row in rows} == {identity.hex() for identity in again}
        with world.browser(company) as pages:
            assert pages.text("/conflicts").count("Said again since") == 2
