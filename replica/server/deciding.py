"""Decisions of the server about names and numbers that were given twice (decision 0016).

After each step of a projection the documents that changed are looked at, and what has to be said
of them goes through the door as the main app's own events. Sinks read no further than that, so an
order goes out under the number and the customer that were decided. How far it came stands beside
the projection's checkpoint: a restart goes on there, and what was said already is not found again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from replica.errors import ReplicaError, StoreFailed, WorldError
from replica.events.event import AccountId, Position
from replica.limits import PROJECTION_POLL_MS, READ_OWN_WRITE_WAIT_S
from replica.projections import twins
from replica.server.door import WEB, Door
from replica.server.logs import Logger
from replica.server.projecting import Projecting
from replica.server.read_models import ReadModels

PAUSE_S = PROJECTION_POLL_MS / 1_000


class Deciding:
    """The task that decides. ``decided`` hears how far an account has come, ``now_ms`` is the wall
    clock."""

    def __init__(
        self,
        read_models: ReadModels,
        door: Door,
        projecting: Projecting,
        *,
        now_ms: Callable[[], int],
        decided: Callable[[AccountId, Position], None],
        on_failed: Callable[[StoreFailed], None],
        logger: Logger,
    ) -> None:
        self._read_models = read_models
        self._door = door
        self._projecting = projecting
        self._now_ms = now_ms
        self._decided = decided
        self._on_failed = on_failed
        self._logger = logger
        self._due: set[AccountId] = set()
        self._wake = asyncio.Event()
        self._turns: dict[AccountId, asyncio.Lock] = {}
        self._told: dict[AccountId, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self, accounts: Iterable[AccountId]) -> None:
        """Begin, with whatever was left of ``accounts``."""
        for account in accounts:
            self.hint(account)
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leave the rest for the next start."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hint(self, account: AccountId) -> None:
        """The read models of ``account`` have moved."""
        self._due.add(account)
        self._wake.set()

    async def settle(self, account: AccountId) -> None:
        """Decide what the read models of ``account`` show by now. Raises what the stores raise."""
        async with self._turns.setdefault(account, asyncio.Lock()):
            while not await self._decide(account):  # noqa: ASYNC110 - another process does
                await asyncio.sleep(PAUSE_S)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, set()
            for account in sorted(due):
                try:
                    await self.settle(account)
                except StoreFailed as error:
                    self._on_failed(error)
                    return
                except WorldError as error:
                    self._logger.warning("decisions wait", error=str(error), code=error.code)
                    self.hint(account)
                    await asyncio.sleep(PAUSE_S)

    async def _decide(self, account: AccountId) -> bool:
        """Everything that is due. False when another process is at it."""
        mine = False
        while True:
            found = await self._look(account)
            if found is None:
                return True
            if found.payloads and not mine:
                mine = await self._read_models.claim(account, self._now_ms())
                if not mine:
                    return False
                continue  # somebody may have said it in between
            if not found.payloads or not await self._say(account, found):
                await self._read_models.put_decided(account, found)

    async def _say(self, account: AccountId, found: twins.Found) -> bool:
        """Write it, and wait until the read models show it. False when it may not be said."""
        try:
            admitted = await self._door.submit_local(account, WEB, found.payloads)
        except (StoreFailed, WorldError):
            raise
        except ReplicaError as error:  # no decision is worth that everything waits for it
            self._logger.exception("decision refused", account=account, code=error.code)
            return False
        assert admitted.segment is not None, "all were accepted"
        said = sorted({type(payload).__name__ for payload in found.payloads})
        self._logger.info("decided", account=account, kinds=said, events=len(found.payloads))
        last = admitted.segment.last
        while not await self._projecting.wait(account, last, READ_OWN_WRITE_WAIT_S):
            self._logger.warning("decisions wait for the read models", account=account)
        return True

    async def _look(self, account: AccountId) -> twins.Found | None:
        before, found = await self._read_models.look(account)
        if before is not None and self._told.get(account, 0) != before:
            self._told[account] = before
            self._decided(account, Position(before))
        return found
