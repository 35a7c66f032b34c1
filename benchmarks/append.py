"""One action of the user on a device: a durable commit, against a bare commit of the same rows.

    python -m benchmarks.append

The row is the one the device writes: its event in the outbox. What the device does beyond the
commit: canonical bytes, chain, clock, the rules of the kind, the overlay that makes the order
visible to the next read. They take turns, commit by commit, on the same disk, so that its mood hits
all of them:

- ``bare``: SQLite with a write-ahead log and ``synchronous = FULL``, everything else as it comes;
- ``tuned``: the same under every pragma the journal sets, so that the rest is all Python's.
"""

from __future__ import annotations

import argparse
import json
import random
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

from benchmarks.orders import sealed_orders
from replica.device import Device
from replica.device.holding import Holding
from replica.device.journal import Identity, Journal
from replica.limits import JOURNAL_CACHE_KIB, JOURNAL_CHECKPOINT_PAGES

IDENTITY = Identity(bytes(16), bytes(range(16)), "unused", "till", "http://localhost")
BARE = ("journal_mode = WAL", "synchronous = FULL")
TUNED = (
    "locking_mode = EXCLUSIVE",
    *BARE,
    "mmap_size = 0",
    f"cache_size = -{JOURNAL_CACHE_KIB}",
    f"wal_autocheckpoint = {JOURNAL_CHECKPOINT_PAGES}",
)


class Commits:
    """A database with the journal's table and ``pragmas`` and nothing else."""

    def __init__(self, path: Path, pragmas: tuple[str, ...]) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        for pragma in pragmas:
            self._database.execute(f"PRAGMA {pragma}")
        self._database.execute(
            "CREATE TABLE outbox"
            " (n INTEGER PRIMARY KEY, numbers INTEGER NOT NULL, event BLOB NOT NULL)"
        )

    def put(self, row: tuple[int, int, bytes]) -> None:
        """One durable commit."""
        self._database.execute("BEGIN IMMEDIATE")
        self._database.execute("INSERT INTO outbox VALUES (?, ?, ?)", row)
        self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()


class Times:
    """Wall and processor time of one contestant, in seconds an action."""

    def __init__(self) -> None:
        self.wall_s: list[float] = []
        self.cpu_s: list[float] = []

    def take(self, action: Callable[[], object]) -> None:
        cpu_s, start = process_time(), perf_counter()
        action()
        self.wall_s.append(perf_counter() - start)
        self.cpu_s.append(process_time() - cpu_s)


def run(actions: int) -> dict[str, object]:
    """Medians of one commit each in microseconds, and their ratios."""
    orders = list(sealed_orders(actions, time.time_ns() // 1_000_000, random.Random(1)))
    device_took, bare_took, tuned_took = Times(), Times(), Times()
    with TemporaryDirectory() as name:
        directory = Path(name)
        journal = Journal(directory / "device.db")
        with closing(journal):
            Holding(journal).enrol(IDENTITY)
        with (
            Device.open(directory / "device.db") as device,
            closing(Commits(directory / "bare.db", BARE)) as bare,
            closing(Commits(directory / "tuned.db", TUNED)) as tuned,
        ):
            for number, order in enumerate(orders, 1):
                row = (number, 0, random.Random(number).randbytes(318))
                turns: list[tuple[Times, Callable[[], object]]] = [
                    (device_took, partial(device.append, order)),
                    (bare_took, partial(bare.put, row)),
                    (tuned_took, partial(tuned.put, row)),
                ]
                first = number % len(turns)
                for took, action in turns[first:] + turns[:first]:
                    took.take(action)
            assert sum(1 for _ in device.list("order")) == actions
    device_us = 1e6 * median(device_took.wall_s)
    bare_us, tuned_us = 1e6 * median(bare_took.wall_s), 1e6 * median(tuned_took.wall_s)
    return {
        "actions": actions,
        "device_us": round(device_us),
        "bare_us": round(bare_us),
        "ratio": round(device_us / bare_us, 3),
        "tuned_us": round(tuned_us),
        "ratio_tuned": round(device_us / tuned_us, 3),
        "device_cpu_us": round(1e6 * median(device_took.cpu_s)),
        "bare_cpu_us": round(1e6 * median(bare_took.cpu_s)),
    }


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--actions", type=int, default=1_000)
    print(json.dumps(run(parser.parse_args().actions)))


if __name__ == "__main__":
    main()
