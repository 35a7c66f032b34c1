"""What stands between a browser and the pages: headers, same-origin checks, form tokens.

All of it is plain logic over values. A changing request by cookie must come from our own page:
``Sec-Fetch-Site`` and ``Origin`` say so, and the form carries a token that only our page could
know (reliability §2.4 CSRF).
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from replica.errors import Forbidden
from replica.server.metrics import Metrics

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class SecurityHeaders:
    """ASGI middleware: the same headers on every HTTP answer, errors and files included."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, https: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = dict(_HEADERS)
        if https:
            self._headers["strict-transport-security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
                self._metrics.requests.labels(str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, send_with_headers)


def check_same_origin(headers: Headers, allowed: frozenset[str]) -> None:
    """Raise ``Forbidden`` when a browser says that the request began on somebody else's page."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("the request came from another site")
    origin = headers.get("origin")
    if origin is not None and not origin_allowed(origin, headers.get("host", ""), allowed):
        raise Forbidden("the request came from another origin")


def origin_allowed(origin: str, host: str, allowed: frozenset[str]) -> bool:
    """Whether ``origin`` is the page's own host or a configured one (reliability D12)."""
    lowered = origin.lower()
    return lowered in allowed or (host != "" and urlsplit(lowered).netloc == host.lower())


def form_token(session_token: str) -> str:
    """The token that a form of this session carries; derived, so nothing more is stored."""
    return hmac.new(session_token.encode(), b"replica form", sha256).hexdigest()


def check_form_token(session_token: str, given: str) -> None:
    """Raise ``Forbidden`` unless ``given`` is the token of this session."""
    if not hmac.compare_digest(form_token(session_token).encode(), given.encode()):
        raise Forbidden("the form is stale; reload the page and try again")
