"""The door's edge: deciding goes on while the disk works, in order; a failed commit stops it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from threading import Event as Gate
from typing import TypeVar

import structlog

from replica.errors import Gap, StoreUnavailable
from replica.events.event import AccountId, DeviceId, Position
from replica.events.payloads import CustomerDeleted
from replica.events.ports import AppendRequest, AppendResult
from replica.events.record import Origin
from replica.limits import ACCOUNT_APPENDS_MAX
from replica.server.door import WEB, Author, Door
from replica.server.metrics import Metrics
from replica.store.memory import MemoryLog
from replica.store.writer import GroupCommitter
from replica.sync.effects import Append
from replica.sync.messages import Outcome
from replica.sync.verdicts import Settlement, answers
from tests.test_ingest import ACCOUNT, CONTEXT, DEVICE, NOW, WRONG_TOTAL, chained, deleted, identity

OTHER_ACCOUNT = AccountId(bytes(16))
T = TypeVar("T")


class Disk(MemoryLog):
    """A log that commits when it is let, and fails when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.open = Gate()
        self.failures = 0

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        self.open.wait()
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("the disk is busy")
        return super().append(requests)

    def maintain(self, *, idle: bool) -> None:
        """Nothing to keep."""


class Desk(GroupCommitter):
    """Says when something was handed in."""

    def __init__(self, disk: Disk) -> None:
        super().__init__(disk, on_committed=lambda _: None, on_failed=lambda _: None)
        self.handed_in = asyncio.Semaphore(0)
        self.accounts: list[AccountId] = []

    def submit(self, request: AppendRequest) -> asyncio.Future[AppendResult]:
        self.accounts.append(request.account)
        self.handed_in.release()
        return super().submit(request)


Act = Callable[[Door, Disk, Desk], Awaitable[T]]


def through_the_door(act: Act[T]) -> tuple[T, Disk]:
    disk = Disk()

    async def run() -> T:
        desk = Desk(disk)
        door = Door(
            disk,
            desk,
            quarantined=lambda _: set(),
            now_ms=lambda: NOW,
            metrics=Metrics(),
            logger=structlog.get_logger(),
        )
        desk.start()
        try:
            return await act(door, disk, desk)
        finally:
            disk.open.set()
            await desk.stop()

    return asyncio.run(run()), disk


def author() -> Author:
    return Author(ACCOUNT, DEVICE, 1, Origin.DEVICE, ())


def outcomes(settlement: Settlement) -> list[Outcome]:
    return [one.outcome for one in answers(settlement.verdicts, settlement.decisions)]


async def pushed_twice(
    door: Door, disk: Disk, desk: Desk, events: list[bytes]
) -> list[Settlement | BaseException]:
    """The first event and the rest, both decided before anything is committed."""
    writer = author()
    calls = [
        asyncio.create_task(door.submit_push(writer, Append(first, tuple(part), 0, NOW)))
        for first, part in ((1, events[:1]), (2, events[1:]))
    ]
    for _ in calls:
        await desk.handed_in.acquire()
    assert not any(call.done() for call in calls)
    disk.open.set()
    return await asyncio.gather(*calls, return_exceptions=True)


def test_events_are_decided_while_those_before_them_are_committed() -> None:
    """The second push stands behind the first before that is durable, and both are answered after
    their commits, in order (architecture §4)."""
    events = chained(deleted("c-1"), deleted("c-2"), deleted("c-3"))
    told, disk = through_the_door(lambda door, disk, desk: pushed_twice(door, disk, desk, events))
    assert [outcomes(one) for one in told if isinstance(one, Settlement)] == [
        [Outcome.ACCEPTED],
        [Outcome.ACCEPTED] * 2,
    ]
    stored = disk.read(ACCOUNT, Position(0), 1_000_000)
    assert [(segment.first, segment.count) for segment in stored] == [(1, 1), (2, 2)]


def test_what_depends_on_a_quarantined_event_waits_before_that_is_durable() -> None:
    """A dependant decided while its cause is on the way to the disk is set aside with it (I-19)."""
    (bad,) = chained(WRONG_TOTAL)
    events = chained(WRONG_TOTAL, deleted("c-1", identity(bad)), deleted("c-2"))
    told, _ = through_the_door(lambda door, disk, desk: pushed_twice(door, disk, desk, events))
    assert [outcomes(one) for one in told if isinstance(one, Settlement)] == [
        [Outcome.QUARANTINED],
        [Outcome.QUARANTINED, Outcome.ACCEPTED],
    ]


def test_nothing_is_taken_in_behind_a_commit_that_failed() -> None:
    """When the disk refuses the first push, the second one is a gap: the device sends both again
    and the log has each once (I-2, I-5)."""
    events = chained(deleted("c-1"), deleted("c-2"))

    async def act(door: Door, disk: Disk, desk: Desk) -> list[Outcome]:
        disk.failures = 1
        failed, behind = await pushed_twice(door, disk, desk, events)
        assert isinstance(failed, StoreUnavailable)
        if isinstance(behind, Settlement):  # else both were part of the commit that failed
            assert isinstance(behind.error, Gap)
        assert disk.head(ACCOUNT).position == 0
        return outcomes(await door.submit_push(author(), Append(1, tuple(events), 0, NOW)))

    told, disk = through_the_door(act)
    assert told == [Outcome.ACCEPTED] * 2
    assert disk.head(ACCOUNT).position == 2


def test_the_office_writes_on_after_a_commit_that_failed() -> None:
    """A writer inside the server finds the end of its chain again by itself (I-5)."""

    async def act(door: Door, disk: Disk, desk: Desk) -> list[int]:
        disk.open.set()
        disk.failures = 1
        seqs = []
        for name in ("c-1", "c-2", "c-3"):
            try:
                seqs.append(
                    (await door.submit_local(ACCOUNT, WEB, [CustomerDeleted(name)])).head.seq
                )
            except StoreUnavailable:
                seqs.append(0)
        return seqs

    told, disk = through_the_door(act)
    assert told == [0, 1, 2]
    assert disk.head(ACCOUNT).position == 2


def test_a_crowd_of_one_account_holds_up_no_other() -> None:
    """With a hundred devices of one account at the door, a device of another account is decided
    behind the ``ACCOUNT_APPENDS_MAX`` that wait for the disk; the crowd loses nothing (I-21)."""
    crowd = [
        Author(ACCOUNT, DeviceId(bytes([1, *range(14), number])), 1, Origin.DEVICE, ())
        for number in range(100)
    ]
    other = Author(OTHER_ACCOUNT, DEVICE, 1, Origin.DEVICE, ())

    async def act(door: Door, disk: Disk, desk: Desk) -> list[AccountId]:
        def push(one: Author) -> asyncio.Task[Settlement]:
            whose = CONTEXT._replace(account=one.account, device=one.device)
            events = chained(deleted("c-1"), context=whose)
            return asyncio.create_task(door.submit_push(one, Append(1, tuple(events), 0, NOW)))

        pushes = [push(one) for one in crowd]
        for _ in range(ACCOUNT_APPENDS_MAX):
            await desk.handed_in.acquire()
        pushes.append(push(other))
        await desk.handed_in.acquire()
        first = list(desk.accounts)
        disk.open.set()
        for settlement in await asyncio.gather(*pushes):
            assert outcomes(settlement) == [Outcome.ACCEPTED]
        return first

    told, disk = through_the_door(act)
    assert told == [ACCOUNT] * ACCOUNT_APPENDS_MAX + [OTHER_ACCOUNT]
    assert disk.head(ACCOUNT).position == len(crowd)
