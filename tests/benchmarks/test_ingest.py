"""The load client and the floor it is measured against."""

from __future__ import annotations

import pytest

from benchmarks.drivers import DRIVERS
from benchmarks.ingest import Workload, measure


@pytest.mark.process
@pytest.mark.parametrize("workload", [Workload(1, 250), Workload(5, 40)])
def test_the_floor_keeps_what_it_acknowledges(workload: Workload) -> None:
    """Every event the floor acknowledged is on disk, also when the last batch is not full."""
    assert measure(DRIVERS["floor"](), workload, batch=30) > 0
