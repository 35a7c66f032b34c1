"""What a server's process takes, and what goes over its wire."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

_CHUNK = 1 << 16


def resident_kib(pid: int) -> int:
    """Memory of a process and its children now; what they share counts for each."""
    return sum(_status(one, "VmRSS") for one in _family(pid))


def peak_kib(pid: int) -> int:
    """The most memory a process had since :func:`forget_peak`, and its children."""
    return sum(_status(one, "VmHWM") for one in _family(pid))


def forget_peak(pid: int) -> None:
    """Begin to look for the most anew."""
    for one in _family(pid):
        Path(f"/proc/{one}/clear_refs").write_text("5")


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise KeyError(name)


class Wire:
    """Bytes both ways through a proxy, headers and all."""

    def __init__(self) -> None:
        self.bytes = 0
        self.port = 0

    async def pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        """Pass on what comes, and the end of it."""
        with suppress(ConnectionError):
            while data := await source.read(_CHUNK):
                self.bytes += len(data)
                sink.write(data)
                await sink.drain()
        sink.close()
        with suppress(ConnectionError):
            await sink.wait_closed()


@asynccontextmanager
async def counted(port: int) -> AsyncIterator[Wire]:
    """A proxy of ``port`` on the loopback that counts. Not for figures of time."""
    wire = Wire()
    joined: set[asyncio.Task[None]] = set()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        joined.add(asyncio.create_task(wire.pump(reader, back)))
        joined.add(asyncio.create_task(wire.pump(there, writer)))

    listener = await asyncio.start_server(join, "127.0.0.1", 0)
    wire.port = listener.sockets[0].getsockname()[1]
    yield wire
    listener.close()
    await asyncio.gather(*joined)
