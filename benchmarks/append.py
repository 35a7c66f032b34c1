"""One action of the user on a device: a durable commit, against a bare commit of the same rows.

    python -m benchmarks.append

The two take turns, commit by commit, on the same disk and under the same pragmas, so that its mood
hits both. What the device does beyond the commit: canonical bytes, chain, clock, the rules of the
kind, the overlay that makes the order visible to the next read.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from benchmarks.orders import sealed_orders
from replica.device import Device
from replica.device.holding import Holding
from replica.device.journal import Identity, Journal

IDENTITY = Identity(bytes(16), bytes(range(16)), "unused", "till", "http://localhost")
PRAGMAS = ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "mmap_size = 0")


def bare_database(path: Path) -> sqlite3.Connection:
    """A database with the journal's table and pragmas and nothing else."""
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in PRAGMAS:
        database.execute(f"PRAGMA {pragma}")
    database.execute(
        "CREATE TABLE outbox (n INTEGER PRIMARY KEY, numbers INTEGER NOT NULL, event BLOB NOT NULL)"
    )
    return database


def run(actions: int) -> dict[str, object]:
    """Medians of one commit each, and their ratio."""
    orders = list(sealed_orders(actions, time.time_ns() // 1_000_000, random.Random(1)))
    device_s: list[float] = []
    bare_s: list[float] = []
    with TemporaryDirectory() as name:
        directory = Path(name)
        journal = Journal(directory / "device.db")
        with closing(journal):
            Holding(journal).enrol(IDENTITY)
        with (
            Device.open(directory / "device.db") as device,
            closing(bare_database(directory / "bare.db")) as bare,
        ):
            for number, order in enumerate(orders, 1):
                start = perf_counter()
                device.append(order)
                device_s.append(perf_counter() - start)
                row = (number, 0, random.Random(number).randbytes(323))
                start = perf_counter()
                bare.execute("BEGIN IMMEDIATE")
                bare.execute("INSERT INTO outbox VALUES (?, ?, ?)", row)
                bare.execute("COMMIT")
                bare_s.append(perf_counter() - start)
            assert sum(1 for _ in device.list("order")) == actions
    return {
        "actions": actions,
        "device_us": round(1e6 * median(device_s)),
        "bare_us": round(1e6 * median(bare_s)),
        "ratio": round(median(device_s) / median(bare_s), 3),
    }


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=1_000)
    print(json.dumps(run(parser.parse_args().actions)))


if __name__ == "__main__":
    main()
