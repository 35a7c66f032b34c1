"""The main job with real processes, as a new user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

PROMISED = {
    "orders",
    "quotes",
    "customers_created",
    "estimates",
    "lost",
    "duplicated",
    "replicas_equal",
    "seconds",
}


def test_demo_keeps_the_promise(tmp_path: Path) -> None:
    """Three reps, a lost network and a killed server end with one estimate for every order and
    quote and equal replicas (OFF-07, ORD-08, ORD-09, SYN-16, SYN-25, CON-05, QB-02, QB-03)."""
    done = subprocess.run(
        [sys.executable, "-m", "replica", "demo", "--exit", "--folder", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert set(verdict) >= PROMISED
    assert verdict["lost"] == verdict["duplicated"] == verdict["wrong_totals"] == 0
    assert verdict["estimates"] == verdict["orders"] + verdict["quotes"] == 15
    assert verdict["customers_created"] == 1
    assert verdict["replicas_equal"] is True
    assert "What each device sees" in done.stderr
    assert "Every order's ladder" in done.stderr
