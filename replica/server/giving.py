"""Who waits for an answer goes first: how long work in a thread makes room for the door.

Three threads that want the interpreter get a third of it each, whatever it is for: the event loop,
the log's writer and a step of the read models. A step has time, an answer has not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from replica.limits import PROJECTION_REST_MS_MAX, PROJECTION_SLICE_US

SLICE_S = PROJECTION_SLICE_US / 1_000_000
REST_S = PROJECTION_REST_MS_MAX / 1_000


class Busy(Protocol):
    """What is asked of the door. From any thread."""

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer, or did a moment ago."""
        ...

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for an answer right now."""
        ...


class Giving:
    """The pause (:mod:`replica.projections.pause`) of one step: after ``PROJECTION_SLICE_US`` of
    work it waits until nobody waits at the door, ``PROJECTION_REST_MS_MAX`` in all."""

    def __init__(
        self,
        door: Busy,
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._door = door
        self._monotonic_s = monotonic_s
        self._sleep = sleep
        self._rest_s = REST_S
        self._due_s = monotonic_s() + SLICE_S

    def __call__(self) -> None:
        now_s = self._monotonic_s()
        if now_s < self._due_s:
            return
        while self._rest_s > 0 and self._door.waited_for:
            self._sleep(SLICE_S)
            before_s, now_s = now_s, self._monotonic_s()
            self._rest_s -= now_s - before_s
        self._due_s = now_s + SLICE_S
