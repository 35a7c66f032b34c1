"""The floor: the least a server can do and still say "on disk".

The same parts as the product (Starlette on uvicorn with uvloop, SQLite with ``synchronous=FULL``,
one batch a frame, one group commit over all connections, acknowledged after it) and none of its
work: no validation, hashing, dedupe, merge or projection. What the product is slower by is the
price of its logic; what both are slower by is the machine.

    python -m benchmarks.floor.server DATABASE

Prints the port it listens on. A frame from a client is a msgpack array of events, each bytes; the
answer to each frame, after its commit, is a frame with the number of events as a msgpack integer.
``/all`` gives every event, in frames of ``ROWS``. Clients of ``/fanout`` are also sent, after each
commit, what it wrote: arrays of about ``EVENTS_BYTES_TARGET`` bytes, encoded once and the same
bytes for all of them, authors included.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from queue import SimpleQueue
from threading import Thread

import msgspec
import uvicorn
from pysqlite3 import dbapi2 as sqlite
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from replica.limits import COMMIT_REQUESTS_MAX, EVENTS_BYTES_TARGET, FRAME_BYTES_MAX

ROWS = 600
_Out = asyncio.Queue[bytes]
_Batch = tuple[list[bytes], _Out]
_encode = msgspec.msgpack.Encoder().encode


class Writer(Thread):
    """Commits what all connections have waiting, a row an event."""

    def __init__(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(daemon=True)
        self.queue: SimpleQueue[_Batch] = SimpleQueue()
        self.readers: set[_Out] = set()
        self._path = path
        self._loop = loop

    def run(self) -> None:
        """Write for ever."""
        database = sqlite.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE events (position INTEGER PRIMARY KEY, event BLOB)")
        while True:
            group = [self.queue.get()]
            while not self.queue.empty() and len(group) < COMMIT_REQUESTS_MAX:
                group.append(self.queue.get())
            rows = [(event,) for events, _ in group for event in events]
            database.execute("BEGIN IMMEDIATE")
            database.executemany("INSERT INTO events (event) VALUES (?)", rows)
            database.execute("COMMIT")
            self._loop.call_soon_threadsafe(self._tell, group)

    def _tell(self, group: list[_Batch]) -> None:
        for events, out in group:
            out.put_nowait(_encode(len(events)))
        if self.readers:
            for frame in _frames([event for events, _ in group for event in events]):
                for out in self.readers:
                    out.put_nowait(frame)


def _frames(events: list[bytes]) -> Iterator[bytes]:
    size = start = 0
    for index, event in enumerate(events):
        if size and size + len(event) > EVENTS_BYTES_TARGET:
            yield _encode(events[start:index])
            size, start = 0, index
        size += len(event)
    yield _encode(events[start:])


def make_app(path: str) -> Starlette:
    """Two routes that take frames and answer each when it is on disk."""
    decode = msgspec.msgpack.Decoder(list[bytes]).decode
    writers: list[Writer] = []

    async def take(websocket: WebSocket) -> None:
        if not writers:
            writers.append(Writer(path, asyncio.get_running_loop()))
            writers[0].start()
        await websocket.accept()
        out: _Out = asyncio.Queue()
        if websocket.url.path == "/fanout":
            writers[0].readers.add(out)

        async def answer() -> None:
            while True:
                await websocket.send_bytes(await out.get())

        answering = asyncio.create_task(answer())
        try:
            while True:
                writers[0].queue.put((decode(await websocket.receive_bytes()), out))
        except WebSocketDisconnect:
            writers[0].readers.discard(out)
            answering.cancel()

    async def give(websocket: WebSocket) -> None:
        await websocket.accept()
        with closing(sqlite.connect(path, check_same_thread=False)) as database:
            rows = database.execute("SELECT event FROM events ORDER BY position")
            while page := await asyncio.to_thread(rows.fetchmany, ROWS):
                await websocket.send_bytes(_encode([event for (event,) in page]))
        with suppress(WebSocketDisconnect):
            await websocket.receive_bytes()

    routes = [WebSocketRoute(where, take) for where in ("/", "/fanout")]
    return Starlette(routes=[*routes, WebSocketRoute("/all", give)])


def main() -> None:
    """Serve on a free port of the loopback until killed."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        make_app(sys.argv[1]),
        loop="uvloop",
        log_level="warning",
        ws_max_size=FRAME_BYTES_MAX,
        ws_per_message_deflate=False,
    )
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
