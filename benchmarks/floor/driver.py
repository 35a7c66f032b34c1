"""Speaking to the floor: arrays of bytes up, counts down."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import perf_counter

import msgspec
from pysqlite3 import dbapi2 as sqlite
from websockets.asyncio.client import ClientConnection

from benchmarks.drivers import Session, open_socket, server_process

_decode = msgspec.msgpack.Decoder(int | list[msgspec.Raw]).decode

EVENT_BYTES = 300
"""The size of an event in all figures (performance.md)."""


class FloorDriver:
    """:mod:`benchmarks.floor.server`."""

    def __init__(self, together: bool) -> None:
        self._path = "fanout" if together else ""
        self.pid = 0

    @contextmanager
    def serve(self, directory: Path) -> Iterator[str]:
        with server_process("benchmarks.floor.server", str(directory / "floor.db")) as (
            first_line,
            self.pid,
        ):
            yield f"ws://127.0.0.1:{int(first_line)}/{self._path}"

    async def connect(self, address: str, writer: int) -> Session:
        return FloorSession(await open_socket(address), random.Random(writer))

    async def newcomer(self, address: str, events: int) -> float:
        """Every row, in frames."""
        start, seen = perf_counter(), 0
        socket = await open_socket(f"{address.rsplit('/', 1)[0]}/all")
        while seen < events:
            told = _decode(await socket.recv(decode=False))
            assert isinstance(told, list), "nothing was sent that could be answered"
            seen += len(told)
        seconds = perf_counter() - start
        await socket.close()
        return seconds

    async def follow(self) -> Mapping[str, float]:
        return {}

    def stored(self, directory: Path) -> int:
        with closing(sqlite.connect(directory / "floor.db")) as database:
            count: int = database.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


class FloorSession:
    """Arrays of bytes up; down counts, and arrays of what everybody wrote."""

    def __init__(self, socket: ClientConnection, chance: random.Random) -> None:
        self._socket = socket
        self._chance = chance
        self.delivered = 0

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        made = [self._chance.randbytes(EVENT_BYTES) for _ in range(events)]
        return [
            msgspec.msgpack.encode(made[start : start + batch]) for start in range(0, events, batch)
        ]

    async def send(self, frame: bytes) -> None:
        await self._socket.send(frame)

    async def hear(self) -> int:
        told = _decode(await self._socket.recv(decode=False))
        if isinstance(told, int):
            return told
        self.delivered += len(told)
        return 0

    async def close(self) -> None:
        await self._socket.close()

    async def leave(self) -> None:
        await self.close()

    async def rejoin(self, address: str) -> None:
        self._socket = await open_socket(address)
