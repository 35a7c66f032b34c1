"""Every row of the QB and ACC tables names a test that exists (docs/quickbooks-requirements.md)."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "quickbooks-requirements.md"
EXPECTED = [f"QB-{at:02}" for at in range(1, 30)] + [f"ACC-{at:02}" for at in range(1, 7)]


def rows() -> dict[str, tuple[str, list[str]]]:
    """Row → what holds, and the tests named."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        match = re.fullmatch(r"\| ((?:QB|ACC)-\d\d) \| ([^|]+) \| ([^|]+) \|", line)
        if match:
            found[match[1]] = (match[2].strip(), re.findall(r"`([^`]+)`", match[3]))
    return found


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_requirement_has_a_row() -> None:
    """No row is missing, and none is there twice."""
    assert list(rows()) == EXPECTED


@pytest.mark.parametrize("row", EXPECTED)
def test_a_requirement_names_tests_that_exist(row: str) -> None:
    """Each test that the page names is in the file that it names."""
    text, named = rows()[row]
    assert text
    assert named
    for place in named:
        path, _, name = place.partition("::")
        assert (ROOT / path).exists(), place
        assert not name or name in names_in(ROOT / path), place
