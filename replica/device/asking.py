"""Questions to the server over HTTP, with the token of this device, beside the websocket.

Blocking: run them off the link's loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from socket import SHUT_RDWR
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from replica.device.journal import Identity
from replica.errors import Malformed, PeerGone
from replica.limits import CHUNK_FETCH_TIMEOUT_S, ENROL_ANSWER_BYTES_MAX

if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse
    from http.client import HTTPMessage as Headers

OK = 200


class Answer(NamedTuple):
    """What came back; ``data`` is empty unless ``status`` is 200."""

    status: int
    data: bytes
    headers: Headers


class Server:
    """One connection to the server of ``identity``; any number of questions, one at a time."""

    def __init__(
        self, http: HTTPConnection, identity: Identity, given_up: Callable[[], bool]
    ) -> None:
        self._http = http
        self._given_up = given_up
        self._base = urlsplit(identity.url).path.rstrip("/")
        self._headers = {"authorization": f"Bearer {identity.token}"}

    def ask(self, path: str, most: int, body: bytes | None = None) -> Answer:
        """GET, or POST of ``body``, below ``/api/v1/``. Raises ``Malformed`` for more than ``most``
        bytes: an answer that goes on is another one than was asked for."""
        response = self._respond(f"{self._base}/api/v1/{path}", body)
        if response.status != OK:
            response.read(ENROL_ANSWER_BYTES_MAX)
            return Answer(response.status, b"", response.headers)
        data = response.read(most)
        if response.read(1):
            raise Malformed("the answer is longer than what was asked for")
        return Answer(OK, data, response.headers)

    def _respond(self, path: str, body: bytes | None) -> HTTPResponse:
        method = "GET" if body is None else "POST"
        kept = self._http.sock is not None
        try:
            return self._exchange(method, path, body)
        except ConnectionError:
            if not kept or self._given_up():
                raise
            # The server hangs up on who has not asked for a while. Questions change nothing, so
            # one whose answer did not begin is asked again, over a new connection.
            self._http.close()
            return self._exchange(method, path, body)

    def _exchange(self, method: str, path: str, body: bytes | None) -> HTTPResponse:
        if self._http.sock is None:
            self._http.connect()
        if self._given_up():  # asked once the socket is there to be shut
            raise ConnectionAbortedError("given up")
        self._http.request(method, path, body=body, headers=self._headers)
        return self._http.getresponse()


class Line:
    """A connection for the questions of a while: kept between them, made anew when it broke."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._http: HTTPConnection | None = None
        self._given_up = False

    @contextmanager
    def server(self) -> Iterator[Server]:
        """The server, for some questions of one thread. Raises ``PeerGone`` when the connection is
        lost in between."""
        # Imported here: it is most of what importing the SDK would cost.
        from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415

        parts = urlsplit(self._identity.url)
        if self._http is None:
            kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
            self._http = kind(parts.netloc, timeout=CHUNK_FETCH_TIMEOUT_S)
        try:
            yield Server(self._http, self._identity, lambda: self._given_up)
        except (OSError, HTTPException) as error:
            self.close()
            raise PeerGone(f"no connection to {self._identity.url}: {error}") from error
        except BaseException:
            self.close()  # an answer may be half read
            raise

    def give_up(self) -> None:
        """From any thread: who waits for an answer gets ``PeerGone`` now, and asks no more."""
        self._given_up = True
        http = self._http
        sock = None if http is None else http.sock
        if sock is not None:
            with suppress(OSError):  # it is gone already
                sock.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Hang up; the next question makes a connection. Safe to call twice."""
        if self._http is not None:
            self._http.close()
            self._http = None


@contextmanager
def connected(identity: Identity, line: Line | None = None) -> Iterator[Server]:
    """A connection for some questions, over ``line`` where somebody may give it up. Raises
    ``PeerGone`` when it is lost in between."""
    line = line or Line(identity)
    try:
        with line.server() as server:
            yield server
    finally:
        line.close()
