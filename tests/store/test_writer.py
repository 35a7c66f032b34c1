"""Group commit: what is shared, what is bounded, and what is said when the disk fails."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from threading import Event, Lock
from typing import Any

import pytest

from replica.errors import Overloaded, StorageFull, StoreFailed, StoreUnavailable
from replica.events.event import AccountId
from replica.events.ports import Appended, AppendRequest, AppendResult, HeadMoved
from replica.events.record import Segment
from replica.limits import COMMIT_BYTES_MAX, COMMIT_QUEUE_MAX, COMMIT_REQUESTS_MAX
from replica.store.engine import Database
from replica.store.memory import MemoryLog
from replica.store.sql import SqlLog
from replica.store.writer import Committed, GroupCommitter
from tests.store.authors import Author, device_id


class SlowLog(MemoryLog):
    """Commits only when told to, and notes how appends were grouped."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []
        self.idle = 0
        self.errors: list[Exception] = []
        self.poison: AppendRequest | None = None
        self._gate = Event()
        self._gate.set()
        self.entered = Event()
        self._guard = Lock()

    def hold(self) -> None:
        """Let appends wait until :meth:`release`."""
        self.entered.clear()
        self._gate.clear()

    def release(self) -> None:
        """Let them go on."""
        self._gate.set()

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        self.entered.set()
        assert self._gate.wait(10)
        with self._guard:
            self.groups.append(len(requests))
            if self.errors:
                raise self.errors.pop(0)
        if self.poison in requests:
            raise ValueError("poison")
        return super().append(requests)

    def maintain(self, *, idle: bool) -> None:
        """Count the quiet moments."""
        self.idle += idle


class Heard:
    """What the committer told the event loop, in order."""

    def __init__(self) -> None:
        self.committed: list[list[tuple[AccountId, Segment]]] = []
        self.failures: list[StoreFailed] = []
        self.failed = asyncio.Event()

    def on_committed(self, committed: Committed) -> None:
        """Fan-out's place."""
        self.committed.append(list(committed))

    def on_failed(self, error: StoreFailed) -> None:
        """The place that ends the process."""
        self.failures.append(error)
        self.failed.set()


Scenario = Callable[[GroupCommitter, Heard], Coroutine[Any, Any, None]]


def run(log: SlowLog | SqlLog, scenario: Scenario) -> Heard:
    """Play a scenario on a running committer and stop it."""
    heard = Heard()

    async def play() -> None:
        committer = GroupCommitter(log, on_committed=heard.on_committed, on_failed=heard.on_failed)
        committer.start()
        try:
            await scenario(committer, heard)
        finally:
            if isinstance(log, SlowLog):
                log.release()
            await committer.stop()

    asyncio.run(play())
    return heard


def authors(count: int, account: AccountId) -> list[Author]:
    """Devices of one account."""
    return [Author(account, device_id(number)) for number in range(count)]


async def settle(waiting: Sequence[Awaitable[AppendResult]]) -> list[AppendResult | BaseException]:
    """All answers, errors among them."""
    return await asyncio.gather(*waiting, return_exceptions=True)


async def occupy(
    log: SlowLog, committer: GroupCommitter, author: Author
) -> Awaitable[AppendResult]:
    """Keep the writer in a commit, so that what follows has to queue."""
    log.hold()
    busy = committer.submit(author.request(1))
    assert await asyncio.to_thread(log.entered.wait, 10)
    return busy


def test_what_waits_is_committed_together(account: AccountId) -> None:
    """Requests that arrive during a commit share the next one, and fan-out hears once per commit,
    in log order (performance.md §4 "group commit over connections")."""
    log = SlowLog()
    first, *others = authors(9, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        waiting = [await occupy(log, committer, first)]
        waiting += [committer.submit(author.request(2)) for author in others]
        assert committer.waiting == 8
        log.release()
        results = await settle(waiting)
        assert all(isinstance(result, Appended) for result in results)

    heard = run(log, scenario)
    assert log.groups == [1, 8]
    assert [[segment.last for _, segment in group] for group in heard.committed] == [
        [1],
        [3, 5, 7, 9, 11, 13, 15, 17],
    ]
    assert {group[0][0] for group in heard.committed} == {account}


def test_a_group_is_bounded_in_requests_and_bytes(account: AccountId) -> None:
    """No transaction takes more than its bounds, and no request is left behind."""
    log = SlowLog()
    first, second, third = authors(3, account)
    large = COMMIT_BYTES_MAX // 3

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        waiting = [await occupy(log, committer, first)]
        requests = [second.request(0) for _ in range(COMMIT_REQUESTS_MAX + 1)]
        waiting += [committer.submit(request) for request in requests]
        for _ in range(4):
            request = third.request(1)._replace(records=bytes(large))
            waiting.append(committer.submit(request))
        log.release()
        await settle(waiting)

    run(log, scenario)
    assert log.groups == [1, COMMIT_REQUESTS_MAX, 1 + 3, 1]


def test_a_full_queue_is_said_at_once(account: AccountId) -> None:
    """Above the queue's bounds a submit raises ``Overloaded`` with advice, and what was accepted
    before is still answered (I-20)."""
    log = SlowLog()
    first, second = authors(2, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        waiting = [await occupy(log, committer, first)]
        empty = second.request(0)
        waiting += [committer.submit(empty) for _ in range(COMMIT_QUEUE_MAX)]
        with pytest.raises(Overloaded) as caught:
            committer.submit(empty)
        assert caught.value.retry_after_ms > 0
        log.release()
        assert len(await settle(waiting)) == COMMIT_QUEUE_MAX + 1

    run(log, scenario)


def test_bytes_that_wait_are_bounded(account: AccountId) -> None:
    """Large requests fill the queue long before their number does (I-20)."""
    log = SlowLog()
    first, second = authors(2, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        waiting = [await occupy(log, committer, first)]
        large = second.request(1)._replace(records=bytes(30_000_000))
        waiting += [committer.submit(large), committer.submit(large)]
        with pytest.raises(Overloaded):
            committer.submit(large)
        log.release()
        await settle(waiting)

    run(log, scenario)


def test_a_full_disk_is_told_and_passes(account: AccountId) -> None:
    """``StorageFull`` reaches every request of the group; later ones are written (I-20)."""
    log = SlowLog()
    log.errors.append(StorageFull("full"))
    (author,) = authors(1, account)

    async def scenario(committer: GroupCommitter, heard: Heard) -> None:
        request = author.request(1)
        with pytest.raises(StorageFull):
            await committer.submit(request)
        assert isinstance(await committer.submit(request), Appended)
        assert heard.failures == []

    run(log, scenario)


def test_a_failed_store_acknowledges_nothing_more(account: AccountId) -> None:
    """After ``StoreFailed`` the group, the queue and every later submit fail, fan-out hears
    nothing, and the process is told once to end (D4)."""
    log = SlowLog()
    first, second = authors(2, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        log.errors.append(StoreFailed("fsync"))
        waiting = [await occupy(log, committer, first)]
        waiting += [committer.submit(second.request(1)) for _ in range(3)]
        log.release()
        results = await settle(waiting)
        assert [type(result) for result in results] == [StoreFailed] * 4
        with pytest.raises(StoreFailed):
            committer.submit(second.request(1))

    heard = run(log, scenario)
    assert heard.committed == []
    assert len(heard.failures) == 1


def test_one_bad_request_does_not_fail_the_group(account: AccountId) -> None:
    """A request that trips over a bug of ours gets the error; the others are written (P29)."""
    log = SlowLog()
    first, bad, good = authors(3, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        log.poison = bad.request(1)
        waiting = [await occupy(log, committer, first)]
        waiting += [committer.submit(log.poison), committer.submit(good.request(1))]
        log.release()
        results = await settle(waiting)
        assert isinstance(results[1], ValueError)
        assert isinstance(results[2], Appended)

    heard = run(log, scenario)
    assert heard.failures == []


def test_a_broken_writer_is_a_failed_store(account: AccountId) -> None:
    """An error outside the appends ends the writer loudly instead of leaving requests waiting."""

    class Broken(SlowLog):
        def maintain(self, *, idle: bool) -> None:
            raise sqlite3.ProgrammingError("a bug")

    (author,) = authors(1, account)

    async def scenario(committer: GroupCommitter, heard: Heard) -> None:
        assert isinstance(await committer.submit(author.request(1)), Appended)
        await heard.failed.wait()
        with pytest.raises(StoreFailed):
            committer.submit(author.request(1))

    run(Broken(), scenario)


def test_housekeeping_that_cannot_work_now_is_tried_later(account: AccountId) -> None:
    """A checkpoint for which there is no room does not stop the writer."""

    class Full(SlowLog):
        def maintain(self, *, idle: bool) -> None:
            raise StorageFull("no room")

    (author,) = authors(1, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        for _ in range(2):
            assert isinstance(await committer.submit(author.request(1)), Appended)

    assert run(Full(), scenario).failures == []


def test_a_cancelled_wait_does_not_disturb_the_others(account: AccountId) -> None:
    """When one who waited has gone, the commit still happens and the others are answered."""
    log = SlowLog()
    first, gone, other = authors(3, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        waiting = [await occupy(log, committer, first)]
        lost = committer.submit(gone.request(1))
        waiting.append(committer.submit(other.request(1)))
        lost.cancel()
        log.release()
        assert all(isinstance(result, Appended) for result in await settle(waiting))

    heard = run(log, scenario)
    assert sum(len(group) for group in heard.committed) == 3


def test_stopping_writes_what_was_accepted(account: AccountId) -> None:
    """Stop answers everything that was accepted before it and refuses what comes after (I-1)."""
    log = SlowLog()
    first, second = authors(2, account)

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        waiting = [await occupy(log, committer, first)]
        waiting += [committer.submit(second.request(1)) for _ in range(5)]
        stopping = asyncio.create_task(committer.stop())
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            committer.submit(second.request(1))
        log.release()
        await stopping
        assert all(isinstance(result, Appended) for result in await settle(waiting))

    run(log, scenario)
    assert log.head(account).position == 6


def test_a_committer_that_never_started_is_unavailable(account: AccountId) -> None:
    """Submitting before the start is refused and stopping is harmless."""

    async def play() -> None:
        heard = Heard()
        committer = GroupCommitter(
            SlowLog(), on_committed=heard.on_committed, on_failed=heard.on_failed
        )
        with pytest.raises(StoreUnavailable):
            committer.submit(Author(account, device_id(1)).request(1))
        await committer.stop()

    asyncio.run(play())


def test_the_log_is_emptied_when_quiet(
    sqlite_database: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a quiet time the writer itself empties SQLite's write-ahead log (D3, I-21)."""
    monkeypatch.setattr("replica.store.writer.CHECKPOINT_IDLE_MS", 1)
    (author,) = authors(1, account)
    emptied = Event()

    class Watched(SqlLog):
        def maintain(self, *, idle: bool) -> None:
            super().maintain(idle=idle)
            if idle:
                emptied.set()

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        await committer.submit(author.request(1))
        assert await asyncio.to_thread(emptied.wait, 10)
        assert sqlite_database.wal_bytes() == 0

    run(Watched(sqlite_database), scenario)


def test_fifty_connections_share_commits(sqlite_database: Database, account: AccountId) -> None:
    """Fifty writers with pipelined requests all get their own positions from the real log, each
    event once and each device's in order (I-2, I-4)."""
    group = authors(50, account)

    async def write(committer: GroupCommitter, author: Author) -> list[Segment]:
        waiting = [committer.submit(author.request(3)) for _ in range(8)]
        results = await asyncio.gather(*waiting)
        assert not any(isinstance(result, HeadMoved) for result in results)
        return [r.segment for r in results if isinstance(r, Appended) and r.segment is not None]

    log = SqlLog(sqlite_database)
    written: list[list[Segment]] = []

    async def scenario(committer: GroupCommitter, _heard: Heard) -> None:
        written.extend(await asyncio.gather(*(write(committer, author) for author in group)))

    heard = run(log, scenario)
    told = [segment for commit in heard.committed for _, segment in commit]
    assert [segment.first for segment in told] == list(range(1, 50 * 8 * 3, 3))
    for author, segments in zip(group, written, strict=True):
        assert segments == sorted(segments, key=lambda segment: segment.first)
        assert log.find(account, author.device, 0, 1, 24)[0] == segments
