"""``downstream="manual"``: the work of others waits for the user, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.device import Device, StockCounted
from replica.errors import MisuseError, Overloaded
from tests.device.desk import customer, order
from tests.device.server import FakeServer, enrolled, wall_ms


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


def opened(server: FakeServer, path: Path) -> Device:
    """A device whose user decides, level with the server."""
    device = Device.open(
        path / "manual.db", now_ms=wall_ms, random_bytes=bytes, downstream="manual"
    )
    enrolled(device, server.identity(1))
    assert device.sync().equal
    return device


def waits(device: Device, count: int) -> None:
    device.wait_until(lambda status: status.waiting == count)


def test_the_office_stays_out_of_sight_until_the_user_syncs(
    server: FakeServer, tmp_path: Path
) -> None:
    """While own orders go up, edits of the office are counted and not shown; a sync shows them,
    and afterwards the next ones wait again (SYN-10, SYN-11)."""
    server.write(customer(1))
    with opened(server, tmp_path) as device:
        assert device.get("customer", "c-1") is not None, "what was there at the first sync"
        device.start()
        for number in (2, 3, 4):
            server.write(customer(number))
        waits(device, 3)
        device.append(order(1))
        device.wait_until(lambda status: status.pending == 0)
        assert device.get("customer", "c-2") is None
        assert device.ladder("o-1").state == "on_server"
        result = device.sync()
        assert (result.received, result.equal) == (3, True)
        assert device.get("customer", "c-2") is not None
        server.write(customer(5))
        waits(device, 1)
        assert device.get("customer", "c-5") is None


def test_own_work_alone_leaves_the_device_level(server: FakeServer, tmp_path: Path) -> None:
    """Where nobody else writes there is nothing to wait for: the cursor goes along."""
    with opened(server, tmp_path) as device:
        device.start()
        device.append(StockCounted("p-1", 5_000), order(1))
        status = device.wait_until(lambda status: status.cursor == 2)
        assert (status.waiting, status.pending) == (0, 0)


def test_what_waits_comes_again_after_a_loss(server: FakeServer, tmp_path: Path) -> None:
    """Nothing of what waits is confirmed, so a broken connection and a restart lose none of it
    (pitfalls P49)."""
    with opened(server, tmp_path) as device:
        device.start()
        server.write(customer(1))
        waits(device, 1)
        server.refusals[bytes([1]) * 16] = Overloaded("later", retry_after_ms=0)
        server.cut()
        device.wait_until(lambda status: status.mode != "online")
        server.write(customer(2))
        server.refusals.clear()
        waits(device, 2)
        assert device.get("customer", "c-1") is None
    with Device.open(tmp_path / "manual.db", downstream="manual") as device:
        assert device.sync().received == 2


def test_sync_now_of_the_office_reaches_everybody(server: FakeServer, tmp_path: Path) -> None:
    """Who presses Sync Now is told what every device holds, so it takes in what waits (SYN-16)."""
    with opened(server, tmp_path) as device:
        device.start()
        server.write(customer(1))
        waits(device, 1)
        server.ask_sync("run-1")
        device.wait_until(lambda status: status.last_proof_ms is not None and not status.waiting)
        assert device.get("customer", "c-1") is not None


def test_a_restored_server_leaves_nobody_with_empty_hands(
    server: FakeServer, tmp_path: Path
) -> None:
    """After a restore the documents are fetched at once: nothing to show is no policy (D5)."""
    server.write(customer(1))
    with opened(server, tmp_path) as device:
        device.start()
        server.restore(server.log.backup())
        device.wait_until(lambda status: status.cursor == 1 and status.mode == "online")
        assert device.get("customer", "c-1") is not None


def test_another_policy_is_refused(tmp_path: Path) -> None:
    """A policy nobody knows is a mistake of the program, told when it starts."""
    with pytest.raises(MisuseError, match="downstream"):
        Device.open(tmp_path / "j.db", downstream="sometimes")


STEPS = st.lists(st.sampled_from(["office", "device", "sync"]), max_size=8)


@settings(max_examples=10, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_only_a_sync_shows_the_work_of_others(steps: list[str]) -> None:
    """After any run of office edits, own orders and syncs the device shows the office's work as of
    its last sync, counts the rest, and its own work is at the server (SYN-11)."""
    with (
        FakeServer() as server,
        TemporaryDirectory() as name,
        opened(server, Path(name)) as device,
    ):
        device.start()
        written, shown, sold = 0, 0, 0
        acts: dict[str, Callable[[], object]] = {
            "office": lambda: server.write(customer(written)),
            "device": lambda: device.append(order(sold)),
            "sync": device.sync,
        }
        for step in steps:
            written, sold = written + (step == "office"), sold + (step == "device")
            acts[step]()
            shown = written if step == "sync" else shown
            waits(device, written - shown)
            assert sum(1 for _ in device.list("customer")) == shown
        device.wait_until(lambda status: status.pending == 0)
        assert sum(1 for key in server.documents() if key.type == "order") == sold
        assert device.sync().equal
