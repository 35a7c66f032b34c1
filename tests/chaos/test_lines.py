"""Bad lines between real devices and the real server; the short form of ``make chaos``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import lines
from tests.chaos.wires import AILMENTS


@pytest.mark.process
@pytest.mark.timeout(900)
def test_devices_end_level_whatever_befalls_their_lines(tmp_path: Path) -> None:
    """Lines that are cut, cut in one direction, stalled, late, crumbled, or that linger while the
    device is back on another: afterwards all is there, once, and equal (I-2, I-3, I-10, I-15)."""
    tally = lines.run(tmp_path, seed=1, connections=28)
    assert set(tally.struck) >= set(AILMENTS)
    assert tally.acknowledged
