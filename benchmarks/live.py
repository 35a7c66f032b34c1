"""W4: how late readers hear of what is written. W5: how soon returning writers hold the same.

    python -m benchmarks.live --workload W4 W5 --drivers redis nats floor product --rounds 3

W4 is one writer with 200 events a second and 20 live readers, from sending to receiving; durable
on the way in every system. W5 is 20 clients that come back at once with 500 events each, from the
first connection to the moment when everybody has heard of everything.
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
from typing import Any

import uvloop

from benchmarks.drivers import Driver, Session
from benchmarks.ingest import DRIVERS, FRAMES_IN_FLIGHT, Workload, push

READERS = 20
PER_SECOND = 200
SECONDS, SECONDS_SHORT = 5, 2
RETURNING = Workload(20, 500, together=True)
BATCH = 100


async def listen(session: Session, sent: Sequence[float], total: int) -> list[float]:
    """Seconds from sending to receiving of every event."""
    late: list[float] = []
    while len(late) < total:
        await session.hear()
        now = perf_counter()
        late.extend(now - sent[at] for at in range(len(late), session.delivered))
    return late


async def trickle(driver: Driver, address: str, total: int) -> list[float]:
    """W4 once: the delays of all deliveries to readers."""
    writer, *readers = [await driver.connect(address, at) for at in range(READERS + 1)]
    frames = writer.prepare(total, 1)
    for session in (writer, *readers):
        while session.delivered < 0:  # news from before that is still on its way
            await session.hear()
    sent: list[float] = []
    room = asyncio.Semaphore(FRAMES_IN_FLIGHT)

    async def write() -> None:
        start = perf_counter()
        for at, frame in enumerate(frames):
            await asyncio.sleep(start + at / PER_SECOND - perf_counter())
            sent.append(perf_counter())  # waiting for room is part of the delay
            await room.acquire()
            await writer.send(frame)

    async def answers() -> None:
        unanswered = total
        while unanswered:
            if durable := await writer.hear():
                unanswered -= durable
                room.release()

    async with asyncio.TaskGroup() as group:
        listening = [group.create_task(listen(one, sent, total)) for one in readers]
        group.create_task(answers())
        group.create_task(write())
    for session in (writer, *readers):
        await session.close()
    return [delay for task in listening for delay in task.result()]


async def come_back(driver: Driver, address: str) -> float:
    """W5 once: seconds until everybody has heard of everything."""
    sessions = [await driver.connect(address, at) for at in range(RETURNING.writers)]
    frames = [session.prepare(RETURNING.events, BATCH) for session in sessions]
    for session in sessions:
        await session.leave()

    # The floor sends to who is there: nobody may write before everybody is.
    present = asyncio.Barrier(len(sessions))

    async def one(session: Session, mine: Sequence[bytes]) -> None:
        await session.rejoin(address)
        await present.wait()
        await push(session, mine, RETURNING)

    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for session, mine in zip(sessions, frames, strict=True):
            group.create_task(one(session, mine))
    seconds = perf_counter() - start
    for session in sessions:
        await session.close()
    return seconds


def late(names: Sequence[str], seconds: int, rounds: int) -> dict[str, Any]:
    """W4: medians over rounds of each round's median and 99th percentile, milliseconds."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with TemporaryDirectory() as directory:
                driver = DRIVERS[name](True)
                with driver.serve(Path(directory)) as address:
                    delays = sorted(uvloop.run(trickle(driver, address, PER_SECOND * seconds)))
            found[name].append((delays[len(delays) // 2], delays[len(delays) * 99 // 100]))
    return {
        "rounds": rounds,
        "drivers": {
            name: {
                "p50_ms": round(1_000 * median(p50 for p50, _ in values), 2),
                "p99_ms": round(1_000 * median(p99 for _, p99 in values), 2),
            }
            for name, values in found.items()
        },
    }


def returning(names: Sequence[str], rounds: int) -> dict[str, Any]:
    """W5: median seconds. What is on disk is counted after each round."""
    found: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with TemporaryDirectory() as directory:
                driver = DRIVERS[name](True)
                with driver.serve(Path(directory)) as address:
                    found[name].append(uvloop.run(come_back(driver, address)))
                assert driver.stored(Path(directory)) == RETURNING.total
    return {
        "rounds": rounds,
        "drivers": {name: {"seconds": round(median(each), 3)} for name, each in found.items()},
    }


def main() -> None:
    """Parse, measure, print one JSON object per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=["W4", "W5"], nargs="+", default=["W4", "W5"])
    parser.add_argument("--drivers", choices=sorted(DRIVERS), nargs="+", default=sorted(DRIVERS))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    options = parser.parse_args()
    for workload in options.workload:
        if workload == "W4":
            told = late(options.drivers, options.seconds, options.rounds)
        else:
            told = returning(options.drivers, options.rounds)
        print(json.dumps({"workload": workload, **told}))


if __name__ == "__main__":
    main()
