"""The two sides of a reconciliation: who asks and learns, and who only answers.

The one who asks (:class:`Initiator`) begins with fingerprints of a few dozen parts of its set. Each
answer narrows down where the sets differ, until ids are listed there. It remembers what is still
open and asks for as much at a time as a message holds. The one who answers (:class:`Responder`)
remembers nothing: an answer follows from the question and the set alone, so any server may give it.

Which parts a range is divided into is each side's own choice (:class:`Split`); the wire format
leaves it open. Ours is chosen for few rounds: the asking side never lists what a fingerprint says
shorter, since the answer takes the same time, and the answering side lists ids early, since that
ends the matter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from operator import attrgetter
from typing import NamedTuple

from replica.errors import MisuseError, TooLarge, UpgradeRequired
from replica.limits import (
    RECONCILE_FRAME_BYTES_MAX,
    RECONCILE_FRAME_BYTES_MIN,
    RECONCILE_LIST_IDS_MAX,
    RECONCILE_OPEN_RANGES_MAX,
    RECONCILE_QUESTION_BYTES_MAX,
    RECONCILE_ROUNDS_MAX,
)
from replica.sync.reconcile.items import (
    END,
    ID_BYTES,
    START,
    Bound,
    Items,
    bound_between,
    fingerprint,
)
from replica.sync.reconcile.wire import (
    VERSION,
    Mode,
    Piece,
    Writer,
    fingerprint_body,
    list_body,
    read_ranges,
    version_of,
)


class Step(NamedTuple):
    """What one message led to. ``reply`` is None when nothing is left to ask.

    ``have`` are ids that only this side holds, ``need`` ids that only the other one does. Only the
    asking side learns them, each once when the other side answers truthfully.
    """

    reply: bytes | None
    have: tuple[bytes, ...] = ()
    need: tuple[bytes, ...] = ()


class _Span(NamedTuple):
    start: Bound
    end: Bound


_end_of = attrgetter("end")


class Split(NamedTuple):
    """How a range that differs is said: ids when it has fewer than ``list_below`` items, else the
    fingerprints of at most ``parts`` parts of at least ``part_items`` items."""

    parts: int
    list_below: int
    part_items: int = 1


FIRST_SPLIT = Split(parts=64, list_below=2, part_items=4)
ASKING_SPLIT = Split(parts=32, list_below=2, part_items=4)
ANSWERING_SPLIT = Split(parts=32, list_below=32, part_items=16)


class Responder:
    """Answers. One object may serve any number of exchanges; between two messages the set may have
    changed, which the asking side then sees as differences or not at all."""

    def __init__(
        self,
        items: Items,
        *,
        frame_bytes: int = RECONCILE_FRAME_BYTES_MAX,
        split: Split = ANSWERING_SPLIT,
    ) -> None:
        self._items = items
        self._frame_bytes = _checked(frame_bytes)
        self._split = split

    def reconcile(self, message: bytes) -> Step:
        """The answer to a message, at most ``frame_bytes`` long; ``have`` and ``need`` are empty.

        A message of another version is answered with the one byte that names ours. Raises
        ``TooLarge`` above ``frame_bytes`` and ``Malformed`` for bytes that are no message. Work is
        bounded by the frame: a range read or said costs a search and two parts of blocks.
        """
        if len(message) > self._frame_bytes:
            raise TooLarge("message bytes", limit=self._frame_bytes, actual=len(message))
        if version_of(message) != VERSION:
            return Step(bytes((VERSION,)))
        writer = Writer(self._frame_bytes)
        for piece in self._pieces(message):
            if not writer.add(piece):
                rest = fingerprint(self._items, self._items.find(piece.start), len(self._items))
                writer.add_rest(piece.start, rest)
                break
        return Step(writer.message())

    def _pieces(self, message: bytes) -> Iterator[Piece]:
        items = self._items
        for one in read_ranges(message):
            if one.mode is Mode.SKIP:
                continue
            part = _part(items, one.start, one.end)
            if one.mode is Mode.ID_LIST:
                yield from _listed(items, part)
            elif fingerprint(items, part.first, part.last) != one.payload:
                yield from _said(items, part, self._split)


class Initiator:
    """Asks. One object for one exchange, over a set that does not change meanwhile."""

    def __init__(
        self,
        items: Items,
        *,
        frame_bytes: int = RECONCILE_QUESTION_BYTES_MAX,
        first_split: Split = FIRST_SPLIT,
        split: Split = ASKING_SPLIT,
    ) -> None:
        self._items = items
        self._frame_bytes = _checked(frame_bytes)
        self._split = first_split
        self._next_split = split
        self._open: deque[_Span] = deque([_Span(START, END)])
        self._asked: list[_Span] = []  # in the message under way
        self.rounds = 0

    def initiate(self) -> bytes:
        """The first message; every answer to one goes into :meth:`reconcile`."""
        if self.rounds:
            raise MisuseError("an exchange begins once")
        return self._ask()

    def reconcile(self, message: bytes) -> Step:
        """What an answer tells, and the next question.

        Raises ``UpgradeRequired`` when the other side answers with another version, ``Malformed``
        for bytes that are no message, ``TooLarge`` when the exchange does not come to its end in
        ``RECONCILE_ROUNDS_MAX`` rounds, which a truthful other side always does.
        """
        if version_of(message) != VERSION:
            raise UpgradeRequired(f"the other side speaks version {message[0] - 0x60}, not 1")
        have: list[bytes] = []
        need: list[bytes] = []
        differing: list[_Span] = []
        items = self._items
        for one in read_ranges(message):
            if one.mode is Mode.SKIP:
                continue
            first, last, start, end = _part(items, one.start, one.end)
            if one.mode is Mode.ID_LIST:
                ours = dict.fromkeys(items.ids(first, last))
                theirs = dict.fromkeys(_ids(one.payload))
                have.extend(identity for identity in ours if identity not in theirs)
                need.extend(identity for identity in theirs if identity not in ours)
            elif fingerprint(items, first, last) != one.payload:
                differing.extend(self._asked_in(start, end))
        self._open.extendleft(reversed(differing))
        self._bound_open()
        return Step(self._ask() if self._open else None, tuple(have), tuple(need))

    def _ask(self) -> bytes:
        self.rounds += 1
        if self.rounds > RECONCILE_ROUNDS_MAX:
            raise TooLarge("rounds", limit=RECONCILE_ROUNDS_MAX, actual=self.rounds)
        split, self._split = self._split, self._next_split
        writer = Writer(self._frame_bytes)
        self._asked = []
        while self._open:
            start, end = self._open.popleft()
            for piece in _said(self._items, _part(self._items, start, end), split):
                if not writer.add(piece):
                    self._asked.append(_Span(start, piece.start))
                    self._open.appendleft(_Span(piece.start, end))
                    return writer.message()
            self._asked.append(_Span(start, end))
        return writer.message()

    def _asked_in(self, start: Bound, end: Bound) -> Iterator[_Span]:
        """What was asked of a range. An answer that had no room names all that follows by one
        fingerprint; of that, some was settled before and some is open anyway."""
        for at in range(bisect_right(self._asked, start, key=_end_of), len(self._asked)):
            asked = self._asked[at]
            if asked.start >= end:
                return
            yield _Span(max(start, asked.start), min(end, asked.end))

    def _bound_open(self) -> None:
        """What is far from its turn is taken together again: it costs rounds, and no memory."""
        if len(self._open) > RECONCILE_OPEN_RANGES_MAX:
            end = self._open[-1].end
            while len(self._open) >= RECONCILE_OPEN_RANGES_MAX:
                start, _ = self._open.pop()
            self._open.append(_Span(start, end))


class _Part(NamedTuple):
    """A range of a set: indices of its items and its bounds."""

    first: int
    last: int
    start: Bound
    end: Bound


def _part(items: Items, start: Bound, end: Bound) -> _Part:
    return _Part(items.find(start), items.find(end), start, end)


def _said(items: Items, part: _Part, split: Split) -> Iterator[Piece]:
    """A range that differs, as this side says it."""
    count = part.last - part.first
    if count < split.list_below:
        yield from _listed(items, part)
        return
    parts = max(1, min(split.parts, count // split.part_items))
    size, larger = divmod(count, parts)
    sizes = (size + 1 if number < larger else size for number in range(parts))
    for one in _cut(items, part, sizes):
        value = fingerprint(items, one.first, one.last)
        yield Piece(one.start, one.end, fingerprint_body(value))


def _listed(items: Items, part: _Part) -> Iterator[Piece]:
    """All ids of a range, some at a time, so that each fits into any frame."""
    count = max(part.last - part.first, 1)
    sizes = (RECONCILE_LIST_IDS_MAX for _ in range(0, count, RECONCILE_LIST_IDS_MAX))
    for one in _cut(items, part, sizes):
        yield Piece(one.start, one.end, list_body(items.ids(one.first, one.last)))


def _cut(items: Items, part: _Part, sizes: Iterator[int]) -> Iterator[_Part]:
    """Adjoining parts of ``sizes`` items."""
    first, start = part.first, part.start
    for size in sizes:
        last = min(first + size, part.last)
        inside = last < part.last
        end = bound_between(items.item(last - 1), items.item(last)) if inside else part.end
        yield _Part(first, last, start, end)
        first, start = last, end


def _ids(payload: bytes) -> Iterator[bytes]:
    return (payload[at : at + ID_BYTES] for at in range(0, len(payload), ID_BYTES))


def _checked(frame_bytes: int) -> int:
    if frame_bytes < RECONCILE_FRAME_BYTES_MIN:
        raise MisuseError(f"a frame has at least {RECONCILE_FRAME_BYTES_MIN} bytes")
    return frame_bytes
