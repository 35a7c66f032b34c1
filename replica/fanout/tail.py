"""The newest segments of the accounts that somebody reads, in memory.

Whoever is a little behind (a device that pushed first and now hears what the others pushed, one
whose window was full for a moment) takes its pages from here; the log is asked for what is older.
Only what was committed comes in, so a page from here is the page the log would give.

Everything here runs on one event loop; nothing locks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from itertools import islice

from replica.events.event import AccountId
from replica.events.record import Segment
from replica.limits import TAIL_BYTES_MAX


class Tail:
    """Segments by account, the oldest of all given up first above ``limit_bytes`` of records."""

    def __init__(self, limit_bytes: int = TAIL_BYTES_MAX) -> None:
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._order: deque[tuple[AccountId, deque[Segment]]] = deque()  # as they came
        self._by_account: dict[AccountId, deque[Segment]] = {}

    def add(self, account: AccountId, segments: Sequence[Segment]) -> None:
        """Keep what one commit wrote. What does not join on begins anew: another process wrote
        what is missing."""
        for segment in segments:
            kept = self._by_account.setdefault(account, deque())
            if kept and kept[-1].last + 1 != segment.first:
                kept = self._by_account[account] = deque()
            kept.append(segment)
            self._order.append((account, kept))
            self._bytes += len(segment.records)
        while self._bytes > self._limit_bytes:
            oldest, kept = self._order.popleft()
            self._bytes -= len(kept.popleft().records)
            if not kept and self._by_account.get(oldest) is kept:
                del self._by_account[oldest]

    def read(self, account: AccountId, after: int, limit_bytes: int) -> list[Segment] | None:
        """The page that ``Log.read`` would give; None when it begins before what is kept, or is
        empty as far as known here."""
        kept = self._by_account.get(account)
        if not kept or not kept[0].first <= after + 1 <= kept[-1].last:
            return None
        page: list[Segment] = []
        size = 0
        for segment in islice(kept, bisect_right(kept, after, key=_last), None):
            size += len(segment.records)
            if page and size > limit_bytes:
                break
            page.append(segment)
        return page if page[0].first == after + 1 else None


def _last(segment: Segment) -> int:
    return segment.last
