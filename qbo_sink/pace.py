"""How fast one company may be called: two token buckets and a bound on calls at once.

The bucket is pure: it is told the time and says how long to wait. One slow company never slows
another, because each has buckets of its own (reliability §2.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

Sleep = Callable[[float], Awaitable[None]]


class Bucket:
    """``rate_per_s`` calls a second, ``capacity`` of them at once."""

    def __init__(self, rate_per_s: float, capacity: float) -> None:
        self._rate = rate_per_s
        self._capacity = capacity
        self._level = capacity
        self._at_ms: int | None = None

    def take(self, now_ms: int) -> int:
        """Take one call; the milliseconds to wait before making it."""
        if self._at_ms is not None:
            gained = max(now_ms - self._at_ms, 0) * self._rate / 1000
            self._level = min(self._capacity, self._level + gained)
        self._at_ms = now_ms
        self._level -= 1
        # A level below zero is a place in the queue.
        return 0 if self._level >= 0 else int(-self._level / self._rate * 1000) + 1


class Pace:
    """The allowance of one company."""

    def __init__(
        self,
        *,
        per_s: float,
        per_min: float,
        at_once: int,
        now_ms: Callable[[], int],
        sleep: Sleep,
    ) -> None:
        # A second's bucket of one spreads calls evenly, so no window of a second sees a burst.
        self._buckets = (Bucket(per_s, 1), Bucket(per_min / 60, max(per_min / 15, 1)))
        self._slots = asyncio.Semaphore(at_once)
        self._now_ms = now_ms
        self._sleep = sleep

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Hold a slot during one call, after waiting for the allowance."""
        async with self._slots:
            now_ms = self._now_ms()
            wait_ms = max(bucket.take(now_ms) for bucket in self._buckets)
            if wait_ms:
                await self._sleep(wait_ms / 1000)
            yield
