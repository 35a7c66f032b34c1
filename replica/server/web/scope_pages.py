"""The configurator: what a device holds, chosen with filters, with its price before saving.

One form serves looking and saving, so the page works without scripts and with the keyboard alone.
What is checked counts for the rows that are shown; the rest of the selection stays (CFG-01, CFG-02,
CFG-07, pitfalls B9). Who may manage devices chooses for all of them, a rep for his own as long as
the office lets him.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.errors import Forbidden, Malformed, PeerError
from replica.events.payloads import DeviceScoped
from replica.limits import SCOPE_DAYS_MAX, SCOPE_ROWS_SHOWN_MAX
from replica.projections import choosing
from replica.projections.choosing import Choice, Filter
from replica.server.answers import bounded_limit, describe
from replica.server.auth import Principal, Right
from replica.server.devices import parse_device
from replica.server.scoped import granted
from replica.server.scopes import Wish
from replica.server.web.group import Form, PageGroup
from replica.store.access import Device

TABS = {"customers": "Customers", "prospects": "Prospects", "products": "Products"}
DAY_MS = 86_400_000


class ScopePages(PageGroup):
    """``/devices/<id>/offline``, and the end of waiting in a handover."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show("/devices/{id}/offline", self.show, Right.EDIT),
            self._change("/devices/{id}/offline", self.save, Right.EDIT),
            self._change("/devices/{id}/handover", self.force, Right.MANAGE),
        ]

    async def show(
        self, request: Request, who: Principal, form: Form | None = None, problem: str = ""
    ) -> Response:
        """One tab with its filters. With a ``form``: what that would cost."""
        asked: Mapping[str, str] = request.query_params if form is None else form
        device = await self._device(request, who)
        scope = granted(device)
        tab = asked.get("tab", "customers")
        tab = tab if tab in TABS else "customers"
        rows = await self._choices(who, tab, asked)
        office = who.may(Right.MANAGE)
        wish = None if form is None or problem else _wish(form, scope, tab, rows, office=office)
        cost = None
        if wish is not None:
            cost = await asyncio.to_thread(self._runtime.scopes.cost, device, wish)
        chosen = getattr(scope, tab)
        if wish is not None and getattr(wish, tab) is not msgspec.UNSET:
            picked = getattr(wish, tab)
            chosen = None if picked == "all" else picked
        shown = rows[:SCOPE_ROWS_SHOWN_MAX]
        held = frozenset(chosen or ())
        names = {one.id for one in rows}
        return await self._page(
            request,
            who,
            "offline.html",
            device=device,
            hex=device.device.hex(),
            scope=scope,
            office=office,
            tabs=[(name, title, _held(scope, name)) for name, title in TABS.items()],
            tab=tab,
            asked={name: asked.get(name, "") for name in ("q", "days", "group", "rep")},
            rows=shown,
            matching=len(rows),
            held=held,
            is_all=chosen is None,
            selected=len(held),
            selected_here=len(held & names),
            cost=cost,
            form=form or {},
            problem=problem,
            status=400 if problem else 200,
        )

    async def save(self, request: Request, who: Principal, form: Form) -> Response:
        """Save, or only say what it would cost."""
        try:
            if form.get("do") != "save":
                return await self.show(request, who, form)
            device = await self._device(request, who)
            tab = form.get("tab", "")
            if tab not in TABS:
                raise Malformed("There is no such list.")
            rows = await self._choices(who, tab, form)
            office = who.may(Right.MANAGE)
            wish = _wish(form, granted(device), tab, rows, office=office)
            await self._runtime.scopes.wish(device, wish, office=office)
        except PeerError as error:
            text, hint = describe(error)
            return await self.show(request, who, form, f"{text} ({hint})" if hint else text)
        kept = {name: form[name] for name in ("tab", "q", "days", "group", "rep") if form.get(name)}
        query = urlencode({**kept, "done": "scoped"})
        return RedirectResponse(f"/devices/{device.device.hex()}/offline?{query}", status_code=303)

    async def force(self, request: Request, who: Principal, _: Form) -> Response:
        """Customers that are leaving a device do not wait for its unsent work any more."""
        identity = parse_device(request.path_params["id"])
        await self._runtime.scopes.force(who.account, identity)
        return RedirectResponse("/devices?done=handed", status_code=303)

    async def _device(self, request: Request, who: Principal) -> Device:
        """The device that is asked about. Raises ``Forbidden`` when it is somebody else's."""
        identity = parse_device(request.path_params["id"])
        device = await asyncio.to_thread(self._runtime.scopes.device, who.account, identity)
        if not (who.may(Right.MANAGE) or who.uses(device.user)):
            raise Forbidden("this is another user's device", hint="ask the office to choose for it")
        return device

    async def _choices(self, who: Principal, tab: str, asked: Mapping[str, str]) -> list[Choice]:
        days = bounded_limit(asked.get("days") or None, 0, SCOPE_DAYS_MAX, least=0)
        wanted = Filter(
            asked.get("q", "")[:80].strip(),
            self._runtime.now_ms() - days * DAY_MS if days else 0,
            asked.get("group", "")[:80].strip(),
            asked.get("rep", "")[:80].strip(),
        )
        found: list[Choice] = await self._runtime.read(choosing.choices, who.account, tab, wanted)
        return found


def _held(scope: DeviceScoped, tab: str) -> str:
    chosen = getattr(scope, tab)
    return "all" if chosen is None else str(len(chosen))


def _wish(form: Form, scope: DeviceScoped, tab: str, rows: list[Choice], *, office: bool) -> Wish:
    """What the form asks for. Raises ``Malformed``."""
    before = set(getattr(scope, tab) or ())
    shown = {row.id for row in rows[:SCOPE_ROWS_SHOWN_MAX]}
    checked = {one for one in shown if form.get(f"pick.{one}")}
    names = {row.id for row in rows}
    which = {
        "all": "all",
        "checked": sorted((before - shown) | checked),
        "add": sorted(before | names),
        "drop": sorted(before - names),
        "none": [],
    }
    mode = form.get("mode", "checked")
    if mode not in which:
        raise Malformed("Choose all of them, or some.")
    ttl_days = form.get("ttl_days", "")
    asked: dict[str, Any] = {
        tab: which[mode],
        "orders": form.get("orders", scope.orders),
        "strict": "strict" in form,
    }
    if office:
        asked["locked"] = "locked" in form
    if ttl_days.isdecimal():
        asked["ttl_s"] = 86_400 * int(ttl_days)
    try:
        return msgspec.convert(asked, Wish)
    except msgspec.ValidationError as error:
        raise Malformed(f"Not saved: {error}") from error
