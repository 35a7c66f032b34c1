"""How fast one company may be called: two token buckets and a bound on calls at once.

A bucket is pure: it is told the time and says how long to wait. One slow company never slows
another, because each has buckets of its own (reliability §2.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from math import ceil

Sleep = Callable[[float], Awaitable[None]]


class Bucket:
    """``rate_per_s`` calls a second, ``capacity`` of them at once."""

    def __init__(self, rate_per_s: float, capacity: float) -> None:
        self._rate = rate_per_s
        self._capacity = capacity
        self._level = capacity
        self._at_ms: int | None = None

    def wait_ms(self, now_ms: int) -> int:
        """How long until a call is allowed; zero when it is now."""
        self._fill(now_ms)
        missing = 1 - self._level
        return 0 if missing <= 0 else ceil(missing / self._rate * 1000)

    def take(self, now_ms: int) -> None:
        """A call is made now."""
        self._fill(now_ms)
        self._level -= 1

    def _fill(self, now_ms: int) -> None:
        if self._at_ms is not None:
            gained = max(now_ms - self._at_ms, 0) * self._rate / 1000
            self._level = min(self._capacity, self._level + gained)
        self._at_ms = now_ms


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
        self._turn = asyncio.Lock()
        self._now_ms = now_ms
        self._sleep = sleep

    @asynccontextmanager
    async def call(self) -> AsyncIterator[None]:
        """Hold a slot during one call, after waiting for the allowance.

        One caller waits at a time and the call counts when it leaves: after a stall of the process
        the callers that overslept do not leave together.
        """
        async with self._slots:
            async with self._turn:
                while wait_ms := max(bucket.wait_ms(self._now_ms()) for bucket in self._buckets):
                    await self._sleep(wait_ms / 1000)
                for bucket in self._buckets:
                    bucket.take(self._now_ms())
            yield
