"""docs/wire-protocol.md says what the code does, in every number and name that can be compared."""

from __future__ import annotations

import re

import pytest

from replica.sync.messages import CLOSE_CODES
from replica.sync.server_peer import LIMITS
from tests.sync.reference import GENERATED, PAGE, part, rewritten
from tests.sync.samples import CHAIN, FIRST, FRAMES, IDS

TEXT = PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_parts_are_current(name: str) -> None:
    """States, kinds and fields are written by ``python -m tests.sync.reference``."""
    (start, end), fresh = part(TEXT, name), rewritten(TEXT)
    begin, stop = part(fresh, name)
    assert TEXT[start:end] == fresh[begin:stop]


def test_every_close_code_is_listed() -> None:
    """§8 lists each code with the number it closes with, and no other."""
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d{4}) \|", TEXT, flags=re.MULTILINE))
    assert rows == {code: str(int(close)) for code, close in CLOSE_CODES.items()} | {
        "internal": "1011"
    }


def test_every_limit_is_listed() -> None:
    """§9 lists each limit of WELCOME with its value."""
    rows = dict(re.findall(r"^\| `(\w+_\w+)` \| (\d+) \| ", TEXT.split("## 9")[1], re.MULTILINE))
    assert rows == {name: str(value) for name, value in LIMITS.items()}


@pytest.mark.parametrize("name", sorted(FRAMES))
def test_every_frame_is_listed_with_its_fields(name: str) -> None:
    """§4 names each frame's number and its fields in order."""
    frame = FRAMES[name]
    number = frame.__struct_config__.tag
    row = re.search(rf"^\| {number} \| {name} \| \w+ \| (.*) \|$", TEXT, flags=re.MULTILINE)
    assert row is not None
    fields = [field.split()[0] for field in row[1].split(", ")]
    assert fields == list(frame.__struct_fields__)


def test_the_worked_example_is_the_vector() -> None:
    """§10 shows bytes that are in the vectors."""
    assert IDS[0].hex() in TEXT
    assert CHAIN.hex() in TEXT
    assert FIRST[-16:].hex() == "c40e81a8637573746f6d6572a3632d31"
    assert "c4 0e 81a8637573746f6d6572a3632d31" in TEXT
