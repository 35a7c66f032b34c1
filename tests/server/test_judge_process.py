"""Large pushes are decided in two places at once, and nobody can tell."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import CapturingLogger

from replica.ingest import Fact, Judge, judge
from replica.limits import JUDGE_APART_EVENTS_MIN
from replica.server.judge_process import JudgeProcess, join, split
from replica.server.logs import Logger
from tests.test_ingest import CONTEXT, NOW, PARTS, START, chained, deleted

T = TypeVar("T")
Part = Fact | bytes
GOOD = 4  # so many of PARTS are


def question(count: int) -> Judge:
    return Judge(CONTEXT, START, chained(*[deleted(f"c-{at}") for at in range(count)]))


LARGE = question(3 * JUDGE_APART_EVENTS_MIN)


@settings(max_examples=60, deadline=None)
@given(
    sound=st.lists(st.sampled_from(PARTS[:GOOD]), min_size=32, max_size=40),
    other=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(PARTS)), max_size=2),
    torn=st.integers(0, 60),
    ahead_ms=st.sampled_from([0, 0, 0, 10 * 86_400_000]),
)
def test_two_parts_decide_what_one_does(
    sound: list[Part], other: list[tuple[int, Part]], torn: int, ahead_ms: int
) -> None:
    """Whatever was pushed, both parts together are judged as the whole is, or have to be judged
    once more; sound ones never have to (I-21)."""
    parts = list(sound)
    for at, part in other:
        parts.insert(at, part)
    events = chained(*parts, context=CONTEXT._replace(received_ms=NOW + ahead_ms))
    if torn < len(events):
        del events[torn]
    whole = judge(CONTEXT, START, events)
    halves = split(Judge(CONTEXT, START, events))
    joined = None if halves is None else join(judge(*halves[0]), judge(*halves[1]))
    assert joined is None or joined == whole
    if not other and not ahead_ms and torn >= len(events):
        assert joined == whole


def test_what_is_not_worth_the_way_stays_whole() -> None:
    """A small push is decided here, and so is one beside events in quarantine."""
    assert split(question(JUDGE_APART_EVENTS_MIN - 1)) is None
    assert split(question(JUDGE_APART_EVENTS_MIN)) is not None
    held = CONTEXT._replace(quarantined={bytes(32)})
    assert split(LARGE._replace(context=held)) is None


# The process -------------------------------------------------------------------------------------


@pytest.fixture
def process() -> Iterator[JudgeProcess]:
    process = JudgeProcess()
    yield process
    process.close()


def run(process: JudgeProcess, work: Callable[[], Awaitable[T]]) -> tuple[T, list[str]]:
    """What ``work`` gives beside the process, and what was logged."""
    logger = CapturingLogger()

    async def beside() -> T:
        await process.start(cast("Logger", logger))
        try:
            return await work()
        finally:
            process.stop()

    return asyncio.run(beside()), [call.args[0] for call in logger.calls]


@pytest.mark.process
def test_a_push_is_judged_in_two_places(process: JudgeProcess) -> None:
    """Both give what one gives: one after the other, several at once, and when who asked first has
    gone before the answer came."""
    torn = LARGE._replace(events=[*LARGE.events[:-3], *LARGE.events[-2:]])

    async def work() -> None:
        for one in (LARGE, torn, LARGE):
            assert (await process.judge(one)).runs == judge(*one).runs
        first = asyncio.create_task(process.judge(torn))
        await asyncio.sleep(0)
        first.cancel()
        both = await asyncio.gather(process.judge(LARGE), process.judge(torn))
        assert [one.runs for one in both] == [judge(*LARGE).runs, judge(*torn).runs]
        assert await process.judge(LARGE) == judge(*LARGE)

    assert run(process, work)[1] == []


@pytest.mark.process
def test_a_process_that_ended_is_not_missed(process: JudgeProcess) -> None:
    """After a kill pushes are decided here, also the one it was at, and the log says so once."""

    async def work() -> None:
        assert await process.judge(LARGE) == judge(*LARGE)
        pid = process._child._process.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        asked = asyncio.create_task(process.judge(LARGE))
        await asyncio.sleep(0)
        os.kill(pid, signal.SIGKILL)
        assert await asked == judge(*LARGE)
        assert await process.judge(LARGE) == judge(*LARGE)

    assert run(process, work)[1] == ["the process that decides has ended; deciding here"]
