"""What a Yjs update says, read before the library sees it (reliability D9, I-20).

The library's decoder believes what an update claims: a length beyond the bytes makes it reserve
memory, an operation whose cause is missing or that contradicts itself can end the process. So only
updates pass here that an editor of plain text makes, and each only when everything it builds on is
there. Encoding version 1, as every Yjs implementation writes it:

    update  = clients {structs} deletes
    client  = count, client, clock, then per struct: info, origins or root name, text or length
    deletes = clients, then per client: client, count, then (clock, length) each
"""

from __future__ import annotations

from typing import NamedTuple

from replica.errors import Malformed

Clocks = dict[int, int]
"""Client to the number of its characters that are known: everything below is there."""

CLOCK_MAX = (1 << 31) - 1
_INT_BITS_MAX = 53
_DELETED, _STRING = 1, 4
_HAS_LEFT, _HAS_RIGHT, _HAS_KEY, _KIND_BITS = 0x80, 0x40, 0x20, 0x1F


class Struct(NamedTuple):
    """Characters that were inserted between others, or were deleted again since."""

    clock: int
    length: int
    origins: tuple[tuple[int, int], ...]  # (client, clock) of the neighbours at the time


class Update(NamedTuple):
    structs: dict[int, list[Struct]]  # per client, without a gap
    deletes: list[tuple[int, int]]  # (client, end of a deleted range)


def parse(data: bytes, root: str) -> Update | None:
    """What ``data`` says; None unless it is one whole update of the plain text named ``root``."""
    reader = _Reader(data)
    try:
        clients = [reader.client(root) for _ in range(reader.number())]
        structs = dict(clients)
        _require(len(structs) == len(clients), "a client stands twice")
        deletes = [end for _ in range(reader.number()) for end in reader.deletes()]
    except (Malformed, IndexError, UnicodeDecodeError):
        return None
    return Update(structs, deletes) if reader.at == len(data) else None


def advance(clocks: Clocks, update: Update) -> Clocks | None:
    """``clocks`` after ``update``; None as long as something that it builds on is missing."""
    ahead = dict(clocks)
    waiting = {client: list(reversed(structs)) for client, structs in update.structs.items()}
    moved = True
    while moved:
        moved = False
        for client, structs in waiting.items():
            while structs and _ready(ahead, client, structs[-1]):
                struct = structs.pop()
                ahead[client] = max(ahead.get(client, 0), struct.clock + struct.length)
                moved = True
    if any(waiting.values()) or any(end > ahead.get(client, 0) for client, end in update.deletes):
        return None
    return ahead


def _ready(clocks: Clocks, client: int, struct: Struct) -> bool:
    return struct.clock <= clocks.get(client, 0) and all(
        clock < clocks.get(origin, 0) for origin, clock in struct.origins
    )


class _Reader:
    """Reads an update from the front. ``Malformed`` or ``IndexError`` where it is none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def client(self, root: str) -> tuple[int, list[Struct]]:
        count, client, clock = self.number(), self.number(), self.number()
        _require(count > 0, "a client stands for nothing")
        structs: list[Struct] = []
        for _ in range(count):
            struct = self._struct(clock, root)
            structs.append(struct)
            clock += struct.length
            _require(clock <= CLOCK_MAX, "a clock is too large")
        return client, structs

    def deletes(self) -> list[tuple[int, int]]:
        client, count = self.number(), self.number()
        ends: list[tuple[int, int]] = []
        for _ in range(count):
            clock, length = self.number(), self.number()
            _require(length > 0, "a deletion is empty")
            ends.append((client, clock + length))
        return ends

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            _require(shift < _INT_BITS_MAX, "a number is longer than 53 bits")

    def _struct(self, clock: int, root: str) -> Struct:
        info = self._byte()
        kind = info & _KIND_BITS
        _require(kind in {_DELETED, _STRING}, "content is no text")
        origins = tuple(
            (self.number(), self.number()) for flag in (_HAS_LEFT, _HAS_RIGHT) if info & flag
        )
        if not origins:
            named = self.number() == 1 and self._string() == root
            _require(named and not info & _HAS_KEY, "the parent is not the note's text")
        length = self.number() if kind == _DELETED else _utf16_length(self._string())
        _require(length > 0, "an insertion or deletion is empty")
        return Struct(clock, length, origins)

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _string(self) -> str:
        length = self.number()
        piece = self._data[self.at : self.at + length]
        if len(piece) < length:
            raise IndexError("a string ends too early")
        self.at += length
        return piece.decode()


def _utf16_length(text: str) -> int:
    """Yjs counts characters as JavaScript does."""
    return len(text.encode("utf-16-le")) // 2


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Malformed(otherwise)
