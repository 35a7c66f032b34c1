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
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

HEAVY = ("sqlalchemy", "starlette", "uvicorn", "pycrdt", "websockets", "structlog")
"""What a device must not load to append and to read (architecture.md §6)."""

NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
LIST_MODULES = "import sys, replica.device; print(*sys.modules)"


def run(rounds: int) -> dict[str, object]:
    """Medians of interleaved rounds in ms, and what was loaded."""
    with TemporaryDirectory() as bytecode:
        modules = _output(LIST_MODULES, bytecode).split()
        empty_s: list[float] = []
        device_s: list[float] = []
        for _ in range(rounds):
            empty_s.append(_seconds("pass", bytecode))
            device_s.append(_seconds("import replica.device", bytecode))
    return {
        "rounds": rounds,
        "interpreter_ms": round(1e3 * median(empty_s), 1),
        "import_ms": round(1e3 * (median(device_s) - median(empty_s)), 1),
        "modules": len(modules),
        "own_modules": sum(name.split(".")[0] == "replica" for name in modules),
        "heavy": [name for name in HEAVY if name in modules],
    }


def _output(program: str, bytecode: str) -> str:
    environ = {key: value for key, value in os.environ.items() if key != NO_BYTECODE}
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**environ, "PYTHONPYCACHEPREFIX": bytecode},
        check=True,
        capture_output=True,
        text=True,
    ).stdout


def _seconds(program: str, bytecode: str) -> float:
    start = perf_counter()
    _output(program, bytecode)
    return perf_counter() - start


def main() -> None:
    """Parse, measure, print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=11)
    print(json.dumps(run(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()
