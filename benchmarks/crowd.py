"""W7: a thousand devices return within a second. W11: thousands of devices that do nothing.

    python -m benchmarks.crowd --workload W7 W11

The product alone: what is measured against is performance.md's target. In W7 each device has 50
events pending; devices are ten to an account, so each also hears of 450 events of others. In W11
all devices are of one account; after a while one of them writes, and all the others hear of it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import uvloop
from pysqlite3 import dbapi2 as sqlite

from benchmarks.fleet import enrolled
from benchmarks.ingest import Workload, push
from benchmarks.process import resident_kib
from benchmarks.product import ProductDriver, ProductSession
from replica.device.journal import Identity

ACCOUNTS, EACH, PENDING = 100, 10, 50
RETURN_S = 1.0
IDLE = (2_000, 5_000)
NEWS, NEWS_EVERY_S = 20, 0.5
SETTLE_S = 2.0
_CONNECTING = 50


def storm(accounts: int = ACCOUNTS) -> dict[str, Any]:
    """W7 once: seconds until everything is acknowledged and until everybody holds the same, and
    what is on disk of each device."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        who = enrolled(directory, accounts, EACH)
        driver = ProductDriver(True)
        with driver.serve(directory) as address:
            acknowledged_s, equal_s, peak_kib = uvloop.run(_storm(driver, address, who))
        with closing(sqlite.connect(directory / "log.db")) as database:
            statement = "SELECT account, device, sum(count) FROM segments GROUP BY account, device"
            stored = {(row[0], row[1]): row[2] for row in database.execute(statement)}
    counts = [stored.get((one.account, one.device), 0) for one in who]
    return {
        "devices": len(who),
        "events": len(who) * PENDING,
        "drained_s": round(acknowledged_s, 2),
        "equal_s": round(equal_s, 2),
        "lost": sum(max(0, PENDING - count) for count in counts),
        "doubled": sum(max(0, count - PENDING) for count in counts),
        "server_mib": round(peak_kib / 1_024),
    }


async def _storm(
    driver: ProductDriver, address: str, who: Sequence[Identity]
) -> tuple[float, float, int]:
    chance = random.Random(7)
    sessions = [ProductSession(one, random.Random(at), ()) for at, one in enumerate(who)]
    frames = [session.prepare(PENDING, PENDING) for session in sessions]
    load = Workload(EACH, PENDING, together=True)
    start = perf_counter()

    async def one(session: ProductSession, mine: Sequence[bytes]) -> float:
        await asyncio.sleep(chance.random() * RETURN_S)
        await session.rejoin(address)
        return await push(session, mine, load)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(*each)) for each in zip(sessions, frames, strict=True)]
    equal_s = perf_counter() - start
    peak = resident_kib(driver.pid)
    await asyncio.gather(*(session.close() for session in sessions))
    return max(task.result() for task in tasks) - start, equal_s, peak


def idle(count: int) -> dict[str, Any]:
    """W11 once with ``count`` devices: memory of the server for each, and how late they hear."""
    with TemporaryDirectory() as name:
        directory = Path(name)
        who = enrolled(directory, 1, count)
        driver = ProductDriver(True)
        with driver.serve(directory) as address:
            return uvloop.run(_idle(driver, address, who))


async def _idle(driver: ProductDriver, address: str, who: Sequence[Identity]) -> dict[str, Any]:
    sessions = [ProductSession(one, random.Random(at), ()) for at, one in enumerate(who)]
    warm, rest = sessions[:_CONNECTING], sessions[_CONNECTING:]
    room = asyncio.Semaphore(_CONNECTING)

    async def join(session: ProductSession) -> None:
        async with room:
            await session.rejoin(address)

    await asyncio.gather(*map(join, warm))  # what a server needs for its first devices at all
    before_kib = resident_kib(driver.pid)
    start = perf_counter()
    await asyncio.gather(*map(join, rest))
    connected_s = perf_counter() - start
    await asyncio.sleep(SETTLE_S)
    after_kib = resident_kib(driver.pid)
    delays = sorted(await _news(sessions))
    await asyncio.gather(*(session.close() for session in sessions))
    return {
        "devices": len(who),
        "connected_s": round(connected_s, 1),
        "kib_each": round((after_kib - before_kib) / len(rest), 1),
        "p50_ms": round(1_000 * delays[len(delays) // 2]),
        "p99_ms": round(1_000 * delays[len(delays) * 99 // 100]),
    }


async def _news(sessions: Sequence[ProductSession]) -> list[float]:
    """Delays from sending to receiving, of every event at every device."""
    writer, *readers = sessions
    frames = writer.prepare(NEWS, 1)
    sent: list[float] = []
    delays: list[float] = []

    async def listen(session: ProductSession) -> None:
        heard = 0
        while heard < NEWS:
            await session.hear()
            now = perf_counter()
            delays.extend(now - sent[at] for at in range(heard, session.delivered))
            heard = session.delivered

    async def write() -> None:
        for frame in frames:
            sent.append(perf_counter())
            await writer.send(frame)
            while not await writer.hear():
                pass
            await asyncio.sleep(NEWS_EVERY_S)

    async with asyncio.TaskGroup() as group:
        for session in readers:
            group.create_task(listen(session))
        group.create_task(write())
    return delays


def main() -> None:
    """Parse, measure, print one JSON object per workload."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workload", choices=["W7", "W11"], nargs="+", default=["W7", "W11"])
    parser.add_argument("--idle", type=int, nargs="+", default=list(IDLE))
    parser.add_argument("--accounts", type=int, default=ACCOUNTS, help="of ten devices, in W7")
    options = parser.parse_args()
    if "W7" in options.workload:
        print(json.dumps({"workload": "W7", **storm(options.accounts)}))
    if "W11" in options.workload:
        for count in options.idle:
            print(json.dumps({"workload": "W11", **idle(count)}))


if __name__ == "__main__":
    main()
