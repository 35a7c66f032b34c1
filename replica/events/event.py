"""The event: the only thing that is ever written.

An event is immutable. Its canonical bytes (wire-protocol.md §2) are a msgpack array, its identity
is their SHA-256, and ``prev`` chains it to the author's previous event, so that a cloned device or
a restored backup shows as a fork.

    [1, account, device, epoch, seq, prev, stamp, kind, version, deps, payload]

The payload is carried as opaque bytes: whoever does not know the kind stores and forwards it bit
for bit (reliability I-13).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Annotated, Final, Literal, NewType

import msgspec
from msgspec import Meta

from replica.errors import Malformed, TooLarge
from replica.events.clock import STAMP_BYTES, Stamp
from replica.limits import DEPS_MAX, EVENT_BYTES_MAX, ID_CHARS_MAX

AccountId = NewType("AccountId", bytes)
"""Sixteen bytes. Every key of every table starts with it."""
DeviceId = NewType("DeviceId", bytes)
"""Sixteen bytes, given at enrolment."""
EventId = NewType("EventId", bytes)
"""SHA-256 of the event's canonical bytes."""
Seq = NewType("Seq", int)
"""Per device and epoch, gapless from 1. For finding losses; never orders two devices."""
Position = NewType("Position", int)
"""Commit order of one account in one log, gapless from 1. For cursors; never leaves its log."""

EVENT_FORMAT: Final = 1
HASH_BYTES = 32
UUID_BYTES = 16
GENESIS = EventId(bytes(HASH_BYTES))
"""``prev`` of the first event of a device and epoch."""


_Uuid = Annotated[bytes, Meta(min_length=UUID_BYTES, max_length=UUID_BYTES)]
_Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One immutable fact. Field order is the canonical order; nothing may be added in between.

    The types are the shapes of §2, so that decoding checks them in the same pass.
    """

    format: Literal[1]  # EVENT_FORMAT
    account: _Uuid
    device: _Uuid
    epoch: Annotated[int, Meta(ge=0, lt=2**31)]
    seq: Annotated[int, Meta(ge=1, lt=2**53)]
    prev: _Hash
    stamp: Annotated[bytes, Meta(min_length=STAMP_BYTES, max_length=STAMP_BYTES)]
    kind: Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]  # ASCII
    version: Annotated[int, Meta(ge=1, lt=2**16)]
    deps: Annotated[tuple[_Hash, ...], Meta(max_length=DEPS_MAX)]
    payload: bytes


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Event)


def event_id(data: bytes) -> EventId:
    """Identity of an event from its canonical bytes."""
    return EventId(sha256(data).digest())


def encode_event(event: Event) -> bytes:
    """Canonical bytes of ``event``. The caller has checked it with :func:`check_event`."""
    return _encoder.encode(event)


def decode_event(data: bytes) -> Event:
    """Decode and check canonical bytes.

    Raises ``TooLarge`` above ``EVENT_BYTES_MAX`` and ``Malformed`` for anything that is not the
    one canonical form: ``encode_event(decode_event(data)) == data`` whenever this returns.
    """
    if len(data) > EVENT_BYTES_MAX:
        raise TooLarge("event bytes", limit=EVENT_BYTES_MAX, actual=len(data))
    try:
        event = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not an event: {error}") from error
    _check_between(event)
    if _encoder.encode(event) != data:
        raise Malformed("event bytes are not canonical")
    return event


def decode_events(data: Sequence[bytes]) -> list[Event]:
    """:func:`decode_event` of every one, in passes over all of them: half the time of one by one.

    Raises when any of them does not pass, without saying which.
    """
    if any(len(one) > EVENT_BYTES_MAX for one in data):
        raise TooLarge("event bytes", limit=EVENT_BYTES_MAX, actual=max(map(len, data)))
    try:
        events = list(map(_decoder.decode, data))
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not an event: {error}") from error
    for event in events:
        _check_between(event)
    if not encodes_to(_encoder, events, data):
        raise Malformed("event bytes are not canonical")
    return events


def encodes_to(
    encoder: msgspec.msgpack.Encoder, values: Sequence[object], data: Sequence[bytes]
) -> bool:
    """Whether every value, decoded from the bytes at its place, is encoded to the same bytes.

    Encoded together and compared once. That proves each: no msgpack value is the beginning of
    another, so where the first one differed, the rest could not agree.
    """
    return encoder.encode(values) == array_header(len(values)) + b"".join(data)


def array_header(count: int) -> bytes:
    """The msgpack header of an array of ``count`` elements."""
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")


def check_event(event: Event) -> None:
    """Raise unless every envelope field has its documented shape (§2); for authors."""
    decode_event(encode_event(event))


def _check_between(event: Event) -> None:
    """What the types of the fields do not say."""
    if event.stamp[8:] != event.device[8:]:
        raise Malformed("the stamp's node is not the last eight bytes of the device id")
    if not event.kind.isascii():
        raise Malformed("kind is ASCII")


def event_stamp(event: Event) -> Stamp:
    """The author's raw stamp."""
    return Stamp(event.stamp)


def device_node(device: bytes) -> bytes:
    """The node part of a device's stamps: the last eight bytes of its id."""
    return device[8:]
