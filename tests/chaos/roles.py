"""What the forked processes do: the real server, and a rep's device that takes orders.

Two things differ from `replica serve` on a command line: hashing a password costs nothing, and the
writer keeps house after milliseconds and kilobytes instead of seconds and megabytes, so that a
short life meets every checkpoint that a long one does.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher

import replica.device.journal
import replica.projections.runner
import replica.server.stores
import replica.store.engine
import replica.store.sql
import replica.store.writer
from replica.device import Content, Device, Identity, OrderCommitted, SealedLine, StockMoved
from replica.device.journal import State
from replica.errors import ReplicaError
from replica.events.event import event_id
from replica.server.config import Config
from replica.server.serve import serve
from replica.store.backup import backup, restore
from replica.store.control import Control
from replica.store.engine import open_sqlite
from tests.chaos.watch import stopped_at_writes

PASSWORD = "correct horse battery"
IDLE_MS = 20
CHECKPOINT_BYTES = 65_536
CHECKPOINT_PAGES = 24
FOR_EVER_S = 3_600.0
SYNC_S = 60.0


def _small_house() -> None:
    """Housekeeping after little work and little quiet."""
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    for module, name, value in (
        (replica.server.stores, "Control", partial(Control, hasher=cheap)),
        (replica.store.writer, "CHECKPOINT_IDLE_MS", IDLE_MS),
        (replica.store.sql, "WAL_CHECKPOINT_BYTES", CHECKPOINT_BYTES),
        (replica.store.engine, "WAL_CHECKPOINT_BYTES", CHECKPOINT_BYTES),
        (replica.projections.runner, "WAL_CHECKPOINT_BYTES", CHECKPOINT_BYTES),
        (replica.device.journal, "JOURNAL_CHECKPOINT_PAGES", CHECKPOINT_PAGES),
    ):
        assert hasattr(module, name), f"{module.__name__} has no {name} any more"
        setattr(module, name, value)


def _write_to(lines: Path) -> None:
    """Standard output and error go to a file: what a supervisor's journal would show."""
    handle = os.open(lines, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


def server(
    channel: Connection,
    *,
    data: Path,
    port: int,
    lines: Path,
    watched: bool = False,
    careless: bool = False,
) -> None:
    """`replica serve` on ``data``. Says its address when it listens, and how it failed.

    ``careless`` opens the log without flushing commits: what the power-loss check has to find.
    """
    _write_to(lines)
    _small_house()
    if careless:
        lax = partial(open_sqlite, profile="rebuildable")
        setattr(replica.server.stores, "open_sqlite", lambda path, **_: lax(path))  # noqa: B010
    if watched:
        stopped_at_writes(channel)
    config = Config(data=data, port=port, admin_password=PASSWORD, log_level="error")
    try:
        status = serve(config, {}, lambda url, _: channel.send(("serves", url)))
    except ReplicaError as error:
        channel.send(("failed", error.code, str(error)))
        status = 1
    sys.exit(status)


def keeper(
    channel: Connection,
    *,
    verb: str,
    source: Path,
    target: Path,
    now_ms: int,
    watched: bool = False,
) -> None:
    """`replica backup make` or `replica backup restore`."""
    if watched:
        stopped_at_writes(channel)
    try:
        if verb == "make":
            proofs = backup(source, target)
        else:
            proofs = restore(source, target, now_ms=now_ms)
    except ReplicaError as error:
        channel.send(("failed", error.code, str(error)))
        sys.exit(1)
    channel.send(("done", [proof.position for proof in proofs]))


def impatient(count: int) -> bytes:
    """Random bytes, except that a device waits but a fraction before it connects again."""
    return b"\x08" + os.urandom(count - 1)


def order(writer: str, number: int) -> OrderCommitted:
    """The ``number``-th order of a device; like no other."""
    total_minor = number * 250
    lines = (SealedLine("1", "p-1", number * 1_000, 25_000),)
    content = Content(f"{writer}-{number}", "c-1", "EUR", "2024-02-29", total_minor, lines)
    return OrderCommitted(f"o-{writer}-{number}", content)


class Rep:
    """A rep and the device. Every saved and every answered event is told as soon as it is so."""

    def __init__(self, channel: Connection, device: Device) -> None:
        self._channel = channel
        self._device = device
        self._journal = device._holding.journal
        self._speaking = threading.Lock()
        self._told_n = 0

    def say(self, *what: Any) -> None:
        with self._speaking:
            self._channel.send(what)

    def tell_answers(self) -> None:
        """In a thread of its own: what the server decided, once it is in the journal."""
        while True:
            self._device._wait(lambda: self._journal.answered_n > self._told_n, FOR_EVER_S)
            with self._device._holding.lock:
                rows = list(self._journal.answered(self._told_n + 1, self._journal.answered_n))
            self._told_n = rows[-1].n
            self.say("answered", [_answer(row) for row in rows])

    def serve(self) -> None:
        """Do what is asked until nobody asks any more."""
        while True:
            verb, *arguments = self._channel.recv()
            getattr(self, verb)(*arguments)

    def meet(self) -> None:
        """The server is back: do not wait for the next try."""
        assert self._device._link is not None
        self._device._link.prove()

    def take(self, count: int) -> None:
        """Take orders: each with its stock movement, one durable append."""
        for _ in range(count):
            identity = self._device.identity
            assert identity is not None
            number = self._journal.last_n + 1
            sold = order(identity.device.hex()[:8], number)
            moved = StockMoved("p-1", -number * 1_000, "sample")
            try:
                self.say("saved", self._device.append(sold, moved))
            except ReplicaError as error:
                self.say("failed", error.code, str(error))

    def prove(self) -> None:
        """Send and fetch everything and compare digests."""
        try:
            result = self._device.sync(SYNC_S)
        except ReplicaError as error:
            self.say("failed", error.code, str(error))
        else:
            self.say("proved", result.equal, result.position, tuple(map(tuple, result.digest)))

    def end(self) -> None:
        """Close the journal and end, as a program does that was told to."""
        raise EOFError


def _answer(row: Any) -> tuple[bytes, int, str]:
    return event_id(row.data), row.answer.position, State(row.answer.state).name


def device(
    channel: Connection,
    *,
    journal: Path,
    lines: Path,
    identity: Identity | None = None,
    watched: bool = False,
    careless: bool = False,
) -> None:
    """A rep's device on its journal, connected for as long as it lives.

    ``identity`` is who it becomes unless it is enrolled; ``careless`` does not flush commits.
    """
    _write_to(lines)
    _small_house()
    if watched:
        stopped_at_writes(channel)
    try:
        with Device.open(journal, random_bytes=impatient) as opened:
            if careless:
                opened._holding.journal._sql.execute("PRAGMA synchronous = NORMAL")
            if identity is not None and opened.identity is None:
                opened._holding.enrol(identity)
            rep = Rep(channel, opened)
            rep.say("opened", opened._holding.journal.last_n)
            opened.start()
            threading.Thread(target=rep.tell_answers, daemon=True).start()
            with suppress(EOFError):
                rep.serve()
    except ReplicaError as error:
        channel.send(("failed", error.code, str(error)))
        sys.exit(1)
