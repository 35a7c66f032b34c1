"""Child processes of a server: how they start, how they are spoken to, and how they end with it.

A child does one thing at a time for the server and holds no promise. It is forked where that is
safe, since the code is in memory then: on Linux, whose libraries survive it, and beside no other
thread, which might hold a lock for ever over there. Elsewhere it is spawned. What goes between the
two is pickled, after its length in four bytes.
"""

from __future__ import annotations

import gc
import os
import pickle
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context, parent_process
from typing import Any

from replica.limits import GARBAGE_OBJECTS_MIN

LENGTH_BYTES = 4


class Channel:
    """One end of the socket between the two, for who may block."""

    def __init__(self, end: socket.socket) -> None:
        self._stream = end.makefile("rwb")

    def send(self, value: object) -> None:
        """Raises ``OSError`` when nobody is there."""
        self._stream.write(enframe(value))
        self._stream.flush()

    def receive(self) -> Any:
        """Raises ``EOFError`` when the other end is gone, ``OSError`` when it went just now."""
        length = int.from_bytes(self._stream.read(LENGTH_BYTES), "big")
        data = self._stream.read(length)
        if not length or len(data) < length:
            raise EOFError("the other end is gone")
        return unframe(data)

    def close(self) -> None:
        """Speak no more; the socket stays its owner's."""
        with suppress(OSError):  # what was not sent is not missed
            self._stream.close()


def enframe(value: object) -> bytes:
    """``value`` with its length before it."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return len(data).to_bytes(LENGTH_BYTES, "big") + data


def unframe(data: bytes) -> Any:
    """The value of ``data``, which comes after its length."""
    return pickle.loads(data)  # noqa: S301  written by this program, read by its child


Serve = Callable[[Channel], None]
"""Answers what comes over the channel until that is None."""


class Child:
    """The server's end. Make it before threads and databases of the server."""

    def __init__(self, serve: Serve, name: str) -> None:
        forks = sys.platform == "linux" and threading.active_count() == 1
        context = get_context("fork") if forks else get_context("spawn")
        self.end, theirs = socket.socketpair()
        self._process = context.Process(target=_run, args=(serve, theirs), name=name)
        self._process.start()
        theirs.close()

    def close(self) -> None:
        """The child finishes what it is at, and ends. Nobody may be speaking to it."""
        with suppress(OSError):  # gone already
            self.end.setblocking(True)
            # Said, as its end of file would not come: a child that was forked later has our end.
            self.end.sendall(enframe(None))
        self._process.join()
        self.end.close()
        self._process.close()


def _run(serve: Serve, end: socket.socket) -> None:
    # Signals for the whole group are the server's to obey: it may need us until its end.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    spare_garbage_collection()
    serve(Channel(end))


def spare_garbage_collection() -> None:
    """Leave what was made until now out of all further collections, and collect less often.

    A burst of pushes makes objects by the ten thousand that all go by reference counting; looking
    through the whole process for cycles among them would stall acknowledgements.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_OBJECTS_MIN)


def _end_with_parent() -> None:
    """Nobody is left to work for, and the next server needs the files."""
    parent = parent_process()
    assert parent is not None, "this is the child"
    parent.join()
    os._exit(1)
