"""The sink's HTTP routes: Intuit's callback and its webhook.

The callback needs no login of ours: it brings a state that was minted for one account by somebody
who was logged in, good once and for ten minutes. The webhook proves itself by its signature. The
server puts the sinks it hosts at ``app.state.sinks``, name to sink.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from typing import TYPE_CHECKING, cast

from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from replica.errors import ReplicaError
from replica.limits import QBO_WEBHOOK_BYTES_MAX

if TYPE_CHECKING:
    from qbo_sink.port import QuickBooksSink

_NAME = "quickbooks"


def routes() -> Sequence[BaseRoute]:
    """Mounted under ``/sinks/quickbooks/``."""
    return [
        Route("/callback", callback, methods=["GET"]),
        Route("/webhook", webhook, methods=["POST"]),
    ]


def signature_is_good(body: bytes, signature: str, verifier: str) -> bool:
    """Whether ``signature`` is the webhook's HMAC of the raw bytes, compared in constant time."""
    expected = base64.b64encode(hmac.new(verifier.encode(), body, sha256).digest())
    return bool(verifier) and hmac.compare_digest(expected, signature.encode())


async def callback(request: Request) -> Response:
    """Where Intuit sends the browser back with a code, or with a refusal."""
    sink = _sink(request)
    if sink is None:
        return _page("QuickBooks is not configured here.", 503)
    values = request.query_params
    if "error" in values:
        return _page("QuickBooks was not connected: the permission was not given.", 400)
    realm = values.get("realmId", "")
    if not realm.isdecimal() or not 0 < len(values.get("code", "")) <= 512:
        return _page("This address is called by QuickBooks only.", 400)
    try:
        await sink.finish_connect(values.get("state", ""), values["code"], realm)
    except ReplicaError as error:
        return _page(f"QuickBooks was not connected: {error}.", 400)
    return RedirectResponse("/company?done=connected", 303)


async def webhook(request: Request) -> Response:
    """A hint that something changed there: answered at once, believed never.

    What changed is asked for by the next run, so a forged, lost or repeated message does no harm.
    """
    sink = _sink(request)
    if sink is None or sink.config is None:
        return PlainTextResponse("not configured", 503)
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > QBO_WEBHOOK_BYTES_MAX:
                return PlainTextResponse("too large", 413)
    except ClientDisconnect:
        return PlainTextResponse("cut off", 400)
    signature = request.headers.get("intuit-signature", "")
    if not signature_is_good(bytes(body), signature, sink.config.webhook_verifier):
        return PlainTextResponse("wrong signature", 401)
    await sink.hinted(bytes(body))
    return PlainTextResponse("", 200)


def _sink(request: Request) -> QuickBooksSink | None:
    hosted = getattr(request.app.state, "sinks", None)
    found = hosted.get(_NAME) if isinstance(hosted, dict) else None
    return cast("QuickBooksSink | None", found)


def _page(text: str, status: int) -> Response:
    back = '<p><a href="/company">Back</a></p>'
    page = f"<!doctype html><title>QuickBooks</title><p>{escape(text)}</p>{back}"
    return HTMLResponse(page, status)
