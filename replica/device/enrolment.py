"""Enrolment: a code from the office becomes an identity and a token. The one call that needs HTTP.

Logging in needs the network (requirements OFF-18): the error says so in words, and nothing is
retried behind the user's back.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from replica.device.journal import Identity
from replica.errors import Forbidden, Malformed, MisuseError, PeerGone, ReplicaError
from replica.limits import ENROL_ANSWER_BYTES_MAX, ENROL_TIMEOUT_MS, TOKEN_CHARS_MAX

Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]


class _Answer(msgspec.Struct):
    account: Hex16
    device: Hex16
    token: Annotated[str, Meta(min_length=1, max_length=TOKEN_CHARS_MAX)]
    name: str = ""


class _Problem(msgspec.Struct):
    message: str = ""
    hint: str = ""


def enrol(url: str, code: str, name: str, *, software: str) -> Identity:
    """Exchange ``code`` for an identity at ``url`` (``https://host``).

    Raises ``Forbidden`` for a wrong or used code, ``PeerGone`` when the server cannot be reached
    or cannot answer now, ``Malformed`` when what answers is no replica server.
    """
    # Imported here: http.client and ssl would be most of what importing the SDK costs.
    from urllib.error import HTTPError, URLError  # noqa: PLC0415
    from urllib.request import Request, urlopen  # noqa: PLC0415

    base = base_url(url)
    body = msgspec.json.encode({"code": code, "name": name, "software": software})
    request = Request(  # noqa: S310 - base_url lets http and https through only
        f"{base}/api/v1/enrol", data=body, headers={"content-type": "application/json"}
    )
    try:
        with urlopen(request, timeout=ENROL_TIMEOUT_MS / 1000) as response:  # noqa: S310
            data = response.read(ENROL_ANSWER_BYTES_MAX)
    except HTTPError as error:
        with error:
            raise _refusal(error.code, error.read(ENROL_ANSWER_BYTES_MAX)) from error
    except (URLError, OSError) as error:
        raise PeerGone(
            "enrolling needs a connection to the server, and there is none now",
            hint=f"check the network and the address {base}",
        ) from error
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except msgspec.MsgspecError as error:
        raise Malformed(f"{base} did not answer like a replica server: {error}") from error
    return Identity(
        account=bytes.fromhex(answer.account),
        device=bytes.fromhex(answer.device),
        token=answer.token,
        name=answer.name or name,
        url=base,
    )


def base_url(url: str) -> str:
    """``url`` without a trailing slash. Raises ``MisuseError`` unless it is http or https."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise MisuseError(f"{url!r} is no http or https address")
    return url.rstrip("/")


def sync_url(url: str) -> str:
    """The websocket address that belongs to a server's base ``url`` (wire-protocol.md §1)."""
    return "ws" + base_url(url).removeprefix("http") + "/api/v1/sync"


def _refusal(status: int, body: bytes) -> ReplicaError:
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem()
    words = problem.message or f"the server answered {status}"
    if 400 <= status < 500 and status != 429:
        return Forbidden(words, hint=problem.hint or "ask the office for a new code")
    return PeerGone(words)
