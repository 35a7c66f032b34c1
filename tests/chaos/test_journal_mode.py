"""A journal that cannot have its write-ahead log says so instead of going on without."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from tests.chaos.device_day import DeviceDay
from tests.chaos.watch import Fault


@pytest.mark.process
@pytest.mark.usefixtures("watching")
def test_a_journal_without_its_write_ahead_log_is_refused(tmp_path: Path) -> None:
    """When the log's file cannot be written at the first start, the device's program ends with a
    typed error, and the next start works (D1, D4)."""
    with DeviceDay(tmp_path) as day:
        assert day.run(Fault("journal.db-wal", 2, errno.EIO)) == 1
        day.finish()
