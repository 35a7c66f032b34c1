"""Notes: several people write, everybody reads the same text, and no bytes can hurt a reader."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text

from replica.crdt.text import note_text, note_update
from replica.crdt.view import View
from replica.events import payloads as p
from replica.limits import NOTE_BYTES_MAX, NOTE_UPDATE_BYTES_MAX
from tests.crdt.samples import Writer, seen


def typed(before: list[bytes], text: str, client_id: int) -> bytes:
    update = note_update(before, text, client_id)
    assert update is not None
    return update


def note(*updates: bytes) -> View:
    writer = Writer(1)
    records = [
        writer.says(p.NoteEdited("order", "o1", update), ms) for ms, update in enumerate(updates)
    ]
    return seen(records, "note", "order:o1")


def test_edits_by_several_people_are_all_in_the_text() -> None:
    """Two edits made at once of different parts of a note are both there (architecture §5)."""
    first = typed([], "Deliver to the back door", 1)
    left = typed([first], "Please deliver to the back door", 2)
    right = typed([first], "Deliver to the back door, ring twice", 3)
    found = note(first, left, right)
    assert found["text"] == "Please deliver to the back door, ring twice"
    assert (found["about_type"], found["about"], found["unreadable"]) == ("order", "o1", [])


def test_an_unchanged_text_makes_no_update() -> None:
    """Saving a note without a change writes no event."""
    assert note_update([typed([], "x", 1)], "x", 2) is None
    assert note_update([], "", 2) is None


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=5))
def test_each_edit_gives_exactly_the_text_that_was_typed(texts: list[str]) -> None:
    """Whatever is typed, in any script, is read back, with the text of before as the base."""
    updates: list[bytes] = []
    for number, text in enumerate(texts):
        update = note_update(updates, text, 100 + number)
        updates += [] if update is None else [update]
        assert note_text(updates) == (text, ())


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_order_of_updates_does_not_matter(data: st.DataObject) -> None:
    """The text is a function of the set of updates, also when a cause comes after its effect."""
    base = typed([], "one two three", 1)
    edits = [typed([base], f"one {word} three", 10 + at) for at, word in enumerate("abcd")]
    updates = [base, *edits, typed([base, *edits[:2]], "none", 20)]
    expected = note_text(updates)
    assert note_text(data.draw(st.permutations(updates))) == expected


def test_a_malformed_update_is_listed_and_contributes_nothing() -> None:
    """Bytes that are no text update are named as unreadable; the rest is read (D9)."""
    good = typed([], "hello", 1)
    found = note(good, b"\xff" * 30, good[:-1])
    assert found["text"] == "hello"
    assert len(found["unreadable"]) == 2
    assert {loser["rule"] for loser in found["losers"]} == {"unreadable"}


def test_an_update_waits_for_what_it_builds_on() -> None:
    """Without its cause an update is listed; with it, in whatever order, it is in the text."""
    first = typed([], "hello", 1)
    second = typed([first], "hello world", 2)
    assert note_text([second]) == ("", (0,))
    assert note_text([second, first]) == ("hello world", ())


def test_two_edits_under_one_client_id_stop_nobody() -> None:
    """What a writer may never do is still read without harm, the same on every replica (D6)."""
    left, right = typed([], "left", 1), typed([], "right one", 1)
    assert note_text([left, right]) == note_text([left, right])


def test_only_text_may_be_in_a_note() -> None:
    """Numbers, maps and lists are refused: Yjs keeps numbers as floats (dependencies §3)."""
    for key, value in (("m", Map({"price": 1999})), ("a", Array([1999]))):
        doc = Doc({key: value})
        assert note_text([bytes(doc.get_update())]) == ("", (0,))


def test_a_browser_s_own_edits_are_read() -> None:
    """Any Yjs client that edits the root ``text`` is understood, deletions included."""
    doc = Doc({"text": Text("hello world")}, client_id=5)
    del doc.get("text", type=Text)[5:]
    assert note_text([bytes(doc.get_update())]) == ("hello", ())


@settings(max_examples=200, deadline=None)
@given(junk=st.binary(max_size=60), flips=st.lists(st.tuples(st.integers(0), st.integers(0, 255))))
def test_no_bytes_stop_a_reader(junk: bytes, flips: list[tuple[int, int]]) -> None:
    """Random and mutated updates are read or listed, never raised (D9)."""
    first = typed([], "hello", 1)
    mutated = bytearray(typed([first], "hello world", 2))
    for at, byte in flips:
        mutated[at % len(mutated)] = byte
    text, unreadable = note_text([first, bytes(mutated), junk])
    assert isinstance(text, str)
    assert set(unreadable) <= {1, 2}


@pytest.mark.parametrize(
    "claim",
    [
        b"\xff\xff\xff\xff\x0f",  # four thousand million clients
        b"\x01\xff\xff\xff\xff\x0f\x01\x00",  # as many structs
        b"\x01\x01\x07\x00\x04\x01\xff\xff\xff\xff\x0f",  # a name of 4 GiB
        b"\x01\x01\x07\x00\x08\x01\x04text\xff\xff\xff\xff\x0f",  # a list of as many values
        b"\x00\x01\x07\xff\xff\xff\xff\x0f",  # as many deletions
        b"\x01\x01\x07\x00\x01\x01\x04text\xff\xff\xff\xff\x0f\x00",  # 2 GiB deleted again
        b"\x02\x01\x07\x00\x04\x01\x04text\x01x\x01\x07\x00\x04\x01\x04text\x01x\x00",  # twice
        b"\x01\x01\x07\x00\x04\x01\x04text\x00\x00",  # nothing inserted
        b"\x01\x01\x07\x00\x84\x09\x00\x01x\x00",  # beside a character that is nowhere
    ],
)
def test_claims_beyond_the_bytes_are_refused_before_decoding(claim: bytes) -> None:
    """A short update cannot make the decoder reserve memory for what it claims to hold (D9)."""
    assert note_text([claim]) == ("", (0,))


def test_a_note_is_bounded() -> None:
    """What goes beyond the bound of a note is listed, the text before it is read (I-20)."""
    piece = typed([], "x" * (NOTE_UPDATE_BYTES_MAX - 100), 1)
    count = NOTE_BYTES_MAX // len(piece)
    text, unreadable = note_text([piece] * (count + 2))
    assert len(text) == NOTE_UPDATE_BYTES_MAX - 100
    assert unreadable == (count, count + 1)


def test_importing_the_fold_and_views_does_not_import_pycrdt() -> None:
    """A device that shows no note never pays for the library (dependencies §3)."""
    code = "import sys, replica.crdt.fold, replica.crdt.view; print('pycrdt' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"
