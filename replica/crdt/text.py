"""Notes edited by several people: Yjs text, the only use of pycrdt.

A note is the set of its updates; the text is computed when somebody looks. pycrdt is imported when
the first note is read, because importing it costs more than the rest of a device put together.

The root of a note is a Y.Text named ``text``. Only text may be in it: insertions and deletions. A
Yjs document keeps numbers as floats, so none gets in. What an update says is read here first
(:mod:`replica.crdt.yjs`), because the library trusts it more than a stranger's bytes deserve.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from replica.crdt.yjs import Clocks, Update, advance, parse
from replica.limits import NOTE_BYTES_MAX

if TYPE_CHECKING:
    from pycrdt import Doc

ROOT = "text"
_READER_ID = 1  # a client id for documents that are only read: nothing is ever written under it
# Updates come in the order of their tags, where a wrong clock may put an effect before its cause:
# as often they are gone through again. Each time at least one is applied.
_PASSES_MAX = 32


def note_text(updates: Sequence[bytes]) -> tuple[str, tuple[int, ...]]:
    """The text of a note, and the indexes of updates that contribute nothing to it.

    ``updates`` are in tag order. One that is malformed, holds anything but text, builds on an
    update that is not here, or lies beyond ``NOTE_BYTES_MAX`` is unreadable. Never raises for any
    bytes.
    """
    if not updates:
        return "", ()
    doc, unreadable = _load(updates, _READER_ID)
    return _text(doc), unreadable


def note_update(updates: Sequence[bytes], text: str, client_id: int) -> bytes | None:
    """The update that turns the note into ``text``, for ``NoteEdited``; None when it is that.

    Only what lies between the common start and the common end is replaced, so edits by others
    elsewhere in the note are kept. ``client_id`` is a fresh random number below 2**32 for every
    call: two updates under one id and clock make documents that never agree (reliability D6).
    """
    from pycrdt import Text  # noqa: PLC0415 - see the module's docstring

    doc, _ = _load(updates, client_id)
    before = _text(doc)
    start, end_before, end_after = _changed_range(before, text)
    if end_before == start and end_after == start:
        return None
    state = doc.get_state()
    shared = doc.get(ROOT, type=Text)
    at = _utf8_len(before[:start])
    with doc.transaction():
        del shared[at : at + _utf8_len(before[start:end_before])]
        if end_after > start:
            shared.insert(at, text[start:end_after])
    return bytes(doc.get_update(state))


def _load(updates: Sequence[bytes], client_id: int) -> tuple[Doc[Any], tuple[int, ...]]:
    """A document of all updates that can be applied, and the indexes of the others."""
    from pycrdt import Doc  # noqa: PLC0415 - see the module's docstring

    doc: Doc[Any] = Doc(client_id=client_id)
    try:
        applied = _apply_all(doc, updates)
    except BaseException as error:
        # A panic of the library is no Exception, and its document must not be touched again.
        # A stop of the program is not ours to keep.
        if type(error).__name__ != "PanicException":
            raise
        doc, applied = Doc(client_id=client_id), set()
    return doc, tuple(index for index in range(len(updates)) if index not in applied)


def _apply_all(doc: Doc[Any], updates: Sequence[bytes]) -> set[int]:
    readable = _readable(updates)
    waiting = sorted(readable)
    clocks: Clocks = {}
    applied: set[int] = set()
    for _ in range(_PASSES_MAX):
        for index in waiting:
            after = advance(clocks, readable[index])
            if after is not None and _apply(doc, updates[index]):
                clocks = after
                applied.add(index)
        left = [index for index in waiting if index not in applied]
        if len(left) in {0, len(waiting)}:
            break
        waiting = left
    return applied


def _readable(updates: Sequence[bytes]) -> dict[int, Update]:
    """By index what each update says that is one, as far as the note's bound in bytes goes."""
    found: dict[int, Update] = {}
    room_bytes = NOTE_BYTES_MAX
    for index, data in enumerate(updates):
        room_bytes -= len(data)
        update = parse(data, ROOT) if room_bytes >= 0 else None
        if update is not None:
            found[index] = update
    return found


def _apply(doc: Doc[Any], update: bytes) -> bool:
    try:
        doc.apply_update(update)
    except Exception:  # noqa: BLE001 - whatever it is, the rest of the note stays readable
        return False
    return True


def _text(doc: Doc[Any]) -> str:
    from pycrdt import Text  # noqa: PLC0415 - see the module's docstring

    return str(doc.get(ROOT, type=Text))


def _changed_range(before: str, after: str) -> tuple[int, int, int]:
    """Start of the difference, and its end in either text."""
    start = 0
    shorter = min(len(before), len(after))
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, len(before) - end, len(after) - end


def _utf8_len(text: str) -> int:
    """pycrdt counts positions in UTF-8 bytes."""
    return len(text.encode())
