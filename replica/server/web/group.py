"""What every group of pages shares: who asks, the frame around a page, reading and writing.

A form is a plain POST answered with 303, so everything works without scripts. What a user may see
or do is checked here for every request; the account is that of the session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection as Reading
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.errors import Malformed
from replica.events.event import AccountId
from replica.projections import queries
from replica.server.answers import principal_of
from replica.server.auth import Principal, Right
from replica.server.guard import check_form_token
from replica.server.runs import Run
from replica.server.runtime import Runtime
from replica.server.web.frame import Entry, Frame, Shell, sync_mark

LABEL_PATHS = {"class": "/classes", "department": "/departments"}

Form = Mapping[str, str]
Show = Callable[[Request, Principal], Awaitable[Response]]
Change = Callable[[Request, Principal, Form], Awaitable[Response]]


class PageGroup:
    """The base of a group of pages. ``frame`` is shared by all groups of a process."""

    def __init__(self, runtime: Runtime, frame: Frame) -> None:
        self._runtime = runtime
        self._frame = frame

    def _show(self, path: str, show: Show, right: Right = Right.READ) -> Route:
        """The route of a page."""

        async def answer(request: Request) -> Response:
            return await show(request, await self._principal(request, right))

        return Route(path, answer, methods=["GET"])

    def _change(self, path: str, change: Change, right: Right) -> Route:
        """The route of a form, which carries the token of its session."""

        async def answer(request: Request) -> Response:
            principal = await self._principal(request, right)
            form = await read_form(request)
            check_form_token(principal.session, form.get("form_token", ""))
            return await change(request, principal, form)

        return Route(path, answer, methods=["POST"])

    async def _principal(self, request: Request, right: Right) -> Principal:
        return await principal_of(request, self._runtime.auth, right)

    def _problem(self, status: int, text: str, hint: str) -> Response:
        title = HTTPStatus(status).phrase
        now_ms = self._runtime.now_ms()
        return self._frame.bare(
            "problem.html", now_ms=now_ms, status=status, title=title, text=text, hint=hint
        )

    async def _page(self, request: Request, who: Principal, name: str, **values: Any) -> Response:
        runtime = self._runtime
        status = await runtime.sinks.status(who.account)
        counts, review, position = await self._runtime.read(frame_numbers, who.account)
        parked = sum(states.get("needs_you", 0) for states in counts.values())
        run = runtime.sync_now.current(who.account)
        shell = Shell(
            live=live_mark(position, run),
            account_name=who.account_name,
            user_name=who.name,
            session=who.session,
            position=position,
            navigation=[
                Entry("/orders", "Orders"),
                Entry("/queue", "Waiting", status.queued, "waiting for QuickBooks", parked > 0),
                Entry("/devices", "Devices"),
                Entry("/customers", "Customers"),
                Entry("/products", "Products"),
                Entry("/conflicts", "Conflicts", review, "for review", review > 0),
                Entry("/sync", "Sync"),
            ],
            sync_menu=[
                Entry("/sync", "Sync Now: the last run"),
                Entry("/queue", "Preview of the next sync"),
                Entry("/errors", "Sync errors"),
                Entry("/reconcile", "Reconcile", status.differences, "differences"),
                *([Entry("/imports", "Imports")] if who.may(Right.MANAGE) else []),
                Entry("/company", "QuickBooks setup"),
                *([Entry("/accounting", "Accounting lists")] if who.may(Right.BOOKS) else []),
                *(Entry(LABEL_PATHS[one.type], one.title) for one in status.tracked if one.on),
            ],
            sync_button=sync_mark(
                status.state,
                running=run is not None and run.running,
                attention=parked > 0,
                waiting=status.queued,
            ),
        )
        here = "/" + request.url.path.split("/")[1]
        return self._frame.page(
            name,
            shell,
            here,
            now_ms=runtime.now_ms(),
            flash=request.query_params.get("done", ""),
            **values,
        )

    async def _device_names(self, account: AccountId) -> dict[str, str]:
        """Names by device id in hex, the writers inside the server among them."""
        rows = await self._runtime.devices.rows(account)
        return {row.id: row.name for row in rows} | self._runtime.local_names(account)


def frame_numbers(
    reading: Reading, account: AccountId
) -> tuple[dict[str, dict[str, int]], int, int]:
    counts = queries.state_counts(reading, account)
    position, _ = queries.sections(reading, account)
    waiting = queries.review_count(reading, account) + queries.asked_count(reading, account)
    return counts, waiting, position


def live_mark(position: int, run: Run | None) -> str:
    """Names what a page shows: a page with another mark is out of date."""
    return f"{position} {run.id} {run.finished_ms}" if run else str(position)


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, each once. Raises ``Malformed`` for uploads and for no form at all."""
    form = await request.form()
    fields = {name: value for name, value in form.items() if isinstance(value, str)}
    if len(fields) != len(form):
        raise Malformed("a form of texts is expected")
    return fields
