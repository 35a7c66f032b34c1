"""The composition root of the HTTP side: routes, limits, headers, lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.routing import WebSocketRoute
from starlette.types import ASGIApp

from replica.limits import HTTP_BODY_BYTES_MAX
from replica.server import health
from replica.server.api import Api
from replica.server.carry import CarryRoutes
from replica.server.chunks import ChunkRoutes
from replica.server.device_sync import DeviceSyncRoutes
from replica.server.guard import SecurityHeaders
from replica.server.order_routes import OrderRoutes
from replica.server.reconcile import ReconcileRoutes
from replica.server.runtime import Runtime
from replica.server.scope_routes import ScopeRoutes
from replica.server.twin_routes import TwinRoutes
from replica.server.web.accounting import AccountingPages
from replica.server.web.company_pages import CompanyPages
from replica.server.web.conflict_pages import ConflictPages
from replica.server.web.frame import Frame
from replica.server.web.import_pages import ImportPages
from replica.server.web.label_pages import LabelPages
from replica.server.web.pages import Pages
from replica.server.web.queue_pages import QueuePages
from replica.server.web.reconcile_pages import ReconcilePages
from replica.server.web.record_pages import RecordPages
from replica.server.web.run_pages import RunPages
from replica.server.web.scope_pages import ScopePages

SYNC_PATHS = ("/sync", "/api/v1/sync")


def build_app(runtime: Runtime) -> ASGIApp:
    """The ASGI application of ``runtime``, which it starts and stops."""

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        await runtime.start()
        await runtime.sync_now.take_up()
        try:
            yield
        finally:
            await runtime.stop()

    frame = Frame()
    pages = Pages(runtime, frame)
    carry = CarryRoutes(runtime)
    app = Starlette(
        routes=[
            *health.routes(runtime),
            *Api(runtime).routes(),
            *carry.routes(),
            *ChunkRoutes(runtime.chunks, runtime.stores.control).routes(),
            *ReconcileRoutes(runtime).routes(),
            *DeviceSyncRoutes(runtime).routes(),
            *ScopeRoutes(runtime).routes(),
            *TwinRoutes(runtime).routes(),
            *OrderRoutes(runtime).routes(),
            *(WebSocketRoute(path, runtime.sync_endpoint) for path in SYNC_PATHS),
            *runtime.sinks.routes(),
            *pages.routes(),
            *RunPages(runtime, frame).routes(),
            *ScopePages(runtime, frame).routes(),
            *QueuePages(runtime, frame).routes(),
            *CompanyPages(runtime, frame).routes(),
            *ImportPages(runtime, frame, carry).routes(),
            *ReconcilePages(runtime, frame).routes(),
            *RecordPages(runtime, frame).routes(),
            *LabelPages(runtime, frame).routes(),
            *ConflictPages(runtime, frame).routes(),
            *AccountingPages(runtime, frame).routes(),
        ],
        middleware=[Middleware(RequestBodyLimitMiddleware, max_body_size=HTTP_BODY_BYTES_MAX)],
        exception_handlers=pages.exception_handlers(),
        lifespan=lifespan,
    )
    app.state.sinks = runtime.sinks.by_name  # where a sink's own routes find it
    # Outermost, so that answers to errors carry the headers too.
    return SecurityHeaders(app, metrics=runtime.metrics, https=runtime.config.secure_cookies)
