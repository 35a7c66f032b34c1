"""kill -9 cycles of the real server and of real devices; the short form of ``make chaos``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos import kills

CYCLES = 50


@pytest.mark.process
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_acknowledged_is_lost_to_kills(tmp_path: Path, seed: int) -> None:
    """Through many kills of the server and some of devices, whatever a device was told stands in
    the log where it was told, nothing stands there twice, all chains are gapless, and at the end
    every replica and a rebuild prove the same digests (I-1 … I-6, I-9, I-10, I-11)."""
    tally = kills.run(tmp_path, seed=seed, cycles=CYCLES)
    assert tally.server_kills == CYCLES
    assert tally.kills_while_starting
    assert tally.device_kills
    # A device that died after its commit and before saying so was answered for that too.
    assert tally.acknowledged >= tally.saved
    assert tally.acknowledged_unheard, "no kill came between a commit and its answer"
