"""Keeping the read models in step with the log, in the background and out of the way.

Acknowledgements come first. While the door is busy, steps wait for a quiet moment, but not longer
than ``PROJECTION_DELAY_MS_MAX`` since the read models were last level. From then on they are taken
all the same, small, and each waits for a quiet moment no longer than the one before it took: at
least half of the time belongs to the door, the rest to pages and sinks. On its way a step makes
room for whoever waits for an answer (:mod:`replica.server.giving`). A step costs much the same for
one event and for fifty, so one that took all there was lets the next fifty gather.
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
    DOOR_QUIET_MS,
    PROJECTION_BUSY_BYTES,
    PROJECTION_DELAY_MS_MAX,
    PROJECTION_POLL_MS,
    PROJECTION_STEP_BYTES_MAX,
    PROJECTION_TRICKLE_MS,
)
from replica.server.giving import Busy
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.server.read_models import ReadModels
from replica.sync.messages import SectionDigest

DELAY_S_MAX = PROJECTION_DELAY_MS_MAX / 1_000
TRICKLE_S = PROJECTION_TRICKLE_MS / 1_000


class Projecting:
    """The runner. ``reached`` hears of every step."""

    def __init__(
        self,
        read_models: ReadModels,
        log: Log,
        hub: LocalHub,
        *,
        accounts: Callable[[], Iterable[AccountId]],
        door: Busy,
        reached: Callable[[AccountId, Position], None],
        on_failed: Callable[[StoreFailed], None],
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        self._read_models = read_models
        self._log = log
        self._hub = hub
        self._accounts = accounts
        self._door = door
        self._reached = reached
        self._on_failed = on_failed
        self._metrics = metrics
        self._logger = logger
        self._task: asyncio.Task[None] | None = None
        # How far others have heard; a page that helped itself may have gone further.
        self._told: dict[AccountId, Position] = {}
        self._patient_until_s = 0.0
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
        return await self._read_models.wait(account, position, timeout_s)

    async def digest(self, account: AccountId) -> tuple[Position, tuple[SectionDigest, ...]]:
        """Section digests and the position they hold for."""
        reached, totals = await self._read_models.digest(account)
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
            # Not only those that are behind: a log that was put back to before its rows is found
            # by looking, and only as long as nobody has told it the same again (D5).
            due = set(await asyncio.to_thread(self._accounts))
        while due:
            await self._round(due)
            due |= set(await wakeups.wait(0))
        self._metrics.projection_lag.set(0)
        news = await wakeups.wait(PROJECTION_POLL_MS)
        self._patient_until_s = time.monotonic() + DELAY_S_MAX
        return set(news) or set(await asyncio.to_thread(self._behind))

    def _behind(self) -> list[AccountId]:
        """Accounts whose log has more than their rows. Blocking."""
        behind = []
        for account in self._accounts():
            if account not in self._told:
                self._told[account] = self._read_models.position(account)
            if self._log.head(account).position > self._told[account]:
                behind.append(account)
        return behind

    async def _give_way(self) -> bool:
        """Wait for a quiet moment while there is patience left; whether the door is busy still."""
        while (busy := self._door.busy) and time.monotonic() < self._patient_until_s:  # noqa: ASYNC110
            await asyncio.sleep(DOOR_QUIET_MS / 1_000)  # quiet is not an event that one could await
        return busy

    async def _round(self, due: set[AccountId]) -> None:
        """One step of each account in turn, so that a large one does not starve the others."""
        busy = behind = False
        for account in sorted(due):
            busy = await self._give_way()
            limit = PROJECTION_BUSY_BYTES if busy else PROJECTION_STEP_BYTES_MAX
            before, newest = self._told.get(account, 0), self._hub.position(account)
            started_s = time.monotonic()
            position = await self._read_models.step(account, limit)
            took_s = time.monotonic() - started_s
            if position == before:
                due.discard(account)
                continue
            self._told[account] = position
            self._logger.info(
                "projection step",
                account=account,
                first_position=before + 1,
                last_position=position,
                ms=round(took_s * 1_000, 1),
            )
            self._reached(account, position)
            behind = behind or position < newest
            if busy:
                self._patient_until_s = time.monotonic() + min(took_s, DELAY_S_MAX)
        if busy and not behind:
            self._patient_until_s = time.monotonic() + TRICKLE_S
