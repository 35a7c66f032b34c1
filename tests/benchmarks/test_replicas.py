"""What is measured of many replicas: everybody hears everything, and nothing is lost or doubled."""

from __future__ import annotations

from pathlib import Path

import pytest
import uvloop

from benchmarks import crowd, live, newcomer
from benchmarks.__main__ import against_peers
from benchmarks.ingest import DRIVERS, Workload

pytestmark = pytest.mark.process


@pytest.mark.parametrize("name", sorted(DRIVERS))
def test_readers_hear_and_writers_return(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delay for every event at every reader; writers that come back end with everything, and it
    is on disk (W4, W5)."""
    monkeypatch.setattr(live, "READERS", 2)
    monkeypatch.setattr(live, "RETURNING", Workload(3, 40, together=True))
    (tmp_path / "a").mkdir()
    driver = DRIVERS[name](True)
    with driver.serve(tmp_path / "a") as address:
        delays = uvloop.run(live.trickle(driver, address, 20))
    assert len(delays) == 2 * 20
    assert min(delays) > 0
    assert live.returning([name], 1)["drivers"][name]["seconds"] > 0


def test_a_newcomer_takes_everything() -> None:
    """A newcomer of each system has all there is; fewer bytes than events are the product's, and a
    device of it has stored and proved them (W3)."""
    told = newcomer.run(sorted(DRIVERS), 2_500, 1)["drivers"]
    assert told["product"]["wire_mb"] < told["floor"]["wire_mb"]
    assert told["product"]["device_s"] >= told["product"]["take_s"]
    found = {"W3": {"drivers": told}, "W4": {"drivers": {}}, "W5": {"drivers": {}}}
    assert next(iter(against_peers(found))).what == "W3 first sync s"


def test_a_crowd_loses_and_doubles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices that return at once are drained, each event once; idle ones cost something and hear
    of news (W7, W11)."""
    storm = crowd.storm(2)
    assert (storm["events"], storm["lost"], storm["doubled"]) == (1_000, 0, 0)
    monkeypatch.setattr(crowd, "NEWS", 2)
    monkeypatch.setattr(crowd, "SETTLE_S", 0)
    idle = crowd.idle(60)
    assert idle["devices"] == 60
    assert idle["p99_ms"] >= idle["p50_ms"] > 0
