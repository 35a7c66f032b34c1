"""Hints inside one process: "account A is at position P", and often what was just committed.

A hint is never the truth: the log is. A subscriber that missed one, or that gets one without
segments, reads the log after its cursor. So the hub keeps no queue that could overflow, and a poll
closes every loop that a lost hint or another server process leaves open (reliability §2.3,
pitfalls P5).

Everything here runs on one event loop; nothing locks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from replica.errors import WorldError
from replica.events.event import AccountId, Position
from replica.events.record import Segment
from replica.limits import FANOUT_POLL_MS


class Hint(NamedTuple):
    """The account's log reached ``position``.

    ``segments`` is one commit's news in log order, the same object for every subscriber so that a
    frame made from it can be shared; empty when only the position is known.
    """

    account: AccountId
    position: Position
    segments: tuple[Segment, ...] = ()


Listener = Callable[[Hint], None]
"""Called on the event loop for every hint. Must not block; must not raise."""
ReadPositions = Callable[[Iterable[AccountId]], Mapping[AccountId, Position]]
"""Blocking: where the logs of these accounts end."""


class LocalHub:
    """Passes hints to the subscribers of an account."""

    def __init__(self) -> None:
        # By subscription, so that one listener may have several; told in the order they came.
        self._listeners: dict[AccountId | None, dict[object, Listener]] = {}
        self._positions: dict[AccountId, Position] = {}

    def subscribe(self, account: AccountId | None, listener: Listener) -> Callable[[], None]:
        """Hear about ``account``, or about all of them with None; call the result to stop.

        Subscribe first and read the log's head afterwards, or a commit between the two is missed.
        """
        subscription = object()
        self._listeners.setdefault(account, {})[subscription] = listener

        def unsubscribe() -> None:
            group = self._listeners.get(account, {})
            group.pop(subscription, None)
            if not group:
                self._listeners.pop(account, None)

        return unsubscribe

    def publish(self, committed: Sequence[tuple[AccountId, Segment]]) -> None:
        """Pass on what one commit wrote, in log order. Call only after the commit."""
        news: dict[AccountId, list[Segment]] = {}
        for account, segment in committed:
            news.setdefault(account, []).append(segment)
        for account, segments in news.items():
            self._tell(Hint(account, segments[-1].last, tuple(segments)))

    def notice(self, account: AccountId, position: Position) -> None:
        """Pass on a position learnt elsewhere; nothing happens when it is not news."""
        if position > self.position(account):
            self._tell(Hint(account, position))

    def position(self, account: AccountId) -> Position:
        """The newest position heard of here; 0 before the first."""
        return self._positions.get(account, Position(0))

    def accounts(self) -> list[AccountId]:
        """Accounts that somebody listens to."""
        return [account for account in self._listeners if account is not None]

    def _tell(self, hint: Hint) -> None:
        # Another process's commit may be noticed before our own, smaller one is passed on.
        self._positions[hint.account] = max(hint.position, self.position(hint.account))
        for group in (self._listeners.get(hint.account), self._listeners.get(None)):
            for listener in tuple(group.values()) if group else ():
                listener(hint)


class Wakeups:
    """Hints for one task that works through accounts, such as a projection's runner.

    However many come while it works, it finds each account once, with the newest position: memory
    is bounded by the number of accounts.
    """

    def __init__(self, hub: LocalHub, account: AccountId | None = None) -> None:
        self._positions: dict[AccountId, Position] = {}
        self._arrived = asyncio.Event()
        self._unsubscribe = hub.subscribe(account, self._hear)

    def _hear(self, hint: Hint) -> None:
        self._positions[hint.account] = max(
            hint.position, self._positions.get(hint.account, Position(0))
        )
        self._arrived.set()

    async def wait(self, timeout_ms: int) -> dict[AccountId, Position]:
        """Accounts with news since the last call; empty after ``timeout_ms``: look for yourself."""
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._arrived.wait()
        except TimeoutError:
            return {}
        self._arrived.clear()
        news, self._positions = self._positions, {}
        return news

    def close(self) -> None:
        """Hear no more."""
        self._unsubscribe()


async def poll(
    hub: LocalHub,
    read_positions: ReadPositions,
    *,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Notice what other processes commit, for ever; run it as a task and cancel it to stop.

    Needed with several server processes on one PostgreSQL. A database that cannot be read now is
    asked again after the same pause: subscribers lose time, never events.
    """
    while True:
        await pause(FANOUT_POLL_MS / 1_000)
        accounts = hub.accounts()
        if not accounts:
            continue
        try:
            positions = await asyncio.to_thread(read_positions, accounts)
        except WorldError:
            continue
        for account, position in positions.items():
            hub.notice(account, position)
