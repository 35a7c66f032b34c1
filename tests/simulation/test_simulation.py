"""The simulator in short form: random histories, the same twice, and planted bugs that it finds.

``make simulate SEEDS=n`` runs as many as wanted, ``SEED=s`` one, ``MUTANTS=1`` every planted bug.
"""

from __future__ import annotations

from inspect import unwrap
from types import FunctionType

import pytest

from replica.device.journal import Journal
from tests.simulation.mutants import MUTANTS
from tests.simulation.options import plan
from tests.simulation.plain import PlainJournal
from tests.simulation.report import hunt, part, untested
from tests.simulation.run import run, run_seed, shrink

SEEDS, SHARDS = 5_000, 10
# Found within a few seeds each: what stands for all of them when there is little time.
QUICK = (
    "acknowledge before commit",
    "cursor one too far",
    "no dedupe at the door",
    "stock by last write",
    "request id at random",
    "decided stamp ignored on the device",
)


@pytest.mark.parametrize("shard", range(SHARDS))
def test_nothing_is_lost_or_told_twice_and_all_end_equal(shard: int) -> None:
    """Whatever strikes, the auditor finds every invariant kept and every replica equal within ten
    minutes of peace (I-1 … I-6, I-8, I-10, I-11, I-15, I-19, I-24, I-27, I-28). A fault that never
    struck has not been tested."""
    ran = part(shard * SEEDS // SHARDS, SEEDS // SHARDS)
    if ran.failed:
        seed, failure = ran.failed[0]
        small = shrink(run_seed(seed))
        pytest.fail("\n".join([f"make simulate SEED={seed}: {failure}", *small.story]))
    assert untested(ran.struck) == set()


@pytest.mark.parametrize("seed", [7, 77, 777])
def test_a_seed_is_one_history(seed: int) -> None:
    """The same seed gives the same trace, byte for byte (I-30)."""
    one, other = run_seed(seed), run_seed(seed)
    assert one.trace == other.trace
    assert one.struck == other.struck
    assert run_seed(seed + 1).trace != one.trace


def test_plain_tables_answer_everything() -> None:
    """Whatever the product's journal does with its database, the plain one does with its tables."""
    inside = {"__init__", "_prepare", "_undo"}
    touching = {
        name
        for name, one in vars(Journal).items()
        if isinstance(one, FunctionType) and {"_sql", "_read"} & set(unwrap(one).__code__.co_names)
    }
    assert touching - inside <= set(vars(PlainJournal))


@pytest.mark.parametrize("seed", range(12))
def test_plain_tables_and_memory_change_nothing(seed: int) -> None:
    """A seed over SQLite, everything decoded each time, has the same trace to the byte as over
    plain tables with pure functions answered from memory: the fast way proves the slow one."""
    one = plan(seed)
    fast, slow = (
        run(one._replace(options=one.options._replace(real=real))) for real in (False, True)
    )
    assert (fast.trace, fast.failure) == (slow.trace, slow.failure)


def test_a_projector_that_dies_goes_on() -> None:
    """Read models in SQL whose process dies inside a transaction stand where they stood, go on,
    and hold row by row what the whole log folded at once gives (I-9, I-11)."""
    cut = 0
    for seed in range(100, 112):
        one = plan(seed)
        result = run(one._replace(options=one.options._replace(real=True)))
        assert not result.failure
        cut += result.struck["cut_views"]
    assert cut > 0


def test_a_failing_history_is_made_small() -> None:
    """What is shown of a failing seed is short, says what happened and still fails the same way."""
    mutant = MUTANTS["bad events get in"]
    found = hunt(mutant)
    assert found is not None
    with mutant():
        small = shrink(run_seed(found.seed))
    assert len(small.plan.steps) <= 3
    assert small.failure.startswith("Broken: I-27")
    assert any("smuggles order.committed/1" in line for line in small.story)


@pytest.mark.parametrize("name", QUICK)
def test_a_planted_bug_is_found(name: str) -> None:
    """The simulator can fail: with the guard removed it names the damage."""
    found = hunt(MUTANTS[name], limit=400)
    assert found is not None, f"{name} was not found"
