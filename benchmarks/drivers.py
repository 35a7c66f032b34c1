"""What the load client needs to know about a server: one driver per server, one session per writer.

A driver starts its server as a process of its own and counts afterwards what is on disk. A session
speaks the server's protocol. Frames are made by ``prepare`` before the clock starts, so that the
figures are the server's and not the generator's.

Adding a server is adding such a class and its name to ``benchmarks.ingest.DRIVERS``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol


class Session(Protocol):
    """One writer's connection, ready to push."""

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        """The frames that carry this writer's next ``events`` events, ``batch`` in each."""
        ...

    async def send(self, frame: bytes) -> None:
        """Put one prepared frame on the wire."""
        ...

    async def hear(self) -> int:
        """Wait for the next frame; gives how many events it says are durable, 0 for a delivery."""
        ...

    @property
    def delivered(self) -> int:
        """How many of the events of all writers this one was sent or wrote itself; counts only
        where writers read each other."""
        ...

    async def close(self) -> None: ...

    async def leave(self) -> None:
        """Lose the connection; what was prepared is still to be sent."""
        ...

    async def rejoin(self, address: str) -> None:
        """Come back as the same writer, and read everything from the beginning."""
        ...


class Driver(Protocol):
    """One kind of server. Made with ``together``: whether every writer is sent what the others
    wrote, as the devices of one account are, or nothing, as devices of an account each."""

    pid: int  # of the server that is on

    def serve(self, directory: Path) -> AbstractContextManager[str]:
        """Run a server with its data in the empty ``directory``; gives its address."""
        ...

    async def connect(self, address: str, writer: int) -> Session:
        """Open the session of writer number ``writer``, every handshake behind it."""
        ...

    async def follow(self) -> Mapping[str, float]:
        """Wait, after the clock was stopped, until what was acknowledged has gone everywhere it
        has to go, and say what that took; raises when it arrives wrong."""
        ...

    async def newcomer(self, address: str, events: int) -> float:
        """Take everything there is, as somebody who was never here; seconds until the last byte is
        here and read. Raises when it is not all of ``events``."""
        ...

    def stored(self, directory: Path) -> int:
        """How many events are on disk, counted after the server has stopped."""
        ...


@contextmanager
def server_process(module: str, *arguments: str) -> Iterator[tuple[str, int]]:
    """Run ``python -m module`` until the block ends; gives the first line it prints and its id."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline(), process.pid
        finally:
            process.terminate()


OPEN_TIMEOUT_S = 120


async def open_socket(address: str, *subprotocols: str) -> ClientConnection:
    """A plain websocket, uncompressed as the product's. Of a crowd the last one waits long; that is
    a figure and no failure. Who does not listen for a while must hear the goodbye all the same."""
    return await websockets.connect(
        address,
        compression=None,
        open_timeout=OPEN_TIMEOUT_S,
        ping_interval=None,
        max_queue=None,
        subprotocols=[Subprotocol(name) for name in subprotocols] or None,
    )
