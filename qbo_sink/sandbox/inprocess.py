"""Using the sandbox without a socket."""

from __future__ import annotations

import httpx2
from starlette.applications import Starlette

from qbo_sink.sandbox.injection import ConnectionDropped


class InProcessTransport(httpx2.AsyncBaseTransport):
    """Requests go straight into ``app``; a planned drop raises ``httpx2.RemoteProtocolError``."""

    def __init__(self, app: Starlette) -> None:
        self._inner = httpx2.ASGITransport(app=app, client=("127.0.0.1", 1))

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """One exchange."""
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionDropped as dropped:
            raise httpx2.RemoteProtocolError(str(dropped), request=request) from dropped
