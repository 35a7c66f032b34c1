"""Workloads W1 and W2: acknowledged, durable events per second.

    python -m benchmarks.ingest --workload W1 --drivers floor product --rounds 3

Rounds of all drivers are interleaved in one run, since only ratios within a run mean anything on a
shared machine. What the servers claim is counted on disk outside the timed region.
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

from benchmarks.drivers import Driver, Session
from benchmarks.floor.driver import FloorDriver
from benchmarks.product import ProductDriver

DRIVERS: Mapping[str, Callable[[], Driver]] = {"floor": FloorDriver, "product": ProductDriver}


class Workload(NamedTuple):
    """How many connections push how many events each."""

    writers: int
    events: int


WORKLOADS = {"W1": Workload(1, 20_000), "W2": Workload(50, 400)}
FRAMES_IN_FLIGHT = 8


class Round(NamedTuple):
    """What one round took, and what the driver says of the time after the last answer."""

    seconds: float
    followed: Mapping[str, float]


async def push(session: Session, frames: Sequence[bytes], events: int) -> None:
    """Send every frame, a few ahead of their answers, and wait until all is acknowledged."""
    room = asyncio.Semaphore(FRAMES_IN_FLIGHT)

    async def send() -> None:
        for frame in frames:
            await room.acquire()
            await session.send(frame)

    sending = asyncio.create_task(send())
    while events > 0:
        events -= await session.acknowledged()
        room.release()
    await sending


async def play(driver: Driver, address: str, workload: Workload, batch: int) -> Round:
    """The clock runs from the first frame to the last acknowledgement."""
    sessions = [await driver.connect(address, number) for number in range(workload.writers)]
    frames = [session.prepare(workload.events, batch) for session in sessions]
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for session, mine in zip(sessions, frames, strict=True):
            group.create_task(push(session, mine, workload.events))
    seconds = perf_counter() - start
    followed = await driver.follow()
    for session in sessions:
        await session.close()
    return Round(seconds, followed)


def measure(driver: Driver, workload: Workload, batch: int) -> Mapping[str, float]:
    """One round on a fresh server, its count verified on disk: ``events_per_s``, and what the
    driver adds."""
    total = workload.writers * workload.events
    with TemporaryDirectory() as name:
        directory = Path(name)
        with driver.serve(directory) as address:
            played = uvloop.run(play(driver, address, workload, batch))
        stored = driver.stored(directory)
        assert stored == total, f"{total} events were acknowledged, {stored} are on disk"
    return {"events_per_s": total / played.seconds, **played.followed}


def run(names: Sequence[str], workload: str, batch: int, rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds, and each driver's ratio to the first one."""
    figures: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    for _ in range(rounds):
        for name in names:
            for what, value in measure(DRIVERS[name](), WORKLOADS[workload], batch).items():
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
