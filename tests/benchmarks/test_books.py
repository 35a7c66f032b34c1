"""What is measured of the QuickBooks sink: everything is sent and compared, within the limits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from benchmarks import queue, reconcile


def test_a_measured_queue_is_sent_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each order of the measured queue is one call or little more, and none is refused for its
    rate (QB-08)."""
    monkeypatch.setattr(queue, "KNOWN", 2)
    found = asyncio.run(queue.measure(tmp_path, 5, 1))
    assert 5 <= found["calls"] < 10
    assert found["throttled"] == 0


def test_a_measured_comparison_finds_everything_equal(tmp_path: Path) -> None:
    """The comparison that is timed looks at every order, with its estimate beside it (I-24)."""
    found = asyncio.run(reconcile.measure(tmp_path, 30))
    assert found["orders"] == 30
