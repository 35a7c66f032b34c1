"""A network that can be lost: a TCP relay between the devices and the server.

Cutting it ends every connection and lets no new one through: what a phone sees in a cellar.
Runs an event loop in a thread of its own; every method may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

RELAY_BYTES = 65_536

T = TypeVar("T")


class Network:
    """Relays ``127.0.0.1:port`` to ``127.0.0.1:target_port`` while it is up."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._up = True
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        """Lose the network: open connections end without a goodbye, new ones at once."""
        self._call(self._cut())

    def restore(self) -> None:
        """Bring the network back for new connections."""
        self._call(self._set_up())

    def close(self) -> None:
        """End every connection and the thread."""
        self._call(self._cut())
        self._server.close()
        self._call(self._server.wait_closed())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _set_up(self) -> None:
        self._up = True

    async def _cut(self) -> None:
        self._up = False
        for writer in list(self._open):
            writer.transport.abort()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._connect(reader, writer)
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        except OSError:
            return
        pair = {writer, far_writer}
        self._open |= pair
        try:
            await asyncio.gather(_relay(reader, far_writer), _relay(far_reader, writer))
        finally:
            self._open -= pair
            far_writer.transport.abort()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while data := await reader.read(RELAY_BYTES):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
