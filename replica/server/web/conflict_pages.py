"""The pages of what did not count, and why: overridden values, values that gave way between here
and the accounting program, and events that were kept out of the log (CON-10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.crdt.documents import DocKey
from replica.errors import PeerError, ReplicaError
from replica.events.kinds import REGISTRY
from replica.limits import LIST_ROWS_MAX
from replica.projections import queries
from replica.server import aside, twins
from replica.server.answers import decode_key, describe, encode_key
from replica.server.auth import Principal, Right
from replica.server.web import queue_views, twin_views, views
from replica.server.web.frame import links
from replica.server.web.group import LABEL_PATHS, Form, PageGroup
from replica.server.web.why_views import said_by, value_words, why_page
from replica.server.why import why
from replica.sink import Deed, Overruled, Refusal

NAMED = ("customer", "product", *LABEL_PATHS)
OTHER = "other"


class ConflictPages(PageGroup):
    """Conflicts, and why a document is as it is."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show("/conflicts", self.conflicts),
            self._change("/conflicts/{id}/{action}", self.settle, Right.EDIT),
            self._change("/twins/{id}/{action}", self.decide, Right.EDIT),
            self._change("/numbers/{id}/{action}", self.number, Right.EDIT),
            self._show("/why/{type}/{id}", self.why),
        ]

    async def conflicts(self, request: Request, who: Principal, problem: str = "") -> Response:
        """What was overridden or deleted, by which rule, and what waits outside the log."""
        after = request.query_params.get("after")
        page = await self._runtime.read(
            queries.conflicts_page,
            who.account,
            after=decode_key(after, str, str, int),
            limit=LIST_ROWS_MAX,
        )
        overruled = await self._runtime.sinks.overruled(who.account)
        named = [(row["type"], row["id"]) for row in page.rows]
        named += [(row.local_type, row.local_id) for row in overruled]
        records = {
            kind: await self._runtime.read(
                queries.names, who.account, kind, [name for one, name in named if one == kind]
            )
            for kind in NAMED
        }
        names = await self._device_names(who.account)
        kept = await asyncio.to_thread(aside.kept, self._runtime.stores, who.account, LIST_ROWS_MAX)
        nodes = {identity[16:]: name for identity, name in names.items()}
        return await self._page(
            request,
            who,
            "conflicts.html",
            rows=[
                views.conflict_row(row, nodes, records)
                | {"id": row["id"], "offers": twin_views.number_offers(row)}
                for row in page.rows
            ],
            twins=await self._twins(who, names),
            kept=[views.kept_row(row, names) for row in kept],
            overruled=[await self._overruled_row(who, row, records) for row in overruled],
            may_edit=who.may(Right.EDIT),
            problem=problem,
            status=409 if problem else 200,
            page=links("/conflicts", {}, after, encode_key(page.after)),
        )

    async def _twins(self, who: Principal, devices: Mapping[str, str]) -> list[dict[str, Any]]:
        """Pairs that clash or were decided, both records side by side."""
        page = await self._runtime.read(queries.twins_page, who.account, limit=LIST_ROWS_MAX)
        rows = []
        for row in page.rows:
            pair = [
                await self._runtime.read(
                    queries.document, who.account, DocKey(row["of_type"], row[place])
                )
                for place in ("first", "second")
            ]
            rows.append(twin_views.twin_row(row, pair, devices))
        return rows

    async def decide(self, request: Request, who: Principal, form: Form) -> Response:
        """What the office says of a pair: apart, the same, a new name for one, or nothing after
        all."""
        identity, action = request.path_params["id"][:64], request.path_params["action"][:40]
        try:
            pair = await twins.pair(self._runtime, who.account, identity)
            await self._runtime.write(
                who.account, *twins.decision(pair, action, form.get("text", ""))
            )
        except PeerError as refused:
            return await self.conflicts(request, who, describe(refused)[0])
        return RedirectResponse(f"/conflicts?done={action}", status_code=303)

    async def number(self, request: Request, who: Principal, form: Form) -> Response:
        """Another number for an order whose number was taken, or its own all the same."""
        identity, action = request.path_params["id"][:64], request.path_params["action"][:40]
        text = form.get("text", "").strip() if action == twin_views.RENUMBER else ""
        try:
            found = await twins.renumbered(self._runtime, who.account, identity, text)
            await self._runtime.write(who.account, found)
        except PeerError as refused:
            return await self.conflicts(request, who, describe(refused)[0])
        return RedirectResponse("/conflicts?done=renumbered", status_code=303)

    async def _overruled_row(
        self, who: Principal, row: Overruled, records: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Any]:
        """Both values, who said ours, and what counts."""
        name, by = records.get(row.local_type, {}).get(row.local_id) or row.local_id, ""
        with suppress(ReplicaError):  # deleted meanwhile: the row says what it can
            key = DocKey(row.local_type, row.local_id)
            found = await why(self._runtime, who.account, key, row.field)
            by = said_by(found, row.field, row.ours, row.at_ms)
        return {
            "id": row.id,
            "at_ms": row.at_ms,
            "record": f"{row.local_type.capitalize()} {name}",
            "href": f"/customers/{row.local_id}" if row.local_type == "customer" else "",
            "field": views.field_name(row.field),
            "ours": value_words(row.field, row.ours, ""),
            "theirs": value_words(row.field, row.theirs, ""),
            "by": by or "somebody here",
            "kept": row.kept,
            "settled": row.settled,
            "offers": [queue_views.offer(one) for one in row.offers],
        }

    async def settle(self, request: Request, who: Principal, form: Form) -> Response:
        """Say the value that was given up, as an edit of whoever asks, or that all is well."""
        identity, action = request.path_params["id"][:80], request.path_params["action"][:40]
        rows = await self._runtime.sinks.overruled(who.account)
        row = next((one for one in rows if one.id == identity), None)
        if row is None or action not in {offer.name for offer in row.offers}:
            return await self.conflicts(request, who, "That value has moved on; look again.")
        if action == OTHER:
            await self._runtime.write(
                who.account, *(REGISTRY.read(kind, body) for kind, body in row.other)
            )
        try:
            await self._runtime.sinks.desk.act(who.account, identity, action, Deed(by=who.name))
        except Refusal as refusal:
            return await self.conflicts(request, who, describe(refusal)[0])
        return RedirectResponse(f"/conflicts?done={action}", status_code=303)

    async def why(self, request: Request, who: Principal) -> Response:
        asked, field = request.path_params, request.query_params.get("field", "")
        found = await why(self._runtime, who.account, DocKey(asked["type"], asked["id"]), field)
        return await self._page(request, who, "why.html", why=why_page(found, field))
