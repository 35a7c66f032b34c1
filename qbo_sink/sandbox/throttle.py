"""Request limits per realm (section 1.11), counted in sliding windows."""

from __future__ import annotations

from collections import deque

from qbo_sink.sandbox.faults import throttled

PER_MINUTE = 500
PER_SECOND = 10
BATCHES_PER_MINUTE = 40
# How long an answer over a port takes at least. The product is never faster, so a client that
# waits for each answer before it asks again never meets a limit there, and must not meet one here.
ANSWER_S = 0.125


class Throttle:
    """Counts what was let through; a refused request does not count."""

    def __init__(self) -> None:
        self._calls: dict[tuple[str, str], deque[int]] = {}

    def admit(self, realm: str, now_ms: int, *, batch: bool) -> None:
        """Raises ``Refused`` (429) when a window of ``realm`` is full."""
        windows = [("minute", 60_000, PER_MINUTE), ("second", 1_000, PER_SECOND)]
        if batch:
            windows.append(("batch", 60_000, BATCHES_PER_MINUTE))
        rows = []
        for name, span_ms, limit in windows:
            row = self._calls.setdefault((realm, name), deque())
            while row and not now_ms - span_ms < row[0] <= now_ms:
                row.popleft()
            if len(row) >= limit:
                raise throttled()
            rows.append(row)
        for row in rows:
            row.append(now_ms)

    def forget(self) -> None:
        """Empty every window."""
        self._calls.clear()
