"""Scope over HTTP (wire-protocol.md §14): what a device may hold, and the documents themselves.

A device comes with its token and speaks of itself; a manager or the operator names one with
``?device=<id>``.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.crdt.scope import Scope
from replica.errors import StoreUnavailable
from replica.events.payloads import DeviceScoped, Hex16, Id
from replica.limits import (
    RECONCILE_WAIT_S,
    SAFE_INTEGER_MAX,
    SCOPE_HANDOVER_MAX,
    SCOPE_LINK_KBPS,
    SCOPE_LINK_KBPS_MAX,
)
from replica.server.answers import (
    Json,
    bounded_limit,
    caller_of,
    device_of,
    json_body,
    told,
)
from replica.server.auth import NotSignedIn, Principal, Right
from replica.server.chunks import own_nodes
from replica.server.devices import parse_device
from replica.server.reconcile import FOLD_HEADER
from replica.server.runtime import Runtime
from replica.server.scoped import granted
from replica.server.scopes import Wish
from replica.store.access import Device
from replica.sync.scope import Page, encode_page, read_ahead


class HandoverBody(msgspec.Struct, forbid_unknown_fields=True):
    customers: Annotated[list[Id], Meta(min_length=1, max_length=SCOPE_HANDOVER_MAX)]
    giver: Hex16
    taker: Hex16
    force: bool = False


class ScopeRoutes:
    """The six routes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._scopes = runtime.scopes

    def routes(self) -> list[Route]:
        """Errors are told as everywhere in the API."""
        table = (
            ("GET", "", self.shown),
            ("PUT", "", self.granted),
            ("POST", "", self.granted),  # for clients that know no PUT
            ("POST", "/preview", self.preview),
            ("GET", "/changes", self.changes),
            ("GET", "/waiting", self.waiting),
            ("POST", "/handover", self.handover),
        )
        return [
            Route(f"/api/v1/scope{path}", told(handler), methods=[method])
            for method, path, handler in table
        ]

    async def shown(self, request: Request) -> Response:
        """The scope of a device."""
        device, _ = await self._asked(request, Right.READ)
        return Json(values(device, granted(device)))

    async def granted(self, request: Request) -> Response:
        """Change the scope: what the body leaves out stays as it is."""
        device, office = await self._asked(request, Right.MANAGE)
        wish = await json_body(request, Wish)
        scope = await self._scopes.wish(device, wish, office=office is not None)
        return Json(values(device, scope))

    async def preview(self, request: Request) -> Response:
        """What that would cost on a link of ``?kbps=``, without changing anything."""
        device, _ = await self._asked(request, Right.READ)
        wish = await json_body(request, Wish)
        asked = request.query_params.get("kbps")
        kbps = bounded_limit(asked, SCOPE_LINK_KBPS, SCOPE_LINK_KBPS_MAX)
        cost = await asyncio.to_thread(self._scopes.cost, device, wish, kbps)
        return Json(cost._asdict())

    async def changes(self, request: Request) -> Response:
        """The next page of documents in scope for the device that asks."""
        device = await device_of(request, self._runtime.stores.control.check_token)
        after, position, version, pending = _numbers(
            request, "after", "position", "version", "pending"
        )
        device = await self._scopes.settled(device, version, pending)
        await self._arrive(device, position)
        page, fold = await asyncio.to_thread(self._page, device, after, request)
        return Response(
            await asyncio.to_thread(encode_page, page),
            media_type="application/octet-stream",
            headers={FOLD_HEADER: fold.hex()},
        )

    async def waiting(self, request: Request) -> Response:
        """At which positions the documents in scope have changed, for the device that asks: what
        it would hear of if it asked for changes."""
        device = await device_of(request, self._runtime.stores.control.check_token)
        after, position = _numbers(request, "after", "position")
        await self._arrive(device, position)
        return Json(await asyncio.to_thread(self._scopes.sets.waiting, device, after))

    async def _arrive(self, device: Device, position: int) -> None:
        """Wait until the documents include ``position``. Raises ``StoreUnavailable``."""
        if not await self._runtime.projecting.wait(device.account, position, RECONCILE_WAIT_S):
            raise StoreUnavailable("the documents are not at that position yet")

    def _page(self, device: Device, after: int, request: Request) -> tuple[Page, bytes]:
        asked = request.query_params.get("ahead", "")
        if after or not asked:
            return self._scopes.sets.page(device, after)
        nodes = own_nodes(self._runtime.stores.control, device)
        return self._scopes.sets.ahead(device, read_ahead(asked), nodes)

    async def handover(self, request: Request) -> Response:
        """Customers go from one device to another; ``force`` does not wait for unsent work."""
        who = await caller_of(request, self._runtime.auth, Right.MANAGE)
        body = await json_body(request, HandoverBody)
        giver, taker = parse_device(body.giver), parse_device(body.taker)
        scope = await self._scopes.hand_over(who.account, body.customers, giver, taker)
        if body.force:
            scope = await self._scopes.force(who.account, giver)
        device = await asyncio.to_thread(self._scopes.device, who.account, giver)
        return Json(values(device, scope))

    async def _asked(self, request: Request, right: Right) -> tuple[Device, Principal | None]:
        """The device in question, and who asks for it when it is not the device itself."""
        try:
            who = await caller_of(request, self._runtime.auth, right)
        except NotSignedIn:
            check_token = self._runtime.stores.control.check_token
            return await device_of(request, check_token), None
        named = parse_device(request.query_params.get("device", ""))
        return await asyncio.to_thread(self._scopes.device, who.account, named), who


def _numbers(request: Request, *names: str) -> list[int]:
    given = request.query_params
    return [bounded_limit(given.get(name), 0, SAFE_INTEGER_MAX, least=0) for name in names]


def values(device: Device, scope: DeviceScoped) -> dict[str, Any]:
    """A scope as plain values. ``waiting`` are customers that leave when unsent work is in."""
    chosen = {
        name: "all" if ids is None else ids
        for name in ("customers", "prospects", "products")
        for ids in [getattr(scope, name)]
    }
    return {
        "device": device.device.hex(),
        "name": device.name,
        "version": scope.version,
        "everything": Scope(scope).everything,
        **chosen,
        "orders": scope.orders,
        "until_ms": scope.until_ms,
        "strict": scope.strict,
        "locked": scope.locked,
        "without": scope.without,
        "seen_ms": device.last_seen_ms,
        "waiting": [{"customer": name, "to": to} for name, to in sorted(scope.leaving.items())],
    }
