"""Every command that a page tells somebody to type exists, and the reading ones run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.test_verbs import Cli, cli, data

__all__ = ["cli", "data"]

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
WORDS = re.compile(r"(?:^|`|venv/bin/)(replica [a-z][^`#\n]*)", re.MULTILINE)
VERB_WORDS_MAX = 2
READING = ("project ls", "project failures", "project sections", "events tail", "events verify")


def documented() -> list[str]:
    """Commands of all pages, each once; a word after `replica` that is no option or argument."""
    found = {
        match.strip() for page in PAGES for match in WORDS.findall(page.read_text(encoding="utf-8"))
    }
    return sorted(command for command in found if not command.startswith("replica serves"))


def make_targets() -> set[str]:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    return set(re.findall(r"(?:^|`)make ([a-z]+)(?=[ `\n])", text, re.MULTILINE))


@pytest.mark.parametrize("command", documented())
def test_documented_commands_exist(cli: Cli, command: str) -> None:
    """The verb of every documented command explains itself (docs move with the code)."""
    words = [word for word in shlex.split(command)[1:] if not word.startswith("-")]
    verb = words[:1]
    if len(words) > 1 and words[1].isalpha() and words[1].islower() and len(words[1]) > 1:
        verb = words[:VERB_WORDS_MAX]
    assert "Usage:" in cli(*verb, "--help")


@pytest.mark.parametrize("verb", READING)
def test_reading_verbs_answer_on_a_new_installation(cli: Cli, verb: str) -> None:
    """Every reading verb ends with exit code 0 where nothing has happened yet (P)."""
    cli("init")
    cli(*verb.split())


def test_documented_make_verbs_exist() -> None:
    """Every make verb that a page names is one of the Makefile's."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    verbs = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert make_targets() <= verbs
