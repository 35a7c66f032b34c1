"""``python -m tests.simulation.report``: many seeds, one seed, or every planted bug, as a table."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from tests.simulation.mutants import MUTANTS
from tests.simulation.options import plan
from tests.simulation.planting import SEEDS_MAX, Mutant
from tests.simulation.run import Result, run, run_seed, shrink

KINDS = (
    "drop", "loss", "hang_up", "stall", "one_way", "slow", "partition", "reordered", "lose_hint",
    "crash_phone", "cut_phone", "crash_server", "written_untold", "hand_over", "lose_views",
    "clock_forward", "clock_back", "clock_server", "clone", "restore_phone", "restore_raised",
    "restore_silent", "revoke", "unknown", "broken", "dependent", "forbidden", "crash_sink",
    "export", "carry", "carry_again", "carry_cut", "carry_late", "receipt", "receipt_again",
    "receipt_refused", "held_back", "wished", "bulk", "bulk_broken", "bulk_cut", "bulk_resumed",
    "bulk_restored", "rot", "mend_documents", "scope_first", "scope_wider", "scope_narrower",
    "scope_kept", "scope_cut", "hand_to", "hand_waits", "hand_forced", "handed_over", "left",
    "pull_broken", "pull_cut", "pull_moved", "pull_restored", "answer_lost",
    "books_fair", "books_lost_before", "books_lost_after", "books_late",
)  # fmt: skip
"""Every kind of fault; a run in which one never struck has not tested it."""

CHUNK = 100


class Part(NamedTuple):
    """What came of some consecutive seeds."""

    first: int
    seeds: int
    steps: int
    cpu_s: float
    struck: dict[str, int]
    failed: list[tuple[int, str]]


class Ledger:
    """Parts that are done, one JSON line each, so that a long run can be stopped and resumed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.parts: dict[tuple[int, int], Part] = {}
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                part = Part(*json.loads(line))
                self.parts[part.first, part.seeds] = part

    def put(self, part: Part) -> None:
        self.parts[part.first, part.seeds] = part
        if self._path is not None:
            with self._path.open("a") as file:
                file.write(json.dumps(part) + "\n")


class Found(NamedTuple):
    """Where a planted bug was found."""

    seed: int
    failure: str


def untested(struck: Mapping[str, int]) -> set[str]:
    """Faults that never struck."""
    return {kind for kind in KINDS if not struck.get(kind)}


def hunt(mutant: Mutant, *, limit: int = SEEDS_MAX) -> Found | None:
    """The first seed that finds ``mutant``, None when ``limit`` seeds did not."""
    with mutant():
        for seed in range(limit):
            result = run_seed(seed)
            if result.failure:
                return Found(seed, result.failure)
    return None


def part(first: int, count: int = CHUNK) -> Part:
    """Run ``count`` seeds from ``first`` on."""
    started_s = time.process_time()
    results = [run_seed(seed) for seed in range(first, first + count)]
    return Part(
        first,
        count,
        sum(len(result.plan.steps) for result in results),
        round(time.process_time() - started_s, 3),
        dict(sum((result.struck for result in results), Counter[str]())),
        [(result.plan.seed, result.failure) for result in results if result.failure],
    )


def _hunt(name: str) -> tuple[str, Found | None]:
    return name, hunt(MUTANTS[name])


def many(first: int, count: int, jobs: int, path: Path | None = None) -> int:
    """Run ``count`` seeds and say what was seen; a failing one is made small and told. What
    ``path`` says was run before is not run again."""
    started_s = time.perf_counter()
    ledger = Ledger(path)
    spans = [(at, min(CHUNK, first + count - at)) for at in range(first, first + count, CHUNK)]
    missing = [span for span in spans if span not in ledger.parts]
    with ProcessPoolExecutor(jobs) as pool:
        for done in pool.map(part, *zip(*missing, strict=True)) if missing else ():
            ledger.put(done)
    elapsed_s = time.perf_counter() - started_s
    return _say([ledger.parts[span] for span in spans], elapsed_s)


def _say(parts: list[Part], elapsed_s: float) -> int:
    struck: Counter[str] = Counter()
    for one in parts:
        struck.update(one.struck)
    seeds, steps = sum(one.seeds for one in parts), sum(one.steps for one in parts)
    cpu_s = sum(one.cpu_s for one in parts)
    print(f"{seeds} seeds, {steps} steps in {elapsed_s:.1f} s ({cpu_s:.1f} s of processor time)")
    print("struck: " + ", ".join(f"{kind} {struck[kind]}" for kind in KINDS))
    failed = [one for found in parts for one in found.failed]
    for seed, failure in failed[:20]:
        print(f"SEED={seed}: {failure}")
    if failed:
        tell(shrink(run_seed(failed[0][0])))
    if missing := untested(struck):
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
    parser.add_argument("--ledger", type=Path, help="go on where this file ends")
    said = parser.parse_args()
    if said.seed is not None:
        result = run(plan(said.seed), tell=True)
        tell(shrink(result) if result.failure else result)
        return 1 if result.failure else 0
    if said.mutants:
        return table(said.jobs)
    return many(said.first, said.seeds, said.jobs, said.ledger)


if __name__ == "__main__":
    sys.exit(main())
