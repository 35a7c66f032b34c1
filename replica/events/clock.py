"""The hybrid logical clock: pure, sixteen bytes, byte order is merge order.

A stamp is ``milliseconds (6 bytes) ‖ counter (2 bytes) ‖ node (8 bytes)``, big-endian
(wire-protocol.md §3). Comparing two stamps as bytes orders them; a database that compares blobs
byte by byte orders them the same way. No function here reads a clock: time is an argument.

Nothing in here ever refuses work because a clock is wrong. ``tick`` runs on the author's own
clock, ``correct`` decides once, at the door, what the merge will use (requirements CON-08).
"""

from __future__ import annotations

from typing import NamedTuple, NewType

from replica.errors import MisuseError
from replica.limits import (
    CLOCK_AHEAD_MS_MAX,
    CLOCK_MS_MAX,
    CLOCK_OFFSET_NOISE_MS,
    STAMP_COUNTER_MAX,
    STAMP_MS_MAX,
)

Stamp = NewType("Stamp", bytes)
"""Sixteen bytes. For deciding merges; never a cursor (ontology.md)."""

STAMP_BYTES = 16
NODE_BYTES = 8
ZERO_STAMP = Stamp(bytes(STAMP_BYTES))


def make_stamp(ms: int, counter: int, node: bytes) -> Stamp:
    """Build a stamp. ``ms`` is clamped into 48 bits so that no clock can make this fail."""
    if len(node) != NODE_BYTES or not 0 <= counter <= STAMP_COUNTER_MAX:
        raise MisuseError(f"node of {len(node)} bytes or counter {counter} out of range")
    clamped_ms = min(max(ms, 0), STAMP_MS_MAX)
    return Stamp((clamped_ms << 16 | counter).to_bytes(8, "big") + node)


def stamp_ms(stamp: Stamp) -> int:
    """Milliseconds since the Unix epoch in ``stamp``."""
    return int.from_bytes(stamp[:6], "big")


def stamp_counter(stamp: Stamp) -> int:
    return int.from_bytes(stamp[6:8], "big")


def stamp_node(stamp: Stamp) -> bytes:
    return stamp[8:]


def after(last: Stamp, ms: int, node: bytes) -> Stamp:
    """The smallest stamp of ``node`` that is at ``ms`` or later and greater than ``last``.

    The counter overflows into the next millisecond instead of failing, so a bulk import can never
    lock a device out (pitfalls P11, reliability D7).
    """
    # Milliseconds and counter are read as one number.
    next_tick = max(min(ms, CLOCK_MS_MAX) << 16, int.from_bytes(last[:8], "big") + 1)
    return make_stamp(next_tick >> 16, next_tick & STAMP_COUNTER_MAX, node)


def tick(last: Stamp, now_ms: int, node: bytes) -> Stamp:
    """The stamp of the next local event, strictly greater than ``last`` (the author's previous).

    ``now_ms`` is the device's own clock, right or wrong. Store the event and the new ``last`` in
    one transaction, so that a failed append leaves the clock where it was (pitfalls P13).
    """
    return after(last, now_ms, node)


class Corrected(NamedTuple):
    """What the door decides about an event's time, once and for all."""

    stamp: Stamp
    disputed: bool


def correct(raw: Stamp, *, offset_ms: int, received_ms: int, last: Stamp) -> Corrected:
    """The stamp that merges use, from the raw one.

    ``offset_ms`` is the author's clock minus ours, measured on the open socket; ``received_ms`` is
    our clock at receipt; ``last`` is the previous merge stamp of the same device and epoch.

    A time that would lie more than ``CLOCK_AHEAD_MS_MAX`` after its receipt is disputed and ordered
    by receipt. The order of one device's events is kept in every case: the result is always greater
    than ``last`` (pitfalls P18). Small offsets are noise and leave the raw stamp as it is.
    """
    applied_ms = 0 if abs(offset_ms) < CLOCK_OFFSET_NOISE_MS else offset_ms
    wanted_ms = stamp_ms(raw) - applied_ms
    if wanted_ms > received_ms + CLOCK_AHEAD_MS_MAX:
        return Corrected(after(last, received_ms, stamp_node(raw)), disputed=True)
    if applied_ms == 0 and raw > last:
        return Corrected(raw, disputed=False)
    shifted = make_stamp(wanted_ms, stamp_counter(raw), stamp_node(raw))
    if shifted > last:
        return Corrected(shifted, disputed=False)
    return Corrected(after(last, wanted_ms, stamp_node(raw)), disputed=False)


def standing_until(*, offset_ms: int, received_ms: int) -> Stamp:
    """How far raw stamps stand: :func:`correct` leaves every one that is greater than ``last`` and
    at most this as it is. Zero when the writer's clock is so wrong that every stamp moves."""
    if abs(offset_ms) >= CLOCK_OFFSET_NOISE_MS:
        return ZERO_STAMP
    latest_ms = received_ms + CLOCK_AHEAD_MS_MAX
    return make_stamp(latest_ms, STAMP_COUNTER_MAX, b"\xff" * NODE_BYTES)


class ClockSample(NamedTuple):
    """Four timestamps in ms: sent and received by us, received and sent by the peer."""

    sent_ms: int
    peer_received_ms: int
    peer_sent_ms: int
    received_ms: int

    @property
    def round_trip_ms(self) -> int:
        return (self.received_ms - self.sent_ms) - (self.peer_sent_ms - self.peer_received_ms)

    @property
    def offset_ms(self) -> int:
        """The peer's clock minus ours."""
        return (
            (self.peer_received_ms - self.sent_ms) + (self.peer_sent_ms - self.received_ms)
        ) // 2


def best_offset_ms(samples: tuple[ClockSample, ...]) -> int:
    """The offset of the smallest round trip; 0 when there is no sample (pitfalls P60)."""
    if not samples:
        return 0
    return min(samples, key=lambda sample: sample.round_trip_ms).offset_ms
