"""What one device still has to get, and how much of it may be on the way.

The log is the queue. In here lie two numbers, how far the device was served (``passed``) and how
far the log is known to go (``head``), and the sizes of the frames not confirmed yet. A committed
batch that joins on is sent as it is; whatever does not join on, or does not fit in the window, is
read from the log when its turn comes. So a slow reader costs ``UNCONFIRMED_BYTES_MAX`` and loses
nothing (pitfalls P38, P5).

A device does not get its own segments back. For those only its cursor moves, and that is *owed*
rather than sent at once: one frame tells it about many.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from replica.errors import ProtocolViolation
from replica.events.record import Segment
from replica.limits import (
    EVENTS_BYTES_TARGET,
    FRAME_BYTES_MAX,
    UNCONFIRMED_BYTES_MAX,
    WINDOW_FRAME_BYTES_MIN,
)
from replica.sync.effects import Offer, Read
from replica.sync.messages import Events, encode_frame


class Downstream:
    """The way of the log to one device. ``own`` is the (device, epoch) it writes as; its segments
    are left out above ``own_after``, which is not 0 after a reset (§6). A ``scoped`` device gets
    what it said itself in earlier lives, and else only its cursor (§14)."""

    def __init__(
        self,
        *,
        after: int,
        head: int,
        own: tuple[bytes, int],
        own_after: int,
        scoped: bool = False,
    ) -> None:
        self.passed = after
        self.head = max(head, after)
        self.confirmed = after
        self.reading = False
        self._own = own
        self._own_after = own_after
        self._scoped = scoped
        self._unconfirmed: deque[tuple[int, int]] = deque()  # (through, bytes)
        self._unconfirmed_bytes = 0
        self._sent_through = after
        self._owed: Events | None = None

    @property
    def behind(self) -> bool:
        """Whether the log is known to hold more than was served."""
        return self.head > self.passed

    @property
    def owes(self) -> bool:
        """Whether a frame that only moves the cursor is due."""
        return self._owed is not None

    @property
    def unconfirmed_bytes(self) -> int:
        return self._unconfirmed_bytes

    def offer(self, offer: Offer, *, hold: bool = False) -> bytes | None:
        """The frame to send for a batch just committed; None when there is nothing to send now.

        With ``hold`` the work of others is left to be read from the log later.
        """
        self.head = max(self.head, offer.last)
        if self.reading or offer.first != self.passed + 1 or not self._room(len(offer.frame)):
            return None
        if not self._scoped and self._own not in offer.writers:  # as nearly always
            return None if hold else self._pass(offer.last, offer.frame)
        kept = self._kept(offer.segments)
        if kept and hold:
            return None
        if len(kept) == len(offer.segments):
            return self._pass(offer.last, offer.frame)
        return self._serve(offer.segments, kept)

    def skip(self, through: int, chain: bytes) -> None:
        """The log up to ``through`` holds nothing for this device: owe it the cursor."""
        if through > self.passed:
            self.passed = through
            self._owed = Events(through, chain, ())

    def page(self, segments: Sequence[Segment]) -> bytes | None:
        """The frame to send for a page that was read; None when it held own segments only."""
        self.reading = False
        if not segments:
            return None
        assert segments[0].first == self.passed + 1, "a page begins where it was asked to"
        self.head = max(self.head, segments[-1].last)
        return self._serve(segments, self._kept(segments))

    def next_read(self) -> Read | None:
        """The page to read now: there is one, none is under way, and a frame would fit."""
        if self.reading or not self.behind or not self._room(FRAME_BYTES_MAX):
            return None
        self.reading = True
        return Read(self.passed, EVENTS_BYTES_TARGET)

    def flush(self) -> bytes | None:
        """The owed frame, if one is owed and the window has room for it."""
        if self._owed is None or not self._room(WINDOW_FRAME_BYTES_MIN):
            return None
        return self._pass(self._owed.through, encode_frame(self._owed))

    def confirm(self, position: int) -> None:
        """The device holds everything up to ``position``. Raises ``ProtocolViolation`` when that
        was never sent, or was taken back."""
        if not self.confirmed <= position <= self._sent_through:
            raise ProtocolViolation(
                f"cursor {position} is not between {self.confirmed} and {self._sent_through}"
            )
        self.confirmed = position
        while self._unconfirmed and self._unconfirmed[0][0] <= position:
            self._unconfirmed_bytes -= self._unconfirmed.popleft()[1]

    def _kept(self, segments: Sequence[Segment]) -> tuple[Segment, ...]:
        """What of ``segments`` the device gets."""
        return tuple(
            one
            for one in segments
            if ((one.device, one.epoch) != self._own or one.first <= self._own_after)
            and (not self._scoped or one.device == self._own[0])
        )

    def _serve(self, segments: Sequence[Segment], kept: tuple[Segment, ...]) -> bytes | None:
        last = segments[-1]
        frame = Events(last.last, last.chain, kept)
        if kept:
            return self._pass(last.last, encode_frame(frame))
        self._owed = frame
        self.passed = last.last
        return None

    def _pass(self, through: int, frame: bytes) -> bytes:
        size = max(len(frame), WINDOW_FRAME_BYTES_MIN)
        self._unconfirmed.append((through, size))
        self._unconfirmed_bytes += size
        self._owed = None
        self._sent_through = through
        self.passed = max(self.passed, through)
        return frame

    def _room(self, size: int) -> bool:
        return self._unconfirmed_bytes + size <= UNCONFIRMED_BYTES_MAX
