"""Requests in, answers out: what API and pages share. Errors become typed answers here."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from replica.errors import (
    CorruptionError,
    Forbidden,
    Malformed,
    MisuseError,
    Overloaded,
    PeerError,
    ReplicaError,
    TooLarge,
    WorldError,
)
from replica.events.event import HASH_BYTES
from replica.server.auth import Auth, NotSignedIn, Principal, Right
from replica.server.guard import check_form_token, check_same_origin
from replica.store.access import Device

T = TypeVar("T")

SAFE_METHODS = frozenset({"GET", "HEAD"})
FORM_HEADER = "x-form-token"
_HASH = re.compile(f"[0-9a-f]{{{2 * HASH_BYTES}}}")


class NotFound(PeerError):
    """There is no such thing in this account."""

    code = "not_found"


_STATUS: tuple[tuple[type[ReplicaError], int], ...] = (
    (NotSignedIn, 401),
    (NotFound, 404),
    (Forbidden, 403),
    (TooLarge, 413),
    (Malformed, 400),
    (PeerError, 400),
    (Overloaded, 429),
    (WorldError, 503),
    (MisuseError, 400),
    (CorruptionError, 500),
)


def status_of(error: ReplicaError) -> int:
    """The HTTP status of an error's family."""
    return next((status for family, status in _STATUS if isinstance(error, family)), 500)


def describe(error: ReplicaError) -> tuple[str, str]:
    """What the asker is told: message and hint. Our own trouble is told without its details."""
    if isinstance(error, CorruptionError):
        return "internal error", ""
    if isinstance(error, WorldError) and not isinstance(error, Overloaded):
        return "not possible at this moment; nothing was lost, try again", error.hint
    return str(error), error.hint


class Json(Response):
    """A JSON answer."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(_plain(msgspec.to_builtins(content, builtin_types=(bytes,))))


def json_problem(error: ReplicaError) -> Json:
    """``{"code", "message", "hint"}`` with the status of the family."""
    message, hint = describe(error)
    headers = {}
    if isinstance(error, Overloaded):
        headers["retry-after"] = str(max(1, error.retry_after_ms // 1_000))
    body = {"code": error.code, "message": message, "hint": hint}
    return Json(body, status_code=status_of(error), headers=headers)


def told(
    handler: Callable[[Request], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    """``handler``, with its errors as typed answers."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except ReplicaError as error:
            return json_problem(error)

    return answer


async def json_body(request: Request, shape: type[T]) -> T:
    """The body as ``shape``. Raises ``Malformed``."""
    try:
        return msgspec.json.decode(await request.body(), type=shape)
    except (msgspec.MsgspecError, RecursionError, UnicodeError) as error:
        raise Malformed(f"body: {error}") from error


async def principal_of(request: Request, auth: Auth, right: Right) -> Principal:
    """Who asks, checked for ``right``; for a change by cookie also where it came from.

    Such a change carries the form token too: a page reads it from a field, :func:`caller_of` from
    a header.
    """
    principal = await auth.principal(request)
    if principal.session and request.method not in SAFE_METHODS:
        check_same_origin(request.headers, auth.origins)
    principal.require(right)
    return principal


async def caller_of(request: Request, auth: Auth, right: Right) -> Principal:
    """Who calls the API, checked for ``right`` and, for a change by cookie, for its form token."""
    principal = await principal_of(request, auth, right)
    if principal.session and request.method not in SAFE_METHODS:
        check_form_token(principal.session, request.headers.get(FORM_HEADER, ""))
    return principal


async def device_of(request: Request, check_token: Callable[[str], Device]) -> Device:
    """The device that asks, by the token in its header; ``check_token`` blocks.

    Raises ``Forbidden`` without a good token and ``Revoked`` for a device that was shut out.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        raise Forbidden("a device comes with its token")
    return await asyncio.to_thread(check_token, token)


def client_address(request: Request) -> str:
    """Where a request came from, as the server sees it."""
    return request.client.host if request.client else "unknown"


def is_hash(text: str) -> bool:
    """Whether ``text`` is a SHA-256 as names of files have it: hexadecimal digits, none capital."""
    return _HASH.fullmatch(text) is not None


def encode_key(key: tuple[Any, ...] | None) -> str | None:
    """The key of a list's next page as text for an address; None after the last."""
    if key is None:
        return None
    return base64.urlsafe_b64encode(msgspec.json.encode(key)).rstrip(b"=").decode()


def decode_key(text: str | None, *shape: type) -> tuple[Any, ...] | None:
    """The key that ``encode_key`` made. Raises ``Malformed`` for anything else."""
    if not text:
        return None
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=tuple[shape])  # type: ignore[valid-type]
    except (ValueError, msgspec.MsgspecError) as error:
        raise Malformed("after: not a key of this list") from error


def bounded_limit(text: str | None, default: int, most: int, *, least: int = 1) -> int:
    """A number of a list request. Raises ``Malformed``."""
    if text is None:
        return default
    if not text.isdecimal() or not least <= int(text[:9]) <= most:
        raise Malformed(f"a number from {least} to {most} is expected")
    return int(text)


def _plain(value: Any) -> Any:
    """Bytes become hexadecimal text, as ids and digests are shown everywhere else."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
