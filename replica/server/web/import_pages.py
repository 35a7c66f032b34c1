"""Imports: a file carried from a device is chosen, looked at, imported, and answered by a receipt.

What is in a file and what becomes of it is :class:`replica.server.carry.CarryRoutes`'s to say; here
it only lies in between (OFF-15, OFF-16, ui.md W11).
"""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from replica.errors import Malformed, PeerError, Revoked
from replica.limits import CARRY_FILE_BYTES_MAX, UPLOAD_FORM_BYTES_MAX
from replica.server.answers import NotFound, describe, is_hash, status_of
from replica.server.auth import Principal, Right
from replica.server.carry import CarryRoutes
from replica.server.guard import check_form_token
from replica.server.runtime import Runtime
from replica.server.uploads import Uploads
from replica.server.web.frame import Frame
from replica.server.web.group import Form, PageGroup
from replica.server.web.import_views import import_page

PATH = "/imports"
UPLOADS_DIRECTORY = "uploads"
_MIB = 1 << 20


class ImportPages(PageGroup):
    """For whoever manages devices; ``carry`` does the work."""

    def __init__(self, runtime: Runtime, frame: Frame, carry: CarryRoutes) -> None:
        super().__init__(runtime, frame)
        self._carry = carry
        self._uploads = Uploads(runtime.config.data / UPLOADS_DIRECTORY)

    def routes(self) -> list[BaseRoute]:
        """The pages, their forms, and the receipt as a file."""
        most = CARRY_FILE_BYTES_MAX + UPLOAD_FORM_BYTES_MAX
        room = Middleware(RequestBodyLimitMiddleware, max_body_size=most)
        manage, one = Right.MANAGE, PATH + "/{name}"
        return [
            self._show(PATH, self.choose, manage),
            Route(PATH, self.upload, methods=["POST"], middleware=[room]),
            self._show(one, self.look, manage),
            self._show(one + "/receipt", self.receipt, manage),
            self._change(one + "/take", self.take, manage),
            self._change(one + "/discard", self.discard, manage),
        ]

    async def choose(
        self, request: Request, who: Principal, problem: PeerError | None = None
    ) -> Response:
        """The form; with ``problem`` why the file that was chosen cannot be imported."""
        text, hint = describe(problem) if problem else ("", "")
        return await self._page(
            request,
            who,
            "imports.html",
            problem=text[:1].upper() + text[1:],
            hint=hint[:1].upper() + hint[1:],
            limit_mib=CARRY_FILE_BYTES_MAX // _MIB,
            status=status_of(problem) if problem else 200,
        )

    async def upload(self, request: Request) -> Response:
        """Read the file whole; a good one is kept and shown, a bad one is explained."""
        who = await self._principal(request, Right.MANAGE)
        async with self._carry.turn, request.form(max_files=1, max_fields=2) as form:
            token, file = form.get("form_token"), form.get("file")
            check_form_token(who.session, token if isinstance(token, str) else "")
            try:
                if file is None or isinstance(file, str) or not file.filename:
                    raise Malformed("no file was chosen", hint="choose the file from the device")
                data = await file.read()
                await self._carry.preview(who.account, data)
            except PeerError as error:
                return await self.choose(request, who, error)
            now_s = self._runtime.now_ms() / 1_000
            name = await asyncio.to_thread(self._uploads.put, who.account, data, now_s)
        return RedirectResponse(f"{PATH}/{name}", status_code=303)

    async def look(
        self, request: Request, who: Principal, problem: PeerError | None = None
    ) -> Response:
        """What is in the file, or after the import what became of it."""
        name = _name(request)
        result = await asyncio.to_thread(self._uploads.result, who.account, name)
        found = result or await self._preview(who, name)
        return await self._page(
            request,
            who,
            "import.html",
            found=import_page(found, done=result is not None),
            done=result is not None,
            problem=str(problem) if problem else "",
        )

    async def take(self, request: Request, who: Principal, form: Form) -> Response:
        """Through the door; doing it again gives the same outcomes, as known."""
        name = _name(request)
        try:
            async with self._carry.turn:
                data = await asyncio.to_thread(self._uploads.get, who.account, name)
                result = await self._carry.take(who, data, revoked="revoked" in form)
                await asyncio.to_thread(self._uploads.put_result, who.account, name, result)
        except Revoked as error:  # since it was looked at
            return await self.look(request, who, error)
        return RedirectResponse(f"{PATH}/{name}", status_code=303)

    async def discard(self, request: Request, who: Principal, _: Form) -> Response:
        """Forget the file; nothing that was imported is taken back."""
        await asyncio.to_thread(self._uploads.drop, who.account, _name(request))
        return RedirectResponse(f"{PATH}?done=discarded", status_code=303)

    async def receipt(self, request: Request, who: Principal) -> Response:
        """The file that turns the device's rows to synced."""
        name = _name(request)
        result = await asyncio.to_thread(self._uploads.result, who.account, name)
        if result is None:
            raise NotFound("There is no receipt.", hint="Import the file first.")
        return Response(
            base64.b64decode(result["receipt"]),
            media_type="application/octet-stream",
            headers={"content-disposition": f'attachment; filename="{name[:12]}.replica.receipt"'},
        )

    async def _preview(self, who: Principal, name: str) -> dict[str, Any]:
        async with self._carry.turn:
            data = await asyncio.to_thread(self._uploads.get, who.account, name)
            return await self._carry.preview(who.account, data)


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    if not is_hash(name):
        raise NotFound("There is no such file.")
    return name
