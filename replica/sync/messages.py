"""The frames of the sync protocol, version 1 (wire-protocol.md §4).

One websocket message is one frame: a msgpack array whose first element is the frame's number.
Readers ignore extra elements at the end of an array, which is how a later minor version adds a
field. The same frames travel in a carry file.

This module knows shapes only; what may be said when is in :mod:`replica.sync.peer`.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from replica.errors import Malformed, TooLarge
from replica.events.record import Segment
from replica.limits import FRAME_BYTES_MAX

PROTOCOL_VERSION = 1
PROTOCOL_VERSION_MIN = 1
SUBPROTOCOL = "replica.v1"


class Outcome(IntEnum):
    """What became of one pushed event. Durable: asking again gives the same answer (§5)."""

    ACCEPTED = 1
    DUPLICATE = 2
    QUARANTINED = 3
    REFUSED = 4


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


class Hello(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Device → server, first frame. ``sent_ms`` is the device's clock."""

    version_min: int
    version_max: int
    token: str
    account: bytes
    device: bytes
    epoch: int
    head_seq: int  # the last seq this device has made in ``epoch``, 0 for none
    log_id: bytes  # empty when the device never met the server
    generation: int
    cursor: int  # everything up to here is durable on the device
    chain: bytes  # chain hash at ``cursor``; empty for 0
    sent_ms: int
    software: str


class Welcome(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """Server → device. Answer with PROBE_REPLY at once; nothing may be pushed before it."""

    version: int
    session: bytes  # 8 bytes, new for every connection
    log_id: bytes
    generation: int
    position: int  # the account's head
    resume_after: int  # cursor the server will stream from: the device's own, or 0 after a reset
    device_seq: int  # end of this device's chain in its epoch, as the log knows it
    device_hash: bytes
    next_epoch: int  # the epoch to continue with if the device finds its chain forked
    probe_sent_ms: int
    limits: dict[str, int]


class ProbeReply(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """Device → server: the device's clock when the probe arrived and when this left."""

    probe_sent_ms: int
    received_ms: int
    sent_ms: int


class Probe(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Server → device: another clock sample, please. ``offset_ms`` is the device's skew so far."""

    probe_sent_ms: int
    offset_ms: int


class Push(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """Device → server: the next events of its chain, canonical bytes each, in seq order."""

    number: int  # per connection, from 1
    events: tuple[bytes, ...]


class Verdict(msgspec.Struct, frozen=True, array_like=True):
    """The outcome of ``count`` neighbouring events of a push."""

    outcome: Outcome
    count: int
    first_position: int  # accepted and duplicate; 0 otherwise. Positions are consecutive
    received_ms: int
    code: str = ""
    detail: str = ""


class Decision(msgspec.Struct, frozen=True, array_like=True):
    """What the door decided about one event's time, where it differs from the raw stamp."""

    index: int  # into the push
    stamp: bytes
    flags: int


class Result(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """Server → device, after the commit: one verdict per event, in the order of the push."""

    number: int
    verdicts: tuple[Verdict, ...]
    decisions: tuple[Decision, ...]
    device_seq: int
    device_hash: bytes


class Events(msgspec.Struct, frozen=True, array_like=True, tag=20):
    """Server → device: the log up to ``through``. Without segments it only moves the cursor."""

    through: int
    chain: bytes
    segments: tuple[Segment, ...]


class Cursor(msgspec.Struct, frozen=True, array_like=True, tag=21):
    """Device → server: everything up to ``position`` is durable here. Opens the window."""

    position: int


class DigestRequest(msgspec.Struct, frozen=True, array_like=True, tag=40):
    """Either way: what is your state at exactly ``position``? 0 asks for the current one."""

    position: int


class SectionDigest(msgspec.Struct, frozen=True, array_like=True):
    """One document type: how many documents, and the sum of their hashes (§7)."""

    section: str
    count: int
    digest: bytes


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=41):
    """The answer: the position it holds for and one line per section, sorted by name."""

    position: int
    sections: tuple[SectionDigest, ...]
    pending: int  # own events not yet acknowledged (always 0 from the server)


class SyncRequest(msgspec.Struct, frozen=True, array_like=True, tag=42):
    """Server → device: somebody pressed Sync Now; push what you hold, then send DIGEST."""

    run: str


class Goodbye(msgspec.Struct, frozen=True, array_like=True, tag=31):
    """Either way, last frame before a close: why, and when to come back (full jitter, ms)."""

    code: str
    message: str
    close_code: int
    retry_after_ms: int = 0
    next_epoch: int = 0  # with code "forked"


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


def encode_frame(frame: Frame) -> bytes:
    """Bytes of one websocket message."""
    return _encoder.encode(frame)


def decode_frame(data: bytes) -> Frame:
    """Raises ``TooLarge`` above ``FRAME_BYTES_MAX``, ``Malformed`` for anything unknown."""
    if len(data) > FRAME_BYTES_MAX:
        raise TooLarge("frame bytes", limit=FRAME_BYTES_MAX, actual=len(data))
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise Malformed(f"not a frame: {error}") from error
