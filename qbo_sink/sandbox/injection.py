"""Planned faults of transport: what may happen to an HTTP exchange, on purpose.

A plan is a list of rules; each request takes the first that matches it. Control routes are never
touched. Under a server the connection is really cut; in-process, ``ConnectionDropped`` is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

RULES_MAX = 1_000
DELAY_MS_MAX = 600_000

Kind = Literal["drop_before", "drop_after", "reset_mid_body", "delay", "status"]

_HTML = b"<html><body><h1>%d</h1><p>stream timeout</p></body></html>"
_XML = (
    b'<?xml version="1.0"?><IntuitResponse xmlns="http://schema.intuit.com/finance/v3">'
    b'<Fault type="SystemFault"><Error code="10000"><Message>%d</Message></Error></Fault>'
    b"</IntuitResponse>"
)
_JSON = (
    b'{"Fault":{"Error":[{"Message":"An application error has occurred while processing your '
    b'request","Detail":"status %d","code":"10000"}],"type":"SystemFault"},"time":""}'
)
_BODIES = {
    "html": (b"text/html", _HTML),
    "xml": (b"application/xml", _XML),
    "json": (b"application/json;charset=UTF-8", _JSON),
    "text": (b"text/plain", b"stream timeout (%d)"),
    "empty": (b"text/plain", b""),
}


class ConnectionDropped(ConnectionResetError):
    """The exchange ended without an answer; raised only when no real connection can be cut."""


class FaultRule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """``match`` is part of the path with its query; ``skip`` requests pass, then ``count`` fail.

    ``after`` says whether a ``status`` replaces the answer of a request that was carried out.
    """

    kind: Kind
    match: str = ""
    method: str = ""
    skip: int = 0
    count: int = 1
    delay_ms: int = 0
    status: int = 503
    format: Literal["html", "xml", "json", "text", "empty"] = "html"
    after: bool = False


class Plan:
    """The rules waiting, and how often each kind struck since the start."""

    def __init__(self) -> None:
        self.rules: list[FaultRule] = []
        self.struck: dict[str, int] = {}

    def add(self, rule: FaultRule) -> None:
        """Raises ``ValueError`` when the plan is full or the rule cannot be meant."""
        if len(self.rules) >= RULES_MAX or not 0 <= rule.delay_ms <= DELAY_MS_MAX:
            raise ValueError("too many rules or a delay out of range")
        self.rules.append(rule)

    def take(self, method: str, target: str) -> FaultRule | None:
        """The rule for this request, counted down."""
        for rule in self.rules:
            if rule.match not in target or rule.method not in ("", method):
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            rule.count -= 1
            if rule.count <= 0:
                self.rules.remove(rule)
            self.struck[rule.kind] = self.struck.get(rule.kind, 0) + 1
            return rule
        return None


class FaultInjection:
    """ASGI wrapper that carries out ``plan``. ``abort`` cuts a real connection if it knows it."""

    def __init__(self, app: ASGIApp, plan: Plan, abort: Callable[[Scope], bool]) -> None:
        self.app = app
        self.plan = plan
        self.abort = abort

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange."""
        if scope["type"] != "http" or scope["path"].startswith("/sandbox"):
            await self.app(scope, receive, send)
            return
        target = f"{scope['path']}?{scope['query_string'].decode('latin-1')}"
        rule = self.plan.take(scope["method"], target)
        if rule is None:
            await self.app(scope, receive, send)
            return
        if rule.delay_ms and not rule.after:
            await asyncio.sleep(rule.delay_ms / 1000)
        if rule.kind == "drop_before":
            await self._cut(scope, receive)
        elif rule.kind == "status" and not rule.after:
            await _answer(rule, send)
        else:
            await self._carried_out(rule, scope, receive, send)

    async def _carried_out(
        self, rule: FaultRule, scope: Scope, receive: Receive, send: Send
    ) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        if rule.delay_ms and rule.after:
            await asyncio.sleep(rule.delay_ms / 1000)
        if rule.kind == "drop_after":
            await self._cut(scope, receive)
        elif rule.kind == "status":
            await _answer(rule, send)
        elif rule.kind == "reset_mid_body":
            body = b"".join(message.get("body", b"") for message in messages[1:])
            await send(messages[0])
            half = body[: len(body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            await asyncio.sleep(0)  # let the half leave before the connection goes
            await self._cut(scope, receive)
        else:
            for message in messages:
                await send(message)

    async def _cut(self, scope: Scope, receive: Receive) -> None:
        if not self.abort(scope):
            raise ConnectionDropped("the sandbox dropped the connection as planned")
        while (await receive())["type"] != "http.disconnect":
            pass


async def _answer(rule: FaultRule, send: Send) -> None:
    kind, template = _BODIES[rule.format]
    body = template % rule.status if b"%d" in template else template
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": rule.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
