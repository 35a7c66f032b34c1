"""Notes are Yjs text: real Yjs in node and ours read and write the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from pycrdt import Doc, Text

from replica.crdt.text import ROOT, note_text
from tests.clients.driving import ROOT as REPOSITORY
from tests.clients.notes import Written, Yjs, write

SEEDS = 20
READER = 9


@pytest.fixture(scope="module")
def yjs() -> Iterator[Yjs]:
    with Yjs() as one:
        yield one


def shuffled(seed: int, updates: list[bytes]) -> list[bytes]:
    return Random(seed).sample(updates, len(updates))


def ours(updates: list[bytes]) -> Doc[Any]:
    doc: Doc[Any] = Doc(client_id=READER)
    for update in updates:
        doc.apply_update(update)
    return doc


@pytest.mark.parametrize("seed", range(SEEDS))
def test_both_libraries_merge_what_both_wrote_to_the_same(yjs: Yjs, seed: int) -> None:
    """Random edits by two authors with real Yjs and two with ours, exchanged in parts: whoever
    takes all of it in, in any order, has the same text and the same state (CON-05, D9)."""
    written = write(yjs, seed)
    assert {one.by for one in written} == {"yjs", "pycrdt"}
    updates = [one.data for one in written]
    theirs = yjs.read("all", READER, updates)
    again = yjs.read("again", READER, shuffled(seed, updates))
    assert note_text(updates) == (theirs["text"], ())
    assert note_text(shuffled(seed + 1, updates)) == (theirs["text"], ())
    assert again == theirs
    assert theirs["whole"]
    said = yjs.ask("decoded", update=ours(updates).get_update().hex())
    assert said == yjs.ask("decoded", update=theirs["state"])


@pytest.mark.parametrize("seed", range(SEEDS, SEEDS + 5))
def test_a_state_of_real_yjs_is_an_update_like_any_other(yjs: Yjs, seed: int) -> None:
    """An editor that sends its whole state, or several updates merged into one, is read as well;
    with the single updates beside it nothing changes (I-13, D9)."""
    updates = [one.data for one in write(yjs, seed)]
    theirs = yjs.read("all", READER, updates)
    state = bytes.fromhex(theirs["state"])
    merged = bytes.fromhex(yjs.ask("merged", updates=[one.hex() for one in updates]))
    for one in ([state], [merged], [merged, *updates, state]):
        assert note_text(one) == (theirs["text"], ())


def test_the_vectors_are_what_real_yjs_says(yjs: Yjs) -> None:
    """Every note of tests/vectors/yjs.json, read by real Yjs in several orders, has the text, state
    vector and state that stand there (CON-05)."""
    for note in json.loads((REPOSITORY / "tests/vectors/yjs.json").read_text())["notes"]:
        updates = [bytes.fromhex(one["hex"]) for one in note["updates"]]
        for seed in range(3):
            theirs = yjs.read("vector", READER, shuffled(seed, updates))
            assert (theirs["text"], theirs["whole"]) == (note["text"], True)
            assert theirs["vector"] == note["vector"]
            decoded = yjs.ask("decoded", update=theirs["state"])
            assert decoded == yjs.ask("decoded", update=note["state"])


def vectors(yjs: Yjs, seeds: range) -> dict[str, Any]:
    """What tests/vectors/yjs.json holds; ``python -m tests.clients.test_yjs`` writes it."""
    return {"notes": [_vector(yjs, write(yjs, seed, steps=14)) for seed in seeds]}


def _vector(yjs: Yjs, written: list[Written]) -> dict[str, Any]:
    updates = [one.data for one in written]
    doc = ours(updates)
    return {
        "updates": [{"by": one.by, "hex": one.data.hex()} for one in written],
        "text": str(doc.get(ROOT, type=Text)),
        "vector": yjs.read("all", READER, updates)["vector"],
        "state": doc.get_update().hex(),
    }


if __name__ == "__main__":
    with Yjs() as real:
        known = json.dumps(vectors(real, range(1_000, 1_006)), indent=1, ensure_ascii=False)
    (REPOSITORY / "tests/vectors/yjs.json").write_text(known + "\n")
