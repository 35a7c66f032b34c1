"""What may be done about an order in the accounting program, for other programs (QB-05)."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.limits import SINK_TEXT_CHARS_MAX
from replica.server.answers import Json, caller_of, json_body, told
from replica.server.auth import Principal, Right
from replica.server.runtime import Runtime
from replica.sink import Deed


class DeedBody(msgspec.Struct, forbid_unknown_fields=True):
    """``text`` is what the offer asks for, such as an e-mail address."""

    text: Annotated[str, Meta(max_length=SINK_TEXT_CHARS_MAX)] = ""


class OrderRoutes:
    """``GET …/offers`` names what ``POST …/<name>`` does."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[Route]:
        path = "/api/v1/orders/{id}"
        return [
            Route(f"{path}/offers", told(self.offers), methods=["GET"]),
            Route(f"{path}/{{action}}", told(self.act), methods=["POST"]),
        ]

    async def offers(self, request: Request) -> Response:
        """What may be done now, and what waits to be sent."""
        who = await caller_of(request, self._runtime.auth, Right.READ)
        return Json(await self._shown(who, request.path_params["id"]))

    async def act(self, request: Request) -> Response:
        """Carry out one offer: queued when answered, sent with the next sync."""
        who = await caller_of(request, self._runtime.auth, Right.EDIT)
        body = await json_body(request, DeedBody)
        identity, action = request.path_params["id"][:80], request.path_params["action"][:40]
        deed = Deed(by=who.name, text=body.text.strip())
        await self._runtime.sinks.desk.act(who.account, f"order:{identity}", action, deed)
        self._runtime.live.tell(who.account, "run", "The queue has changed")
        return Json(await self._shown(who, identity))

    async def _shown(self, who: Principal, identity: str) -> dict[str, Any]:
        sinks = self._runtime.sinks
        return {
            "offers": await sinks.offers(who.account, "order", identity),
            "row": await sinks.row_of(who.account, "order", identity),
        }
