"""The device offline: everything a rep does works, is durable and is seen at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from replica.crdt.twins import twin_found
from replica.device import (
    CustomerChanged,
    CustomerDeleted,
    CustomerFields,
    Device,
    Mode,
    OrderCancelled,
    StockCounted,
)
from replica.errors import MisuseError, PeerGone
from replica.events.payloads import TwinDecided
from tests.device.desk import NOW_MS, customer, identity, order
from tests.device.server import FakeServer, enrolled, wall_ms


def opened(path: Path) -> Device:
    return enrolled(Device.open(path / "j.db", now_ms=lambda: NOW_MS), identity())


HEAVY = (
    "sqlalchemy",
    "starlette",
    "pycrdt",
    "structlog",
    "websockets",
    "asyncio",
    "urllib.request",
)


@pytest.mark.process
def test_import_is_light() -> None:
    """The SDK brings in neither the server's libraries nor the network before they are needed."""
    code = "import sys, replica.device; print([name for name in %r if name in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code % (HEAVY,)], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_offline_work_is_there_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """Reads show own writes before any server saw them, and after a restart (OFF-07, I-29)."""
    with opened(tmp_path) as device:
        ids = device.append(customer(1), StockCounted("p-1", 10_000), order(1, 3_000))
        assert len(set(ids)) == 3
        device.append(CustomerChanged("c-1", CustomerFields(phone="7")))
        before = [device.get("customer", "c-1"), device.get("order", "o-1"), device.status()]
        assert device.on_hand("p-1") == 7_000
        assert before[0] is not None
    with opened(tmp_path) as device:
        assert [
            device.get("customer", "c-1"),
            device.get("order", "o-1"),
            device.status(),
        ] == before
        assert device.on_hand("p-1") == 7_000
        assert device.status().pending == 4


def test_cancelled_order_gives_its_goods_back(tmp_path: Path) -> None:
    """Stock follows the orders as this device sees them (OFF-13)."""
    with opened(tmp_path) as device:
        device.append(StockCounted("p-1", 10_000), order(1, 3_000))
        device.append(OrderCancelled("o-1"))
        assert device.on_hand("p-1") == 10_000
        assert device.on_hand("p-2") == 0


def test_lists_leave_out_what_was_deleted(tmp_path: Path) -> None:
    """A deleted customer is not listed, and can still be looked at."""
    with opened(tmp_path) as device:
        device.append(customer(1), customer(2), CustomerDeleted("c-1"))
        assert [found["id"] for found in device.list("customer")] == ["c-2"]
        found = device.get("customer", "c-1")
        assert found is not None
        assert found["exists"] is False
        assert device.get("customer", "c-9") is None


def test_a_device_explains_what_it_shows(tmp_path: Path) -> None:
    """Why a field is so, unsent work included: winner, loser and rule (CON-10)."""
    with opened(tmp_path) as device:
        first, second = device.append(customer(1, "Ana"), customer(1, "Anna"))
        (name,) = device.why("customer", "c-1", "name")
        assert (name["value"], name["rule"]) == ("Anna", "newer value wins")
        assert [said["event"] for said in name["winners"]] == [second.hex()]
        assert [said["event"] for said in name["losers"]] == [first.hex()]
        assert len(device.why("customer", "c-1")) > 1
        assert device.why("customer", "c-9") == []


def test_list_goes_on_over_pages_while_work_is_done(tmp_path: Path) -> None:
    """A long list is read in pages and appending meanwhile is no obstacle (SYN-28)."""
    with opened(tmp_path) as device:
        device.append(*[order(number) for number in range(1_000, 2_100)])
        seen = []
        for found in device.list("order"):
            seen.append(found["id"])
            if len(seen) == 3:
                device.append(customer(1))
        assert seen == [f"o-{number}" for number in range(1_000, 2_100)]


def test_ladder_of_an_unsent_order(tmp_path: Path) -> None:
    """The first rung: on this device, with its number; an unknown order has none."""
    with opened(tmp_path) as device:
        device.append(order(1))
        ladder = device.ladder("o-1")
        assert (ladder.state, ladder.on_device, ladder.server_position) == ("on_device", True, None)
        assert ladder.number == "N-1"
        assert device.ladder("o-9").state == "unknown"


def test_new_ids_sort_by_time_and_differ(tmp_path: Path) -> None:
    """Ids are minted without asking anybody."""
    with opened(tmp_path) as device:
        ids = {device.new_id() for _ in range(100)}
        assert len(ids) == 100
        assert {len(one) for one in ids} == {26}


def test_offline_status_and_digest(tmp_path: Path) -> None:
    """An offline device says so, never claims to have synced, and has nothing to compare yet."""
    with opened(tmp_path) as device:
        device.append(customer(1))
        status = device.status()
        assert (status.mode, status.pending, status.last_sync_ms) == (Mode.OFFLINE, 1, None)
        assert status.rejected == ()
        assert device.digest() == ()


def test_sync_without_a_server_explains_itself(tmp_path: Path) -> None:
    """Pressing Sync offline gives the reason, and the work stays (SYN-05)."""
    with opened(tmp_path) as device:
        device.append(customer(1))
        with pytest.raises(PeerGone, match="no connection"):
            device.sync()
        assert device.status().pending == 1
        assert device.status().mode is Mode.OFFLINE


def test_sync_before_enrolment_is_misuse(tmp_path: Path) -> None:
    """There is nobody to be on a connection."""
    with Device.open(tmp_path / "j.db") as device, pytest.raises(MisuseError, match="enrol"):
        device.start()


def test_waiting_ends(tmp_path: Path) -> None:
    """A condition that holds is seen at once; one that never comes is told so."""
    with opened(tmp_path) as device:
        device.append(customer(1))
        assert device.wait_until(lambda status: status.pending == 1).pending == 1
        with pytest.raises(PeerGone, match="not reached"):
            device.wait_until(lambda status: status.pending == 0, timeout_s=0)


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    """A program that shuts down in a hurry may close what is closed."""
    device = opened(tmp_path)
    device.close()
    device.close()


def test_twins_wait_for_the_office_until_they_clash_no_more(tmp_path: Path) -> None:
    """A device lists the pairs that the server found, also one of which it holds only one record,
    until one is renamed or the office has decided (P57)."""
    with FakeServer() as server, Device.open(tmp_path / "j.db", now_ms=wall_ms) as device:
        enrolled(device, server.identity(1))
        server.write(customer(1), customer(2, "ANA "), customer(3))
        pairs = [twin_found("customer", one, other, "name") for one, other in PAIRS]
        server.write(*pairs)
        device.sync()
        found = [(one["first"], one["second"]) for one in device.twins()]
        assert sorted(found) == sorted(PAIRS)
        device.append(CustomerChanged("c-2", CustomerFields(name="Bo")))
        server.write(TwinDecided(pairs[1].twin, "same", "c-1"))
        device.sync()
        assert [one["second"] for one in device.twins()] == ["c-9"]
        (why,) = device.why("twin", pairs[1].twin, "choice")
        assert (why["value"], why["winners"][0]["origin"]) == ("same", "web")


PAIRS = [("c-1", "c-2"), ("c-1", "c-3"), ("c-3", "c-9")]
