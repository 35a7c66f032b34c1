"""What the load client needs to know about a server: one driver per server, one session per writer.

A driver starts its server as a process of its own and counts afterwards what is on disk. A session
speaks the server's protocol. Frames are made by ``prepare`` before the clock starts, so that the
figures are the server's and not the generator's.

Adding a server is adding a class here and its name to ``DRIVERS``.
"""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import websockets
from pysqlite3 import dbapi2 as sqlite
from websockets.asyncio.client import ClientConnection

EVENT_BYTES = 300
"""The size of an event in all figures (performance.md)."""


class Session(Protocol):
    """One writer's connection, ready to push."""

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        """The frames that carry this writer's next ``events`` events, ``batch`` in each."""
        ...

    async def send(self, frame: bytes) -> None:
        """Put one prepared frame on the wire."""
        ...

    async def acknowledged(self) -> int:
        """Wait for the next answer that says "durable"; gives how many events it covers."""
        ...

    async def close(self) -> None: ...


class Driver(Protocol):
    """One kind of server."""

    def serve(self, directory: Path) -> AbstractContextManager[str]:
        """Run a server with its data in the empty ``directory``; gives its address."""
        ...

    async def connect(self, address: str, writer: int) -> Session:
        """Open the session of writer number ``writer``, every handshake behind it."""
        ...

    def stored(self, directory: Path) -> int:
        """How many events are on disk, counted after the server has stopped."""
        ...


class FloorDriver:
    """:mod:`benchmarks.floor.server`."""

    @contextmanager
    def serve(self, directory: Path) -> Iterator[str]:
        with server_process("benchmarks.floor.server", str(directory / "floor.db")) as first_line:
            yield f"ws://127.0.0.1:{int(first_line)}/"

    async def connect(self, address: str, writer: int) -> Session:
        return FloorSession(await open_socket(address), random.Random(writer))

    def stored(self, directory: Path) -> int:
        with closing(sqlite.connect(directory / "floor.db")) as database:
            count: int = database.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


class FloorSession:
    """Arrays of bytes up, counts down."""

    def __init__(self, socket: ClientConnection, chance: random.Random) -> None:
        self._socket = socket
        self._chance = chance

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        made = [self._chance.randbytes(EVENT_BYTES) for _ in range(events)]
        return [
            msgspec.msgpack.encode(made[start : start + batch]) for start in range(0, events, batch)
        ]

    async def send(self, frame: bytes) -> None:
        await self._socket.send(frame)

    async def acknowledged(self) -> int:
        return msgspec.msgpack.decode(await self._socket.recv(decode=False), type=int)

    async def close(self) -> None:
        await self._socket.close()


@contextmanager
def server_process(module: str, *arguments: str) -> Iterator[str]:
    """Run ``python -m module`` until the block ends; gives the first line it prints."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline()
        finally:
            process.terminate()


async def open_socket(address: str) -> ClientConnection:
    """A plain websocket, uncompressed as the product's."""
    return await websockets.connect(address, compression=None, ping_interval=None)


DRIVERS: Mapping[str, Callable[[], Driver]] = {"floor": FloorDriver}
