"""What devices may hold: granting a scope, its cost before that, and handing customers over.

The scope that counts is the one beside the device's token, so that it bounds a device from the
moment of the grant on, in every process; the event is what everybody reads later (CFG-01 to
CFG-07, pitfalls B10). What a device holds is never kept here: its documents are compared.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import UNSET, Meta, UnsetType

from replica.crdt.documents import DocKey
from replica.crdt.scope import Scope
from replica.crdt.view import view
from replica.errors import Forbidden, Malformed, Overloaded
from replica.events.event import AccountId, DeviceId
from replica.events.kinds import REGISTRY
from replica.events.payloads import Chosen, DeviceScoped
from replica.limits import (
    SCOPE_GRANT_TRIES_MAX,
    SCOPE_LINK_KBPS,
    SCOPE_SAMPLE_DOCUMENTS,
    SCOPE_TTL_S_MAX,
)
from replica.projections import queries, scoping
from replica.server.connections import Connections
from replica.server.door import WEB, Door
from replica.server.scoped import Members, ScopedSets, bounded, granted
from replica.server.sets import snapshot
from replica.store.access import Device
from replica.store.control import Control
from replica.store.engine import Database
from replica.sync.messages import SectionDigest

Which = Literal["all"] | Chosen | UnsetType
ROUND_TRIP_S = 0.2


class Wish(msgspec.Struct, forbid_unknown_fields=True):
    """A change of scope as somebody asks for it; what is left out stays as it is."""

    customers: Which = UNSET
    prospects: Which = UNSET
    products: Which = UNSET
    orders: Literal["own", "team"] | UnsetType = UNSET
    ttl_s: Annotated[int, Meta(ge=0, le=SCOPE_TTL_S_MAX)] | UnsetType = UNSET  # 0: no end
    strict: bool | UnsetType = UNSET
    locked: bool | UnsetType = UNSET  # the office's word alone
    without: Chosen | UnsetType = UNSET  # the office's word alone

    def after(self, before: DeviceScoped, now_ms: int) -> DeviceScoped:
        """``before`` as it is to be, with the next version."""
        changes: dict[str, Any] = {
            name: None if value == "all" else tuple(sorted(set(value)))
            for name in ("customers", "prospects", "products", "without")
            if (value := getattr(self, name)) is not UNSET
        }
        for name in ("orders", "strict", "locked"):
            if (value := getattr(self, name)) is not UNSET:
                changes[name] = value
        if isinstance(self.ttl_s, int):
            changes["until_ms"] = now_ms + 1_000 * self.ttl_s if self.ttl_s else 0
        return msgspec.structs.replace(before, version=before.version + 1, **changes)


class Cost(NamedTuple):
    """What a scope would weigh, and what would move. Bytes are an estimate of what travels."""

    documents: int
    bytes: int
    enters: int
    enters_bytes: int
    leaves: int
    seconds: float  # until what enters is there
    sections: Mapping[str, int]


class Handover(NamedTuple):
    """Customers that leave the device ``giver`` for ``taker`` once its unsent work is in."""

    giver: str
    taker: str
    customers: tuple[str, ...]
    granted_ms: int  # of the giver's scope; 0 while the read models do not have it


class Scopes:
    """The scopes of all devices. ``now_ms`` is the wall clock."""

    def __init__(
        self,
        control: Control,
        door: Door,
        connections: Connections,
        views: Database,
        *,
        now_ms: Callable[[], int],
    ) -> None:
        self._control = control
        self._door = door
        self._connections = connections
        self._views = views
        self._now_ms = now_ms
        self.sets = ScopedSets(views)

    def device(self, account: AccountId, device: DeviceId) -> Device:
        """One device in use. Blocking. Raises ``Forbidden`` when there is none of this id."""
        found = self._control.device(account, device)
        if found is None or found[0].revoked_ms is not None:
            raise Forbidden("there is no such device in use")
        return found[0]

    async def wish(self, device: Device, wish: Wish, *, office: bool) -> DeviceScoped:
        """Grant what ``wish`` asks for. Raises ``Forbidden`` for what only the office may change,
        ``Malformed`` and ``TooLarge`` for what no scope can say, and what the store raises."""
        if not office and (wish.locked is not UNSET or wish.without is not UNSET):
            raise Forbidden("only the office says which customers a device serves no more")

        def change(before: DeviceScoped) -> DeviceScoped:
            if before.locked and not office:
                raise Forbidden(
                    "the office keeps the scope of this device", hint="ask the office to change it"
                )
            return wish.after(before, self._now_ms())

        return await self.grant(device.account, device.device, change)

    async def grant(
        self,
        account: AccountId,
        device: DeviceId,
        change: Callable[[DeviceScoped], DeviceScoped],
    ) -> DeviceScoped:
        """Put ``change(scope)`` in the place of a device's scope; durable, and in force, when it
        returns. A connection that serves more, or less, than it should is ended."""
        for _ in range(SCOPE_GRANT_TRIES_MAX):
            found = await asyncio.to_thread(self.device, account, device)
            before = granted(found)
            after = change(before)
            if after == before:
                return before
            body = REGISTRY.say(after).body
            done = await asyncio.to_thread(
                self._control.set_scope, account, device, found.scope, body, self._now_ms()
            )
            if not done:
                continue
            try:
                await self._door.submit_local(account, WEB, [after])
            finally:
                self.told(account, after)
            return after
        raise Overloaded("the scope of this device is being changed by others; try again")

    def told(self, account: AccountId, scope: DeviceScoped) -> None:
        """``scope`` is in force: connections that serve the log instead of documents, or the other
        way round, are ended. On the event loop."""
        scoped = not Scope(scope).everything
        for connection in self._connections.lives(account, DeviceId(bytes.fromhex(scope.device))):
            if not connection.met or connection.scoped is not scoped:
                connection.close("closed", "what this device holds was changed; meet anew")

    # Handing over --------------------------------------------------------------------------------

    async def hand_over(
        self, account: AccountId, customers: Iterable[str], giver: DeviceId, taker: DeviceId
    ) -> DeviceScoped:
        """Customers go from one device to another: the taker has them now, the giver until its
        unsent work is in (:meth:`settled`), or the office says so (:meth:`force`)."""
        names = frozenset(customers)

        def take(before: DeviceScoped) -> DeviceScoped:
            chosen = {
                name: _sorted({*held, *names})
                for name in ("customers", "prospects")
                if (held := getattr(before, name)) is not None
            }
            kept = {name: to for name, to in before.leaving.items() if name not in names}
            return _next(
                before,
                **chosen,
                without=_sorted(set(before.without) - names),
                leaving=kept,
            )

        def give(before: DeviceScoped) -> DeviceScoped:
            going = {name: taker.hex() for name in names if name not in before.without}
            return _next(before, leaving={**before.leaving, **going})

        if giver == taker:
            raise Malformed("a customer is handed over to another device")
        await asyncio.to_thread(self.device, account, giver)
        await self.grant(account, taker, take)
        return await self.grant(account, giver, give)

    def handovers(self, account: AccountId) -> list[Handover]:
        """What waits to be handed over, between devices in use. Blocking."""
        found = []
        with snapshot(self._views) as connection:
            for device in self._control.devices(account):
                scope = granted(device)
                if device.revoked_ms is not None or not scope.leaving:
                    continue
                document = queries.document(connection, account, DocKey("device", scope.device))
                known = view(document)["scope"] if document else None
                granted_ms = known["ms"] if known and known["version"] == scope.version else 0
                for taker in sorted(set(scope.leaving.values())):
                    names = _sorted(name for name, to in scope.leaving.items() if to == taker)
                    found.append(Handover(scope.device, taker, names, granted_ms))
        return found

    async def settled(self, device: Device, version: int, pending: int) -> Device:
        """A device that knows of ``version`` has so much unsent work. Customers that were to leave
        it leave when there is none; gives the device as it stands then."""
        scope = granted(device)
        if pending or not scope.leaving or version != scope.version:
            return device
        await self.force(device.account, device.device)
        return await asyncio.to_thread(self.device, device.account, device.device)

    async def force(self, account: AccountId, device: DeviceId) -> DeviceScoped:
        """Take the customers that are leaving from a device now. Work it has not sent yet is taken
        whenever it comes."""

        def leave(before: DeviceScoped) -> DeviceScoped:
            gone = before.leaving.keys()
            chosen = {
                name: _sorted(set(held) - gone)
                for name in ("customers", "prospects")
                if (held := getattr(before, name)) is not None
            }
            return _next(before, **chosen, without=_sorted({*before.without, *gone}), leaving={})

        return await self.grant(account, device, leave)

    # Asking --------------------------------------------------------------------------------------

    def of(self, account: AccountId, device: DeviceId) -> int:
        """The version of the scope that bounds a device, 0 for none. Blocking."""
        found = self.device(account, device)
        return granted(found).version if bounded(found) else 0

    def digest(self, account: AccountId, device: DeviceId) -> tuple[int, tuple[SectionDigest, ...]]:
        """Counts and digests of what a device is to hold, and the position they are of.
        Blocking."""
        return self.sets.digest(self.device(account, device))

    def cost(self, device: Device, wish: Wish, link_kbps: int = SCOPE_LINK_KBPS) -> Cost:
        """What granting ``wish`` would cost, without granting it. Blocking."""
        before = granted(device)
        after = wish.after(before, self._now_ms())
        with snapshot(self._views) as connection:
            rows = list(scoping.changed_after(connection, device.account, 0))
            held, wanted = Members(Scope(before)), Members(Scope(after))
            for members in (held, wanted):
                members.take(rows)
            entering = [row for key, row in wanted.rows.items() if key not in held.rows]
            pool = entering or list(wanted.rows.values())
            sample = pool[:: max(1, len(pool) // SCOPE_SAMPLE_DOCUMENTS)]
            keys = [row.key for row in sample]
            states = scoping.states(connection, device.account, keys)
        part = _compressed(states.values())
        moving = int(part * sum(row.size for row in entering))
        return Cost(
            len(wanted.rows),
            int(part * sum(row.size for row in wanted.rows.values())),
            len(entering),
            moving,
            sum(key not in wanted.rows for key in held.rows),
            round(ROUND_TRIP_S + 8 * moving / 1_000 / link_kbps, 1),
            {section.section: section.count for section in wanted.sections()},
        )


def _next(before: DeviceScoped, **changes: Any) -> DeviceScoped:
    """``before`` with ``changes`` and the next version; itself when nothing changes."""
    after = msgspec.structs.replace(before, **changes)
    if after == before:
        return before
    return msgspec.structs.replace(after, version=before.version + 1)


def _sorted(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(ids))


def _compressed(states: Iterable[bytes]) -> float:
    """To what part of themselves states shrink on the way."""
    raw = b"".join(states)
    return len(zlib.compress(raw, 6)) / len(raw) if raw else 1.0
