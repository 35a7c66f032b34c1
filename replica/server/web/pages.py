"""The main app's own pages: signing in, the lists of orders, devices, customers and products,
Sync Now.

Each reads projections, asks the frame to render, and writes through the door.
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from replica.errors import Forbidden, Overloaded, ReplicaError
from replica.limits import LIST_ROWS_MAX
from replica.projections import queries
from replica.server.answers import (
    NotFound,
    client_address,
    decode_key,
    describe,
    encode_key,
    json_problem,
    status_of,
)
from replica.server.auth import NotSignedIn, Principal, Right
from replica.server.devices import CODE_MINUTES
from replica.server.guard import check_form_token, check_same_origin, form_token
from replica.server.web import beginning_views, run_views, views
from replica.server.web.frame import Files, address, links
from replica.server.web.group import Form, PageGroup, frame_numbers, live_mark, read_form
from replica.server.web.marks import ORDER_MARKS
from replica.server.web.plan_views import plan_page


class Pages(PageGroup):
    """Handlers and routes of the main app."""

    def routes(self) -> list[BaseRoute]:
        """Every page, form and file."""
        return [
            Route("/", self.home),
            Route("/login", self.login_form, methods=["GET"]),
            Route("/login", self.login, methods=["POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            self._show("/orders", self.orders),
            self._show("/devices", self.devices),
            self._show("/customers", self.customers),
            self._show("/products", self.products),
            self._show("/sync", self.sync),
            self._show("/live", self.live),
            self._change("/sync-now", self.sync_now, Right.EDIT),
            self._change("/sync/plan", self.make_plan, Right.EDIT),
            self._change("/devices/enrol", self.enrol, Right.MANAGE),
            self._change("/devices/policy", self.policy, Right.MANAGE),
            self._change("/devices/{id}/revoke", self.revoke, Right.MANAGE),
            Mount("/static", Files(), name="static"),
        ]

    # Errors --------------------------------------------------------------------------------------

    def exception_handlers(self) -> dict[Any, Any]:
        """Errors as pages for people, as JSON for programs."""

        async def ours(request: Request, error: Exception) -> Response:
            assert isinstance(error, ReplicaError)
            if request.url.path.startswith("/api/"):
                return json_problem(error)
            if isinstance(error, NotSignedIn):
                return RedirectResponse("/login", status_code=303)
            message, hint = describe(error)
            return self._problem(status_of(error), message, hint)

        async def http(request: Request, error: Exception) -> Response:
            assert isinstance(error, HTTPException)
            if request.url.path.startswith("/api/"):
                return json_problem(NotFound("there is no such address or method"))
            return self._problem(error.status_code, error.detail, "")

        async def bug(request: Request, error: Exception) -> Response:
            self._runtime.logger.error("request broke", path=request.url.path, exc_info=error)
            return self._problem(500, "Something broke on our side. Nothing was lost.", "")

        return {ReplicaError: ours, HTTPException: http, Exception: bug}

    # Signing in ----------------------------------------------------------------------------------

    async def home(self, _: Request) -> Response:
        return RedirectResponse("/orders", status_code=303)

    async def login_form(self, request: Request) -> Response:
        return self._login_page(request, "", "", 200)

    async def login(self, request: Request) -> Response:
        runtime = self._runtime
        form = await read_form(request)
        login = form.get("login", "")
        try:
            check_same_origin(request.headers, runtime.config.browser_origins)
            check_form_token(_login_secret(request), form.get("form_token", ""))
            password = form.get("password", "")
            token = await runtime.auth.login(login, password, client_address(request))
        except (Forbidden, Overloaded) as error:
            return self._login_page(request, login[:80], str(error), status_of(error))
        response = RedirectResponse("/orders", status_code=303)
        runtime.auth.set_cookie(response, token)
        return response

    def _login_page(self, request: Request, login: str, problem: str, status: int) -> Response:
        return self._frame.bare(
            "login.html",
            now_ms=self._runtime.now_ms(),
            status=status,
            login=login,
            problem=problem[:1].upper() + problem[1:],
            form_token=form_token(_login_secret(request)),
        )

    async def logout(self, request: Request) -> Response:
        principal = await self._principal(request, Right.READ)
        check_form_token(principal.session, (await read_form(request)).get("form_token", ""))
        await self._runtime.auth.logout(request)
        response = RedirectResponse("/login", status_code=303)
        self._runtime.auth.set_cookie(response, "")
        return response

    # Reading -------------------------------------------------------------------------------------

    async def orders(self, request: Request, who: Principal) -> Response:
        asked = request.query_params
        state, text, after = asked.get("state", ""), asked.get("q", "")[:80], asked.get("after")
        page = await self._runtime.read(
            queries.sealed_page,
            who.account,
            "order",
            state=state,
            text=text,
            after=decode_key(after, int, str),
            limit=LIST_ROWS_MAX,
        )
        counts, _, position = await self._runtime.read(frame_numbers, who.account)
        devices = await self._runtime.devices.rows(who.account)
        status = await self._runtime.sinks.status(who.account)
        filters = {"state": state, "q": text}
        chips = {
            name: address("/orders", {"state": name} if name else {}) for name in ["", *ORDER_MARKS]
        }
        orders = counts.get("order", {})
        return await self._page(
            request,
            who,
            "orders.html",
            rows=[views.order_row(row) for row in page.rows],
            page=links("/orders", filters, after, encode_key(page.after)),
            chips=views.order_chips(orders, state, chips),
            lanes=views.lanes(devices, sum(orders.values()), position, status),
            query=text,
            selected=state,
        )

    async def devices(
        self, request: Request, who: Principal, code: dict[str, Any] | None = None
    ) -> Response:
        # Before the devices: these are in the list then, whoever enrols meanwhile.
        leaving = await asyncio.to_thread(self._runtime.scopes.handovers, who.account)
        names = [name for one in leaving for name in one.customers]
        customers = await self._runtime.read(queries.names, who.account, "customer", names)
        rows = await self._runtime.devices.rows(who.account)
        devices = {row.id: views.device_row(row, who) for row in rows}
        return await self._page(
            request,
            who,
            "devices.html",
            rows=devices.values(),
            restored_ms=await self._runtime.devices.restored_ms(who.account),
            handovers=[views.handover_row(one, devices, customers) for one in leaving],
            code=code,
            begins=await self._beginning(who) if who.may(Right.MANAGE) else None,
            may_manage=who.may(Right.MANAGE),
        )

    async def _beginning(self, who: Principal) -> dict[str, Any]:
        """What the forms of new devices offer."""
        control, devices = self._runtime.stores.control, self._runtime.devices
        users = await asyncio.to_thread(control.users, who.account)
        found = await asyncio.to_thread(control.devices, who.account)
        return {
            "users": [one.login for one in users],
            "choices": beginning_views.choices(found),
            "words": beginning_views.policy_words(await devices.policy(who.account)),
        }

    async def customers(self, request: Request, who: Principal) -> Response:
        asked = request.query_params
        deleted, text, after = asked.get("deleted", ""), asked.get("q", "")[:80], asked.get("after")
        page = await self._runtime.read(
            queries.customers_page,
            who.account,
            text=text,
            only_deleted=bool(deleted),
            after=decode_key(after, str, str),
            limit=LIST_ROWS_MAX,
        )
        filters = {"q": text, "deleted": deleted}
        return await self._page(
            request,
            who,
            "customers.html",
            rows=[views.customer_row(row) for row in page.rows],
            page=links("/customers", filters, after, encode_key(page.after)),
            query=text,
            deleted=bool(deleted),
        )

    async def products(self, request: Request, who: Principal) -> Response:
        asked = request.query_params
        text, after = asked.get("q", "")[:80], asked.get("after")
        page = await self._runtime.read(
            queries.products_page,
            who.account,
            text=text,
            after=decode_key(after, str, str),
            limit=LIST_ROWS_MAX,
        )
        return await self._page(
            request,
            who,
            "products.html",
            rows=[views.product_row(row) for row in page.rows],
            page=links("/products", {"q": text}, after, encode_key(page.after)),
            query=text,
        )

    async def sync(self, request: Request, who: Principal) -> Response:
        run = self._runtime.sync_now.current(who.account)
        past = await self._runtime.read(queries.sync_runs_page, who.account, limit=10)
        now_ms = self._runtime.now_ms()
        plan = self._runtime.planner.newest(who.account)
        if plan and run and run.started_ms >= plan.made_ms:
            plan = None  # a run went on since: what it says has been done, or is old
        return await self._page(
            request,
            who,
            "sync.html",
            may_edit=who.may(Right.EDIT),
            plan=plan_page(plan) if plan else None,
            run=run_views.run_page(run, now_ms) if run else None,
            history=[run_views.past_run(row) for row in past.rows],
        )

    async def live(self, _: Request, who: Principal) -> Response:
        """News for an open page, beginning with what it may have missed since it was made."""
        self._runtime.live.check_room()
        position, _sections = await self._runtime.read(queries.sections, who.account)
        mark = live_mark(position, self._runtime.sync_now.current(who.account))
        stream = self._runtime.live.stream(who.account, mark)
        return StreamingResponse(stream, media_type="text/event-stream")

    # Changing ------------------------------------------------------------------------------------

    async def make_plan(self, _: Request, who: Principal, __: Form) -> Response:
        await self._runtime.planner.propose(who.account, who.name)
        return RedirectResponse("/sync", status_code=303)

    async def sync_now(self, _: Request, who: Principal, form: Form) -> Response:
        named = form.get("plan")
        plan = self._runtime.planner.named(who.account, named) if named else None
        self._runtime.sync_now.press(who.account, who.name, plan)
        return RedirectResponse("/sync", status_code=303)

    async def enrol(self, request: Request, who: Principal, form: Form) -> Response:
        """The one form that answers with a page: the code is shown once and not kept."""
        runtime, name = self._runtime, form.get("name", "")
        login = form.get("user", "")
        user = await runtime.devices.user(who.account, login) if login else who.user
        found = await asyncio.to_thread(runtime.stores.control.devices, who.account)
        wish = beginning_views.wish_of(form, found)
        text = await runtime.devices.open_code(who.account, name, user, wish)
        code = {"name": name, "text": text, "minutes": CODE_MINUTES}
        return await self.devices(request, who, code)

    async def policy(self, _: Request, who: Principal, form: Form) -> Response:
        """Say what devices hold at first that enrol from now on."""
        found = await asyncio.to_thread(self._runtime.stores.control.devices, who.account)
        policy = beginning_views.policy_of(form, found)
        await self._runtime.devices.set_policy(who.account, policy)
        return RedirectResponse("/devices?done=policy", status_code=303)

    async def revoke(self, request: Request, who: Principal, _: Form) -> Response:
        await self._runtime.devices.revoke(who.account, request.path_params["id"])
        return RedirectResponse("/devices?done=revoked", status_code=303)


def _login_secret(request: Request) -> str:
    """What a login form's token is derived from before there is a session: nothing secret, so the
    check of the origin is what protects this one form."""
    return f"login {request.headers.get('host', '')}"
