"""Everything in one run: a table for people on standard error, one JSON object on standard output.

python -m benchmarks [--short]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks import append, door, imports, ingest, reconcile_sets

ROUNDS, ROUNDS_SHORT = 5, 3
ACTIONS, ACTIONS_SHORT = 2_000, 500
SERVERS = ("floor", "product")
BATCH = 100


_MET = {True: "yes", False: "no", None: ""}


class Line(NamedTuple):
    """One figure of ours beside what it is measured against, and the target from
    performance.md."""

    what: str
    floor: str
    ours: str
    figure: float
    target: str = "none"
    met: bool | None = None


def measure(*, short: bool) -> dict[str, Any]:
    """Every benchmark once, one after the other: they would disturb each other."""
    rounds = ROUNDS_SHORT if short else ROUNDS
    return {
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        **{name: ingest.run(SERVERS, name, BATCH, rounds) for name in ingest.WORKLOADS},
        "door": door.run(20_000, BATCH, rounds),
        "append": append.run(ACTIONS_SHORT if short else ACTIONS),
        "import": imports.run(2 * rounds + 1),
        "reconcile": reconcile_sets.run(short=short),
    }


def lines(found: dict[str, Any]) -> Iterator[Line]:
    """The figures that have a target."""
    for name in ingest.WORKLOADS:
        floor, ours = (found[name]["drivers"][server]["events_per_s"] for server in SERVERS)
        ratio = found[name]["ratio"]["product"]
        yield Line(
            f"{name} durable events/s", f"{floor:,}", f"{ours:,}", ratio, ">= 0.35", ratio >= 0.35
        )
    floor = found["W2"]["drivers"]["floor"]["events_per_s"]
    ours = found["W2-fanout"]["drivers"]["product"]["acknowledged_per_s"]
    yield Line("W2, ours alone with fan-out", f"{floor:,}", f"{ours:,}", round(ours / floor, 3))
    one = found["append"]
    yield Line(
        "device append us",
        f"{one['bare_us']:,}",
        f"{one['device_us']:,}",
        one["ratio"],
        "<= 1.3",
        one["ratio"] <= 1.3,
    )
    cost = found["import"]
    yield Line(
        "import replica.device ms",
        f"{cost['interpreter_ms']:,}",
        f"{cost['import_ms']:,}",
        cost["import_ms"],
        "< 150, none heavy",
        cost["import_ms"] < 150 and not cost["heavy"],
    )
    size, sets = list(found["reconcile"]["sizes"].items())[-1]
    ten = sets["differences"]["10"]
    yield Line(
        f"10 differences of {int(size):,}, answering ms",
        f"{sets['scan_ms']:,}",
        f"{ten['answering_ms']:,}",
        ten["answering_to_scan"],
        "<= 4 rounds, 64 kB, 100 ms",
        ten["rounds"] <= 4 and ten["bytes"] <= 64_000 and ten["answering_ms"] <= 100,
    )


def table(found: dict[str, Any]) -> str:
    """The lines with a header, aligned."""
    rows = [("", "floor", "ours", "figure", "target", "met")]
    rows += [
        (one.what, one.floor, one.ours, f"{one.figure:g}", one.target, _MET[one.met])
        for one in lines(found)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer rounds, about a minute")
    found = measure(short=parser.parse_args().short)
    print(table(found), file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
