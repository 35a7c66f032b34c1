"""Updates of real Yjs and of ours, kept as vectors: read here without node."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pycrdt import Doc

from replica.crdt.text import ROOT, note_text
from replica.crdt.yjs import advance, parse

NOTES = json.loads((Path(__file__).parent.parent / "vectors" / "yjs.json").read_text())["notes"]


def updates_of(note: Any) -> list[bytes]:
    return [bytes.fromhex(one["hex"]) for one in note["updates"]]


@pytest.mark.parametrize("note", NOTES)
def test_updates_of_both_libraries_merge_to_one_text_in_any_order(note: Any) -> None:
    """What real Yjs and ours wrote beside each other gives the text of the vector, whatever the
    order and however often it comes, and its state has the bytes of the vector (CON-05)."""
    assert {one["by"] for one in note["updates"]} == {"yjs", "pycrdt"}
    updates = updates_of(note)
    for seed in range(6):
        order = Random(seed).sample(updates, len(updates))
        assert note_text(order) == (note["text"], ())
        assert note_text(order + order[::-1]) == (note["text"], ())
    doc: Doc[Any] = Doc(client_id=1)
    for update in updates:  # causes first, as note_text sees to: the library may lose what waits
        doc.apply_update(update)
    assert doc.get_update().hex() == note["state"]


@pytest.mark.parametrize("note", NOTES)
def test_the_reader_agrees_with_real_yjs_on_what_an_update_says(note: Any) -> None:
    """Every update of either library is read as text before the library sees it, and what it
    counts per author is the state vector real Yjs computed (D9, I-20)."""
    clocks: dict[int, int] = {}
    waiting = [parse(one, ROOT) for one in updates_of(note)]
    assert None not in waiting
    for update in waiting:
        assert update is not None
        after = advance(clocks, update)
        assert after is not None, "the vectors stand in an order in which causes come first"
        clocks = after
    assert sorted(map(list, clocks.items())) == note["vector"]
    state = parse(bytes.fromhex(note["state"]), ROOT)
    assert state is not None
    assert advance({}, state) == clocks


@pytest.mark.parametrize("note", NOTES[:2])
def test_a_missing_cause_is_waited_for(note: Any) -> None:
    """Without one of its updates a note still reads; what builds on that one is listed until it
    comes (D9)."""
    updates = updates_of(note)
    for missing in range(len(updates)):
        rest = updates[:missing] + updates[missing + 1 :]
        text, unreadable = note_text(rest)
        assert isinstance(text, str)
        assert note_text([*rest, updates[missing]]) == (note["text"], ())
        assert len(unreadable) < len(rest) or not rest
