"""The ledger on PostgreSQL: the same proof, and one cycle at a time over processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from qbo_sink.ledger import Ledger
from qbo_sink.sandbox import Switches
from tests.postgres import fresh_database, postgres_server
from tests.qbo_sink.dying import check_once, live_and_die, put_work
from tests.qbo_sink.world import ACCOUNT, World

pytestmark = pytest.mark.postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres_server() as address:
        yield address


@pytest.fixture
def world(tmp_path: Path, server: str) -> Iterator[World]:
    switches = Switches(throttle=False, requestid_ttl_s=0)
    made = World(tmp_path, switches=switches, ledger_url=fresh_database(server))
    yield made
    made.close()


def test_crashes_make_no_second_document_on_postgresql(world: World) -> None:
    """Dying around each write of the ledger leaves one estimate each (I-24)."""
    asyncio.run(world.run())
    for die_at in range(1, 50, 5):
        put_work(world, str(die_at))
        live_and_die(world, die_at)
        asyncio.run(world.run())
    check_once(world)


def test_two_processes_never_run_the_same_cycle(world: World) -> None:
    """The second finds the account taken, says so, and sends nothing; later it may."""
    asyncio.run(world.run())
    put_work(world, "1")
    with Ledger(world.ledger.write).lease(ACCOUNT) as mine:
        assert mine
        report = asyncio.run(world.run())
        assert report.sent == 0
        assert "another server process" in report.errors[0]
    check_once(world)
