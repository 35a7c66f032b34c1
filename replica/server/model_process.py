"""The process that writes the read models of one server, so that answers need not wait for it.

What it writes can be folded again from the log, which the server alone writes. When it ends by
itself, the server stops as it does for a failed disk, and a supervisor starts both anew
(reliability D4).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import ExitStack
from threading import Lock
from traceback import format_exc
from typing import Any

from replica.errors import StoreFailed
from replica.limits import PROJECTION_LOCK_S, PROJECTION_NICE
from replica.server.child import Channel, Child
from replica.server.config import Config
from replica.server.read_models import Writing
from replica.server.stores import open_reading, open_views_alone
from replica.store.sql import SqlLog


class ModelProcess:
    """The server's end; make it as a :class:`Child`. ``on_failed`` hears of a store or a process
    that failed, in any thread."""

    def __init__(self) -> None:
        self._child = Child(_serve, "read models")
        self._channel = Channel(self._child.end)
        self._turn = Lock()
        self.on_failed: Callable[[StoreFailed], object] = lambda _: None

    def open(self, config: Config) -> None:
        """Have it open its databases; the read models can be opened for reading then.

        The log must be there. Raises what opening a database raises.
        """
        self._call(None, config)

    async def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """:class:`replica.server.read_models.Run`."""
        return await asyncio.to_thread(self._call, work, *arguments)

    def close(self) -> None:
        """Finish what it is at, and end."""
        with self._turn:
            self._channel.close()
            self._child.close()

    def _call(self, work: Callable[..., Any] | None, *arguments: Any) -> Any:
        try:
            with self._turn:
                self._channel.send((work, arguments))
                error, answer = self._channel.receive()
        except (EOFError, OSError) as gone:
            error, answer = StoreFailed("the process of the read models has ended"), None
            error.__cause__ = gone
        if isinstance(error, StoreFailed):
            self.on_failed(error)
        if error is not None:
            raise error
        return answer


# The process -------------------------------------------------------------------------------------


def _serve(calls: Channel) -> None:
    """Do what the server asks for until it hangs up."""
    os.nice(PROJECTION_NICE)
    with ExitStack() as closing:
        writing: Writing | None = None
        while (call := calls.receive()) is not None:
            work, arguments = call
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
