"""Questions to the server over HTTP, with the token of this device, beside the websocket.

Blocking: run them off the link's loop.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from replica.device.journal import Identity
from replica.errors import Malformed, PeerGone
from replica.limits import CHUNK_FETCH_TIMEOUT_S, ENROL_ANSWER_BYTES_MAX

if TYPE_CHECKING:
    from http.client import HTTPConnection
    from http.client import HTTPMessage as Headers

OK = 200


class Answer(NamedTuple):
    """What came back; ``data`` is empty unless ``status`` is 200."""

    status: int
    data: bytes
    headers: Headers


class Server:
    """One connection to the server of ``identity``; any number of questions, one at a time."""

    def __init__(self, http: HTTPConnection, identity: Identity) -> None:
        self._http = http
        self._base = urlsplit(identity.url).path.rstrip("/")
        self._headers = {"authorization": f"Bearer {identity.token}"}

    def ask(self, path: str, most: int, body: bytes | None = None) -> Answer:
        """GET, or POST of ``body``, below ``/api/v1/``. Raises ``Malformed`` for more than ``most``
        bytes: an answer that goes on is another one than was asked for."""
        method = "GET" if body is None else "POST"
        self._http.request(method, f"{self._base}/api/v1/{path}", body=body, headers=self._headers)
        response = self._http.getresponse()
        if response.status != OK:
            response.read(ENROL_ANSWER_BYTES_MAX)
            return Answer(response.status, b"", response.headers)
        data = response.read(most)
        if response.read(1):
            raise Malformed("the answer is longer than what was asked for")
        return Answer(OK, data, response.headers)


@contextmanager
def connected(identity: Identity) -> Iterator[Server]:
    """A connection for some questions. Raises ``PeerGone`` when it is lost in between."""
    # Imported here: it is most of what importing the SDK would cost.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415

    parts = urlsplit(identity.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    http = kind(parts.netloc, timeout=CHUNK_FETCH_TIMEOUT_S)
    try:
        yield Server(http, identity)
    except (OSError, HTTPException) as error:
        raise PeerGone(f"no connection to {identity.url}: {error}") from error
    finally:
        http.close()
