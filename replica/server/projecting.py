"""Keeping the read models in step with the log, in the background and out of the way.

Acknowledgements come first: while writes are waiting, steps are small and the pauses between them
are as long as the steps, so half of the time belongs to the door; but a step is taken at least
every ``PROJECTION_DELAY_MS_MAX``, so pages and sinks never fall behind without bound.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable

from replica.errors import StoreFailed, WorldError
from replica.events.event import AccountId, Position
from replica.events.ports import Log
from replica.fanout.local import LocalHub, Wakeups
from replica.limits import (
    PROJECTION_BUSY_BYTES,
    PROJECTION_DELAY_MS_MAX,
    PROJECTION_POLL_MS,
    PROJECTION_STEP_BYTES_MAX,
)
from replica.projections.runner import Projector
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.sync.messages import SectionDigest

DIGEST_WAIT_S = 5.0


class Projecting:
    """The runner. ``busy`` says whether writes wait; ``reached`` hears of every step."""

    def __init__(
        self,
        projector: Projector,
        log: Log,
        hub: LocalHub,
        *,
        accounts: Callable[[], Iterable[AccountId]],
        busy: Callable[[], bool],
        reached: Callable[[AccountId, Position], None],
        on_failed: Callable[[StoreFailed], None],
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        self.projector = projector
        self._log = log
        self._hub = hub
        self._accounts = accounts
        self._busy = busy
        self._reached = reached
        self._on_failed = on_failed
        self._metrics = metrics
        self._logger = logger
        self._task: asyncio.Task[None] | None = None
        self._positions: dict[AccountId, Position] = {}
        self.failed_since_s: float | None = None

    def start(self) -> None:
        """Begin; the first round catches up every account."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Finish the step at hand."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def wait(self, account: AccountId, position: int, timeout_s: float) -> bool:
        """Whether the read models include ``position`` by now; helps instead of waiting."""
        return await asyncio.to_thread(self.projector.wait, account, Position(position), timeout_s)

    async def digest_at(
        self, account: AccountId, position: int
    ) -> tuple[Position, tuple[SectionDigest, ...]]:
        """Section digests and the position they hold for: ``position`` if the read models can be
        brought exactly there, else where they are."""
        if position:
            await self.wait(account, position, DIGEST_WAIT_S)
        reached, totals = await asyncio.to_thread(self.projector.digest, account)
        return reached, tuple(SectionDigest(*total) for total in totals)

    async def _run(self) -> None:
        wakeups = Wakeups(self._hub)
        due: set[AccountId] | None = None
        try:
            while True:
                try:
                    due = await self._work(wakeups, due)
                    self.failed_since_s = None
                except WorldError as error:
                    self.failed_since_s = self.failed_since_s or time.monotonic()
                    self._logger.warning("projection waits", error=str(error), code=error.code)
                    await asyncio.sleep(PROJECTION_POLL_MS / 1_000)
        except StoreFailed as error:
            self._on_failed(error)
        finally:
            wakeups.close()

    async def _work(self, wakeups: Wakeups, due: set[AccountId] | None) -> set[AccountId]:
        """Step until nothing is due, then wait for news. Without news, look for oneself."""
        if due is None:
            due = set(await asyncio.to_thread(self._behind))
        while due:
            await self._round(due)
            due |= set(await wakeups.wait(0))
        self._metrics.projection_lag.set(0)
        news = await wakeups.wait(PROJECTION_POLL_MS)
        if news and self._busy():
            await asyncio.sleep(PROJECTION_DELAY_MS_MAX / 1_000)
        return set(news) or set(await asyncio.to_thread(self._behind))

    def _behind(self) -> list[AccountId]:
        accounts = list(self._accounts())
        return [
            account for account in accounts if self._log.head(account).position > self._at(account)
        ]

    def _at(self, account: AccountId) -> Position:
        if account not in self._positions:
            self._positions[account] = self.projector.position(account)
        return self._positions[account]

    async def _round(self, due: set[AccountId]) -> None:
        """One step of each account in turn, so that a large one does not starve the others."""
        for account in sorted(due):
            busy = self._busy()
            limit = PROJECTION_BUSY_BYTES if busy else PROJECTION_STEP_BYTES_MAX
            before = await asyncio.to_thread(self._at, account)
            started_s = time.monotonic()
            position = await asyncio.to_thread(self.projector.step, account, limit)
            took_s = time.monotonic() - started_s
            if position == before:
                due.discard(account)
                continue
            self._positions[account] = position
            self._logger.info(
                "projection step",
                account=account,
                first_position=before + 1,
                last_position=position,
                ms=round(took_s * 1_000, 1),
            )
            self._reached(account, position)
            if busy:
                await asyncio.sleep(min(took_s, PROJECTION_DELAY_MS_MAX / 1_000))
