"""Classes and departments: what a company sorts its sales by, added, edited and deleted here.

They are there only where the accounting program tracks them (ACC-04, ACC-05). A deleted one is made
inactive there, and can be restored; everything goes through the door as any other edit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.errors import Malformed
from replica.events import payloads as p
from replica.events.ids import RANDOM_BYTES, make_id
from replica.limits import LIST_ROWS_MAX, NAME_CHARS_MAX, PAGE_ROWS_MAX
from replica.projections import queries
from replica.server.answers import NotFound, decode_key, encode_key
from replica.server.auth import Principal, Right
from replica.server.web.frame import links
from replica.server.web.group import LABEL_PATHS as PATHS
from replica.server.web.group import Form, PageGroup
from replica.sink import Tracked

_CREATED: dict[str, Callable[..., p.Payload]] = {
    "class": p.ClassCreated,
    "department": p.DepartmentCreated,
}
_CHANGED: dict[str, Callable[..., p.Payload]] = {
    "class": p.ClassChanged,
    "department": p.DepartmentChanged,
}
_GATES: dict[str, dict[str, Callable[..., p.Payload]]] = {
    "delete": {"class": p.ClassDeleted, "department": p.DepartmentDeleted},
    "restore": {"class": p.ClassRestored, "department": p.DepartmentRestored},
}
_DONE = {"delete": "deleted", "restore": "restored"}


class LabelPages(PageGroup):
    """The two lists, with what may be done to a row in the row."""

    def routes(self) -> list[BaseRoute]:
        return [route for kind in PATHS for route in self._routes_of(kind)]

    def _routes_of(self, kind: str) -> list[BaseRoute]:
        path = PATHS[kind]

        async def show(request: Request, who: Principal) -> Response:
            return await self._list(request, who, kind)

        async def add(request: Request, who: Principal, form: Form) -> Response:
            await self._tracked(who, kind)
            return await self._save(request, who, kind, form, "")

        async def save(request: Request, who: Principal, form: Form) -> Response:
            return await self._save(request, who, kind, form, request.path_params["id"])

        async def move(request: Request, who: Principal, _: Form) -> Response:
            return await self._move(request, who, kind)

        return [
            self._show(path, show),
            self._change(path, add, Right.EDIT),
            self._change(path + "/{id}", save, Right.EDIT),
            self._change(path + "/{id}/{action}", move, Right.EDIT),
        ]

    async def _tracked(self, who: Principal, kind: str) -> Tracked:
        """What the accounting program says about this list. Raises ``NotFound`` saying why there
        is none."""
        status = await self._runtime.sinks.status(who.account)
        for tracked in status.tracked:
            if tracked.type == kind:
                if not tracked.on:
                    raise NotFound(tracked.text)
                return tracked
        raise NotFound("Classes and departments appear once an accounting program is connected.")

    async def _list(
        self, request: Request, who: Principal, kind: str, problem: str = ""
    ) -> Response:
        tracked = await self._tracked(who, kind)
        asked, path = request.query_params, PATHS[kind]
        deleted, after = bool(asked.get("deleted")), asked.get("after")
        page = await self._runtime.read(
            queries.labels_page,
            who.account,
            kind,
            deleted=deleted,
            after=decode_key(after, str, str),
            limit=LIST_ROWS_MAX,
        )
        known = await self._runtime.read(
            queries.labels_page, who.account, kind, limit=PAGE_ROWS_MAX
        )
        names = [(row["id"], row["name"]) for row in known.rows]
        filters = {"deleted": "1" if deleted else ""}
        return await self._page(
            request,
            who,
            "labels.html",
            tracked=tracked,
            path=path,
            rows=[_row(row, dict(names)) for row in page.rows],
            parents=names,
            page=links(path, filters, after, encode_key(page.after)),
            deleted=deleted,
            name_chars=NAME_CHARS_MAX,
            problem=problem,
            may_edit=who.may(Right.EDIT),
            status=409 if problem else 200,
        )

    async def _save(
        self, request: Request, who: Principal, kind: str, form: Form, identity: str
    ) -> Response:
        """Add a record, or change the fields of one that were changed on the form."""
        name, parent = form.get("name", "").strip(), form.get("parent", "")
        if not name or len(name) > NAME_CHARS_MAX:
            raise Malformed(f"A name has 1 to {NAME_CHARS_MAX} characters.")
        if parent and await self._is_below(who, kind, parent, identity):
            return await self._list(request, who, kind, "It cannot be below itself.")
        if not identity:
            identity = make_id(self._runtime.now_ms(), secrets.token_bytes(RANDOM_BYTES))
            fields = p.LabelFields(name=name, **({"parent": parent} if parent else {}))
            await self._runtime.write(who.account, _CREATED[kind](identity, fields))
            return _back(kind, "saved")
        seen = await self._seen(who, kind, identity)
        said: dict[str, Any] = {}
        if name != form.get("was.name", seen["name"] or ""):
            said["name"] = name
        if parent != form.get("was.parent", seen["parent"] or ""):
            said["parent"] = parent or None
        if said:
            await self._runtime.write(who.account, _CHANGED[kind](identity, p.LabelFields(**said)))
        return _back(kind, "saved" if said else "unchanged")

    async def _move(self, request: Request, who: Principal, kind: str) -> Response:
        """Delete or restore."""
        identity, action = request.path_params["id"], request.path_params["action"]
        if action not in _GATES:
            raise NotFound("That cannot be done here.")
        await self._seen(who, kind, identity)
        await self._runtime.write(who.account, _GATES[action][kind](identity))
        return _back(kind, _DONE[action])

    async def _seen(self, who: Principal, kind: str, identity: str) -> dict[str, Any]:
        document = await self._runtime.read(queries.document, who.account, DocKey(kind, identity))
        if document is None:
            raise NotFound(f"There is no such {kind}.")
        found: dict[str, Any] = view(document)["fields"]
        return found

    async def _is_below(self, who: Principal, kind: str, parent: str, identity: str) -> bool:
        """Whether ``parent`` is ``identity`` or below it; also where a chain does not end."""
        passed: set[str] = set()
        while parent and parent != identity and parent not in passed:
            passed.add(parent)
            parent = (await self._seen(who, kind, parent))["parent"] or ""
        return bool(parent)


def _row(row: Any, names: dict[str, str]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "name": row["name"] or row["id"],
        "parent": row["parent"],
        "parent_name": names.get(row["parent"], row["parent"]),
        "deleted": bool(row["deleted_by"]),
        "linked": row["links"] not in ("", "{}"),
    }


def _back(kind: str, done: str) -> Response:
    return RedirectResponse(f"{PATHS[kind]}?done={done}", status_code=303)
