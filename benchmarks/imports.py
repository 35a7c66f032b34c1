"""What ``import replica.device`` costs a program that embeds it.

    python -m benchmarks.imports

Each import runs in an interpreter of its own; the time of an empty interpreter is the floor. Both
find compiled bytecode, as every start after the first does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

HEAVY = ("sqlalchemy", "starlette", "uvicorn", "pycrdt", "websockets", "structlog")
"""What a device must not load to append and to read (architecture.md §6)."""

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
LIST_MODULES = "import sys, replica.device; print(*sys.modules)"


def run(rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds in ms, what was loaded, and the import as a multiple of an
    interpreter's start. Processor time is what remains the same on a busy machine."""
    with TemporaryDirectory() as bytecode:
        modules = _output(LIST_MODULES, bytecode).split()
        empty: list[Cost] = []
        device: list[Cost] = []
        for _ in range(rounds):
            empty.append(_cost("pass", bytecode))
            device.append(_cost("import replica.device", bytecode))
    empty_ms, device_ms = _medians_ms(empty), _medians_ms(device)
    return {
        "rounds": rounds,
        "interpreter_ms": round(empty_ms.wall, 1),
        "import_ms": round(device_ms.wall - empty_ms.wall, 1),
        "interpreter_cpu_ms": round(empty_ms.cpu, 1),
        "import_cpu_ms": round(device_ms.cpu - empty_ms.cpu, 1),
        "cpu_ratio": round(device_ms.cpu / empty_ms.cpu - 1, 2),
        "modules": len(modules),
        "own_modules": sum(name.split(".")[0] == "replica" for name in modules),
        "heavy": [name for name in HEAVY if name in modules],
    }


class Cost(NamedTuple):
    """Wall and processor time of a program, in one unit."""

    wall: float
    cpu: float


def _medians_ms(costs_s: list[Cost]) -> Cost:
    return Cost(*(1e3 * median(column) for column in zip(*costs_s, strict=True)))


def _output(program: str, bytecode: str) -> str:
    environ = {key: value for key, value in os.environ.items() if key != NO_BYTECODE}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, "PYTHONPYCACHEPREFIX": bytecode},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def _cost(program: str, bytecode: str) -> Cost:
    before, start = getrusage(RUSAGE_CHILDREN), perf_counter()
    _output(program, bytecode)
    wall_s, after = perf_counter() - start, getrusage(RUSAGE_CHILDREN)
    return Cost(wall_s, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    print(json.dumps(run(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
