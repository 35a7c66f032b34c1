"""A bad line between devices and a server: TCP on the loopback, cut, stalled and crumbled by seed.

Each connection draws one ailment when it is made, and sooner or later ends of it. The bytes that
pass are never changed: TCP does not do that. What a broken line can do is end anywhere (in the
middle of a websocket frame too), end for one direction only, stand still before it ends, come byte
by byte, come late, or linger after the device has long made another connection and says everything
again on that.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from random import Random
from typing import Any, TypeVar

CHUNK_BYTES = 4_096
CRUMBLED_BYTES = 2_048  # how much of a connection comes byte by byte
CUT_BYTES_MAX = 6_000
LATE_S_MAX = 0.05
LINGER_S = 1.0
RESET = struct.pack("ii", 1, 0)  # close with a reset and not with a goodbye

T = TypeVar("T")
AILMENTS = ("cut", "cut_back", "half_close", "stall", "late", "crumble", "linger")


class Wires:
    """Relays ``127.0.0.1:port`` to ``target_port``. ``struck`` counts what befell connections."""

    def __init__(self, target_port: int, seed: int) -> None:
        self.struck: Counter[str] = Counter()
        self.healed = False
        self._dice = Random(seed)
        self._target_port = target_port
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="wires", daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.port: int = self._server.sockets[0].getsockname()[1]

    def heal(self) -> None:
        """From now on nothing befalls anybody; what is ill is cut."""
        self.healed = True
        self._call(self._cut_all())

    def close(self) -> None:
        """End every connection and the thread."""
        self._server.close()
        self._call(self._cut_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _cut_all(self) -> None:
        for writer in list(self._open):
            _reset(writer)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._relay(reader, writer)
        except (OSError, asyncio.CancelledError):
            _reset(writer)
        finally:
            self._tasks.discard(task)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        pair = {writer, far_writer}
        self._open |= pair
        ailment = "well" if self.healed else self._dice.choice(AILMENTS)
        self.struck[ailment] += 1
        after = self._dice.randrange(CUT_BYTES_MAX)
        up = self._pass(reader, far_writer, ailment, after, away=True)
        down = self._pass(far_reader, writer, ailment, after, away=False)
        try:
            await asyncio.gather(up, down)
        except _Cut:
            if ailment == "linger":  # the device has gone; the server does not know it yet
                _reset(writer)
                await asyncio.sleep(LINGER_S)
        finally:
            self._open -= pair
            for one in pair:
                _reset(one)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ailment: str,
        after: int,
        *,
        away: bool,
    ) -> None:
        """One direction until its end. Raises ``_Cut`` when the line breaks."""
        send = self._sender(writer, ailment)
        passed = 0
        while data := await reader.read(CHUNK_BYTES):
            ends = ailment in _ENDS[away] and passed + len(data) >= after
            part = data[: max(after - passed, 0)] if ends else data
            passed += len(part)
            await send(part)
            if ends and ailment == "stall":
                await asyncio.sleep(LINGER_S)
            if ends and ailment == "half_close":
                writer.write_eof()
                return
            if ends:
                raise _Cut
        with suppress(OSError):
            writer.write_eof()

    def _sender(
        self, writer: asyncio.StreamWriter, ailment: str
    ) -> Callable[[bytes], Awaitable[None]]:
        left = CRUMBLED_BYTES if ailment == "crumble" else 0

        async def send(data: bytes) -> None:
            nonlocal left
            if ailment == "late":
                await asyncio.sleep(self._dice.random() * LATE_S_MAX)
            crumbs, left = data[:left], max(left - len(data), 0)
            for at in range(len(crumbs)):
                writer.write(crumbs[at : at + 1])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(data[len(crumbs) :])
            await writer.drain()

        return send


class _Cut(Exception):
    """The line breaks here."""


# In which direction an ailment ends the connection: away from the device, or towards it.
_ENDS = {
    True: {"cut", "half_close", "linger", "late", "crumble"},
    False: {"cut_back", "stall"},
}


def _reset(writer: asyncio.StreamWriter) -> None:
    """Gone without a goodbye: whatever was on the way is lost."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()
