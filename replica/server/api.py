"""The JSON API under ``/api/v1``: enrolment for devices, reading and doing for programs.

Programs on this machine come as the operator (``auth``), browsers with their session. Every answer
is about the account of whoever asks. Errors are ``{"code", "message", "hint"}``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.errors import Forbidden, Malformed
from replica.events.event import UUID_BYTES, AccountId
from replica.events.kinds import REGISTRY
from replica.events.payloads import Payload
from replica.events.record import Origin
from replica.limits import (
    LIST_ROWS_MAX,
    LIST_START_MAX,
    LOCAL_EVENTS_MAX,
    NAME_CHARS_MAX,
    PAGE_ROWS_MAX,
)
from replica.projections import queries
from replica.server import aside
from replica.server.answers import (
    Json,
    NotFound,
    bounded_limit,
    caller_of,
    client_address,
    decode_key,
    encode_key,
    json_body,
    told,
)
from replica.server.auth import Principal, Right
from replica.server.beginning import Policy
from replica.server.devices import CODE_MINUTES
from replica.server.door import WEB
from replica.server.plans import plan_values
from replica.server.runs import Run, proof_values
from replica.server.runtime import Runtime
from replica.server.scopes import Wish
from replica.server.stores import PASSWORD_BYTES, new_user
from replica.server.why import why
from replica.sink import QueueAsk
from replica.store.access import Role

Name = Annotated[str, Meta(min_length=1, max_length=NAME_CHARS_MAX)]
Login = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\s\x00-\x1f]+\Z")]


class EnrolBody(msgspec.Struct):
    code: Annotated[str, Meta(min_length=1, max_length=64)]
    name: str = ""
    software: Annotated[str, Meta(max_length=NAME_CHARS_MAX)] = ""


class CodeBody(msgspec.Struct):
    """``user`` is the login of who will use the device, by default of who asks for the code;
    ``scope`` is what it begins with where that is not what the policy says."""

    name: Name
    user: Login | None = None
    scope: Wish | None = None


class AccountBody(msgspec.Struct):
    name: Name
    login: Login
    password: str = ""


class UserBody(msgspec.Struct):
    login: Login
    role: Role = Role.REP
    password: str = ""


class EventBody(msgspec.Struct):
    kind: str
    payload: dict[str, Any]


class EventsBody(msgspec.Struct):
    events: Annotated[list[EventBody], Meta(min_length=1, max_length=LOCAL_EVENTS_MAX)]


Handler = Callable[[Request, Principal], Awaitable[Any]]


class Api:
    """The handlers. Each returns plain values; :meth:`routes` puts the common parts around."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[Route]:
        """All routes, each with the right it needs."""
        see, edit, manage, operate = Right.READ, Right.EDIT, Right.MANAGE, Right.OPERATE
        table: tuple[tuple[str, str, Handler, Right], ...] = (
            ("GET", "/me", self.me, see),
            ("GET", "/orders", self.orders, see),
            ("GET", "/orders/{id}", self.order, see),
            ("GET", "/customers", self.customers, see),
            ("GET", "/customers/{id}", self.customer, see),
            ("GET", "/products", self.products, see),
            ("GET", "/conflicts", self.conflicts, see),
            ("GET", "/why/{type}/{id}", self.why, see),
            ("GET", "/quarantine", self.quarantine, see),
            ("GET", "/sections", self.sections, see),
            ("GET", "/queue", self.queue, see),
            ("GET", "/sync-now", self.sync_run, see),
            ("POST", "/sync-now", self.sync_now, edit),
            ("GET", "/sync-now/plan", self.plan, see),
            ("POST", "/sync-now/plan", self.make_plan, edit),
            ("GET", "/sync-now/{run}", self.result, see),
            ("POST", "/events", self.write, edit),
            ("GET", "/devices", self.devices, see),
            ("POST", "/devices/codes", self.open_code, manage),
            ("GET", "/devices/policy", self.policy, see),
            ("PUT", "/devices/policy", self.set_policy, manage),
            ("POST", "/devices/{id}/revoke", self.revoke, manage),
            ("GET", "/accounts", self.accounts, operate),
            ("POST", "/accounts", self.add_account, operate),
            ("GET", "/users", self.users, operate),
            ("POST", "/users", self.add_user, operate),
        )
        routes = [
            Route(f"/api/v1{path}", self._guarded(handler, right), methods=[method])
            for method, path, handler, right in table
        ]
        return [Route("/api/v1/enrol", told(self.enrol), methods=["POST"]), *routes]

    def _guarded(self, handler: Handler, right: Right) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            principal = await caller_of(request, self._runtime.auth, right)
            return Json(await handler(request, principal))

        return told(answer)

    # Devices enrol themselves --------------------------------------------------------------------

    async def enrol(self, request: Request) -> Response:
        """A code becomes an identity; the only route without a login."""
        body = await json_body(request, EnrolBody)
        enrolled = await self._runtime.devices.enrol(
            body.code, software=body.software, address=client_address(request)
        )
        device = enrolled.device
        return Json(
            {
                "account": device.account.hex(),
                "device": device.device.hex(),
                "name": device.name,
                "token": enrolled.token,
            }
        )

    # Reading -------------------------------------------------------------------------------------

    async def me(self, _: Request, who: Principal) -> Any:
        return {
            "account": who.account.hex(),
            "account_name": who.account_name,
            "name": who.name,
            "role": who.role.value if who.role else "operator",
        }

    async def orders(self, request: Request, who: Principal) -> Any:
        asked = request.query_params
        return await self._page(
            request,
            (int, str),
            queries.sealed_page,
            who.account,
            asked.get("kind", "order"),
            state=asked.get("state", ""),
            customer=asked.get("customer", ""),
        )

    async def order(self, request: Request, who: Principal) -> Any:
        kind = request.query_params.get("kind", "order")
        row = await self._runtime.read(
            queries.sealed_one, who.account, kind, request.path_params["id"]
        )
        if row is None:
            raise NotFound("there is no such order")
        return {**row, "ladder": [rung._asdict() for rung in row["ladder"]]}

    async def customers(self, request: Request, who: Principal) -> Any:
        status = request.query_params.get("status", "")
        return await self._page(
            request, (str, str), queries.customers_page, who.account, status=status
        )

    async def customer(self, request: Request, who: Principal) -> Any:
        key = DocKey("customer", request.path_params["id"])
        document = await self._runtime.read(queries.document, who.account, key)
        if document is None:
            raise NotFound("there is no such customer")
        return view(document)

    async def products(self, request: Request, who: Principal) -> Any:
        return await self._page(request, (str, str), queries.products_page, who.account)

    async def conflicts(self, request: Request, who: Principal) -> Any:
        return await self._page(request, (str, str, int), queries.conflicts_page, who.account)

    async def why(self, request: Request, who: Principal) -> Any:
        asked = request.path_params
        key = DocKey(asked["type"], asked["id"])
        return await why(self._runtime, who.account, key, request.query_params.get("field", ""))

    async def quarantine(self, _: Request, who: Principal) -> Any:
        rows = await asyncio.to_thread(aside.kept, self._runtime.stores, who.account, PAGE_ROWS_MAX)
        return {"rows": [row._asdict() for row in rows]}

    async def sections(self, _: Request, who: Principal) -> Any:
        position, sections = await self._runtime.read(queries.sections, who.account)
        rows = [{**section._asdict(), "digest": section.digest.hex()} for section in sections]
        return {"position": position, "sections": rows}

    async def queue(self, request: Request, who: Principal) -> Any:
        """What waits, in sending order; ``start`` goes on where ``next`` of the last page says."""
        sinks, asked = self._runtime.sinks, request.query_params
        start = bounded_limit(asked.get("start"), 0, LIST_START_MAX, least=0)
        ask = QueueAsk(text=asked.get("q", "")[:80], state=asked.get("state", ""), start=start)
        page = await sinks.queue(who.account, ask)
        following = start + len(page.rows)
        return {
            "status": await sinks.status(who.account),
            "rows": page.rows,
            "matching": page.matching,
            "counts": page.counts,
            "next": following if following < page.matching else None,
        }

    # Doing ---------------------------------------------------------------------------------------

    async def sync_now(self, request: Request, who: Principal) -> Any:
        """Start or join a run, by the plan that ``?plan=`` names; with ``?wait=1`` answer when it
        has ended."""
        named = request.query_params.get("plan")
        plan = self._runtime.planner.named(who.account, named) if named else None
        run = self._runtime.sync_now.press(who.account, who.name, plan)
        if request.query_params.get("wait"):
            await self._runtime.sync_now.finish(who.account)
        return run_values(run)

    async def make_plan(self, _: Request, who: Principal) -> Any:
        """What a run would do now. Asks the other system, and changes nothing."""
        return plan_values(await self._runtime.planner.propose(who.account, who.name))

    async def plan(self, _: Request, who: Principal) -> Any:
        """The plan that was made last."""
        plan = self._runtime.planner.newest(who.account)
        return plan_values(plan) if plan else {"plan": None}

    async def write(self, request: Request, who: Principal) -> Any:
        """The main app's own events, all or none: durable when answered, through the one door."""
        body = await json_body(request, EventsBody)
        payloads = [_payload(event) for event in body.events]
        admitted = await self._runtime.door.submit_local(who.account, WEB, payloads)
        assert admitted.segment is not None, "all were accepted"
        return {"accepted": len(payloads), "position": admitted.segment.last}

    async def sync_run(self, _: Request, who: Principal) -> Any:
        run = self._runtime.sync_now.current(who.account)
        return run_values(run) if run else {"run": None}

    async def result(self, request: Request, who: Principal) -> Any:
        """What an earlier run found, as its event keeps it."""
        row = await self._runtime.read(queries.sync_run, who.account, request.path_params["run"])
        if row is None:
            raise NotFound("there is no such run")
        return {**row, "equal": bool(row["equal"]), "report": msgspec.json.decode(row["report"])}

    async def devices(self, _: Request, who: Principal) -> Any:
        devices = self._runtime.devices
        restored_ms = await devices.restored_ms(who.account)
        return {"rows": await devices.rows(who.account), "restored_ms": restored_ms}

    async def open_code(self, request: Request, who: Principal) -> Any:
        body = await json_body(request, CodeBody)
        devices = self._runtime.devices
        user = await devices.user(who.account, body.user) if body.user else who.user
        code = await devices.open_code(who.account, body.name, user, body.scope)
        return {"code": code, "name": body.name, "minutes": CODE_MINUTES}

    async def policy(self, _: Request, who: Principal) -> Any:
        return await self._runtime.devices.policy(who.account)

    async def set_policy(self, request: Request, who: Principal) -> Any:
        body = await json_body(request, Policy)
        return await self._runtime.devices.set_policy(who.account, body)

    async def revoke(self, request: Request, who: Principal) -> Any:
        await self._runtime.devices.revoke(who.account, request.path_params["id"])
        return {"device": request.path_params["id"], "state": "revoked"}

    async def accounts(self, _: Request, __: Principal) -> Any:
        rows = await asyncio.to_thread(self._runtime.stores.control.accounts)
        return {"rows": [row._asdict() for row in rows]}

    async def add_account(self, request: Request, _: Principal) -> Any:
        body = await json_body(request, AccountBody)
        password = body.password or secrets.token_urlsafe(PASSWORD_BYTES)
        account = AccountId(secrets.token_bytes(UUID_BYTES))
        owner = new_user(body.login, password, Role.OWNER)
        await asyncio.to_thread(
            self._runtime.stores.control.create_account,
            account,
            body.name,
            owner=owner,
            now_ms=self._runtime.now_ms(),
        )
        made = {} if body.password else {"password": password}
        return {"account": account, "name": body.name, "login": body.login, **made}

    async def users(self, _: Request, who: Principal) -> Any:
        rows = await asyncio.to_thread(self._runtime.stores.control.users, who.account)
        return {"rows": [{"login": row.login, "role": row.role} for row in rows]}

    async def add_user(self, request: Request, who: Principal) -> Any:
        body = await json_body(request, UserBody)
        password = body.password or secrets.token_urlsafe(PASSWORD_BYTES)
        user = await asyncio.to_thread(
            self._runtime.stores.control.add_user,
            who.account,
            new_user(body.login, password, body.role),
            now_ms=self._runtime.now_ms(),
        )
        made = {} if body.password else {"password": password}
        return {"login": user.login, "role": user.role, "account": who.account_name, **made}

    async def _page(
        self,
        request: Request,
        key: tuple[type, ...],
        query: Callable[..., queries.Page],
        *arguments: Any,
        **filters: Any,
    ) -> Any:
        asked = request.query_params
        page: queries.Page = await self._runtime.read(
            query,
            *arguments,
            after=decode_key(asked.get("after"), *key),
            limit=bounded_limit(asked.get("limit"), LIST_ROWS_MAX, PAGE_ROWS_MAX),
            **filters,
        )
        return {"rows": page.rows, "after": encode_key(page.after)}


def _payload(body: EventBody) -> Payload:
    """What a JSON event says. Raises ``Malformed``; ``Forbidden`` for a kind only servers write."""
    kind = REGISTRY.newest.get(body.kind)
    if kind is None:
        raise Malformed(f"kind {body.kind!r} is unknown")
    if Origin.DEVICE not in kind.origins:
        raise Forbidden(f"{body.kind} is written by the server alone")
    try:
        return msgspec.convert(body.payload, kind.struct)
    except msgspec.MsgspecError as error:
        raise Malformed(f"{body.kind}: {error}") from error


def run_values(run: Run) -> dict[str, Any]:
    """A run of Sync Now as plain values."""
    return {
        "run": run.id,
        "state": "running" if run.running else "done",
        "by": run.by,
        "presses": run.presses,
        "started_ms": run.started_ms,
        "finished_ms": run.finished_ms,
        "equal": None if run.running else run.equal,
        "received": run.received,
        "sent": run.sent,
        "fetched": run.fetched,
        "position": run.position,
        "checked": run.checked,
        "plan": plan_values(run.plan) if run.plan else None,
        "moved": run.moved,
        "steps": run.steps,
        "sections": [
            {"section": one.section, "count": one.count, "digest": one.digest}
            for one in run.sections
        ],
        "devices": [proof_values(proof) for proof in run.devices],
        "reports": run.reports,
        "comparisons": run.comparisons,
        "problems": run.problems,
    }
