"""What ``import replica.device`` costs a program that embeds it.

    python -m benchmarks.imports

Each import runs in an interpreter of its own; the time of an empty interpreter is the floor.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from statistics import median
from time import perf_counter

HEAVY = ("sqlalchemy", "starlette", "uvicorn", "pycrdt", "websockets", "structlog")
"""What a device must not load to append and to read (architecture.md §6)."""

LIST_MODULES = "import sys, replica.device; print(*sys.modules)"


def run(rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds in ms, and what was loaded."""
    empty_s: list[float] = []
    device_s: list[float] = []
    for _ in range(rounds):
        empty_s.append(_seconds("pass"))
        device_s.append(_seconds("import replica.device"))
    listed = subprocess.run(
        [sys.executable, "-c", LIST_MODULES], check=True, capture_output=True, text=True
    )
    modules = listed.stdout.split()
    return {
        "rounds": rounds,
        "interpreter_ms": round(1e3 * median(empty_s), 1),
        "import_ms": round(1e3 * (median(device_s) - median(empty_s)), 1),
        "modules": len(modules),
        "own_modules": sum(name.split(".")[0] == "replica" for name in modules),
        "heavy": [name for name in HEAVY if name in modules],
    }


def _seconds(program: str) -> float:
    start = perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return perf_counter() - start


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    print(json.dumps(run(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
