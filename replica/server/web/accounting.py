"""The accounting lists: shown here, changed in the accounting program alone (ACC-01 … ACC-03).

No route writes, so any other method than reading answers 405.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from replica.errors import Malformed
from replica.limits import LIST_ROWS_MAX
from replica.server.answers import NotFound, decode_key, encode_key
from replica.server.auth import Principal, Right
from replica.server.web.frame import address, links
from replica.server.web.group import PageGroup
from replica.sink import ListAsk, ListInfo

PATH = "/accounting"
_STATES = {"": "Current", "inactive": "Inactive", "deleted": "Deleted"}
_SORTS = {
    "label": "Name",
    "number": "Number",
    "-date": "Newest",
    "date": "Oldest",
    "-amount": "Highest amount",
    "amount": "Lowest amount",
}


class AccountingPages(PageGroup):
    """The overview of the lists, and each of them."""

    def routes(self) -> list[BaseRoute]:
        return [
            self._show(PATH, self.overview, Right.BOOKS),
            self._show(PATH + "/{name}", self.rows, Right.BOOKS),
        ]

    async def overview(self, request: Request, who: Principal) -> Response:
        """Every list with its size and the time of its last pull."""
        infos = await self._runtime.sinks.lists(who.account)
        return await self._page(request, who, "accounting.html", lists=infos)

    async def rows(self, request: Request, who: Principal) -> Response:
        """One list, filtered and sorted, in pages."""
        asked = request.query_params
        name, text = request.path_params["name"], asked.get("q", "")[:80]
        state, sort = asked.get("state"), asked.get("sort", "")
        if state not in (None, *_STATES) or sort not in ("", *_SORTS):
            raise Malformed("state or sort: not one of this list")
        after = asked.get("after")
        ask = ListAsk(text, state, sort, _key(after, sort), LIST_ROWS_MAX)
        found = await self._runtime.sinks.rows(who.account, name, ask)
        if found is None:
            raise NotFound("There is no such list.")
        here = f"{PATH}/{name}"
        filters = {"q": text, "sort": sort}
        if state is not None:
            filters["state"] = state
        return await self._page(
            request,
            who,
            "accounting_list.html",
            info=found.info,
            rows=[_row(found.info, row.values, row.state) for row in found.rows],
            page=links(here, filters, after, encode_key(found.after)),
            here_path=here,
            query=text,
            sort=sort,
            sorts=_SORTS,
            selected=state,
            chips=[
                (title, address(here, {**filters, "state": name}), name)
                for name, title in _STATES.items()
            ],
        )


def _key(text: str | None, sort: str) -> tuple[str | int, str] | None:
    """The key that a page's address carries: sorted by amount its first part is a number."""
    first = int if sort.endswith("amount") else str
    key = decode_key(text, first, str)
    return None if key is None else (key[0], key[1])


def _row(info: ListInfo, values: Any, state: str) -> dict[str, Any]:
    cells = [(column.kind, values.get(column.name, "")) for column in info.columns]
    return {"cells": cells, "state": _STATES[state] if state else ""}
