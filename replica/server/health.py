"""Is the process there (``/healthz``), can it do its work (``/readyz``), how is it (``/metrics``).

Readiness answers with reasons in words. It says nothing about accounts, so it needs no login.
"""

from __future__ import annotations

import asyncio
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from replica.errors import ReplicaError
from replica.limits import PROJECTION_OVERDUE_S
from replica.server.metrics import CONTENT_TYPE
from replica.server.runtime import Runtime
from replica.store import migrations


def routes(runtime: Runtime) -> list[Route]:
    """Routes for machines that watch."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        checks = await readiness(runtime)
        ready = all(value == "ok" for value in checks.values())
        body = {"status": "ready" if ready else "not ready", "checks": checks}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def metrics(_: Request) -> Response:
        return Response(runtime.metrics.render(), media_type=CONTENT_TYPE)

    return [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics),
    ]


async def readiness(runtime: Runtime) -> dict[str, str]:
    """Each check with ``ok`` or what is wrong."""
    return {
        "log": "ok" if runtime.failed is None else "the log's store failed; the process is ending",
        "database": await asyncio.to_thread(_database, runtime),
        "projections": _projections(runtime),
        "sinks": "ok" if runtime.sinks.all_started else "a sink could not start; see the log",
    }


def _database(runtime: Runtime) -> str:
    try:
        migrations.check(runtime.stores.database)
        runtime.stores.control.accounts()
    except ReplicaError as error:
        return f"{error}. {error.hint}".strip()
    return "ok"


def _projections(runtime: Runtime) -> str:
    since_s = runtime.projecting.failed_since_s
    if since_s is not None and time.monotonic() - since_s > PROJECTION_OVERDUE_S:
        return f"the read models could not be written for {int(time.monotonic() - since_s)} seconds"
    return "ok"
