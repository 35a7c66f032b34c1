"""The pages of what waits: the preview in sending order, its errors, one row, what the codes mean.

A sink offers actions on its rows; these pages show the buttons that it offers and carry out what is
pressed (QB-15 … QB-29).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.errors import ReplicaError
from replica.limits import LIST_START_MAX, SINK_TEXT_CHARS_MAX
from replica.server.answers import NotFound, bounded_limit, describe
from replica.server.auth import Principal, Right
from replica.server.web import practice, queue_views
from replica.server.web.group import Form, PageGroup
from replica.sink import Deed, QueueAsk, Refusal

_UNDO = {"exclude": "include"}
"""What takes an action back, where the row itself offers it."""


class QueuePages(PageGroup):
    """The queue and what people do with it."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show("/queue", self.queue),
            self._show("/queue/{id}", self.row),
            self._show("/errors", self.errors),
            self._show("/errors/codes", self.codes),
            self._show("/errors/practice", self.practice),
            self._change("/queue/{id}/{action}", self.act, Right.EDIT),
        ]

    async def queue(self, request: Request, who: Principal) -> Response:
        """What is sent next time, in that order."""
        return await self._list(request, who, "queue.html", "/queue", {})

    async def errors(self, request: Request, who: Principal) -> Response:
        """What fails, why, and what to do; the headline is the row that stands first (QB-21)."""
        code = request.query_params.get("code", "")[:40]
        return await self._list(request, who, "errors.html", "/errors", {"code": code})

    async def _list(
        self, request: Request, who: Principal, template: str, path: str, fixed: dict[str, str]
    ) -> Response:
        asked, sinks = request.query_params, self._runtime.sinks
        state = asked.get("state", "")[:40] if path == "/queue" else "failing"
        text = asked.get("q", "")[:80]
        start = bounded_limit(asked.get("start"), 0, LIST_START_MAX, least=0)
        ask = QueueAsk(text=text, state=state, start=start, code=fixed.get("code", ""))
        page = await sinks.queue(who.account, ask)
        status = await sinks.status(who.account)
        filters = {"q": text, **fixed, **({"state": state} if path == "/queue" else {})}
        known = await self._known()
        return await self._page(
            request,
            who,
            template,
            sink_title="QuickBooks",
            connection=queue_views.connection(status),
            top=queue_views.queue_row(page.top) if page.top else None,
            rows=[queue_views.queue_row(row) for row in page.rows],
            matching=page.matching,
            chips=queue_views.chips(page, state, text),
            groups=queue_views.groups(page, known),
            page=queue_views.paging(page, start, path, filters),
            corrections=await self._corrections(who),
            undo=await self._undo(request, who),
            query=text,
            code=fixed.get("code", ""),
            may_edit=who.may(Right.EDIT),
        )

    async def _corrections(self, who: Principal) -> list[dict[str, Any]]:
        if not self._runtime.sinks.names:
            return []
        found = await self._runtime.sinks.desk.corrections(who.account)
        return [queue_views.correction_row(one) for one in found]

    async def _known(self) -> Any:
        return self._runtime.sinks.desk.guidance() if self._runtime.sinks.names else ()

    async def _undo(self, request: Request, who: Principal) -> dict[str, str] | None:
        """The button beside what was just said, while its row still offers it."""
        action = _UNDO.get(request.query_params.get("done", ""))
        identity = request.query_params.get("row", "")[:80]
        if action is None or not identity or not self._runtime.sinks.names:
            return None
        found = await self._runtime.sinks.desk.row(who.account, identity)
        offers = () if found is None else found.row.offers
        if any(one.name == action for one in offers):
            return {"id": identity, "action": action}
        return None

    async def row(self, request: Request, who: Principal, problem: str = "") -> Response:
        """One row with everything about it; asks before an action that has to be asked about."""
        identity = request.path_params["id"][:80]
        found = await self._runtime.sinks.desk.row(who.account, identity)
        if found is None:
            raise NotFound("This row is not in the queue any more: it was sent, or taken back.")
        row = queue_views.queue_row(found.row)
        asking = request.query_params.get("ask", "")
        return await self._page(
            request,
            who,
            "row.html",
            row=row,
            calls=[queue_views.call_row(call) for call in found.calls],
            dependants=list(found.dependants),
            body=found.body,
            support=found.support,
            asking=next((one for one in row["offers"] if one["name"] == asking), None),
            problem=problem,
            may_edit=who.may(Right.EDIT),
            status=409 if problem else 200,
        )

    async def act(self, request: Request, who: Principal, form: Form) -> Response:
        """Carry out what was pressed; why not, on the page of the row."""
        identity, action = request.path_params["id"][:80], request.path_params["action"][:40]
        deed = Deed(by=who.name, text=form.get("text", "").strip()[:SINK_TEXT_CHARS_MAX])
        desk = self._runtime.sinks.desk
        try:
            await desk.act(who.account, identity, action, deed)
        except Refusal as refusal:
            if await desk.row(who.account, identity) is None:
                raise
            return await self.row(request, who, _sentence(refusal))
        self._runtime.live.tell(who.account, "run", "The queue has changed")
        where = "/errors" if form.get("from") == "errors" else "/queue"
        return RedirectResponse(
            f"{where}?done={quote(action, safe='')}&row={quote(identity, safe='')}", status_code=303
        )

    async def codes(self, request: Request, who: Principal) -> Response:
        """Every fault with its cause and what to do about it (QB-28)."""
        rows = [queue_views.guidance_row(one) for one in await self._known()]
        return await self._page(request, who, "codes.html", rows=rows)

    async def practice(self, request: Request, who: Principal) -> Response:
        """A made-up queue that fails, to learn on: nothing in it is real (QB-29)."""
        shown = practice.page(request.query_params.get("did", ""))
        rows = [queue_views.queue_row(row) for row in shown.rows]
        return await self._page(
            request, who, "practice.html", rows=rows, step=shown.step, text=shown.text
        )


def _sentence(error: ReplicaError) -> str:
    text = describe(error)[0]
    return text[:1].upper() + text[1:]
