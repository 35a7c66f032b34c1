"""kill -9 at any moment: what an append returned for is there, once, and arrives once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from replica.device import Device
from replica.events.event import decode_event, event_id
from tests.device.server import FakeServer, enrolled
from tests.device.test_holding import check_chain

CYCLES = (1, 7, 40, 3, 90, 2)


def work_and_die(path: Path, url: str, lines: int) -> set[bytes]:
    """Let a till append until it has said ``lines`` units are durable, then kill it."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.device.worker", path, url], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        said = [child.stdout.readline() for _ in range(lines)]
        child.kill()
        said += child.stdout.readlines()
    whole = [line for line in said if line.endswith("\n")]
    return {bytes.fromhex(one) for line in whole for one in line.split()}


def own_ids(device: Device) -> list[bytes]:
    journal = device._holding.journal
    found: list[bytes] = []
    first = 1
    while rows := journal.own(first, journal.last_n):
        found += [event_id(row.data) for row in rows]
        first = rows[-1].n + 1
    return found


@pytest.mark.process
def test_killed_offline_nothing_that_was_saved_is_lost(tmp_path: Path) -> None:
    """After every kill all saved units are there, whole, in a gapless chain (I-1, I-5, I-9)."""
    path = tmp_path / "j.db"
    with FakeServer() as server:
        enrolled(Device.open(path), server.identity(1)).close()
        saved: set[bytes] = set()
        for lines in CYCLES[:4]:
            saved |= work_and_die(path, "", lines)
            with Device.open(path) as device:
                found = own_ids(device)
                assert saved <= set(found)
                assert len(found) == len(set(found))
                assert len(found) % 2 == 0, "half a unit"
                check_chain(device._holding)
                assert device.status().pending == len(found)


@pytest.mark.process
def test_killed_while_syncing_everything_arrives_once(tmp_path: Path) -> None:
    """Killed between commit and stored answer, a device tells again and nothing counts twice."""
    path = tmp_path / "j.db"
    with FakeServer() as server:
        enrolled(Device.open(path, random_bytes=bytes), server.identity(1)).close()
        saved: set[bytes] = set()
        for lines in CYCLES:
            server.cut_before_answer = lines % 2
            saved |= work_and_die(path, server.url, lines)
        server.cut_before_answer = 0
        with Device.open(path, random_bytes=bytes) as device:
            check_chain(device._holding)
            assert device.sync().equal
            arrived = Counter(record.id for record in server.records())
            assert set(arrived.values()) == {1}
            assert saved <= set(arrived)
            assert set(arrived) == set(own_ids(device))
            epochs = {decode_event(row.data).epoch for row in device._holding.journal.own(1, 500)}
            assert epochs == {1}
