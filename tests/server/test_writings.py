"""How events were written, read from a log for whoever makes a layer."""

from __future__ import annotations

import pytest

from replica.device import CustomerCreated, CustomerFields
from replica.events.event import Position
from replica.events.ports import walk
from replica.events.record import records
from replica.server.writings import written
from replica.store import statements
from replica.sync.frozen import Writing
from tests.server.world import Company, World


@pytest.mark.parametrize("at_once", [1, 1_000])
def test_the_events_of_a_stretch_and_no_others(
    world: World, company: Company, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """What the log says of each event behind a position is found by its id, as its author wrote it;
    of events up to there nothing is, and of more than are asked for at once everything (SYN-02)."""
    monkeypatch.setattr(statements, "PROJECTION_KEYS_MAX", at_once)
    made = [CustomerCreated(f"c-{n}", CustomerFields(name="Ana")) for n in range(6)]
    after = world.write(company, *made[:3])
    end = world.write(company, *made[3:])
    log = world.stores.log
    told = [found for one in walk(log, company.account, Position(0)) for found in records(one)]
    behind = {one.id: one.event for position, one in told if position > after}
    with written(log, company.account, Position(after), Position(end)) as found:
        assert found.account == company.account
        known = found.of([one.id for _, one in told])
    assert len(behind) == 3
    assert known == {
        identity: Writing(e.device, e.epoch, e.seq, e.version, e.deps, e.stamp)
        for identity, e in behind.items()
    }
