"""Control routes under ``/sandbox``: loopback only, never part of what QuickBooks offers.

They do what a tester, another user of the company or an administrator would do.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qbo_sink.sandbox import others
from qbo_sink.sandbox.books import Company
from qbo_sink.sandbox.company import ZONES, seed
from qbo_sink.sandbox.faults import Refused
from qbo_sink.sandbox.injection import FaultRule
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, read_json, write_json

Handler = Callable[[Sandbox, Any, Request], Any]


class _Wrong(Exception):
    """The control request makes no sense; its text goes back with 400."""


def _company(sandbox: Sandbox, body: Json) -> Company:
    company = sandbox.books.company(str(body.get("realm", sandbox.settings.realm)))
    if company is None:
        raise _Wrong("no such realm")
    return company


def state(sandbox: Sandbox, _: Any, __: Request) -> Json:
    """Clock, companies, switches, faults waiting and struck."""
    return {
        "now_ms": sandbox.clock.now_ms(),
        "clock_offset_ms": sandbox.clock.offset_ms,
        "realms": sandbox.books.realms(),
        "switches": msgspec.to_builtins(sandbox.switches),
        "faults": msgspec.to_builtins(sandbox.plan.rules),
        "struck": sandbox.plan.struck,
    }


def connect(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """Tokens for a company without a browser: ``{"realm"?, "scope"?}``."""
    company = _company(sandbox, body)
    uri = "https://localhost/sandbox/connect"
    code = sandbox.grants.authorize(
        realm=company.realm,
        client_id=sandbox.settings.client_id,
        scope=str(body.get("scope", "com.intuit.quickbooks.accounting")),
        redirect_uri=uri,
    )
    answer = sandbox.grants.exchange(code, uri)[1]
    return answer | {
        "realmId": company.realm,
        "client_id": sandbox.settings.client_id,
        "client_secret": sandbox.settings.client_secret,
    }


def realms(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """Another company: ``{"realm", "country"?}``, seeded like the first."""
    realm, country = str(body.get("realm", "")), str(body.get("country", "US"))
    if not realm.isdigit() or country not in ZONES or sandbox.books.company(realm):
        raise _Wrong("realm must be new digits, country one of " + ", ".join(ZONES))
    seed(sandbox.books, realm, country)
    return {"realm": realm}


def faults(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """Plan faults: one rule or a list of rules (:class:`FaultRule`)."""
    for rule in body if isinstance(body, list) else [body]:
        sandbox.plan.add(msgspec.convert(rule, FaultRule))
    return {"waiting": len(sandbox.plan.rules)}


def no_faults(sandbox: Sandbox, _: Any, __: Request) -> Json:
    """Forget every planned fault."""
    sandbox.plan.rules.clear()
    return {"waiting": 0}


def switches(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """Flip switches; answers all of them."""
    flipped: Json = msgspec.to_builtins(sandbox.flip(body))
    return flipped


def clock(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """``{"advance_ms": n}`` moves the clock, ``{"offset_ms": n}`` sets it."""
    offset = body.get("offset_ms", sandbox.clock.offset_ms + int(body.get("advance_ms", 0)))
    sandbox.move_clock(int(offset))
    return {"now_ms": sandbox.clock.now_ms()}


def tokens(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """``{"do": "expire_access" | "expire_refresh" | "revoke"}`` for a company's connections."""
    realm = _company(sandbox, body).realm
    actions = {
        "expire_access": sandbox.grants.expire_access,
        "expire_refresh": sandbox.grants.expire_refresh,
        "revoke": sandbox.grants.revoke_realm,
    }
    action = actions.get(body.get("do", ""))
    if action is None:
        raise _Wrong("do must be one of " + ", ".join(actions))
    action(realm)
    return {"done": body["do"]}


def throttle(sandbox: Sandbox, _: Any, __: Request) -> Json:
    """Empty the throttle's windows."""
    sandbox.throttle.forget()
    return {}


def edit(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """As another user: ``{"entity", "id", "changes"}``; no token needed."""
    company = _company(sandbox, body)
    return others.edit(sandbox, company, body["entity"], str(body["id"]), body["changes"])


def remove(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """As another user: delete the transaction ``{"entity", "id"}``."""
    company = _company(sandbox, body)
    return others.remove(sandbox, company, body["entity"], str(body["id"]))


def merge(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """As another user: merge name ``{"entity", "id"}`` into ``{"into"}``."""
    company = _company(sandbox, body)
    return others.merge(sandbox, company, body["entity"], str(body["id"]), str(body["into"]))


def inactivate(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """As another user: make a name inactive."""
    changes = {"Active": False}
    company = _company(sandbox, body)
    return others.edit(sandbox, company, body["entity"], str(body["id"]), changes)


def preferences(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """Change preferences: ``{"changes": {group: {name: value}}}``; also closes books."""
    return others.prefer(sandbox, _company(sandbox, body), body["changes"])


def suspend(sandbox: Sandbox, body: Any, _: Request) -> Json:
    """``{"suspended": true|false}``: the subscription ended, or was renewed."""
    company = _company(sandbox, body)
    with sandbox.books.atomic():
        sandbox.books.put_company(
            company.realm,
            country=company.country,
            zone=company.zone.key,
            suspended=bool(body.get("suspended", True)),
        )
    return {"suspended": bool(body.get("suspended", True))}


def webhooks(sandbox: Sandbox, body: Any, request: Request) -> Json:
    """Read the outbox, or set its receiver with ``{"url"}``."""
    if request.method == "PUT":
        sandbox.notices.url = str(body.get("url", ""))
    return {"url": sandbox.notices.url, "notices": sandbox.notices.listing()}


def count(sandbox: Sandbox, _: Any, request: Request) -> Json:
    """Live objects per entity of a realm, for counting duplicates."""
    company = _company(sandbox, dict(request.query_params))
    return others.counts(sandbox, company)


def _loopback(request: Request) -> bool:
    """From this machine and not from a page in its browser."""
    host = request.client.host if request.client else ""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "testclient"
    return local and "origin" not in request.headers


def _route(path: str, handler: Handler, methods: list[str]) -> Route:
    async def run(request: Request) -> Response:
        if not _loopback(request):
            return Response(status_code=404)
        try:
            data = await request.body()
            answer = handler(request.app.state.sandbox, read_json(data) if data else {}, request)
        except Refused as fault:
            return _json({"error": str(fault)}, 400)
        except (_Wrong, KeyError, TypeError, ValueError, AttributeError) as problem:
            return _json({"error": f"{type(problem).__name__}: {problem}"}, 400)
        return _json(answer, 200)

    endpoint: Callable[[Request], Awaitable[Response]] = run
    return Route(f"/sandbox/{path}", endpoint, methods=methods)


def _json(value: Any, status: int) -> Response:
    return Response(write_json(value), status, media_type="application/json")


def routes() -> list[Route]:
    """Every control route."""
    post = ["POST"]
    return [
        _route("state", state, ["GET"]),
        _route("connect", connect, post),
        _route("realms", realms, post),
        _route("faults", faults, post),
        _route("faults", no_faults, ["DELETE"]),
        _route("switches", switches, ["PUT"]),
        _route("clock", clock, post),
        _route("tokens", tokens, post),
        _route("throttle/reset", throttle, post),
        _route("edit", edit, post),
        _route("delete", remove, post),
        _route("merge", merge, post),
        _route("inactivate", inactivate, post),
        _route("preferences", preferences, post),
        _route("suspend", suspend, post),
        _route("webhooks", webhooks, ["GET", "PUT"]),
        _route("count", count, ["GET"]),
    ]
