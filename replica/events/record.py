"""What the log keeps: events as the author made them, plus what the door decided about them.

A *record* is an accepted event with the decision of its time. A *segment* is a run of records of
one device that was committed together; it is what the log stores in one row, what a reader gets
and what the wire carries, byte for byte, never re-encoded (performance.md "what buys speed").

    record  = [event bytes, merge stamp | nil (the raw stamp stands), flags]
    segment = first position, chain hash after it, device, epoch, origin, received_ms, records
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum, IntFlag
from hashlib import sha256
from typing import NamedTuple

import msgspec

from replica.errors import CorruptionError
from replica.events.clock import Stamp
from replica.events.event import (
    Event,
    EventId,
    Position,
    array_header,
    decode_event,
    event_id,
)


class Origin(IntEnum):
    """Who wrote, as the server saw it; set at the door, never claimed (architecture.md §4)."""

    DEVICE = 1
    WEB = 2
    SINK = 3
    IMPORT = 4


class Flag(IntFlag):
    """Decisions of the door that travel with the event."""

    NONE = 0
    DISPUTED = 1  # the time was in dispute; the order is by receipt


class Outcome(IntEnum):
    """What became of one event at the door. Durable: asking again gives the same answer
    (wire-protocol.md §5)."""

    ACCEPTED = 1
    DUPLICATE = 2
    QUARANTINED = 3
    REFUSED = 4


class Record(NamedTuple):
    """One accepted event, decoded, ready for the fold."""

    id: EventId
    event: Event
    stamp: Stamp  # the merge stamp: the corrected one when there is one
    flags: int
    origin: int
    received_ms: int

    @property
    def tag(self) -> bytes:
        """48 bytes: merge stamp, then event id. Byte order is merge order with ties decided."""
        return self.stamp + self.id


class _RawRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    event: bytes
    stamp: bytes | None
    flags: int


class Segment(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A committed run of records of one device. Positions are ``first .. first + count - 1``."""

    first: int
    count: int
    chain: bytes  # hash of the account's log after the last record
    device: bytes
    epoch: int
    origin: int
    received_ms: int
    records: bytes  # ``count`` encoded records, one after the other

    @property
    def last(self) -> Position:
        return Position(self.first + self.count - 1)


_encode = msgspec.msgpack.Encoder().encode
_decode_all = msgspec.msgpack.Decoder(list[_RawRecord])


def encode_record(event_bytes: bytes, stamp: Stamp | None, flags: int) -> bytes:
    """One record. ``stamp`` is None when the author's own stamp stands."""
    return _encode((event_bytes, stamp, flags))


def encode_records(events: Sequence[bytes]) -> bytes:
    """:func:`encode_record` of each, one after the other: every stamp stands, no flags."""
    together = _encode([(event, None, 0) for event in events])
    return together[len(array_header(len(events))) :]


def raw_records(segment: Segment) -> list[tuple[bytes, bytes | None, int]]:
    """The encoded events of a segment with their decisions, without decoding the events.

    Raises ``CorruptionError`` when the stored bytes are not ``count`` records.
    """
    try:
        rows = _decode_all.decode(array_header(segment.count) + segment.records)
    except msgspec.MsgspecError as error:
        raise CorruptionError(f"segment at {segment.first} does not decode: {error}") from error
    return [(row.event, row.stamp, row.flags) for row in rows]


def records(segment: Segment) -> Iterator[tuple[Position, Record]]:
    """Every record of a segment with its position, in order."""
    for offset, (data, stamp, flags) in enumerate(raw_records(segment)):
        event = decode_event(data)
        yield (
            Position(segment.first + offset),
            Record(
                id=event_id(data),
                event=event,
                stamp=Stamp(event.stamp if stamp is None else stamp),
                flags=flags,
                origin=segment.origin,
                received_ms=segment.received_ms,
            ),
        )


def extend_chain(chain: bytes, ids: Sequence[bytes]) -> bytes:
    """The account's chain hash after appending events ``ids``: h' = SHA-256(h ‖ id), one by one.

    It names everything below a position, so a cursor from another history is noticed
    (reliability I-6).
    """
    for identity in ids:
        chain = sha256(chain + identity).digest()
    return chain
