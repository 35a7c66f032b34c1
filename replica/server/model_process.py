"""The process that writes the read models of one server, so that answers need not wait for it.

It is a child of the server and does one thing at a time: calls come over a pipe, answers and errors
go back. It holds no promise: what it writes can be folded again from the log, which the server
alone writes. It ends with the server, however that ends; when it ends by itself, the server stops
as it does for a failed disk, and a supervisor starts both anew (reliability D4).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection
from threading import Lock, Thread
from traceback import format_exc
from typing import Any

from replica.errors import StoreFailed
from replica.limits import PROJECTION_LOCK_S, PROJECTION_NICE
from replica.server.config import Config
from replica.server.read_models import Writing
from replica.server.stores import open_reading, open_views_alone
from replica.store.engine import Database
from replica.store.sql import SqlLog


class ModelProcess:
    """The server's end. Make it before threads and databases: the process is forked where that is
    safe. ``on_failed`` hears of a store or a process that failed, in any thread."""

    def __init__(self) -> None:
        # Elsewhere the system's own libraries do not survive a fork.
        forks = sys.platform == "linux"
        context = get_context("fork") if forks else get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._turn = Lock()
        self.on_failed: Callable[[StoreFailed], object] = lambda _: None
        both = (theirs, self._pipe)
        self._process = context.Process(target=_serve, args=both, name="read models")
        self._process.start()
        theirs.close()

    def open(self, config: Config) -> Database:
        """Have it open its databases, and give the read models for reading here; close that.

        The log must be there. Raises what opening a database raises.
        """
        self._call(None, config)
        return open_reading(config, views=True)

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """:class:`replica.server.read_models.Run`."""
        return await asyncio.to_thread(self._call, work, *arguments)

    def close(self) -> None:
        """Finish what it is at, and end."""
        with self._turn:
            self._pipe.close()
        self._process.join()
        self._process.close()

    def _call(self, work: Callable[..., Any] | None, *arguments: Any) -> Any:
        try:
            with self._turn:
                self._pipe.send((work, arguments))
                error, answer = self._pipe.recv()
        except (EOFError, OSError) as gone:
            error, answer = StoreFailed("the process of the read models has ended"), None
            error.__cause__ = gone
        if isinstance(error, StoreFailed):
            self.on_failed(error)
        if error is not None:
            raise error
        return answer


# The process -------------------------------------------------------------------------------------


def _serve(calls: Connection, servers: Connection) -> None:
    """Do what the server asks for until it hangs up."""
    servers.close()  # the server's end came along, and would never be heard to close
    # Signals for the whole group are the server's to obey: it may need us until its end.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    os.nice(PROJECTION_NICE)
    Thread(target=_end_with_parent, daemon=True).start()
    with ExitStack() as closing:
        writing: Writing | None = None
        while True:
            try:
                work, arguments = calls.recv()
            except EOFError:
                return
            error = answer = None
            try:
                if work is None:
                    writing = _open(closing, *arguments)
                else:
                    answer = work(writing, *arguments)
            except Exception as raised:  # noqa: BLE001  the caller gets it
                raised.add_note(format_exc())
                error = raised
            calls.send((error, answer))


def _open(closing: ExitStack, config: Config) -> Writing:
    log = open_reading(config)
    closing.callback(log.close)
    # A server that was killed leaves us a process that is just about to notice.
    views = open_views_alone(config, lock_wait_s=PROJECTION_LOCK_S)
    closing.callback(views.close)
    return Writing(views, SqlLog(log))


def _end_with_parent() -> None:
    """Nobody is left to work for, and the next server needs the files."""
    parent = parent_process()
    assert parent is not None, "this is the child"
    parent.join()
    os._exit(1)
