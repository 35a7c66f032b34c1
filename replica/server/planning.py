"""Making plans of a Sync Now out of what devices reported, sinks queue and read models show."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from replica.errors import ReplicaError
from replica.events.event import AccountId
from replica.limits import SYNC_PLAN_ROWS_MAX, SYNC_PLAN_WAIT_S, SYNC_PLANS_KEPT_MAX
from replica.projections import queries
from replica.server.answers import NotFound
from replica.server.connection import Connection
from replica.server.connections import Connections
from replica.server.devices import DeviceRow, Devices
from replica.server.plans import NOT_ASKED, Deleted, Plan
from replica.server.sinks import Sinks
from replica.sink import QueueAsk
from replica.store.engine import Database


class Planner:
    """The plans of all accounts; the newest few of each may be named by a press.

    ``head`` reads the position of an account's log, blocking.
    """

    def __init__(
        self,
        *,
        devices: Devices,
        connections: Connections,
        sinks: Sinks,
        views: Database,
        head: Callable[[AccountId], int],
        now_ms: Callable[[], int],
    ) -> None:
        self._devices = devices
        self._connections = connections
        self._sinks = sinks
        self._views = views
        self._head = head
        self._now_ms = now_ms
        self._kept: dict[AccountId, OrderedDict[str, Plan]] = {}

    async def propose(self, account: AccountId, by: str) -> Plan:
        """A plan for somebody to read: connected devices are asked what they hold, and the other
        system what changed there, which may cost a metered read."""
        here = [one for one in self._connections.of(account) if one.met]
        await asyncio.gather(*(_reported(one) for one in here))
        plan = await self.look(account, by, ask=True)
        kept = self._kept.setdefault(account, OrderedDict())
        kept[plan.id] = plan
        kept.move_to_end(plan.id)
        while len(kept) > SYNC_PLANS_KEPT_MAX:
            kept.popitem(last=False)
        return plan

    def newest(self, account: AccountId) -> Plan | None:
        """The plan that was proposed last, if this process remembers one."""
        kept = self._kept.get(account)
        return next(reversed(kept.values())) if kept else None

    def named(self, account: AccountId, identity: str) -> Plan:
        """The plan of that id. Raises ``NotFound`` when it is not among the newest."""
        kept = self._kept.get(account)
        if kept is None or identity not in kept:
            raise NotFound(
                "This plan is not known any more.", hint="Make a new one, and look at it."
            )
        return kept[identity]

    async def look(self, account: AccountId, by: str, *, ask: bool = False) -> Plan:
        """How things stand. Without ``ask`` nothing is asked of the other system."""
        position = await asyncio.to_thread(self._head, account)
        rows = [row for row in await self._devices.rows(account) if row.state != "revoked"]
        page = await self._sinks.queue(account, QueueAsk(limit=SYNC_PLAN_ROWS_MAX))
        return Plan(
            made_ms=self._now_ms(),
            by=by,
            position=position,
            devices=rows,
            rows=page.rows,
            counts=tuple(sorted(page.counts.items())),
            outlook=await self._sinks.outlook(account) if ask else NOT_ASKED,
            deleted=await asyncio.to_thread(self._deleted, account, position, rows),
        )

    def _deleted(
        self, account: AccountId, position: int, rows: list[DeviceRow]
    ) -> tuple[Deleted, ...]:
        """Deletions that some connected device has not heard of; of the others nobody knows."""
        behind = max((row.behind or 0 for row in rows), default=0)
        if not behind:
            return ()
        with self._views.reading() as connection:
            found = queries.deleted_after(
                connection, account, position - behind, SYNC_PLAN_ROWS_MAX
            )
        return tuple(Deleted(row["type"], row["id"], row["name"]) for row in found)


async def _reported(connection: Connection) -> None:
    """Ask a device what it holds; one that does not say in time is shown as it said last."""
    with suppress(TimeoutError, ReplicaError):
        async with asyncio.timeout(SYNC_PLAN_WAIT_S):
            await connection.ask_digest()
