"""The sandbox as a Starlette application, and serving it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Scope
from uvicorn.protocols.http.h11_impl import H11Protocol

from qbo_sink.sandbox import api, control, entitlements, files, oauth
from qbo_sink.sandbox.clock import Clock
from qbo_sink.sandbox.injection import FaultInjection
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.switches import Settings

POLL_S = 1.0
WEBHOOK_TIMEOUT_S = 3.0


class Connections:
    """Open connections by the client's address, so that planned faults can cut them."""

    def __init__(self) -> None:
        # Held by name and let go when lost: not every loop's transports can be referred to weakly.
        self._open: dict[tuple[Any, ...], asyncio.Transport] = {}

    def protocol(self) -> type[asyncio.Protocol]:
        """The server's HTTP protocol, reporting each connection here."""
        connections = self._open

        class Reporting(H11Protocol):
            def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
                super().connection_made(transport)
                if self.client is not None:
                    connections[tuple(self.client)] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client is not None:
                    connections.pop(tuple(self.client), None)

        return Reporting

    def abort(self, scope: Scope) -> bool:
        """Cut the connection of ``scope``; False when it is none of ours (in-process)."""
        transport = self._open.get(tuple(scope.get("client") or ()))
        if transport is None:
            return False
        transport.abort()
        return True


def create_sandbox(
    path: str = ":memory:",
    settings: Settings | None = None,
    clock: Clock | Callable[[], int] | None = None,
) -> Starlette:
    """The application with its books at ``path``.

    ``clock`` is a :class:`Clock` or a function that gives Unix milliseconds. The state object is
    ``app.state.sandbox``; call its ``close()`` when the application is used without a lifespan.
    """
    if not isinstance(clock, Clock):
        clock = Clock(clock) if clock is not None else Clock()
    sandbox = Sandbox(path, settings or Settings(), clock)
    connections = Connections()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        poster = asyncio.create_task(_post_notices(sandbox))
        try:
            yield
        finally:
            poster.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await poster
            sandbox.close()

    app = Starlette(
        routes=[
            Route(
                "/v3/company/{realm}/{rest:path}",
                api.company,
                methods=["GET", "POST", "PUT", "DELETE", "PATCH"],
            ),
            *oauth.routes(),
            *control.routes(),
            *files.routes(),
            *entitlements.routes(),
            Route("/", _root),
        ],
        middleware=[Middleware(FaultInjection, plan=sandbox.plan, abort=connections.abort)],
        lifespan=lifespan,
    )
    app.state.sandbox = sandbox
    app.state.connections = connections
    return app


async def _root(request: Request) -> Response:
    sandbox: Sandbox = request.app.state.sandbox
    return JSONResponse({"sandbox": "QuickBooks Online", "realm": sandbox.settings.realm})


async def _post_notices(sandbox: Sandbox) -> None:
    async with httpx2.AsyncClient(timeout=WEBHOOK_TIMEOUT_S) as client:
        while True:
            await post_due(sandbox, client)
            await asyncio.sleep(POLL_S)


async def post_due(sandbox: Sandbox, client: httpx2.AsyncClient) -> int:
    """Post every notice that is due once; how many were accepted."""
    accepted = 0
    for notice in sandbox.notices.due():
        try:
            answer = await client.post(
                sandbox.notices.url, content=notice.body, headers=notice.headers
            )
            ok = answer.status_code == 200
        except (httpx2.HTTPError, httpx2.InvalidURL):
            ok = False
        sandbox.notices.answered(notice.id, accepted=ok)
        accepted += ok
    return accepted


def server(
    app: Starlette, *, host: str, port: int, certificate: str = "", key: str = ""
) -> uvicorn.Server:
    """A server for ``app`` whose connections planned faults can cut; with TLS if given files.

    While the limits are on, its answers take at least ``throttle.ANSWER_S``.
    """
    app.state.sandbox.on_port = True
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=app.state.connections.protocol(),
        ws="none",
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        ssl_certfile=certificate or None,
        ssl_keyfile=key or None,
    )
    return uvicorn.Server(config)


def serve(
    path: str,
    settings: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8850,
    certificate: str = "",
    key: str = "",
) -> None:
    """Serve the sandbox until interrupted. Control routes answer loopback clients only."""
    app = create_sandbox(path, settings)
    server(app, host=host, port=port, certificate=certificate, key=key).run()
