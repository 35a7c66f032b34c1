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

from benchmarks import append, crowd, door, imports, ingest, live, newcomer, reconcile_sets

ROUNDS, ROUNDS_SHORT = 5, 3
ACTIONS, ACTIONS_SHORT = 2_000, 500
SERVERS = ("floor", "product")
IDLE, IDLE_SHORT = crowd.IDLE, (500,)
ACCOUNTS_SHORT = 20  # of ten devices, in the storm
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
    everybody = [*ingest.PEERS, *SERVERS]
    seconds, turns = (live.SECONDS_SHORT, 1) if short else (live.SECONDS, ROUNDS_SHORT)
    return {
        "missing": [one._asdict() for one in ingest.MISSING],
        "machine": {"cpus": os.cpu_count(), "python": platform.python_version()},
        **{name: ingest.run(SERVERS, name, BATCH, rounds) for name in ingest.WORKLOADS},
        "door": door.run(20_000, BATCH, rounds),
        "append": append.run(ACTIONS_SHORT if short else ACTIONS),
        "import": imports.run(2 * rounds + 1),
        "reconcile": reconcile_sets.run(short=short),
        "W3": newcomer.run(
            everybody, newcomer.EVENTS_SHORT if short else newcomer.EVENTS, ROUNDS_SHORT
        ),
        "W4": live.late(everybody, seconds, turns),
        "W5": live.returning(everybody, turns),
        "W7": crowd.storm(ACCOUNTS_SHORT) if short else crowd.storm(),
        "W11": [crowd.idle(count) for count in (IDLE_SHORT if short else IDLE)],
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


def against_peers(found: dict[str, Any]) -> Iterator[Line]:
    """W3, W4 and W5: ours beside the best peer of the run; without a peer there is no ratio."""
    for name, figure, unit in (
        ("W3", "take_s", "first sync s"),
        ("W3", "wire_mb", "first sync MB"),
        ("W4", "p50_ms", "fan-out p50 ms"),
        ("W4", "p99_ms", "fan-out p99 ms"),
        ("W5", "seconds", "20 return at once s"),
    ):
        drivers = found[name]["drivers"]
        ours, floor = drivers["product"][figure], drivers["floor"][figure]
        peers = {peer: drivers[peer][figure] for peer in drivers if peer not in SERVERS}
        best = min(peers.values(), default=None)
        ratio = round(ours / best, 3) if best else 0.0
        most = 1 / 6 if figure == "wire_mb" else 1.0
        goal = "none" if figure == "p50_ms" else f"<= {most:.3g} of the best peer"
        met = ratio <= most if best and goal != "none" else None
        said = ", ".join(f"{peer} {value:g}" for peer, value in peers.items()) or "NO PEER HERE"
        yield Line(f"{name} {unit}", f"{floor:g}; {said}", f"{ours:g}", ratio, goal, met)
    device_s = found["W3"]["drivers"]["product"]["device_s"]
    yield Line("W3 a device, stored and proved s", "", f"{device_s:g}", device_s)


def crowds(found: dict[str, Any]) -> Iterator[Line]:
    """W7 and W11: ours against the target."""
    storm = found["W7"]
    clean = not storm["lost"] and not storm["doubled"]
    what = f"W7 {storm['devices']:,} return, drained s"
    told = f"{storm['drained_s']:g}, lost {storm['lost']}, doubled {storm['doubled']}"
    met = storm["drained_s"] <= 30 and clean if storm["devices"] >= 1_000 else None
    yield Line(what, "", told, storm["drained_s"], "<= 30, 0, 0", met)
    for one in found["W11"]:
        met = one["kib_each"] <= 35 and one["p99_ms"] < 500 if one["devices"] >= 2_000 else None
        told = f"{one['kib_each']:g}, p99 {one['p99_ms']} ms"
        what = f"W11 {one['devices']:,} idle, KiB each"
        yield Line(what, "", told, one["kib_each"], "<= 35, p99 < 500 ms", met)


def table(found: dict[str, Any]) -> str:
    """The lines with a header, aligned."""
    rows = [("", "floor; peers", "ours", "figure", "target", "met")]
    rows += [
        (one.what, one.floor, one.ours, f"{one.figure:g}", one.target, _MET[one.met])
        for one in (*lines(found), *against_peers(found), *crowds(found))
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="fewer rounds and events, some minutes"
    )
    found = measure(short=parser.parse_args().short)
    print(table(found), file=sys.stderr)
    for one in found["missing"]:
        print(f"NOT MEASURED: the peer {one['name']}: {one['why']}", file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
