"""Real processes that start in a moment: forked from one that has everything imported.

``multiprocessing``'s fork server is that one process: it imports what servers and devices need and
does nothing else: no thread, no file, no socket of theirs. Each child runs the product's own code
over real files and real sockets, and is killed by a real SIGKILL. What a fork saves is only the
second that Python needs to import.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from threading import Lock
from typing import Any, Self

PRELOADED = (
    "tests.chaos.roles",
    "qbo_sink.port",
    "alembic.command",
    "alembic.operations.toimpl",
    "pysqlite3.dbapi2",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
    "websockets.asyncio.client",
    "websockets.asyncio.server",
)
# Below the range from which the kernel takes ports for outgoing connections: nobody sits on the
# port while its server is dead, and no device connects to itself.
PORTS = range(20_000, 32_000)
PATIENCE_S = 300.0  # before a process counts as stuck, on a machine with much else to do

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(list(PRELOADED))
# A status can be read once, and starting a process looks at all the others: two threads that read
# the same one at a time would make 255 of it.
_reading = Lock()


class Child:
    """One process that runs ``role(channel, **arguments)``. Use as a context manager.

    The other end of ``channel`` is ours; it hears everything the child said before it died.
    """

    def __init__(self, role: Callable[..., None], **arguments: Any) -> None:
        self.channel, theirs = _forks.Pipe()
        self._process = _forks.Process(target=role, args=(theirs,), kwargs=arguments)
        with _reading:
            self._process.start()
        theirs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._status() is None:
            self._process.kill()
        self._await_end()
        with _reading:
            self._process.close()
        self.channel.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def hear(self, wait_s: float = PATIENCE_S) -> Any:
        """What the child says next. Raises ``EOFError`` when it died without a word, and fails
        when it says nothing for minutes."""
        assert self.channel.poll(wait_s), "a process neither speaks nor ends"
        return self.channel.recv()

    def tell(self, what: Any) -> None:
        """Say something to the child; nothing happens when it is dead."""
        with suppress(ConnectionError):
            self.channel.send(what)

    def kill(self) -> list[Any]:
        """``kill -9``; gives what it had said and nobody had heard."""
        self._process.kill()
        self._await_end()
        rest = []
        with suppress(EOFError, OSError):  # the last message may be half of one
            while True:
                rest.append(self.channel.recv())
        return rest

    def end(self) -> int:
        """Ask it to end, as a supervisor does; gives its exit status."""
        self._process.terminate()
        return self.ended()

    def ended(self) -> int:
        """Wait for its end; gives the exit status, below zero for a signal."""
        self._await_end(PATIENCE_S)
        status = self._status()
        assert status is not None, "a process does not end"
        return status

    def _await_end(self, wait_s: float | None = None) -> None:
        wait([self._process.sentinel], wait_s)
        self._status()

    def _status(self) -> int | None:
        with _reading:
            return self._process.exitcode


def free_port() -> int:
    """A loopback port that nobody uses, and that the kernel gives to nobody else."""
    start = time.monotonic_ns() % len(PORTS)
    for offset in range(len(PORTS)):
        port = PORTS[(start + offset) % len(PORTS)]
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")
