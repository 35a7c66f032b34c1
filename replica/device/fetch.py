"""Fetching documents in bulk over HTTP before the websocket takes over (wire-protocol.md §12).

Blocking, run off the link's loop. The server decides whether it is worth it; whatever goes wrong
here, the log on the websocket leads to the same documents, only slower.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlencode

from replica.device import chunks
from replica.device.asking import OK, Line, Server, connected
from replica.device.chunks import Import
from replica.device.holding import Holding
from replica.device.status import Progress
from replica.errors import Malformed
from replica.limits import MANIFEST_BYTES_MAX, MANIFESTS_MAX


def fetch(
    holding: Holding,
    *,
    stopping: Callable[[], bool],
    progress: Callable[[tuple[Progress, ...]], None],
    line: Line | None = None,
) -> bool:
    """Take in what the server has in bulk for this device; True when the cursor moved.

    False means that the log serves: the server has nothing worth it, is of an older kind, or sent
    what does not fit. ``stopping`` is asked between chunks; who gives up ``line`` waits for none.
    Raises ``PeerGone`` when the connection is lost: call again, it goes on where it was.
    """
    try:
        with connected(holding.identity, line) as server:
            running = chunks.resume(holding)
            with holding.lock:
                holding.journal.catch_up(behind=True)
            for _ in range(MANIFESTS_MAX):
                running = running or _begin(holding, server)
                if running is None:
                    return False
                if _take_all(running, server, stopping, progress):
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
    server: Server,
    stopping: Callable[[], bool],
    progress: Callable[[tuple[Progress, ...]], None],
) -> bool:
    while (wanted := running.wanted) is not None:
        progress(running.progress())
        if stopping():
            return False
        answer = server.ask(f"chunks/{wanted.sha256}", wanted.bytes)
        if answer.status != OK:
            return False
        running.take(answer.data)
    progress(())
    return True


def _begin(holding: Holding, server: Server) -> Import | None:
    place = holding.journal.place
    query = urlencode(
        {
            "log_id": place.log_id.hex(),
            "generation": place.generation,
            "cursor": place.cursor,
            "chain": place.chain.hex(),
        }
    )
    answer = server.ask(f"snapshot?{query}", MANIFEST_BYTES_MAX)
    if answer.status != OK:
        chunks.drop(holding)
        return None
    return chunks.begin(holding, answer.data)
