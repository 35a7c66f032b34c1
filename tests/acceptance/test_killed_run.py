"""kill -9 of the server in the middle of a Sync Now: the next process goes on with the same run."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.acceptance import wire_format as page
from tests.acceptance.running import Server
from tests.acceptance.wire_client import Notebook, Wire, enrol

pytestmark = pytest.mark.process

RUN_S_MAX = 120.0


def clock() -> int:
    return time.time_ns() // 1_000_000


def run_when(server: Server, state: str, step: str = "") -> Any:
    """The account's run as soon as it, or its ``step``, is in ``state``."""
    deadline_s = time.monotonic() + RUN_S_MAX
    while time.monotonic() < deadline_s:
        run = server.call("GET", "/api/v1/sync-now")
        states = {one["name"]: one["state"] for one in run.get("steps", ())}
        if (states.get(step) if step else run.get("state")) == state:
            return run
    pytest.fail(f"no run, or no step {step!r}, came to be {state}")


def results(book: Notebook) -> list[str]:
    """The runs that the log holds a result of, one for each event."""
    events = [page.decode_event(one.event) for one in book.records.values()]
    finished = [one for one in events if one["kind"] == "sync.finished"]
    return [str(msgspec.msgpack.decode(one["payload"])["run"]) for one in finished]


def test_a_killed_server_goes_on_with_the_run(tmp_path: Path) -> None:
    """Killed while a device is asked, the server takes up the run that somebody pressed, by its
    plan, and stores its result once; killed afterwards, it has nothing to take up
    (architecture.md §9)."""
    server = Server(tmp_path)
    server.start()
    try:
        book = enrol(server.url, server.code("Counter"), "Counter")
        with Wire(server.url, book, clock) as wire:
            wire.sync()
            created = {"customer": "c-1", "fields": {"name": "Acme"}}
            plan = server.call("POST", "/api/v1/sync-now/plan")["plan"]
            pressed = server.call("POST", f"/api/v1/sync-now?plan={plan}")
            # This device says nothing more, so the run stands still where it waits for it.
            asked = run_when(server, "running", "devices")
            assert (asked["run"], asked["state"]) == (pressed["run"], "running")
            server.process.kill()
            server.start()
        taken_up = run_when(server, "done")
        assert taken_up["run"] == pressed["run"]
        assert taken_up["started_ms"] == pressed["started_ms"]
        assert taken_up["plan"]["plan"] == plan
        assert (taken_up["equal"], taken_up["problems"]) == (True, [])
        told = server.call("GET", f"/api/v1/sync-now/{pressed['run']}")
        assert told["report"]["plan"] == plan
        assert f"{book.device.hex()} " in told["report"]["offline.0"]
        book.write(clock(), "customer.created", created)
        with Wire(server.url, book, clock) as wire:
            wire.sync()
            assert results(book) == [pressed["run"]]
        server.process.kill()
        server.start()
        assert server.call("GET", "/api/v1/sync-now") == {"run": None}
    finally:
        server.stop()
