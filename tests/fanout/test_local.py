"""Hints inside one process, and the poll that makes up for lost ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

import pytest

from replica.errors import StoreUnavailable
from replica.events.event import AccountId, Position
from replica.events.record import Segment
from replica.fanout.local import Hint, LocalHub, Wakeups, poll
from replica.limits import FANOUT_POLL_MS

ONE, TWO = AccountId(b"1" * 16), AccountId(b"2" * 16)


def segment(first: int, count: int = 1) -> Segment:
    """A committed run of events."""
    return Segment(first, count, bytes(32), bytes(16), 0, 1, 0, b"")


def listen(hub: LocalHub, account: AccountId | None) -> list[Hint]:
    """A list that fills with the hints about ``account``."""
    heard: list[Hint] = []
    hub.subscribe(account, heard.append)
    return heard


def test_a_commit_is_told_once_per_account() -> None:
    """Subscribers hear of their own account only, one hint per commit with its news in log order,
    and share one object (I-16, performance.md §4 "fan-out encodes once")."""
    hub = LocalHub()
    first, again, other = listen(hub, ONE), listen(hub, ONE), listen(hub, TWO)
    everything = listen(hub, None)
    news = [(ONE, segment(1, 2)), (TWO, segment(1)), (ONE, segment(3))]
    hub.publish(news)
    assert first == [Hint(ONE, Position(3), (segment(1, 2), segment(3)))]
    assert first[0] is again[0]
    assert other == [Hint(TWO, Position(1), (segment(1),))]
    assert everything == [*first, *other]


def test_only_news_is_passed_on() -> None:
    """A position that was told before, by a commit of ours or by the poll, is not told again."""
    hub = LocalHub()
    heard = listen(hub, ONE)
    hub.publish([(ONE, segment(1, 5))])
    hub.notice(ONE, Position(5))
    hub.notice(ONE, Position(7))
    hub.notice(ONE, Position(6))
    assert [hint.position for hint in heard] == [5, 7]
    assert heard[1].segments == ()


def test_nobody_hears_after_unsubscribing() -> None:
    """A subscriber that left is not called, the others are, and leaving twice is harmless."""
    hub = LocalHub()
    heard: list[Hint] = []
    leave = hub.subscribe(ONE, heard.append)
    stay = hub.subscribe(ONE, heard.append)
    leave()
    leave()
    hub.notice(ONE, Position(1))
    assert len(heard) == 1
    assert hub.accounts() == [ONE]
    stay()
    assert hub.accounts() == []
    hub.notice(ONE, Position(2))
    assert len(heard) == 1


def test_a_listener_may_leave_while_it_is_told() -> None:
    """Unsubscribing inside a hint, as a closing connection does, leaves the others untouched."""
    hub = LocalHub()
    leave = hub.subscribe(ONE, lambda _hint: leave())
    heard = listen(hub, ONE)
    hub.notice(ONE, Position(1))
    hub.notice(ONE, Position(2))
    assert [hint.position for hint in heard] == [1, 2]


def test_wakeups_are_merged() -> None:
    """However many hints come while a task works, it is told each account once at its newest
    position, and nothing is told twice (I-20)."""

    async def play() -> None:
        hub = LocalHub()
        wakeups = Wakeups(hub)
        for position in range(1, 100):
            hub.notice(ONE, Position(position))
        hub.notice(TWO, Position(4))
        assert await wakeups.wait(10_000) == {ONE: 99, TWO: 4}
        assert await wakeups.wait(1) == {}
        hub.notice(ONE, Position(100))
        assert await wakeups.wait(10_000) == {ONE: 100}
        wakeups.close()
        hub.notice(ONE, Position(101))
        assert await wakeups.wait(1) == {}

    asyncio.run(play())


def test_the_poll_finds_what_no_hint_told() -> None:
    """Positions that other processes committed reach the subscribers by the poll, which asks only
    about accounts somebody listens to and survives a database that is away (P5, §2.3)."""
    hub = LocalHub()
    heard = listen(hub, ONE)
    asked: list[list[AccountId]] = []
    pauses: list[float] = []
    answers: list[Mapping[AccountId, Position] | StoreUnavailable] = [
        {ONE: Position(3)},
        StoreUnavailable("away"),
        {ONE: Position(3)},
        {ONE: Position(4)},
    ]

    def read_positions(accounts: Iterable[AccountId]) -> Mapping[AccountId, Position]:
        asked.append(list(accounts))
        answer = answers[len(asked) - 1]
        if isinstance(answer, StoreUnavailable):
            raise answer
        return answer

    class Over(Exception):
        pass

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > len(answers):
            raise Over

    with pytest.raises(Over):
        asyncio.run(poll(hub, read_positions, pause=pause))
    assert asked == [[ONE]] * 4
    assert [hint.position for hint in heard] == [3, 4]
    assert set(pauses) == {FANOUT_POLL_MS / 1_000}


def test_the_poll_rests_when_nobody_listens() -> None:
    """Without subscribers the database is not asked."""

    async def play() -> None:
        rested = asyncio.Event()
        turns = iter(range(3))

        async def pause(_seconds: float) -> None:
            if next(turns, None) is None:
                rested.set()
                await asyncio.Event().wait()

        def never(_accounts: Iterable[AccountId]) -> Mapping[AccountId, Position]:
            raise AssertionError

        task = asyncio.create_task(poll(LocalHub(), never, pause=pause))
        await rested.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())
