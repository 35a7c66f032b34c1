"""Workloads W1 and W2: acknowledged, durable events per second.

    python -m benchmarks.ingest --workload W1 --drivers floor product --rounds 3

``W2`` is fifty writers whose work goes nowhere but to disk, ``W2-fanout`` fifty that also read each
other; README.md says why there are two. Rounds of all drivers are interleaved in one run, since
only ratios within a run mean anything on a shared machine. What the servers claim is counted on
disk outside the timed region.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import uvloop

from benchmarks import peers
from benchmarks.drivers import Driver, Session
from benchmarks.floor.driver import FloorDriver
from benchmarks.product import ProductDriver

PEERS, MISSING = peers.found()
DRIVERS: Mapping[str, Callable[[bool], Driver]] = {
    "floor": FloorDriver,
    "product": ProductDriver,
    **PEERS,
}


class Workload(NamedTuple):
    """How many connections push how many events each, and whether they read each other."""

    writers: int
    events: int
    together: bool = False

    @property
    def total(self) -> int:
        return self.writers * self.events


WORKLOADS = {
    "W1": Workload(1, 20_000),
    "W2": Workload(50, 400),
    "W2-fanout": Workload(50, 400, together=True),
}
FRAMES_IN_FLIGHT = 8


class Round(NamedTuple):
    """Seconds to the last acknowledgement and to the last delivery (the same where nobody reads),
    and what the driver says of the time after."""

    acknowledged_s: float
    delivered_s: float
    followed: Mapping[str, float]


async def push(session: Session, frames: Sequence[bytes], workload: Workload) -> float:
    """Send every frame, a few ahead of their answers, and wait until all is acknowledged; where
    writers read each other, until all is here. Gives the time of the last acknowledgement."""
    room = asyncio.Semaphore(FRAMES_IN_FLIGHT)

    async def send() -> None:
        for frame in frames:
            await room.acquire()
            await session.send(frame)

    sending = asyncio.create_task(send())
    unanswered = workload.events
    while unanswered > 0:
        if durable := await session.hear():
            unanswered -= durable
            room.release()
    await sending
    acknowledged = perf_counter()
    while workload.together and session.delivered < workload.total:
        await session.hear()
    return acknowledged


async def play(driver: Driver, address: str, workload: Workload, batch: int) -> Round:
    """The clock runs from the first frame."""
    sessions = [await driver.connect(address, number) for number in range(workload.writers)]
    frames = [session.prepare(workload.events, batch) for session in sessions]
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        pushing = [
            group.create_task(push(session, mine, workload))
            for session, mine in zip(sessions, frames, strict=True)
        ]
    delivered_s = perf_counter() - start
    acknowledged_s = max(task.result() for task in pushing) - start
    followed = await driver.follow()
    for session in sessions:
        await session.close()
    return Round(acknowledged_s, delivered_s, followed)


def measure(driver: Driver, workload: Workload, batch: int) -> Mapping[str, float]:
    """One round on a fresh server, its count verified on disk. ``events_per_s`` until all is
    acknowledged and delivered, ``acknowledged_per_s`` until the last acknowledgement alone."""
    total = workload.total
    with TemporaryDirectory() as name:
        directory = Path(name)
        with driver.serve(directory) as address:
            played = uvloop.run(play(driver, address, workload, batch))
        stored = driver.stored(directory)
        assert stored == total, f"{total} events were acknowledged, {stored} are on disk"
    figures = {"events_per_s": total / played.delivered_s, **played.followed}
    if workload.together:
        figures["acknowledged_per_s"] = total / played.acknowledged_s
    return figures


def run(names: Sequence[str], workload: str, batch: int, rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds, and each driver's ratio to the first one."""
    figures: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    load = WORKLOADS[workload]
    for _ in range(rounds):
        for name in names:
            for what, value in measure(DRIVERS[name](load.together), load, batch).items():
                figures[name][what].append(value)
    medians = {
        name: {what: round(median(values)) for what, values in found.items()}
        for name, found in figures.items()
    }
    base = medians[names[0]]["events_per_s"]
    return {
        "workload": workload,
        "batch": batch,
        "rounds": rounds,
        "drivers": medians,
        "ratio": {name: round(found["events_per_s"] / base, 3) for name, found in medians.items()},
    }


def main() -> None:
    """Parse, measure, print one JSON object per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=sorted(WORKLOADS), nargs="+", default=["W1", "W2"])
    parser.add_argument("--drivers", choices=sorted(DRIVERS), nargs="+", default=["floor"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=100, help="events in one frame")
    options = parser.parse_args()
    for workload in options.workload:
        print(json.dumps(run(options.drivers, workload, options.batch, options.rounds)))


if __name__ == "__main__":
    main()
