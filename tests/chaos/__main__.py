"""``make chaos``: every kill, every fault, every power loss and bad lines, with their figures.

python -m tests.chaos [--kills N] [--seed N] [--only PART …]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tests.chaos import faults, kills, lines, power
from tests.chaos.device_day import DeviceDay
from tests.chaos.keeper_day import KeeperDay
from tests.chaos.reopened import DeviceCheck, check_server
from tests.chaos.server_day import ServerDay
from tests.chaos.watch import can_watch

CONNECTIONS = 300
WORKERS = 2

Lines = Iterator[tuple[str, bool]]
"""What to print, and whether it is as promised."""


def kill_cycles(root: Path, options: argparse.Namespace) -> Lines:
    tally = kills.run(root, seed=options.seed, cycles=options.kills)
    yield (
        (
            f"{tally.server_kills:,} kills of the server ({tally.kills_while_starting} while it "
            f"started), {tally.device_kills} of devices; {tally.saved:,} events saved, "
            f"{tally.acknowledged:,} acknowledged, none lost, none twice; {tally.seconds:,.0f} s"
        ),
        tally.saved <= tally.acknowledged,
    )


def struck(begin: faults.Begin, workers: int, root: Path, options: argparse.Namespace) -> Lines:
    tally = faults.run(begin, root, faults.points(begin, root), workers=workers)
    ways = ", ".join(f"{count} {way}" for way, count in sorted(tally.ways.items()))
    yield (
        (
            f"{tally.runs:,} faults, one each run: {ways}; {tally.missed} not met; "
            f"{len(tally.broken)} broken promises; {tally.seconds:,.0f} s"
        ),
        not tally.broken,
    )
    for line in tally.broken:
        yield line, False


def power_losses(which: str, root: Path, options: argparse.Namespace) -> Lines:
    for careless in (False, True):
        with (ServerDay if which == "server" else DeviceDay)(root / f"{careless}") as day:
            day.run(keep=True, careless=careless)
            assert day.watch is not None
            records = day.server.records() if isinstance(day, DeviceDay) else []
            check: power.Check = check_server if which == "server" else DeviceCheck(records)
            tally = power.enumerate_states(
                day.watch.trace,
                check,
                root / "disk",
                seed=options.seed,
                enough_broken=1_000_000,
            )
        setting = "NORMAL" if careless else "FULL"
        yield (
            (
                f"synchronous={setting}: {tally.states:,} disks after {tally.points:,} calls, "
                f"{len(tally.broken):,} lack or break something; {tally.seconds:,.0f} s"
            ),
            bool(tally.broken) is careless,
        )
        for line in [] if careless else tally.broken[:20]:
            yield line, False


def bad_lines(root: Path, options: argparse.Namespace) -> Lines:
    tally = lines.run(root, seed=options.seed, connections=CONNECTIONS)
    ailments = ", ".join(f"{count} {name}" for name, count in sorted(tally.struck.items()))
    yield (
        (
            f"{tally.connections} connections ({ailments}), {tally.acknowledged:,} events "
            f"acknowledged, none lost, none twice; {tally.seconds:,.0f} s"
        ),
        True,
    )


# Alembic keeps its context in a module: days that migrate in this process take turns.
PARTS: dict[str, Callable[[Path, argparse.Namespace], Lines]] = {
    "kills": kill_cycles,
    "faults of the server": partial(struck, ServerDay, WORKERS),
    "faults of a device": partial(struck, DeviceDay, WORKERS),
    "faults of a backup": partial(struck, partial(KeeperDay, "make"), 1),
    "faults of a restore": partial(struck, partial(KeeperDay, "restore"), 1),
    "power loss at the server": partial(power_losses, "server"),
    "power loss at a device": partial(power_losses, "device"),
    "bad lines": bad_lines,
}


def main() -> int:
    """Run the parts; the exit status is 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(prog="make chaos")
    parser.add_argument("--kills", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), default=list(PARTS))
    options = parser.parse_args()
    if not can_watch():
        print("this kernel lets no parent stop its child's calls", file=sys.stderr)
        return 1
    started_s, kept = time.monotonic(), True
    root = Path(tempfile.mkdtemp(prefix="replica-chaos-"))
    print(f"seed {options.seed}; what is kept of failures lies in {root}", flush=True)
    for number, name in enumerate(options.only):
        for text, as_promised in PARTS[name](root / str(number), options):
            kept = kept and as_promised
            print(f"{name}: {'' if as_promised else 'BROKEN: '}{text}", flush=True)
    print(f"{'all promises kept' if kept else 'BROKEN'}; {time.monotonic() - started_s:,.0f} s")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
