"""Redis streams with ``appendfsync always``: an entry an event, pipelined, XREAD to follow.

Redis answers a command after the append-only file was flushed for everything of one turn of its
event loop: a group commit over connections, like the product's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import redis
import redis.asyncio
from redis.asyncio.connection import Connection

from benchmarks.drivers import Session
from benchmarks.floor.driver import EVENT_BYTES
from benchmarks.peers import Follower, free_port, redis_server, server

STREAM = b"log"
PAGE = 1_000


class RedisDriver:
    """One redis-server, one stream for everybody."""

    def __init__(self, together: bool) -> None:
        self._together = together
        self.pid = 0

    @contextmanager
    def serve(self, directory: Path) -> Iterator[str]:
        port, program = free_port(), redis_server()
        assert program is not None, "benchmarks.peers.found() has looked"
        command = [str(program), "--port", str(port), "--dir", str(directory), "--save", ""]
        command += ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "always"]
        with server(command, port, directory / "server.log") as process:
            self.pid = process.pid
            yield f"127.0.0.1:{port}"

    async def connect(self, address: str, writer: int) -> Session:
        session = RedisSession(writer, reads=self._together)
        await session.rejoin(address)
        return session

    async def follow(self) -> Mapping[str, float]:
        return {}

    async def newcomer(self, address: str, events: int) -> float:
        """Read the stream from its beginning, page by page."""
        host, port = address.split(":")
        start = perf_counter()
        async with redis.asyncio.Redis(host=host, port=int(port), protocol=2) as client:
            seen, first = 0, "-"
            while page := await client.xrange(STREAM, min=first, count=PAGE):
                seen += len(page)
                last: bytes | str | None = page[-1][0]
                assert isinstance(last, bytes), "nothing is decoded here"
                first = f"({last.decode()}"
        assert seen == events, (seen, events)
        return perf_counter() - start

    def stored(self, directory: Path) -> int:
        with self.serve(directory) as address:
            host, port = address.split(":")
            with redis.Redis(host=host, port=int(port)) as client:
                while client.info("persistence")["loading"]:
                    pass
                length: int = client.xlen(STREAM)
        return length


async def _open(address: str) -> Connection:
    host, port = address.split(":")
    connection = Connection(host=host, port=int(port), socket_timeout=None, protocol=2)
    await connection.connect()  # type: ignore[no-untyped-call]
    return connection


class RedisSession(Follower):
    """One connection to write on, one to follow on."""

    _writing: Connection
    _reading: Connection

    def __init__(self, writer: int, *, reads: bool) -> None:
        super().__init__(writer, reads=reads)
        self._sent: asyncio.Queue[int] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def rejoin(self, address: str) -> None:
        self._writing, self._reading = await asyncio.gather(_open(address), _open(address))
        self._tasks = [asyncio.create_task(self._answers())]
        if self.reads:
            self._tasks.append(asyncio.create_task(self._follow()))

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        frames = []
        for start in range(0, events, batch):
            commands = [
                ("XADD", STREAM, "*", "e", self.chance.randbytes(EVENT_BYTES))
                for _ in range(min(batch, events - start))
            ]
            frames.append(
                len(commands).to_bytes(4, "big") + b"".join(self._writing.pack_commands(commands))
            )
        return frames

    async def send(self, frame: bytes) -> None:
        self._sent.put_nowait(int.from_bytes(frame[:4], "big"))
        await self._writing.send_packed_command(frame[4:], check_health=False)

    async def leave(self) -> None:
        await self.close()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._writing.disconnect()
        await self._reading.disconnect()

    async def _answers(self) -> None:
        while True:
            count = await self._sent.get()
            for _ in range(count):
                await self._writing.read_response()
            self.answered(count)

    async def _follow(self) -> None:
        last = b"0"
        while True:
            await self._reading.send_command(
                "XREAD", "COUNT", PAGE, "BLOCK", 0, "STREAMS", STREAM, last
            )
            ((_, entries),) = await self._reading.read_response()
            last = entries[-1][0]
            self.told(len(entries))
