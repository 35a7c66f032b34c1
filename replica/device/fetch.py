"""Fetching documents in bulk over HTTP before the websocket takes over (wire-protocol.md §12).

Blocking, run off the link's loop. The server decides whether it is worth it; whatever goes wrong
here, the log on the websocket leads to the same documents, only slower.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

from replica.device import chunks
from replica.device.chunks import Import
from replica.device.holding import Holding
from replica.device.journal import Identity
from replica.device.status import Progress
from replica.errors import Malformed, PeerGone
from replica.limits import (
    CHUNK_FETCH_TIMEOUT_S,
    ENROL_ANSWER_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFESTS_MAX,
)

if TYPE_CHECKING:
    from http.client import HTTPConnection

OK = 200


def fetch(
    holding: Holding,
    *,
    stopping: Callable[[], bool],
    progress: Callable[[tuple[Progress, ...]], None],
) -> bool:
    """Take in what the server has in bulk for this device; True when the cursor moved.

    False means that the log serves: the server has nothing worth it, is of an older kind, or sent
    what does not fit. ``stopping`` is asked between chunks. Raises ``PeerGone`` when the connection
    is lost: call again, it goes on where it was.
    """
    with holding.lock:
        identity = holding.journal.identity
    if identity is None:
        return False
    try:
        with connected(identity) as http:
            running = chunks.resume(holding)
            with holding.lock:
                holding.journal.catch_up(behind=True)
            for _ in range(MANIFESTS_MAX):
                running = running or _begin(holding, http, identity)
                if running is None:
                    return False
                if _take_all(running, http, identity, stopping, progress):
                    return True
                if stopping():
                    return False
                # Made anew on the server meanwhile: what is here already stays.
                running = None
            chunks.drop(holding)
            return False
    except Malformed:
        chunks.drop(holding)
        return False


def _take_all(
    running: Import,
    http: HTTPConnection,
    identity: Identity,
    stopping: Callable[[], bool],
    progress: Callable[[tuple[Progress, ...]], None],
) -> bool:
    while (wanted := running.wanted) is not None:
        progress(running.progress())
        if stopping():
            return False
        status, data = _get(http, identity, f"chunks/{wanted.sha256}", wanted.bytes)
        if status != OK:
            return False
        running.take(data)
    progress(())
    return True


def _begin(holding: Holding, http: HTTPConnection, identity: Identity) -> Import | None:
    place = holding.journal.place
    query = urlencode(
        {
            "log_id": place.log_id.hex(),
            "generation": place.generation,
            "cursor": place.cursor,
            "chain": place.chain.hex(),
        }
    )
    status, data = _get(http, identity, f"snapshot?{query}", MANIFEST_BYTES_MAX)
    if status != OK:
        chunks.drop(holding)
        return None
    return chunks.begin(holding, data)


@contextmanager
def connected(identity: Identity) -> Iterator[HTTPConnection]:
    # Imported here: it is most of what importing the SDK would cost.
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415

    parts = urlsplit(identity.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    http = kind(parts.netloc, timeout=CHUNK_FETCH_TIMEOUT_S)
    try:
        yield http
    except (OSError, HTTPException) as error:
        raise PeerGone(f"no connection to {identity.url}: {error}") from error
    finally:
        http.close()


def _get(http: HTTPConnection, identity: Identity, path: str, most: int) -> tuple[int, bytes]:
    """Status and at most ``most`` bytes: an answer that goes on is another one than was named."""
    base = urlsplit(identity.url).path.rstrip("/")
    headers = {"authorization": f"Bearer {identity.token}"}
    http.request("GET", f"{base}/api/v1/{path}", headers=headers)
    response = http.getresponse()
    if response.status != OK:
        response.read(ENROL_ANSWER_BYTES_MAX)
        return response.status, b""
    data = response.read(most)
    if response.read(1):
        raise Malformed("the answer is longer than what was asked for")
    return OK, data
