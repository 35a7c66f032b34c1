"""Workloads W1 and W2: acknowledged, durable events per second.

    python -m benchmarks.ingest --workload W1 --drivers floor --rounds 3

Rounds of all drivers are interleaved in one run, since only ratios within a run mean anything on a
shared machine. What the servers claim is counted on disk outside the timed region.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

import uvloop

from benchmarks.drivers import DRIVERS, Driver, Session


class Workload(NamedTuple):
    """How many connections push how many events each."""

    writers: int
    events: int


WORKLOADS = {"W1": Workload(1, 20_000), "W2": Workload(50, 400)}
FRAMES_IN_FLIGHT = 8


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


async def play(driver: Driver, address: str, workload: Workload, batch: int) -> float:
    """Seconds from the first frame to the last acknowledgement."""
    sessions = [await driver.connect(address, number) for number in range(workload.writers)]
    frames = [session.prepare(workload.events, batch) for session in sessions]
    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for session, mine in zip(sessions, frames, strict=True):
            group.create_task(push(session, mine, workload.events))
    seconds = perf_counter() - start
    for session in sessions:
        await session.close()
    return seconds


def measure(driver: Driver, workload: Workload, batch: int) -> float:
    """Events per second of one round on a fresh server, its count verified on disk."""
    total = workload.writers * workload.events
    with TemporaryDirectory() as name:
        directory = Path(name)
        with driver.serve(directory) as address:
            seconds = uvloop.run(play(driver, address, workload, batch))
        stored = driver.stored(directory)
        assert stored == total, f"{total} events were acknowledged, {stored} are on disk"
    return total / seconds


def run(names: Sequence[str], workload: str, batch: int, rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds, and each driver's ratio to the first one."""
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            speeds[name].append(measure(DRIVERS[name](), WORKLOADS[workload], batch))
    medians = {name: median(values) for name, values in speeds.items()}
    return {
        "workload": workload,
        "batch": batch,
        "rounds": rounds,
        "events_per_second": {name: round(value) for name, value in medians.items()},
        "ratio": {name: round(value / medians[names[0]], 3) for name, value in medians.items()},
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
