"""The frames of the sync protocol, version 1 (wire-protocol.md §4).

One websocket message is one frame: a msgpack array whose first element is the frame's number.
Readers ignore extra elements at the end of an array, which is how a later minor version adds a
field. The same frames travel in a carry file.

This module knows shapes only; what may be said when is in :mod:`replica.sync.peer`.
"""

from __future__ import annotations

from enum import IntEnum
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from replica.errors import Malformed, TooLarge
from replica.events.record import Outcome as Outcome  # noqa: PLC0414 - a word of the wire
from replica.events.record import Segment
from replica.limits import (
    DETAIL_BYTES_MAX,
    FRAME_BYTES_MAX,
    HELLO_KNOWS_MAX,
    SAFE_INTEGER_MAX,
    TOKEN_CHARS_MAX,
)

PROTOCOL_VERSION = 1
PROTOCOL_VERSION_MIN = 1
SUBPROTOCOL = "replica.v1"

Count = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX)]
"""A position, seq, epoch, number or count: never negative, exact in every language."""
Millis = Annotated[int, Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)]
"""A clock reading or difference. A peer's clock may say anything; it is not an error."""
Uuid = Annotated[bytes, Meta(min_length=16, max_length=16)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
MaybeUuid = Annotated[bytes, Meta(max_length=16)]
MaybeHash = Annotated[bytes, Meta(max_length=32)]
Code = Annotated[str, Meta(max_length=64)]
KNOWS_SCOPE = "scope"
"""In HELLO: the device can hold a part of its account (§14)."""
Words = Annotated[str, Meta(max_length=DETAIL_BYTES_MAX)]


class CloseCode(IntEnum):
    """Websocket close codes (§8)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    MALFORMED = 1007
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_AGAIN = 1013
    UPGRADE_REQUIRED = 4001
    UNAUTHENTICATED = 4003
    REVOKED = 4004
    TAKEN_OVER = 4009


CLOSE_CODES = MappingProxyType(
    {
        "closed": CloseCode.NORMAL,
        "malformed": CloseCode.MALFORMED,
        "too_large": CloseCode.TOO_LARGE,
        "protocol_violation": CloseCode.PROTOCOL,
        "gap": CloseCode.PROTOCOL,
        "forbidden": CloseCode.UNAUTHENTICATED,
        "revoked": CloseCode.REVOKED,
        "forked": CloseCode.POLICY,
        "timeout": CloseCode.POLICY,
        "upgrade_required": CloseCode.UPGRADE_REQUIRED,
        "taken_over": CloseCode.TAKEN_OVER,
        "store_unavailable": CloseCode.TRY_AGAIN,
        "storage_full": CloseCode.TRY_AGAIN,
        "overloaded": CloseCode.TRY_AGAIN,
        "restart": CloseCode.RESTART,
        "going_away": CloseCode.GOING_AWAY,
    }
)
"""Goodbye code → websocket close code (§8). A code that is not listed closes with INTERNAL."""


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Device → server, first frame. ``sent_ms`` is the device's clock."""

    version_min: int
    version_max: int
    token: Annotated[str, Meta(max_length=TOKEN_CHARS_MAX)]
    account: Uuid
    device: Uuid
    epoch: Count
    head_seq: Count  # the last seq this device has made in ``epoch``, 0 for none
    log_id: MaybeUuid  # empty when the device never met the server
    generation: Count
    cursor: Count  # everything up to here is durable on the device
    chain: MaybeHash  # chain hash at ``cursor``; empty for 0
    sent_ms: Millis
    software: Words
    knows: Annotated[
        tuple[Code, ...], Meta(max_length=HELLO_KNOWS_MAX)
    ] = ()  # what it can beyond the log


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Server → device. Answer with PROBE_REPLY at once; nothing may be pushed before it."""

    version: Count
    session: MaybeUuid  # 8 bytes, new for every connection
    log_id: Uuid
    generation: Count
    position: Count  # the account's head
    resume_after: Count  # cursor the server will stream from: the device's own, or 0 after a reset
    device_seq: Count  # end of this device's chain in its epoch, as the log knows it
    device_hash: Hash
    next_epoch: Count  # the epoch to continue with if the device finds its chain forked
    probe_sent_ms: Millis
    limits: dict[str, int]
    scope: Count = 0  # version of the scope that bounds this device (§14); 0: it gets the log


class ProbeReply(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Device → server: the device's clock when the probe arrived and when this left."""

    probe_sent_ms: Millis
    received_ms: Millis
    sent_ms: Millis


class Probe(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Server → device: another clock sample, please. ``offset_ms`` is the device's skew so far."""

    probe_sent_ms: Millis
    offset_ms: Millis


class Push(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Device → server: the next events of its chain, canonical bytes each, in seq order.

    ``first_seq`` places bytes that do not decode, so that a refusal can be told twice (§5).
    """

    number: Count  # per connection, from 1
    first_seq: Count
    events: tuple[bytes, ...]


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of ``count`` neighbouring events of a push."""

    outcome: Outcome
    count: Count
    first_position: Count = 0  # accepted and duplicate; 0 otherwise. Positions are consecutive
    received_ms: Millis = 0  # the server's clock at the first receipt; 0 where no position is
    code: Code = ""
    detail: Words = ""


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """What the door decided about one event's time, where it differs from the raw stamp."""

    index: Count  # into the push
    stamp: bytes
    flags: Count


class Result(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Server → device, after the commit: one verdict per event, in the order of the push.

    It covers only the first events of the push when GOODBYE follows at once (a fork, §6).
    """

    number: Count
    verdicts: tuple[Verdict, ...]
    decisions: tuple[Decision, ...] = ()


class Events(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Server → device: the log up to ``through``. Without segments it only moves the cursor."""

    through: Count
    chain: Hash
    segments: tuple[Segment, ...]


class Cursor(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Device → server: everything up to ``position`` is durable here. Opens the window."""

    position: Count


class DigestRequest(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Either way: what is your state at exactly ``position``? 0 asks for the current one."""

    position: Count


class SectionDigest(msgspec.Struct, frozen=True, array_like=True):
    """One document type: how many documents, and the sum of their hashes (§7)."""

    section: Code
    count: Count
    digest: Hash


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """The answer: the position it holds for and one line per section, sorted by name."""

    position: Count
    sections: tuple[SectionDigest, ...]
    pending: Count = 0  # own events not yet acknowledged (always 0 from the server)


class SyncRequest(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """Server → device: somebody pressed Sync Now; push what you hold, then send DIGEST."""

    run: Code


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """Either way, last frame before a close: why, and when to come back (full jitter, ms)."""

    code: Code
    message: Words
    close_code: Count
    retry_after_ms: Count = 0
    next_epoch: Count = 0  # with code "forked"


Frame = (
    Hello
    | Welcome
    | ProbeReply
    | Probe
    | Push
    | Result
    | Events
    | Cursor
    | DigestRequest
    | Digest
    | SyncRequest
    | Goodbye
)

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)


def bounded(text: str) -> str:
    """``text`` cut to ``DETAIL_BYTES_MAX`` bytes, so that 500 verdicts always fit in a frame."""
    data = text.encode("utf-8", "replace")
    return (
        text if len(data) <= DETAIL_BYTES_MAX else data[:DETAIL_BYTES_MAX].decode("utf-8", "ignore")
    )


def encode_frame(frame: Frame) -> bytes:
    """Bytes of one websocket message."""
    return _encoder.encode(frame)


def decode_frame(data: bytes) -> Frame:
    """Raises ``TooLarge`` above ``FRAME_BYTES_MAX``, ``Malformed`` for anything unknown."""
    if len(data) > FRAME_BYTES_MAX:
        raise TooLarge("frame bytes", limit=FRAME_BYTES_MAX, actual=len(data))
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not a frame: {error}") from error
