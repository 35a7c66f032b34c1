"""The page that compares every committed document with its counterpart: totals, differences, deeds.

What another comparison costs is said before it is begun (ui.md W9).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.limits import LIST_START_MAX, SINK_TEXT_CHARS_MAX
from replica.server.answers import bounded_limit, describe
from replica.server.auth import Principal, Right
from replica.server.web import marks, queue_views, words
from replica.server.web.frame import Links, address
from replica.server.web.group import Form, PageGroup
from replica.server.web.marks import Mark
from replica.sink import Deed, Difference, MonthTotal, Reconciliation, Refusal

_STATES = {
    "never": Mark("never", "Not yet compared", "clock", ""),
    "running": marks.RUNNING,
    "interrupted": Mark("interrupted", "Cut off", "alert", "warn"),
    "done": Mark("done", "Compared", "check", "ok"),
}
_KINDS = {
    "": ("All", ""),
    "missing": ("Missing there", "alert"),
    "deleted": ("Deleted there", "bin"),
    "differs": ("Another amount", "cross"),
    "changed": ("Changed there", "pencil"),
    "duplicate": ("Twice there", "fork"),
    "orphan": ("Not known here", "link"),
    "ignored": ("Ignored", "minus"),
}
_HOMES = {"order": "/orders/"}


class ReconcilePages(PageGroup):
    """The comparison and what people do about its differences."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show("/reconcile", self.reconcile),
            self._change("/reconcile/{id}/{action}", self.act, Right.EDIT),
        ]

    async def reconcile(self, request: Request, who: Principal, problem: str = "") -> Response:
        """Where the comparison stands and what it found."""
        kind = request.query_params.get("kind", "")
        kind = kind if kind in _KINDS else ""
        start = bounded_limit(request.query_params.get("start"), 0, LIST_START_MAX, least=0)
        found = await self._found(who, kind, start)
        return await self._page(
            request,
            who,
            "reconcile.html",
            sink_title="QuickBooks",
            mark=_STATES.get(found.state, marks.connection_mark(found.state)),
            found=found,
            offers=[queue_views.offer(one) for one in found.offers],
            months=[_month(one) for one in found.months],
            chips=_chips(found, kind),
            rows=[_row(one) for one in found.rows],
            page=_paging(found, kind, start),
            problem=problem,
            may_edit=who.may(Right.EDIT),
            status=409 if problem else 200,
        )

    async def _found(self, who: Principal, kind: str, start: int) -> Reconciliation:
        if not self._runtime.sinks.names:
            return Reconciliation(text="No accounting program is installed.")
        return await self._runtime.sinks.desk.reconciliation(who.account, kind, start)

    async def act(self, request: Request, who: Principal, form: Form) -> Response:
        """Begin a comparison, or do something about a difference; why not, on the same page."""
        identity, action = request.path_params["id"][:80], request.path_params["action"][:40]
        deed = Deed(by=who.name, text=form.get("text", "").strip()[:SINK_TEXT_CHARS_MAX])
        try:
            await self._runtime.sinks.desk.act(who.account, identity, action, deed)
        except Refusal as refusal:
            text = describe(refusal)[0]
            return await self.reconcile(request, who, text[:1].upper() + text[1:])
        self._runtime.live.tell(who.account, "run", "The comparison has changed")
        return RedirectResponse(f"/reconcile?done={quote(action, safe='')}", status_code=303)


def _month(one: MonthTotal) -> dict[str, Any]:
    difference = one.theirs_minor - one.ours_minor
    equal = not difference and one.ours == one.theirs
    return {
        "month": f"{one.month} {one.currency}",
        "ours": f"{one.ours:,}",
        "ours_total": words.money(one.ours_minor, one.currency),
        "theirs": f"{one.theirs:,}",
        "theirs_total": words.money(one.theirs_minor, one.currency),
        "count": f"{one.theirs - one.ours:+,}" if one.theirs != one.ours else "0",
        "difference": words.money(difference, one.currency),
        "mark": marks.EQUAL if equal else marks.DIFFERS,
    }


def _chips(found: Reconciliation, selected: str) -> list[dict[str, Any]]:
    open_ones = sum(number for name, number in found.counts.items() if name != "ignored")
    counts = {**found.counts, "": open_ones}
    return [
        {
            "href": address("/reconcile", {"kind": name} if name else {}),
            "text": text,
            "icon": icon,
            "count": f"{counts.get(name, 0):,}",
            "current": name == selected,
        }
        for name, (text, icon) in _KINDS.items()
        if counts.get(name) or name in ("", selected)
    ]


def _row(one: Difference) -> dict[str, Any]:
    def money(minor: int | None) -> str:
        return "\N{EN DASH}" if minor is None else words.money(minor, one.currency)

    title, icon = _KINDS[one.kind]
    known = one.local_type and one.kind != "orphan"
    home = _HOMES.get(one.local_type) if known else None
    return {
        "id": one.id,
        "name": one.number or one.local_id or "no number",
        "home": home + quote(one.local_id, safe="") if home else "",
        "kind": one.local_type,
        "date": one.date,
        "mark": Mark(one.kind, title, icon, "bad" if one.kind != "changed" else "warn"),
        "text": one.text,
        "there": one.there,
        "ours": money(one.ours_minor),
        "theirs": money(one.theirs_minor),
        "ignored": one.ignored,
        "offers": [queue_views.offer(offered) for offered in one.offers],
    }


def _paging(found: Reconciliation, kind: str, start: int) -> Links:
    following = start + len(found.rows)
    kept = {"kind": kind} if kind else {}
    more = following < found.matching and found.rows
    return Links(
        address("/reconcile", kept) if start else None,
        address("/reconcile", kept | {"start": str(following)}) if more else None,
    )
