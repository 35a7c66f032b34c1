"""When the next automatic run is due. Pure; safe at the changes of daylight saving.

Schedules: ``never``, ``hourly``, ``daily HH:MM``, ``weekly DAY HH:MM`` (DAY is mon … sun), in the
account's zone (QB-12, QB-13). The next wall time is computed first and turned into an instant last,
so a time that does not exist falls to the moment after the gap, and one that exists twice is taken
once. Missed runs collapse into one.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from replica.errors import MisuseError

HOUR_MS = 3_600_000
JITTER_MS_MAX = 300_000
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_PATTERN = re.compile(r"(?:daily|weekly (mon|tue|wed|thu|fri|sat|sun)) ([01]\d|2[0-3]):([0-5]\d)")


class Schedule(NamedTuple):
    """A parsed schedule. ``every`` is never, hourly, daily or weekly."""

    every: str
    at: time = time(0)
    weekday: int = 0


def parse(text: str) -> Schedule:
    """The schedule that ``text`` says; ``daily`` and ``weekly`` alone mean 03:00 and Monday.

    Raises ``MisuseError`` for anything else.
    """
    said = " ".join(text.lower().split()) or "never"
    if said in ("never", "hourly"):
        return Schedule(said)
    said = {"daily": "daily 03:00", "weekly": "weekly mon 03:00"}.get(said, said)
    match = _PATTERN.fullmatch(said)
    if match is None:
        raise MisuseError(
            f"{text!r} is no schedule", hint="never, hourly, daily 03:00 or weekly mon 03:00"
        )
    at = time(int(match[2]), int(match[3]))
    return Schedule(said.split()[0], at, DAYS.index(match[1]) if match[1] else 0)


def zone(name: str) -> ZoneInfo:
    """The time zone ``name``; ``MisuseError`` when there is none of that name."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise MisuseError(f"{name!r} is no time zone") from error


def next_due(schedule: Schedule, tz: ZoneInfo, last_ms: int, now_ms: int) -> int | None:
    """When the run after ``last_ms`` is due, in epoch milliseconds; None for never.

    ``last_ms`` is the start of the last run, zero for none. The answer may lie in the past: then
    exactly one run is owed, however many were missed.
    """
    if schedule.every == "never":
        return None
    last_ms = last_ms or now_ms
    if schedule.every == "hourly":
        return last_ms + HOUR_MS
    local = datetime.fromtimestamp(last_ms / 1000, tz)
    day = local.date()
    for _ in range(9):
        if schedule.every == "daily" or day.weekday() == schedule.weekday:
            due_ms = _instant(datetime.combine(day, schedule.at), tz)
            if due_ms > last_ms:
                return due_ms
        day += timedelta(days=1)
    return None


def jitter_ms(realm: str) -> int:
    """A company's own delay, so that not every company starts at the full hour."""
    return int(realm[-6:] or "0") % JITTER_MS_MAX if realm.isdecimal() else 0


def _instant(wall: datetime, tz: ZoneInfo) -> int:
    """The instant of a wall time; one in a gap counts as if the clock had not been changed."""
    moment = wall.replace(tzinfo=tz, fold=0).astimezone(UTC)
    return int(moment.timestamp() * 1000)
