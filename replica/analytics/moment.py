"""Moments: up to where the log counts, by position or by one of its two clocks.

*Received* asks what the office knew then; *event time* asks what had happened by then, whenever the
news of it came in: an order taken offline on Monday and brought home on Wednesday is in Monday by
event time, and in Wednesday by receipt.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import NamedTuple

from replica.errors import MisuseError
from replica.events.clock import stamp_ms
from replica.events.record import Record


class By(StrEnum):
    """Which clock a time is read on: when the server got an event, or when it happened (the merge
    stamp: the device's clock, corrected by what the server measured)."""

    RECEIVED = "received"
    EVENT_TIME = "event-time"


class Moment(NamedTuple):
    """Events at or before it count. With neither bound all do."""

    position: int | None = None
    time_ms: int | None = None
    by: By = By.RECEIVED

    def includes(self, position: int, record: Record) -> bool:
        """Whether this event counts."""
        if self.position is not None and position > self.position:
            return False
        if self.time_ms is None:
            return True
        happened = self.by is By.EVENT_TIME
        return (stamp_ms(record.stamp) if happened else record.received_ms) <= self.time_ms


NOW = Moment()


def parse_moment(text: str, by: By = By.RECEIVED) -> Moment:
    """``now``, a position, a day (its end) or a time in ISO 8601; UTC where no zone is named.

    Raises ``MisuseError`` for anything else.
    """
    if text == "now":
        return NOW
    if text.isascii() and text.isdigit():
        return Moment(position=int(text))
    try:
        return Moment(time_ms=_end_ms(text), by=by)
    except (ValueError, OverflowError) as error:
        raise MisuseError(
            f"{text!r} is no moment",
            hint="say now, a position such as 48211, or a time such as 2026-10-01T12:00Z",
        ) from error


def _end_ms(text: str) -> int:
    """The last millisecond that ``text`` names."""
    if len(text) == len("2026-10-01"):
        following = datetime.combine(date.fromisoformat(text) + timedelta(days=1), time(), UTC)
        return _ms(following) - 1
    said = datetime.fromisoformat(text)
    return _ms(said if said.tzinfo else said.replace(tzinfo=UTC))


def _ms(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
