"""Names and numbers that were given twice, for other programs (decision 0016)."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.events.payloads import DocNumber
from replica.limits import LIST_ROWS_MAX, NAME_CHARS_MAX, PAGE_ROWS_MAX
from replica.projections import queries
from replica.server import twins
from replica.server.answers import (
    Json,
    bounded_limit,
    caller_of,
    decode_key,
    encode_key,
    json_body,
    told,
)
from replica.server.auth import Right
from replica.server.runtime import Runtime


class ChoiceBody(msgspec.Struct, forbid_unknown_fields=True):
    """``action`` is one of :func:`replica.server.twins.decision`; ``text`` a new name."""

    action: str
    text: Annotated[str, Meta(max_length=NAME_CHARS_MAX)] = ""


class NumberBody(msgspec.Struct, forbid_unknown_fields=True):
    """The number that an order gets; empty for the one its author gave it."""

    number: DocNumber = ""


class TwinRoutes:
    """``GET /twins`` lists pairs, ``POST /twins/<id>`` decides, ``PUT /orders/<id>/number``
    numbers."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[Route]:
        return [
            Route("/api/v1/twins", told(self.list), methods=["GET"]),
            Route("/api/v1/twins/{id}", told(self.decide), methods=["POST"]),
            Route("/api/v1/orders/{id}/number", told(self.number), methods=["PUT"]),
        ]

    async def list(self, request: Request) -> Response:
        """Pairs that clash or were decided; with ``?asked=1`` those that wait for somebody."""
        who = await caller_of(request, self._runtime.auth, Right.READ)
        asked = request.query_params
        page = await self._runtime.read(
            queries.twins_page,
            who.account,
            asked=bool(asked.get("asked")),
            after=decode_key(asked.get("after"), int, str),
            limit=bounded_limit(asked.get("limit"), LIST_ROWS_MAX, PAGE_ROWS_MAX),
        )
        return Json({"rows": page.rows, "after": encode_key(page.after)})

    async def decide(self, request: Request) -> Response:
        """Say what a pair is. Durable when answered."""
        who = await caller_of(request, self._runtime.auth, Right.EDIT)
        body = await json_body(request, ChoiceBody)
        pair = await twins.pair(self._runtime, who.account, request.path_params["id"])
        await self._runtime.write(who.account, *twins.decision(pair, body.action, body.text))
        return Json(await twins.pair(self._runtime, who.account, pair["id"]))

    async def number(self, request: Request) -> Response:
        """Give an order another number."""
        who = await caller_of(request, self._runtime.auth, Right.EDIT)
        body = await json_body(request, NumberBody)
        order = request.path_params["id"]
        found = await twins.renumbered(self._runtime, who.account, order, body.number.strip())
        await self._runtime.write(who.account, found)
        return Json({"order": order, "number": found.now})
