"""Documents: what is kept of the records that concern one thing.

A document holds *facts*: payloads of events with the tag that orders them. Its state is a
function of the **set** of records that were folded in, so two replicas that hold the same set hold
the same bytes (reliability I-10, I-11). What the facts mean is in :mod:`replica.crdt.view`; which
of them can never matter again, and are dropped, is in :mod:`replica.crdt.retention`.

    state = {kind: [[tag, origin, payload, deps], …] sorted by tag, …} sorted by kind

Facts carry the author's payload bytes as they are: folding never re-encodes an order's content.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

import msgspec

from replica.errors import CorruptionError
from replica.events.clock import STAMP_BYTES, Stamp, stamp_ms, stamp_node

DOCUMENT_TYPES = (
    "class",
    "customer",
    "department",
    "device",
    "note",
    "order",
    "payment",
    "product",
    "quote",
    "return",
    "stock",
    "sync",
    "twin",
)
"""Every type there is, sorted; each is a section of the digest."""


class DocKey(NamedTuple):
    """Names one document of an account. ``type`` is one of ``DOCUMENT_TYPES``."""

    type: str
    id: str


class Fact(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a document keeps of one record. ``body`` is the canonical payload, newest version."""

    tag: bytes
    origin: int
    body: bytes
    deps: tuple[bytes, ...] = ()  # kept where a rule asks what the author had seen


_tag_of = attrgetter("tag")
_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(dict[str, list[Fact]])


def encode_state(facts: dict[str, list[Fact]]) -> bytes:
    """The state of a document of ``facts``, each kind's in tag order."""
    return _encoder.encode(facts)


class Document:
    """The merge state of one document. Mutable; only the fold changes it.

    ``facts`` maps a kind to its facts in tag order; a kind without facts is absent.
    """

    __slots__ = ("facts", "key")

    def __init__(self, key: DocKey) -> None:
        self.key = key
        self.facts: dict[str, list[Fact]] = {}

    @classmethod
    def decode(cls, key: DocKey, data: bytes) -> Document:
        """The document whose ``encode`` gave ``data``; ``CorruptionError`` when none did."""
        document = cls(key)
        try:
            document.facts = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise CorruptionError(f"state of {key.type} {key.id} does not decode") from error
        return document

    def encode(self) -> bytes:
        """Canonical bytes: equal sets of records give equal bytes."""
        return encode_state(self.facts)

    def insert(self, kind: str, fact: Fact) -> bool:
        """Add ``fact`` in tag order. False when it is there already (a duplicate delivery)."""
        facts = self.facts.get(kind)
        if facts is None:
            self.facts[kind] = [fact]
            return True
        if fact.tag > facts[-1].tag:
            facts.append(fact)
            return True
        at = bisect_left(facts, fact.tag, key=_tag_of)
        if facts[at].tag == fact.tag:
            return False
        facts.insert(at, fact)
        return True

    def holds(self, kind: str, fact: Fact) -> bool:
        """Whether ``fact`` is kept under ``kind``."""
        facts = self.facts.get(kind, [])
        at = bisect_left(facts, fact.tag, key=_tag_of)
        return at < len(facts) and facts[at].tag == fact.tag

    def of(self, *kinds: str) -> list[tuple[str, Fact]]:
        """Facts of ``kinds`` with their kind, oldest tag first."""
        found = [(kind, fact) for kind in kinds for fact in self.facts.get(kind, ())]
        if len(kinds) > 1:
            found.sort(key=lambda pair: pair[1].tag)
        return found

    def newest(self, *kinds: str) -> Fact | None:
        """The fact of ``kinds`` with the greatest tag."""
        last = [facts[-1] for kind in kinds if (facts := self.facts.get(kind))]
        return max(last, key=_tag_of, default=None)

    def drop_before(self, kind: str, tag: bytes) -> None:
        """Drop the facts of ``kind`` that are older than ``tag``."""
        facts = self.facts.get(kind, [])
        del facts[: bisect_left(facts, tag, key=_tag_of)]
        if not facts:
            self.facts.pop(kind, None)

    def replace(self, kinds: Iterable[str], kept: Iterable[tuple[str, Fact]]) -> None:
        """Keep only ``kept``, given in tag order, of the facts of ``kinds``."""
        for kind in kinds:
            self.facts.pop(kind, None)
        for kind, fact in kept:
            self.facts.setdefault(kind, []).append(fact)

    def __iter__(self) -> Iterator[Fact]:
        for facts in self.facts.values():
            yield from facts

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document):
            return NotImplemented
        return self.key == other.key and self.facts == other.facts

    __hash__ = None  # type: ignore[assignment]  # mutable


def tag_ms(tag: bytes) -> int:
    """Milliseconds of the merge stamp in ``tag``."""
    return stamp_ms(Stamp(tag[:STAMP_BYTES]))


def tag_node(tag: bytes) -> bytes:
    """The last eight bytes of the id of the device that wrote."""
    return stamp_node(Stamp(tag[:STAMP_BYTES]))


def tag_event(tag: bytes) -> bytes:
    """The event's id."""
    return tag[STAMP_BYTES:]
