"""Digests: two replicas compare their documents without sending them (wire-protocol.md §7).

A document's hash is ``SHA-256(msgpack [type, id, state])``. A section's digest is the sum of its
documents' hashes modulo 2**256, thirty-two bytes, big-endian: a sum needs no order, and one
document's change costs one subtraction and one addition.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple, Protocol

import msgspec

from replica.crdt.documents import DocKey

DIGEST_BYTES = 32
DIGEST_MODULUS = 1 << (8 * DIGEST_BYTES)
_encode = msgspec.msgpack.Encoder().encode


class SectionTotal(NamedTuple):
    """How many documents a section has, and the sum of their hashes."""

    section: str
    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    digest: bytes


def fingerprint(sections: Iterable[SectionLike]) -> bytes:
    """32 bytes naming everything that ``sections`` count (wire-protocol.md §7): equal exactly when
    all counts and digests are. A section that holds no document counts for nothing."""
    held = sorted((one.section, one.count, one.digest) for one in sections if one.count)
    return sha256(_encode(held)).digest()


def document_hash(key: DocKey, state: bytes) -> bytes:
    """32 bytes naming a document and its state. ``state`` comes from ``Document.encode``."""
    return sha256(_encode((key.type, key.id, state))).digest()


class SectionLike(Protocol):
    """A section's total, as stored here or as it came over the wire."""

    @property
    def section(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def digest(self) -> bytes: ...


class SectionTotals:
    """Running totals of every section. Store ``sections()`` with the documents they count."""

    def __init__(self, sections: Iterable[SectionTotal] = ()) -> None:
        self._totals = {
            name: (count, int.from_bytes(digest, "big")) for name, count, digest in sections
        }
        self._sections: tuple[SectionTotal, ...] | None = None

    def copy(self) -> SectionTotals:
        """Totals that go on from here on their own."""
        copied = SectionTotals()
        copied._totals = dict(self._totals)
        return copied

    def add(self, key: DocKey, state: bytes) -> None:
        """Count a document in. Add each once; for a change use :meth:`replace`."""
        self.count(key.type, document_hash(key, state), 1)

    def remove(self, key: DocKey, state: bytes) -> None:
        """Count a document out again, with exactly the state it was added with."""
        self.count(key.type, document_hash(key, state), -1)

    def replace(self, key: DocKey, before: bytes | None, after: bytes) -> None:
        """A document went from ``before`` (None when it is new) to ``after``."""
        if before is not None:
            self.remove(key, before)
        self.add(key, after)

    def count(self, section: str, value: bytes, sign: int) -> None:
        """Count the document whose hash is ``value`` in (``sign`` 1) or out again (-1)."""
        count, total = self._totals.get(section, (0, 0))
        delta = sign * int.from_bytes(value, "big")
        self._sections = None
        self._totals[section] = (count + sign, (total + delta) % DIGEST_MODULUS)

    def sections(self) -> tuple[SectionTotal, ...]:
        """Sections that hold a document, sorted by name."""
        if self._sections is None:
            self._sections = tuple(
                self.of(name) for name, (count, _) in sorted(self._totals.items()) if count
            )
        return self._sections

    def of(self, section: str) -> SectionTotal:
        """One section, whether it holds a document or not."""
        count, total = self._totals.get(section, (0, 0))
        return SectionTotal(section, count, total.to_bytes(DIGEST_BYTES, "big"))
