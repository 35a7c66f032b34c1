"""The newest segments in memory: the pages of the log, or nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from replica.events.event import AccountId
from replica.events.record import Segment
from replica.fanout.tail import Tail

ACCOUNTS = [AccountId(bytes([number]) * 16) for number in range(2)]


def segment(first: int, count: int, size: int) -> Segment:
    return Segment(first, count, bytes(32), bytes(16), 0, 1, 7, bytes(size))


def page_of(log: list[Segment], after: int, limit_bytes: int) -> list[Segment]:
    """What ``Log.read`` promises."""
    page: list[Segment] = []
    for one in log:
        if one.first > after:
            if page and sum(len(kept.records) for kept in [*page, one]) > limit_bytes:
                break
            page.append(one)
    return page


_commits = st.lists(
    st.tuples(st.sampled_from(ACCOUNTS), st.integers(1, 5), st.integers(1, 40)), max_size=40
)


@settings(max_examples=100, deadline=None)
@given(_commits, st.integers(1, 300), st.integers(1, 100))
def test_a_page_is_that_of_the_log_or_there_is_none(
    commits: list[tuple[AccountId, int, int]], limit_bytes: int, page_bytes: int
) -> None:
    """Whatever was given up, a page from memory equals the log's, and memory is bounded (P38)."""
    tail = Tail(limit_bytes)
    logs: dict[AccountId, list[Segment]] = {account: [] for account in ACCOUNTS}
    for account, count, size in commits:
        log = logs[account]
        log.append(segment(log[-1].last + 1 if log else 1, count, size))
        tail.add(account, [log[-1]])
    held = 0
    for account, log in logs.items():
        ends = [0, *(one.last for one in log)]
        assert tail.read(account, ends[-1], page_bytes) is None, "nothing is known to follow"
        for after in ends[:-1]:
            found = tail.read(account, after, page_bytes)
            assert found is None or found == page_of(log, after, page_bytes)
        held += sum(
            len(one.records)
            for one, after in zip(log, ends, strict=False)
            if tail.read(account, after, page_bytes) is not None
        )
    assert held <= limit_bytes


def test_the_newest_page_is_there() -> None:
    """A device one commit behind needs no read of the log."""
    tail = Tail()
    tail.add(ACCOUNTS[0], [segment(1, 2, 5), segment(3, 1, 5)])
    assert tail.read(ACCOUNTS[0], 2, 100) == [segment(3, 1, 5)]


def test_a_gap_begins_anew() -> None:
    """What another server process wrote is not in here, so nothing before it is given (P5)."""
    tail = Tail()
    tail.add(ACCOUNTS[0], [segment(1, 2, 5)])
    tail.add(ACCOUNTS[0], [segment(9, 1, 5)])
    assert tail.read(ACCOUNTS[0], 0, 100) is None
    assert tail.read(ACCOUNTS[0], 2, 100) is None
    assert tail.read(ACCOUNTS[0], 8, 100) == [segment(9, 1, 5)]


def test_the_middle_of_a_segment_is_left_to_the_log() -> None:
    """A position inside a segment is wrong, and the log says so."""
    tail = Tail()
    tail.add(ACCOUNTS[0], [segment(1, 3, 5)])
    assert tail.read(ACCOUNTS[0], 1, 100) is None
