"""Notes edited by several people: Yjs text, the only use of pycrdt.

A note is the set of its updates; the text is computed when somebody looks. pycrdt is imported when
the first note is read, because importing it costs more than the rest of a device put together.

The root of a note is a Y.Text named ``text``. Only text may be in it: insertions and deletions. A
Yjs document keeps numbers as floats, so none gets in; and an update that claims more than its bytes
hold makes a decoder reserve memory for the claim, so each is walked before pycrdt sees it
(reliability D9).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from replica.errors import Malformed
from replica.limits import NOTE_BYTES_MAX

if TYPE_CHECKING:
    from pycrdt import Doc

ROOT = "text"
_READER_ID = 1  # a client id for documents that are only read: nothing is ever written under it
_INT_BITS_MAX = 53
# Numbers of the update encoding, version 1.
_GC, _DELETED, _STRING, _SKIP = 0, 1, 4, 10
_HAS_LEFT, _HAS_RIGHT, _HAS_KEY, _KIND_BITS = 0x80, 0x40, 0x20, 0x1F


def note_text(updates: Sequence[bytes]) -> tuple[str, tuple[int, ...]]:
    """The text of a note, and the indexes of updates that contribute nothing to it.

    ``updates`` are in tag order. One that is malformed, holds anything but text, or lies beyond
    ``NOTE_BYTES_MAX`` is unreadable. Never raises for any bytes.
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
    from pycrdt import Doc  # noqa: PLC0415 - see the module's docstring

    doc: Doc[Any] = Doc(client_id=client_id)
    unreadable: list[int] = []
    room_bytes = NOTE_BYTES_MAX
    for index, update in enumerate(updates):
        room_bytes -= len(update)
        if room_bytes < 0 or not _is_text_update(update) or not _apply(doc, update):
            unreadable.append(index)
    return doc, tuple(unreadable)


def _apply(doc: Doc[Any], update: bytes) -> bool:
    try:
        doc.apply_update(update)
    except Exception:  # noqa: BLE001 - whatever a note holds, the document stays readable
        return False
    except BaseException as error:
        # A panic inside the library is no Exception; a stop of the program is not ours to keep.
        if type(error).__name__ != "PanicException":
            raise
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


def _is_text_update(update: bytes) -> bool:
    """Whether ``update`` is a whole Yjs update, version 1, of nothing but text."""
    try:
        walk = _Walk(update)
        for _ in range(walk.number()):
            walk.client_structs()
        for _ in range(walk.number()):
            walk.client_deletes()
    except (Malformed, IndexError, UnicodeDecodeError):
        return False
    return walk.at == len(update)


class _Walk:
    """Steps over the parts of an update; ``IndexError`` where the bytes end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > _INT_BITS_MAX:
                raise Malformed("a number is longer than 53 bits")

    def client_structs(self) -> None:
        count = self.number()
        self._numbers(2)  # client, clock
        for _ in range(count):
            self._struct(self._byte())

    def client_deletes(self) -> None:
        self._numbers(1)  # client
        for _ in range(self.number()):
            self._numbers(2)  # clock, length

    def _struct(self, info: int) -> None:
        kind = info & _KIND_BITS
        if info in {_GC, _SKIP}:
            self._numbers(1)
            return
        if kind not in {_DELETED, _STRING}:
            raise Malformed(f"content {kind} is no text")
        for flag in (_HAS_LEFT, _HAS_RIGHT):
            if info & flag:
                self._numbers(2)
        if not info & (_HAS_LEFT | _HAS_RIGHT):
            self._parent(info)
        if kind == _STRING:
            self._string()
        else:
            self._numbers(1)

    def _parent(self, info: int) -> None:
        if self.number() == 1:
            self._string()
        else:
            self._numbers(2)
        if info & _HAS_KEY:
            raise Malformed("a text has no keys")

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _numbers(self, count: int) -> None:
        for _ in range(count):
            self.number()

    def _string(self) -> None:
        length = self.number()
        piece = self._data[self.at : self.at + length]
        if len(piece) < length:
            raise IndexError("a string ends too early")
        piece.decode()
        self.at += length
