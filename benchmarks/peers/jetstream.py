"""NATS JetStream with ``sync_interval: always``: a message an event, an ordered consumer to follow.

JetStream answers a message after its file was flushed; one flush a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

import msgspec
import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js import JetStreamContext
from nats.js.api import PubAck, StorageType, StreamConfig

from benchmarks.drivers import Session
from benchmarks.floor.driver import EVENT_BYTES
from benchmarks.peers import Follower, free_port, nats_server, server

SUBJECT = "log"
_IN_FLIGHT_MAX = 100_000
_CONFIG = """port: {port}
host: 127.0.0.1
jetstream {{ store_dir: "{directory}", sync_interval: always }}
"""


class NatsDriver:
    """One nats-server, one stream for everybody."""

    def __init__(self, together: bool) -> None:
        self._together = together
        self.pid = 0

    @contextmanager
    def serve(self, directory: Path) -> Iterator[str]:
        port, program = free_port(), nats_server()
        assert program is not None, "benchmarks.peers.found() has looked"
        config = directory / "nats.conf"
        config.write_text(_CONFIG.format(port=port, directory=directory / "jetstream"))
        with server([str(program), "-c", str(config)], port, directory / "server.log") as process:
            self.pid = process.pid
            yield f"nats://127.0.0.1:{port}"

    async def connect(self, address: str, writer: int) -> Session:
        session = NatsSession(writer, reads=self._together)
        await session.rejoin(address)
        return session

    async def follow(self) -> Mapping[str, float]:
        return {}

    async def newcomer(self, address: str, events: int) -> float:
        """Read the stream from its beginning with an ordered consumer."""
        start = perf_counter()
        client = await nats.connect(address)
        seen, done = 0, asyncio.Event()

        async def take(_: Msg) -> None:
            nonlocal seen
            seen += 1
            if seen == events:
                done.set()

        await client.jetstream().subscribe(SUBJECT, ordered_consumer=True, cb=take)
        await done.wait()
        seconds = perf_counter() - start
        await client.close()
        return seconds

    def stored(self, directory: Path) -> int:
        async def count(address: str) -> int:
            client = await nats.connect(address)
            try:
                return (await client.jetstream().stream_info(SUBJECT)).state.messages
            finally:
                await client.close()

        with self.serve(directory) as address:
            return asyncio.run(count(address))


class NatsSession(Follower):
    """One connection, as its client is used."""

    _client: Client
    _context: JetStreamContext

    def __init__(self, writer: int, *, reads: bool) -> None:
        super().__init__(writer, reads=reads)
        self._tasks: set[asyncio.Task[None]] = set()

    async def rejoin(self, address: str) -> None:
        self._client = await nats.connect(address)
        self._context = self._client.jetstream(publish_async_max_pending=_IN_FLIGHT_MAX)
        await self._context.add_stream(
            StreamConfig(name=SUBJECT, subjects=[SUBJECT], storage=StorageType.FILE)
        )
        if self.reads:
            await self._context.subscribe(SUBJECT, ordered_consumer=True, cb=self._take)

    async def leave(self) -> None:
        await self.close()

    async def _take(self, _: Msg) -> None:
        self.told(1)

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        made = [self.chance.randbytes(EVENT_BYTES) for _ in range(events)]
        return [
            msgspec.msgpack.encode(made[start : start + batch]) for start in range(0, events, batch)
        ]

    async def send(self, frame: bytes) -> None:
        events = msgspec.msgpack.decode(frame, type=list[bytes])
        answers = [await self._context.publish_async(SUBJECT, one) for one in events]
        task = asyncio.create_task(self._answered(answers))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        await self._client.close()

    async def _answered(self, answers: Sequence[asyncio.Future[PubAck]]) -> None:
        await asyncio.gather(*answers)
        self.answered(len(answers))
