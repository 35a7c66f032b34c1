"""W3: a newcomer takes an account of 50,000 events: seconds, bytes, the server's peak memory.

    python -m benchmarks.newcomer --drivers redis nats floor product --rounds 3

Each system gives a newcomer what it gives one in natural use: the peers and the floor all events,
the product its documents in bulk. Three figures of the product: ``take_s`` until every byte is
here, proved by its hash and decompressed, which is as far as the clients of the others go;
``open_s`` until every document is made from that, too, the ids of its events computed; ``device_s``
until a device has all of it on its disk, folded and proved equal to the server.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit

import uvloop

from benchmarks.drivers import Driver
from benchmarks.ingest import DRIVERS, Workload, push
from benchmarks.process import counted, forget_peak, peak_kib, resident_kib
from benchmarks.product import ProductDriver

EVENTS, EVENTS_SHORT = 50_000, 20_000
BATCH = 100


class Place:
    """One server, filled."""

    def __init__(self, driver: Driver, address: str, events: int) -> None:
        self.driver = driver
        self.address = address
        self.events = events

    async def fill(self) -> None:
        """Put the events there and wait until everything behind them is done."""
        session = await self.driver.connect(self.address, 0)
        frames = session.prepare(self.events, BATCH)
        await push(session, frames, Workload(1, self.events))
        await self.driver.follow()
        await session.close()

    async def visit(self) -> Mapping[str, float]:
        """One newcomer, and where devices store what they take, one device; what each took."""
        driver = self.driver
        forget_peak(driver.pid)
        before_kib = resident_kib(driver.pid)
        figures = {"take_s": await driver.newcomer(self.address, self.events)}
        if isinstance(driver, ProductDriver):
            figures["open_s"] = await driver.opened(self.address, self.events)
            figures["device_s"] = await self._device(driver, self.address)
        grown_kib = max(0, peak_kib(driver.pid) - before_kib)
        return {**figures, "server_grows_mib": grown_kib / 1_024}

    async def count(self) -> int:
        """Bytes of one newcomer on the wire, both ways; of a device where there are devices."""
        parts = urlsplit(self.address if "//" in self.address else f"//{self.address}")
        async with counted(parts.port or 0) as wire:
            through = self.address.replace(str(parts.port), str(wire.port))
            if isinstance(self.driver, ProductDriver):
                await self._device(self.driver, through)
            else:
                await self.driver.newcomer(through, self.events)
            return wire.bytes

    async def _device(self, driver: ProductDriver, address: str) -> float:
        with TemporaryDirectory() as directory:
            return await driver.device(address, Path(directory), self.events)


def run(names: Sequence[str], events: int, rounds: int) -> dict[str, Any]:
    """Every server filled once and kept; newcomers take turns. The first round warms up: what is
    made once for all newcomers is told apart, as ``first_s`` and ``first_grows`` (MiB)."""
    figures: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    wire: dict[str, int] = {}
    with ExitStack() as stack:
        places = {}
        for name in names:
            directory = Path(stack.enter_context(TemporaryDirectory()))
            driver = DRIVERS[name](False)
            address = stack.enter_context(driver.serve(directory))
            places[name] = Place(driver, address, events)
            uvloop.run(places[name].fill())
        for turn in range(rounds + 1):
            for name, place in places.items():
                found = uvloop.run(place.visit())
                if not turn:
                    found = {"first_s": found["take_s"], "first_grows": found["server_grows_mib"]}
                for what, value in found.items():
                    figures[name][what].append(value)
        for name, place in places.items():
            wire[name] = asyncio.run(place.count())
    told = {
        name: {
            **{what: round(median(values), 3) for what, values in found.items()},
            "wire_mb": round(wire[name] / 1e6, 2),
        }
        for name, found in figures.items()
    }
    return {"events": events, "rounds": rounds, "drivers": told}


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--drivers", choices=sorted(DRIVERS), nargs="+", default=sorted(DRIVERS))
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(json.dumps(run(options.drivers, options.events, options.rounds)))


if __name__ == "__main__":
    main()
