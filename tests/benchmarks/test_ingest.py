"""The load client, the floor it is measured against, and the product's driver."""

from __future__ import annotations

import pytest

from benchmarks.ingest import DRIVERS, Workload, measure


@pytest.mark.process
@pytest.mark.parametrize("name", sorted(DRIVERS))
@pytest.mark.parametrize("workload", [Workload(1, 250), Workload(3, 40), Workload(5, 40, True)])
def test_a_server_keeps_what_it_acknowledges(name: str, workload: Workload) -> None:
    """Every event that was acknowledged is on disk, also when the last batch is not full; the
    product's read models end where a fold of the events ends. Writers that work together have been
    sent everything."""
    figures = measure(DRIVERS[name](workload.together), workload, batch=30)
    assert figures["events_per_s"] > 0
