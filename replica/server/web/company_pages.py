"""The page of the connection: connect and disconnect, deadlines, what it costs, what may be chosen.

Connecting leads to the other system's own consent page and comes back to the sink's callback, which
needs no login: it brings a state that was minted here for the account of the session, good once.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.limits import SINK_TEXT_CHARS_MAX
from replica.server.answers import describe
from replica.server.auth import Principal, Right
from replica.server.web import queue_views
from replica.server.web.group import Form, PageGroup
from replica.sink import Deed, Fact, Refusal, Setup


class CompanyPages(PageGroup):
    """The connection of the account."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show("/company", self.company),
            self._change("/company/connect", self.connect, Right.MANAGE),
            self._change("/company/settings", self.save, Right.MANAGE),
            self._change("/company/{id}/{action}", self.act, Right.MANAGE),
        ]

    async def company(
        self, request: Request, who: Principal, problem: str = "", consent: str = ""
    ) -> Response:
        """Everything about the connection. ``consent`` is where to go on to connect."""
        found = await self._setup(who)
        may_manage = who.may(Right.MANAGE)
        asking = request.query_params.get("ask", "")
        offers = [queue_views.offer(one) for one in found.offers]
        return await self._page(
            request,
            who,
            "company.html",
            sink_title="QuickBooks",
            connection=queue_views.connection(found.status),
            facts=[_fact(one) for one in found.facts],
            settings=found.settings,
            connect=found.connect if may_manage else "",
            offers=offers if may_manage else [],
            asking=next((one for one in offers if one["name"] == asking), None),
            namesakes=[
                {"row": one, "offers": [queue_views.offer(each) for each in one.offers]}
                for one in found.namesakes
            ],
            may_manage=may_manage,
            problem=problem,
            consent=consent,
            status=409 if problem else 200,
        )

    async def _setup(self, who: Principal) -> Setup:
        sinks = self._runtime.sinks
        if not sinks.names:
            return Setup(await sinks.status(who.account))
        return await sinks.desk.setup(who.account)

    async def connect(self, request: Request, who: Principal, _: Form) -> Response:
        """The way to the consent page, as a link: a form may not lead to another site."""
        desk = self._runtime.sinks.desk
        callback = f"{request.base_url}sinks/{desk.name}/callback"
        try:
            address = await desk.connect(who.account, callback)
        except Refusal as refusal:
            return await self.company(request, who, _sentence(refusal))
        return await self.company(request, who, consent=address)

    async def save(self, request: Request, who: Principal, form: Form) -> Response:
        """Keep the choices that were changed on the form."""
        desk = self._runtime.sinks.desk
        for setting in (await desk.setup(who.account)).settings:
            value = form.get(setting.name, "").strip()[:SINK_TEXT_CHARS_MAX]
            if not value or value == setting.value:
                continue
            try:
                deed = Deed(by=who.name, text=value)
                await desk.act(who.account, f"setting:{setting.name}", "save", deed)
            except Refusal as refusal:
                return await self.company(request, who, _sentence(refusal))
        return RedirectResponse("/company?done=settings", status_code=303)

    async def act(self, request: Request, who: Principal, _: Form) -> Response:
        """Carry out what the connection offers."""
        identity, action = request.path_params["id"][:80], request.path_params["action"][:40]
        try:
            await self._runtime.sinks.desk.act(who.account, identity, action, Deed(by=who.name))
        except Refusal as refusal:
            return await self.company(request, who, _sentence(refusal))
        done = "disconnected" if action == "disconnect" else quote(action, safe="")
        return RedirectResponse(f"/company?done={done}", status_code=303)


def _fact(one: Fact) -> dict[str, Any]:
    return {"name": one.name, "text": one.text, "at_ms": one.at_ms, "tone": one.tone}


def _sentence(error: Refusal) -> str:
    text, hint = describe(error)
    text = f"{text} ({hint})" if hint else text
    return text[:1].upper() + text[1:]
