"""Faults at sampled system calls of scripted days; ``make chaos`` takes every one."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.chaos import faults
from tests.chaos.device_day import DeviceDay
from tests.chaos.keeper_day import KeeperDay
from tests.chaos.server_day import ServerDay

pytestmark = [
    pytest.mark.process,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("watching"),
]


def strike(begin: faults.Begin, root: Path, count: int, seed: int) -> faults.Tally:
    """A sample of the faults of a day; all of them must be survived."""
    chosen = faults.sample(faults.points(begin, root), count, seed)
    tally = faults.run(begin, root, chosen)
    assert tally.broken == []
    assert tally.runs == count
    assert tally.missed < count / 4, "the day is not the same each time"
    return tally


@pytest.mark.parametrize("seed", range(2))
def test_the_server_survives_a_fault_at_any_call(tmp_path: Path, seed: int) -> None:
    """EIO, ENOSPC or SIGKILL at a call of the server's day: typed answers or the end of the
    process, and after a restart nothing acknowledged is lost or half there (D4, I-1, I-9, I-22)."""
    tally = strike(ServerDay, tmp_path, 18, seed)
    assert tally.ways["killed"]
    assert tally.ways["ended"]


def test_a_device_survives_a_fault_at_any_call(tmp_path: Path) -> None:
    """The same for a device: what it said was saved is there and arrives once (D4, I-1, I-3)."""
    assert strike(DeviceDay, tmp_path, 24, 1).ways["killed"]


@pytest.mark.parametrize("verb", ["make", "restore"])
def test_backup_and_restore_are_whole_or_not_there(tmp_path: Path, verb: str) -> None:
    """A copy has its name only when it is complete, the log beside it is unharmed, and whatever a
    killed run left gets into no later one (reliability §2.3, I-9, I-23)."""
    assert strike(partial(KeeperDay, verb), tmp_path, 12, 1).ways["killed"]
