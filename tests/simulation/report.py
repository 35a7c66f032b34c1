"""``python -m tests.simulation.report``: many seeds, one seed, or every planted bug, as a table."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

from tests.simulation.mutants import MUTANTS, SEEDS_MAX, Mutant
from tests.simulation.options import plan
from tests.simulation.run import Result, run, run_seed, shrink

KINDS = (
    "drop", "loss", "hang_up", "stall", "one_way", "slow", "partition", "reordered", "lose_hint",
    "crash_phone", "cut_phone", "crash_server", "written_untold", "hand_over", "lose_views",
    "clock_forward", "clock_back", "clock_server", "clone", "restore_phone", "restore_raised",
    "restore_silent", "revoke", "unknown", "broken", "dependent", "forbidden", "crash_sink",
    "books_fair", "books_lost_before", "books_lost_after", "books_late",
)  # fmt: skip
"""Every kind of fault; a run in which one never struck has not tested it."""

CHUNK = 25


class Found(NamedTuple):
    """Where a planted bug was found."""

    seed: int
    failure: str


def untested(struck: Iterable[Counter[str]]) -> set[str]:
    """Faults that never struck."""
    return set(KINDS) - set(sum(struck, Counter[str]()))


def hunt(mutant: Mutant, *, limit: int = SEEDS_MAX) -> Found | None:
    """The first seed that finds ``mutant``, None when ``limit`` seeds did not."""
    with mutant():
        for seed in range(limit):
            result = run_seed(seed)
            if result.failure:
                return Found(seed, result.failure)
    return None


def _chunk(first: int) -> list[Result]:
    return [run_seed(seed) for seed in range(first, first + CHUNK)]


def _hunt(name: str) -> tuple[str, Found | None]:
    return name, hunt(MUTANTS[name])


def many(first: int, count: int, jobs: int) -> int:
    """Run ``count`` seeds and say what was seen; a failing one is made small and told."""
    started_s = time.perf_counter()
    struck: Counter[str] = Counter()
    failed: list[Result] = []
    steps = done = 0
    with ProcessPoolExecutor(jobs) as pool:
        for results in pool.map(_chunk, range(first, first + count, CHUNK)):
            for result in results:
                struck += result.struck
                steps += len(result.plan.steps)
                done += 1
                if result.failure:
                    failed.append(result)
    elapsed_s = time.perf_counter() - started_s
    print(f"{done} seeds, {steps} steps in {elapsed_s:.1f} s: {done / elapsed_s:.1f} seeds/s")
    print("struck: " + ", ".join(f"{kind} {struck[kind]}" for kind in KINDS))
    for result in failed[:20]:
        print(f"SEED={result.plan.seed}: {result.failure}")
    if failed:
        tell(shrink(failed[0]))
    missing = {kind for kind in KINDS if not struck[kind]}
    if missing:
        print(f"untested, never struck: {', '.join(sorted(missing))}")
    return 1 if failed or missing else 0


def tell(result: Result) -> None:
    """One history in words."""
    print(f"\nseed {result.plan.seed}, {len(result.plan.steps)} steps, {result.plan.options}")
    for line in result.story:
        print(line)
    print(result.failure or f"everything held; trace {result.trace}")


def table(jobs: int) -> int:
    """Every planted bug and the seed that found it."""
    missed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for name, found in pool.map(_hunt, MUTANTS):
            missed += found is None
            where = "NOT FOUND" if found is None else f"{found.seed + 1:>5}  {found.failure}"
            print(f"{name:<42}{where[:110]}", flush=True)
    print(f"{len(MUTANTS) - missed} of {len(MUTANTS)} planted bugs found")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="make simulate")
    parser.add_argument("--seeds", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mutants", action="store_true")
    parser.add_argument("--jobs", type=int, default=2)
    said = parser.parse_args()
    if said.seed is not None:
        result = run(plan(said.seed), tell=True)
        tell(shrink(result) if result.failure else result)
        return 1 if result.failure else 0
    if said.mutants:
        return table(said.jobs)
    return many(said.first, said.seeds, said.jobs)


if __name__ == "__main__":
    sys.exit(main())
