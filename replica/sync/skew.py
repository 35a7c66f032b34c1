"""How far a device's clock is from ours, from samples taken on the open socket.

The sample with the shortest round trip counts (pitfalls P60). A sample that contradicts the ones
before it beyond what their round trips can explain means that somebody set the clock: the older
ones are then worth nothing.
"""

from __future__ import annotations

from replica.events.clock import ClockSample, best_offset_ms
from replica.limits import CLOCK_OFFSET_NOISE_MS, SKEW_SAMPLES_MAX


class Skew:
    """The samples of one connection."""

    def __init__(self) -> None:
        self._samples: tuple[ClockSample, ...] = ()

    @property
    def count(self) -> int:
        return len(self._samples)

    @property
    def offset_ms(self) -> int:
        """The device's clock minus ours; 0 before the first sample."""
        return best_offset_ms(self._samples)

    def add(self, sent_ms: int, peer_received_ms: int, peer_sent_ms: int, received_ms: int) -> None:
        """Take one exchange into account, or none at all when our own clock was set back in it.

        Impossible readings of the peer cost it precision only: when it claims to have held the
        probe longer than the probe was away, only the time of its reply is believed.
        """
        if received_ms < sent_ms:
            return
        sample = ClockSample(sent_ms, peer_received_ms, peer_sent_ms, received_ms)
        if not 0 <= sample.peer_sent_ms - sample.peer_received_ms <= received_ms - sent_ms:
            sample = ClockSample(sent_ms, peer_sent_ms, peer_sent_ms, received_ms)
        kept = self._samples if self._agrees(sample) else ()
        self._samples = (*kept, sample)[-SKEW_SAMPLES_MAX:]

    def _agrees(self, sample: ClockSample) -> bool:
        if not self._samples:
            return True
        best = min(self._samples, key=lambda kept: kept.round_trip_ms)
        slack_ms = (best.round_trip_ms + sample.round_trip_ms) // 2 + CLOCK_OFFSET_NOISE_MS
        return abs(sample.offset_ms - best.offset_ms) <= slack_ms
