"""All device connections of this process: who is here, and what was just committed for them.

One listener per account makes the frame of a commit once and hands the same bytes to every reader
(pitfalls P39). A device has one connection: a newer one ends the older (reliability §2.1). A
revoked device loses its connection at once and gets no other (I-18).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence

from replica.errors import Revoked
from replica.events.event import AccountId, DeviceId
from replica.events.record import Segment
from replica.fanout.local import Hint, LocalHub
from replica.fanout.tail import Tail
from replica.limits import EVENTS_BYTES_TARGET, RESTART_RETRY_AFTER_MS
from replica.server.connection import Connection
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.store.access import Touch
from replica.sync.effects import Offer, make_offer

Life = tuple[DeviceId, int]
"""A device in one epoch: two live copies of a device that forked are two lives (§6)."""


class Connections:
    """The connections by account and device. Lives on the event loop."""

    def __init__(self, hub: LocalHub, metrics: Metrics, logger: Logger) -> None:
        self._hub = hub
        self._metrics = metrics
        self._logger = logger
        self._by_account: dict[AccountId, dict[Life, Connection]] = {}
        self._unsubscribe: dict[AccountId, Callable[[], None]] = {}
        self._revoked: set[tuple[AccountId, DeviceId]] = set()
        self._emptied = asyncio.Event()
        self._left: dict[tuple[AccountId, DeviceId], Touch] = {}
        self._outdated: dict[tuple[AccountId, DeviceId], str] = {}
        self.tail = Tail()

    def __len__(self) -> int:
        return sum(map(len, self._by_account.values()))

    def accounts(self) -> list[AccountId]:
        """Accounts with at least one connection."""
        return list(self._by_account)

    def of(self, account: AccountId) -> list[Connection]:
        """Connections of one account."""
        return list(self._by_account.get(account, {}).values())

    def lives(self, account: AccountId, device: DeviceId) -> list[Connection]:
        """Connections of one device: more than one only when copies of it are at work."""
        return [one for one in self.of(account) if one.device == device]

    def find(self, account: AccountId, device: DeviceId) -> Connection | None:
        """The connection of a device's newest epoch."""
        return max(self.lives(account, device), key=lambda one: one.hello.epoch, default=None)

    def enter(self, connection: Connection) -> None:
        """Tell ``connection`` of commits from now on. Raises ``Revoked`` for a device that was
        revoked while it was on its way in."""
        account, life = connection.account, _life(connection)
        if (account, connection.device) in self._revoked:
            raise Revoked("the device was revoked")
        older = self._by_account.get(account, {}).get(life)
        if account not in self._by_account:
            self._unsubscribe[account] = self._hub.subscribe(account, self._hear)
        self._by_account.setdefault(account, {})[life] = connection
        if older is not None:
            older.close("taken_over", "the device connected anew")
        self._metrics.connections.set(len(self))

    def leave(self, connection: Connection, touch: Touch) -> None:
        """Forget ``connection``; its successor stays, and ``touch`` until it is written."""
        key = connection.account, connection.device
        self._left[key] = touch
        self._outdated.pop(key, None)
        if connection.tally.reason == "upgrade_required":
            self._outdated[key] = connection.tally.words
        group = self._by_account.get(connection.account, {})
        if group.get(_life(connection)) is connection:
            del group[_life(connection)]
            if not group:
                del self._by_account[connection.account]
                self._unsubscribe.pop(connection.account)()
        self._metrics.connections.set(len(self))
        if not self._by_account:
            self._emptied.set()

    def outdated(self, account: AccountId, device: DeviceId) -> str:
        """Why the last connection of a device ended where its program is too old for what it is to
        hold, or another one than ours; empty for every other end. Not kept over a restart: the
        device that comes again is told again."""
        return self._outdated.get((account, device), "")

    def left(self) -> dict[tuple[AccountId, DeviceId], Touch]:
        """News of devices that went away, as far as the store may not have them yet."""
        return dict(self._left)

    def written(self, touches: Iterable[Touch]) -> None:
        """The store has ``touches``: what is newer stays."""
        for touch in touches:
            key = touch.account, touch.device
            if self._left.get(key) is touch:
                del self._left[key]

    def revoke(self, account: AccountId, device: DeviceId) -> None:
        """End the device's connections and let no other in. Call once the store knows of it."""
        self._revoked.add((account, device))
        for connection in self.lives(account, device):
            connection.close("revoked", "the device was revoked")

    async def drain(self, grace_s: float) -> None:
        """Send everybody away with the advice to come back soon; wait ``grace_s`` at most."""
        self._emptied.clear()
        for account in list(self._by_account):
            for connection in self.of(account):
                connection.close(
                    "restart", "the server restarts", retry_after_ms=RESTART_RETRY_AFTER_MS
                )
        if self._by_account:
            try:
                async with asyncio.timeout(grace_s):
                    await self._emptied.wait()
            except TimeoutError:
                self._logger.warning("connections did not end in time", count=len(self))

    def _hear(self, hint: Hint) -> None:
        self.tail.add(hint.account, hint.segments)
        frames: list[Offer | int] = [*offers(hint.segments)]
        for news in frames or [hint.position]:
            for connection in self.of(hint.account):
                self._tell(connection, news)

    def _tell(self, connection: Connection, news: Offer | int) -> None:
        try:
            if isinstance(news, Offer):
                connection.offer(news)
            else:
                connection.hint(news)
        except Exception:
            # A bug that one connection trips over must not keep the news from the others.
            self._logger.exception("connection broke", device=connection.device)
            connection.abort("internal")


def _life(connection: Connection) -> Life:
    return connection.device, connection.hello.epoch


def offers(segments: Sequence[Segment]) -> Iterator[Offer]:
    """Adjoining segments as frames of about ``EVENTS_BYTES_TARGET`` bytes, encoded once."""
    group: list[Segment] = []
    size = 0
    for segment in segments:
        apart = bool(group) and segment.first != group[-1].last + 1
        if group and (apart or size + len(segment.records) > EVENTS_BYTES_TARGET):
            yield make_offer(group)
            group, size = [], 0
        group.append(segment)
        size += len(segment.records)
    if group:
        yield make_offer(group)
