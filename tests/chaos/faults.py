"""A fault at every system call that changes a file: EIO, ENOSPC and SIGKILL.

A scripted day is recorded once without faults; then it runs again for every call of it, and that
call fails. What may follow is a typed answer and a later try, or the end of the process (fail-stop,
reliability D4). What must follow a restart without faults is said by the days.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Protocol, Self

from tests.chaos.auditor import demand
from tests.chaos.watch import Fault, Watch, calls

ERRORS = (errno.EIO, errno.ENOSPC, 0)
KILLED = -9
PASSED = (0, 1)


class Day(Protocol):
    """A script that can be run under watch, and brought to its end afterwards."""

    watch: Watch | None

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def run(self, fault: Fault | None = None) -> int: ...

    def finish(self) -> None: ...


Begin = Callable[[Path], Day]


@dataclass
class Tally:
    """The figures of a report. ``ways`` counts how runs ended."""

    calls: int = 0
    runs: int = 0
    missed: int = 0  # the run was shorter than the recorded one and the call was not made
    ways: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


def points(begin: Begin, root: Path) -> list[Fault]:
    """Every fault of the day: three for each call of a run without faults."""
    with begin(root / "recorded") as day:
        demand(day.run() == 0, "the day does not end well without any fault")
        assert day.watch is not None
        seen = Counter(call.path for call in calls(day.watch.trace))
        day.finish()
    return [
        Fault(path, at, error)
        for path, count in sorted(seen.items())
        for at in range(1, count + 1)
        for error in ERRORS
    ]


def sample(found: Sequence[Fault], count: int, seed: int) -> list[Fault]:
    """``count`` of them, the same for the same seed, of every file and every kind of fault."""
    groups: dict[tuple[str, int], list[Fault]] = {}
    for fault in found:
        groups.setdefault((fault.path, fault.error), []).append(fault)
    dice = Random(seed)
    for group in groups.values():
        dice.shuffle(group)
    queue = sorted(groups.values(), key=len)
    chosen: list[Fault] = []
    while len(chosen) < min(count, len(found)):
        queue = [group for group in queue if group]
        chosen += [group.pop() for group in queue][: count - len(chosen)]
    return chosen


def run(begin: Begin, root: Path, faults: Iterable[Fault], *, workers: int = 1) -> Tally:
    """The day under each fault. Broken promises are in the tally."""
    tally, started_s = Tally(), time.monotonic()

    def one(fault: Fault) -> None:
        folder = root / str(fault).replace(" ", "-").replace("/", "_")
        try:
            with begin(folder) as day:
                way = _one(day, fault)
        except Exception as error:  # noqa: BLE001  a report of all is worth more than the first
            way = "broken"
            tally.broken.append(f"{fault}: {error!r}; see {folder}")
        else:
            shutil.rmtree(folder)
        tally.ways[way] += 1

    with ThreadPoolExecutor(workers) as pool:
        tally.runs = sum(1 for _ in pool.map(one, faults))
    tally.missed = tally.ways.pop("missed", 0)
    tally.seconds = time.monotonic() - started_s
    return tally


def _one(day: Day, fault: Fault) -> str:
    status = day.run(fault)
    assert day.watch is not None
    struck = day.watch.struck
    if struck is None:
        way = "missed"
        demand(status == 0, f"exit {status} without a fault")
    elif not fault.error:
        way = "killed"
        # The server was killed, or the process of its read models, and it stopped in order.
        ended = status == KILLED or (status, fault.path[:5]) == (1, "views")
        demand(ended, f"exit {status} after a kill")
    else:
        way = "went on" if status == 0 else "ended"
        demand(status in PASSED, f"exit {status} after {struck}")
    day.finish()
    return way
