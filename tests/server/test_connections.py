"""Many devices at once: news for all, patience for the slow, an orderly end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.types import Message

from replica.errors import StoreFailed, StoreUnavailable
from replica.events.event import DeviceId
from replica.events.record import Segment, records
from replica.limits import (
    EVENTS_BYTES_TARGET,
    FRAME_BYTES_MAX,
    SESSION_QUEUE_BYTES_MAX,
    UNCONFIRMED_BYTES_MAX,
)
from replica.server import connection as module
from replica.server.connection import Connection
from replica.server.connections import offers
from replica.server.logs import get_logger
from replica.server.metrics import Metrics
from replica.sync import messages as m
from replica.sync.messages import CloseCode, Outcome, decode_frame
from tests.server.raw import RawDevice, customer
from tests.server.world import Company, World


def names(frames: list[m.Events]) -> list[str]:
    """Customers that frames of the log tell of, in order."""
    return [
        record.event.payload.decode("latin-1").split("Customer ")[-1]
        for frame in frames
        for segment in frame.segments
        for _, record in records(segment)
        if record.event.kind == "customer.created"
    ]


def test_what_one_device_writes_reaches_the_others(world: World, company: Company) -> None:
    """A commit is passed on to every other device of the account at once (SYN-04)."""
    author, *readers = [RawDevice.enrol(world, company) for _ in range(3)]
    for device in (author, *readers):
        device.meet()
    result = author.write(customer(1), customer(2))
    position = result.verdicts[0].first_position + 1
    for reader in readers:
        assert names(reader.events_until(position)) == ["1", "2"]
    own = author.events_until(position)
    assert names(own) == [], "a device does not get its own events back"
    for device in (author, *readers):
        device.close()


def test_a_device_that_was_away_gets_what_it_missed(world: World, company: Company) -> None:
    """The cursor brings everything since, in order and once (SYN-02, reliability I-4)."""
    author, reader = RawDevice.enrol(world, company), RawDevice.enrol(world, company)
    reader.meet()
    author.meet()
    first = author.write(customer(1)).verdicts[0].first_position
    assert names(reader.events_until(first)) == ["1"]
    reader.close()
    last = author.write(*[customer(n) for n in range(2, 30)]).verdicts[0].first_position + 27
    reader.meet()
    assert names(reader.events_until(last)) == [str(n) for n in range(2, 30)]
    author.close()
    reader.close()


def test_two_live_copies_of_a_device_do_not_end_each_other(world: World, company: Company) -> None:
    """Copies that forked into two epochs are connected side by side and hear of each other's work
    (I-5, wire-protocol §6)."""
    first = RawDevice.enrol(world, company)
    second = replace(first, epoch=2, inbox=[], _stack=ExitStack())
    for copy in (first, second):
        copy.meet()
    result = first.write(customer(1))
    assert names(second.events_until(result.verdicts[0].first_position)) == ["1"]
    result = second.write(customer(2))
    assert names(first.events_until(result.verdicts[0].first_position)) == ["2"]
    for copy in (first, second):
        copy.close()


def test_a_slow_reader_is_bounded_and_loses_nothing(world: World, company: Company) -> None:
    """Who does not read costs a window of memory, stalls nobody and catches up (P38, I-20)."""
    author, slow, quick = [RawDevice.enrol(world, company) for _ in range(3)]
    for device in (author, slow, quick):
        device.meet()
    count, size = 0, 0
    position = 0
    while size < 3 * UNCONFIRMED_BYTES_MAX:
        events = author.make(*[customer(count + n, "x" * 400) for n in range(250)])
        count, size = count + 250, size + sum(map(len, events))
        position = author.settle(events).verdicts[0].first_position + 249
    assert len(names(quick.events_until(position))) == count
    held = world.runtime.connections.find(company.account, DeviceId(slow.device))
    assert held is not None
    assert held.tally.sent_bytes < UNCONFIRMED_BYTES_MAX + 2 * FRAME_BYTES_MAX
    assert held.confirmed == 0
    assert len(names(slow.events_until(position))) == count
    for device in (author, slow, quick):
        device.close()


def test_one_commit_is_encoded_once() -> None:
    """Frames are grouped to a size, never across a gap, and shared by all readers (P39)."""
    record = bytes(EVENTS_BYTES_TARGET // 2)
    segments = [
        Segment(first, 1, bytes(32), bytes(16), 1, 1, 0, record) for first in (1, 2, 3, 7, 8)
    ]
    made = list(offers(segments))
    assert [(offer.first, offer.last) for offer in made] == [(1, 2), (3, 3), (7, 8)]
    frame = decode_frame(made[0].frame)
    assert isinstance(frame, m.Events)
    assert frame.through == 2


class _Services:
    """A process in which nobody gets any further than hello."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        raise StoreUnavailable(name)


def _connection(send: Callable[[Message], Any]) -> Connection:
    return Connection(
        _Services(),
        send,
        clock_ms=lambda: 0,
        metrics=Metrics(),
        logger=get_logger(),
    )


async def _silence() -> Message:
    await asyncio.Event().wait()
    raise AssertionError


def test_a_socket_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one frame through during the deadline: the connection ends by itself (D11)."""
    monkeypatch.setattr(module, "SEND_DEADLINE_S", 0.01)

    async def stuck(_: Message) -> None:
        await asyncio.Event().wait()

    async def run() -> Connection:
        connection = _connection(stuck)
        running = asyncio.create_task(connection.run(_silence))
        await asyncio.sleep(0)
        connection._enqueue(b"frame")
        await running
        return connection

    assert asyncio.run(run()).tally.reason == "slow reader"


def test_a_queue_above_its_bound_ends_the_connection() -> None:
    """A connection never holds more than its bound in memory (reliability I-20)."""

    async def stuck(_: Message) -> None:
        await asyncio.Event().wait()

    async def run() -> Connection:
        connection = _connection(stuck)
        running = asyncio.create_task(connection.run(_silence))
        await asyncio.sleep(0)
        while connection._queue_bytes <= SESSION_QUEUE_BYTES_MAX:
            connection._enqueue(bytes(FRAME_BYTES_MAX))
        await running
        return connection

    assert asyncio.run(run()).tally.reason == "slow reader"


def test_a_restart_says_goodbye_first(own_world: World) -> None:
    """Devices are sent away with the advice to come back, then the server ends (SYN-24, P40)."""
    device = RawDevice.enrol(own_world, own_world.company())
    device.meet()
    device.write(customer(1))
    own_world.server.should_exit = True
    goodbye, close_code = device.farewell()
    assert goodbye is not None
    assert (goodbye.code, close_code) == ("restart", CloseCode.RESTART)
    assert goodbye.retry_after_ms > 0
    own_world.wait()
    device.close()


def test_a_failed_store_ends_the_process_without_an_answer(
    own_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an I/O error of a commit nothing is acknowledged and the process ends (D4)."""

    def broken(_: object) -> None:
        raise StoreFailed("fsync: input/output error")

    device = RawDevice.enrol(own_world, own_world.company())
    device.meet()
    monkeypatch.setattr(own_world.stores.log, "append", broken)
    device.push(device.make(customer(1)))
    goodbye, _ = device.farewell()
    assert goodbye is not None
    assert goodbye.code in ("internal", "restart")
    assert "input/output" not in goodbye.message
    assert not any(isinstance(frame, m.Result) for frame in device.inbox)
    own_world.wait()
    assert own_world.runtime.failed is not None
    device.close()


def test_one_order_can_be_followed_by_its_id(world: World, company: Company) -> None:
    """Batch, projection and connection each leave one line with account and positions (§7)."""
    device = RawDevice.enrol(world, company)
    device.meet()
    device.write(customer(1))
    identity = device.prev
    device.close()
    batch = world.line(lambda line: identity in line.get("events", ()))
    assert (batch["event"], batch["account"], batch["accepted"]) == ("batch", company.account, 1)
    position = batch["last_position"]
    assert world.line(
        lambda line: (
            line["event"] == "projection step"
            and line["account"] == company.account
            and line["first_position"] <= position <= line["last_position"]
        )
    )
    ended = world.line(
        lambda line: line["event"] == "connection" and line["device"] == device.device
    )
    assert (ended["pushed"], ended["reason"]) == (1, "lost")


def test_a_device_that_left_at_once_was_seen(world: World, company: Company) -> None:
    """A device whose first contact was short is shown as gone, and when, from the moment it left,
    and the same once that is written (SYN-13)."""
    device = RawDevice.enrol(world, company, "Short")

    def row() -> Any:
        return world.on_loop(lambda: world.runtime.devices.rows(company.account))[0]

    assert (row().state, row().seen_ms) == ("never", None)
    device.meet()
    device.close()
    world.line(lambda line: line["event"] == "connection" and line["device"] == device.device)
    shown = row()
    assert (shown.state, shown.software) == ("offline", "raw")
    assert shown.seen_ms
    world.on_loop(world.runtime._touch)
    assert world.runtime.connections.left() == {}
    assert row() == shown


def test_no_line_carries_a_token(world: World, company: Company) -> None:
    """Enrolling, connecting and signing in leave no secret in the log (reliability I-18)."""
    device = RawDevice.enrol(world, company)
    device.meet()
    device.write(customer(1))
    device.close()
    with world.browser(company) as pages:
        cookies = list(pages.client.cookies.values())
    text = repr(world.lines)
    for secret in (device.token, *cookies, world.runtime.operator_token, "correct horse"):
        assert secret not in text


def test_metrics_count_without_naming_anybody(world: World, company: Company) -> None:
    """The metrics page shows rates and no account, device or name (dependencies §8)."""
    device = RawDevice.enrol(world, company, "Secret name")
    device.meet()
    assert device.write(customer(1)).verdicts[0].outcome is Outcome.ACCEPTED
    device.close()
    text = httpx2.get(f"{world.url}/metrics").text
    assert 'replica_events_total{outcome="accepted"}' in text
    for private in (company.account.hex(), company.name, device.device.hex(), "Secret name"):
        assert private not in text
