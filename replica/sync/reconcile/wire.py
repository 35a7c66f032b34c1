"""The bytes of a message: version, then ranges that adjoin (public Negentropy Protocol V1).

    message     = version byte 61, range…
    range       = upper bound, mode, payload
    bound       = time, length of the prefix, prefix
    fingerprint = 16 bytes        mode 1
    id list     = count, ids      mode 2
    skip        = nothing         mode 0

All numbers are varints. A range begins where the one before ends, the first at ``START``. A time is
written as 0 for infinity, else as 1 more than its distance from the time before. What comes after
the last range is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from replica.errors import Malformed, TooLarge
from replica.sync.reconcile.items import (
    END,
    FINGERPRINT_BYTES,
    ID_BYTES,
    INFINITE_TIME,
    START,
    Bound,
    encode_number,
)

VERSION = 0x61
VERSIONS = range(0x60, 0x70)
"""The first bytes that any version of the protocol may have."""
_NUMBER_DIGITS_MAX = 10


class Mode(IntEnum):
    """What the sender says about a range."""

    SKIP = 0
    FINGERPRINT = 1
    ID_LIST = 2


class Range(NamedTuple):
    """One range as it was read. ``payload`` is the fingerprint, or the ids one after the other."""

    start: Bound
    end: Bound
    mode: Mode
    payload: bytes


def version_of(message: bytes) -> int:
    """The first byte. ``Malformed`` when no version of the protocol begins so."""
    if not message or message[0] not in VERSIONS:
        raise Malformed("a reconciliation message begins with a protocol version")
    return message[0]


def read_ranges(message: bytes) -> Iterator[Range]:
    """The ranges of a message of our version, one after the other as they are asked for.

    Raises ``Malformed`` where the bytes stop being a message: cut short, out of order, numbers not
    in their shortest form or above 64 bits, an unknown mode.
    """
    reader = _Reader(message)
    start = START
    while not reader.done:
        end = reader.bound()
        if end < start:
            raise Malformed("ranges come in ascending order")
        mode = reader.number()
        if mode == Mode.SKIP:
            payload = b""
        elif mode == Mode.FINGERPRINT:
            payload = reader.take(FINGERPRINT_BYTES)
        elif mode == Mode.ID_LIST:
            payload = reader.take(ID_BYTES * reader.number())
        else:
            raise Malformed(f"mode {mode} of a range is unknown")
        yield Range(start, end, Mode(mode), payload)
        start = end


class _Reader:
    def __init__(self, message: bytes) -> None:
        self._data = message
        self._at = 1  # after the version
        self._time = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._data)

    def take(self, size: int) -> bytes:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise Malformed("a reconciliation message ends too soon")
        self._at += size
        return part

    def number(self) -> int:
        data, at, value = self._data, self._at, 0
        for digit in data[at : at + _NUMBER_DIGITS_MAX]:
            at += 1
            value = value << 7 | digit & 0x7F
            if digit < 0x80:
                if value > INFINITE_TIME:
                    raise Malformed("a number of a reconciliation message is above 64 bits")
                self._at = at
                return value
            if not value:
                raise Malformed("a number of a reconciliation message begins with zeros")
        raise Malformed("a number of a reconciliation message does not end")

    def bound(self) -> Bound:
        offset = self.number()
        self._time = self._time + offset - 1 if offset else INFINITE_TIME
        if self._time > INFINITE_TIME:
            raise Malformed("a time of a reconciliation message is above 64 bits")
        size = self.number()
        if size > ID_BYTES:
            raise Malformed("a bound's prefix is longer than an id")
        prefix = self.take(size).rstrip(b"\0")
        return END if self._time == INFINITE_TIME else Bound(self._time, prefix)


class Piece(NamedTuple):
    """One range as it will be sent; ``body`` is mode and payload."""

    start: Bound
    end: Bound
    body: bytes


def fingerprint_body(value: bytes) -> bytes:
    """Mode and payload of a range that is named by its fingerprint."""
    return bytes((Mode.FINGERPRINT,)) + value


def list_body(ids: list[bytes]) -> bytes:
    """Mode and payload of a range whose ids are listed."""
    return bytes((Mode.ID_LIST,)) + encode_number(len(ids)) + b"".join(ids)


# A skip up to where the rest begins, and the fingerprint of the rest, at their longest.
_REST_BYTES = 64


class Writer:
    """A message being written, never longer than ``limit_bytes``. Pieces come in ascending order;
    what lies between them is skipped."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes - _REST_BYTES
        self._data = bytearray((VERSION,))
        self._end = START
        self._time = 0

    def add(self, piece: Piece) -> bool:
        """False, and nothing was added, when the message has no room for it."""
        time = self._time
        encoded = bytearray()
        if piece.start > self._end:
            encoded += self._bound(piece.start)
            encoded.append(Mode.SKIP)
        encoded += self._bound(piece.end)
        encoded += piece.body
        if len(self._data) + len(encoded) > self._limit_bytes:
            self._time = time
            return False
        self._data += encoded
        self._end = piece.end
        return True

    def add_rest(self, start: Bound, value: bytes) -> None:
        """The fingerprint of everything from ``start`` on; there is always room for it."""
        self._limit_bytes += _REST_BYTES
        added = self.add(Piece(start, END, fingerprint_body(value)))
        if not added:
            raise TooLarge("bytes of a message", limit=self._limit_bytes, actual=len(self._data))

    def message(self) -> bytes:
        return bytes(self._data)

    def _bound(self, bound: Bound) -> bytes:
        if bound.time == INFINITE_TIME:
            return bytes(2)
        offset, self._time = bound.time - self._time, bound.time
        return encode_number(offset + 1) + encode_number(len(bound.prefix)) + bound.prefix
