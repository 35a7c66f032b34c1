"""The read models are written by a process of their own: what becomes of both when one ends.

Real processes: what a fork and a kill do cannot be pretended.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from replica.errors import Overloaded, StoreFailed, StoreUnavailable
from replica.limits import PROJECTION_NICE
from replica.server.child import LENGTH_BYTES, Channel, enframe
from replica.server.config import Config
from replica.server.model_process import ModelProcess
from replica.server.read_models import Writing
from replica.store import migrations
from replica.store.engine import open_sqlite
from tests.acceptance.running import Server
from tests.postgres import fresh_database, postgres_server

pytestmark = pytest.mark.process
SHOWN_S_MAX = 60.0


def pid_of(server: Server) -> int:
    return server.process.child.pid


def children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def models(server: Server) -> int:
    """The child that writes the read models: it stands back."""
    found = children(pid_of(server))
    (child,) = [one for one in found if os.getpriority(os.PRIO_PROCESS, one) == PROJECTION_NICE]
    return child


def say(server: Server, name: str) -> int:
    """The office makes a customer; the position of that."""
    said = {"kind": "customer.created", "payload": {"customer": name, "fields": {"name": name}}}
    return int(server.call("POST", "/api/v1/events", {"events": [said]})["position"])


def in_office(server: Server, name: str) -> None:
    """The same, and the pages show it."""
    position = say(server, name)
    deadline_s = time.monotonic() + SHOWN_S_MAX
    while server.call("GET", "/api/v1/sections")["position"] < position:
        assert time.monotonic() < deadline_s, "the read models stand still"


def names(server: Server) -> list[str]:
    return [row["name"] for row in server.call("GET", "/api/v1/customers")["rows"]]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def test_a_child_writes_what_pages_show(server: Server) -> None:
    """`replica serve` has a child that stands back and holds the lock of the read models; what the
    office says is on the pages soon (performance.md W4, SYN-12)."""
    child = models(server)
    assert f"pid {child} " in (server.data / "views.db.lock").read_text()
    assert f"pid {pid_of(server)} " in (server.data / "log.db.lock").read_text()
    in_office(server, "Acme")
    assert names(server) == ["Acme"]


def test_a_killed_server_takes_its_child_along(server: Server) -> None:
    """After kill -9 of the server the next one has the files at once, and shows what was said
    (reliability §2.3, I-25)."""
    in_office(server, "Acme")
    child = models(server)
    server.process.kill()
    server.start()
    assert models(server) != child
    in_office(server, "Bolt")
    assert sorted(names(server)) == ["Acme", "Bolt"]


def test_a_server_ends_with_its_child(server: Server) -> None:
    """A child that ends by itself stops the server with exit status 1, so that a supervisor starts
    both anew; nothing acknowledged is lost (reliability D4)."""
    in_office(server, "Acme")
    child = models(server)
    os.kill(child, signal.SIGKILL)
    with suppress(OSError, AssertionError):  # taken perhaps, shown never
        say(server, "Bolt")
    assert server.process.child.wait(60) == 1
    assert any(line.get("code") == "store_failed" for line in server.lines())
    server.stop()
    server.start()
    assert "Acme" in names(server)


def test_a_signal_for_the_group_ends_both_in_order(server: Server) -> None:
    """A terminal and a supervisor signal the child, too; it goes on until the server needs it no
    more, and leaves nothing to recover (reliability D4)."""
    for pid in (*children(pid_of(server)), pid_of(server)):
        os.kill(pid, signal.SIGTERM)
    assert server.process.child.wait(60) == 0
    assert not (server.data / "views.db-wal").exists()


def test_threads_do_it_where_memory_is_short(tmp_path: Path) -> None:
    """With REPLICA_CHILDREN=off there is no child, and pages show the same."""
    server = Server(tmp_path, {"REPLICA_CHILDREN": "off"})
    server.start()
    try:
        assert children(pid_of(server)) == []
        in_office(server, "Acme")
        assert names(server) == ["Acme"]
    finally:
        server.stop()


@pytest.mark.postgres
def test_a_child_writes_to_postgresql(tmp_path: Path) -> None:
    """On PostgreSQL, too, a child makes what the pages show, and a killed server's work is there
    afterwards."""
    with postgres_server() as postgres:
        server = Server(tmp_path, {"REPLICA_DATABASE_URL": fresh_database(postgres)})
        server.start()
        try:
            in_office(server, "Acme")
            server.process.kill()
            server.start()
            assert models(server)
            assert names(server) == ["Acme"]
        finally:
            server.stop()


# One process without a server --------------------------------------------------------------------


def full(_writing: Writing) -> None:
    raise Overloaded("too much", retry_after_ms=7)


def failing(_writing: Writing) -> None:
    raise StoreFailed("the disk is gone", hint="look at it")


def dying(_writing: Writing) -> None:
    os._exit(3)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    log = open_sqlite(tmp_path / "log.db")
    migrations.upgrade(log)
    log.close()
    return Config(data=tmp_path)


@pytest.fixture
def process(config: Config) -> Iterator[ModelProcess]:
    process = ModelProcess()
    process.open(config)
    yield process
    process.close()


def test_errors_come_back_as_they_were(process: ModelProcess) -> None:
    """What a call raises over there is raised here, with its fields and the place where it came
    from; the process goes on."""
    with pytest.raises(Overloaded, match="too much") as caught:
        asyncio.run(process.run(full))
    assert caught.value.retry_after_ms == 7
    assert "in full" in caught.value.__notes__[0]
    with pytest.raises(Overloaded):
        asyncio.run(process.run(full))


def test_a_failed_store_is_told_once_and_for_all(process: ModelProcess) -> None:
    """A store that failed over there, and a process that ended, are `StoreFailed` for whoever
    called and for whoever ends the server (reliability D4)."""
    told: list[StoreFailed] = []
    process.on_failed = told.append
    with pytest.raises(StoreFailed, match="the disk is gone") as caught:
        asyncio.run(process.run(failing))
    assert caught.value.hint == "look at it"
    with pytest.raises(StoreFailed, match="has ended"):
        asyncio.run(process.run(dying))
    with pytest.raises(StoreFailed, match="has ended"):
        asyncio.run(process.run(full))
    assert len(told) == 3


@pytest.mark.parametrize("cut", [0, 2, LENGTH_BYTES, LENGTH_BYTES + 5])
def test_an_answer_cut_short_is_none(cut: int) -> None:
    """Whoever is killed while it answers has not answered."""
    here, there = socket.socketpair()
    with here, there, closing(Channel(here)) as channel:
        there.sendall(enframe("an answer")[:cut])
        there.shutdown(socket.SHUT_WR)
        with pytest.raises(EOFError):
            channel.receive()


def test_files_that_cannot_be_had_are_said(process: ModelProcess, config: Config) -> None:
    """What cannot be opened over there is a typed error where the server starts."""
    (config.data / "elsewhere").mkdir()
    with pytest.raises(StoreUnavailable, match=r"there is no log\.db"):
        process.open(Config(data=config.data / "elsewhere"))
