"""The rules of the house as tests: what a reader may rely on without reading everything."""

from __future__ import annotations

import ast
import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("replica", "qbo_sink")
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70

# One import per contract that must make the checker fail: (contract, module, planted line).
PLANTED = [
    ("layers", "replica/events/money.py", "import replica.crdt.fold"),
    ("pure", "replica/crdt/view.py", "import time"),
    ("device-light", "replica/device/journal.py", "import sqlalchemy"),
    ("store-blind", "replica/store/memory.py", "import replica.events.payloads"),
    ("sinks-plug-in", "replica/sink.py", "import qbo_sink"),
    ("text-alone", "replica/device/journal.py", "import pycrdt"),
]


def modules(*tops: str) -> Iterator[Path]:
    for top in tops:
        yield from sorted((ROOT / top).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def body_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Length of a function without its docstring."""
    first = node.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def test_modules_stay_readable() -> None:
    """No module passes 600 lines and no function 70, its docstring left out."""
    long_modules = [
        f"{path.relative_to(ROOT)}: {count}"
        for path in modules(*SOURCES, "tests", "benchmarks")
        if (count := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES_MAX
    ]
    long_functions = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {count}"
        for path in modules(*SOURCES)
        for node in functions(path)
        if (count := body_lines(node)) > FUNCTION_LINES_MAX
    ]
    assert long_modules + long_functions == []


def test_every_test_says_what_it_proves() -> None:
    """Each test function carries a docstring: one sentence that is true when it passes."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in modules("tests")
        for node in functions(path)
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_every_module_says_why_it_exists() -> None:
    """Each module of the product opens with a docstring."""
    silent = [
        str(path.relative_to(ROOT))
        for path in modules(*SOURCES)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        and path.read_text(encoding="utf-8").strip()
    ]
    assert silent == []


def test_tests_do_not_sleep() -> None:
    """No test waits for time to pass: it waits for a condition."""
    sleepy = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in modules("tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "time"
    ]
    assert sleepy == []


@pytest.mark.parametrize(("contract", "module", "line"), PLANTED, ids=[row[0] for row in PLANTED])
def test_import_contract_catches_a_planted_violation(
    contract: str, module: str, line: str, tmp_path: Path
) -> None:
    """A contract that a typo switched off would let its planted violation pass."""
    for top in SOURCES:
        shutil.copytree(ROOT / top, tmp_path / top, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".importlinter", tmp_path)
    target = tmp_path / module
    target.write_text(target.read_text(encoding="utf-8") + f"\n{line}\n", encoding="utf-8")
    result = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--contract", contract, "--no-cache"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def test_every_contract_has_a_planted_violation() -> None:
    """No import contract goes without a test that it can fail."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    contracts = {
        name.removeprefix("importlinter:contract:")
        for name in parser.sections()
        if name.startswith("importlinter:contract:")
    }
    assert contracts == {row[0] for row in PLANTED}


def test_lock_file_is_hashed_and_names_no_registry() -> None:
    """Every locked package carries a hash and no line names an address."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = [line for line in lock.splitlines() if "==" in line and not line.startswith(" ")]
    assert packages
    assert lock.count("--hash=sha256:") >= len(packages)
    assert "://" not in lock
    assert "--index-url" not in lock
