"""The result of one earlier Sync Now, as its event keeps it: also after the server has ended."""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from replica.projections import queries
from replica.server.answers import NotFound
from replica.server.auth import Principal
from replica.server.web.group import PageGroup
from replica.server.web.run_views import result_page


class RunPages(PageGroup):
    """``/sync/<run>``, and ``/sync/<run>.2`` for the next part of a long result."""

    def routes(self) -> list[BaseRoute]:
        return [self._show("/sync/{run}", self.show)]

    async def show(self, request: Request, who: Principal) -> Response:
        """One part of a result."""
        run = request.path_params["run"]
        row = await self._runtime.read(queries.sync_run, who.account, run)
        if row is None:
            raise NotFound("There is no such run.")
        control = self._runtime.stores.control
        devices = await asyncio.to_thread(control.devices, who.account)
        names = {device.device.hex(): device.name for device in devices}
        return await self._page(request, who, "result.html", result=result_page(row, names))
