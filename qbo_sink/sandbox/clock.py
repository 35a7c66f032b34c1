"""The sandbox's clock: real time plus an offset that tests may move."""

from __future__ import annotations

import time
from collections.abc import Callable


def real_time_ms() -> int:
    """Unix milliseconds of the machine."""
    return time.time_ns() // 1_000_000


class Clock:
    """Unix milliseconds from ``source`` plus ``offset_ms``; the offset is kept in the books."""

    def __init__(self, source: Callable[[], int] = real_time_ms, offset_ms: int = 0) -> None:
        self.source = source
        self.offset_ms = offset_ms

    def now_ms(self) -> int:
        """The time that tokens, stamps, throttles and change feeds go by."""
        return self.source() + self.offset_ms
