"""The hybrid clock: strictly forward, bounded, and ordered as bytes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import MisuseError
from replica.events.clock import (
    NODE_BYTES,
    ZERO_STAMP,
    ClockSample,
    Stamp,
    best_offset_ms,
    correct,
    make_stamp,
    stamp_counter,
    stamp_ms,
    stamp_node,
    tick,
)
from replica.limits import CLOCK_AHEAD_MS_MAX, STAMP_COUNTER_MAX, STAMP_MS_MAX

NODE = b"deviceXX"
_ms = st.integers(0, STAMP_MS_MAX)
_stamps = st.builds(
    make_stamp,
    _ms,
    st.integers(0, STAMP_COUNTER_MAX),
    st.binary(min_size=NODE_BYTES, max_size=NODE_BYTES),
)


@given(_stamps)
def test_a_stamp_gives_its_parts_back(stamp: Stamp) -> None:
    """Sixteen bytes: milliseconds, counter, node."""
    assert len(stamp) == 16
    assert make_stamp(stamp_ms(stamp), stamp_counter(stamp), stamp_node(stamp)) == stamp


@pytest.mark.parametrize(("ms", "clamped"), [(-5, 0), (1 << 60, STAMP_MS_MAX)])
def test_no_clock_can_make_a_stamp_fail(ms: int, clamped: int) -> None:
    """A time before 1970 or after the year 10889 is clamped (CON-08)."""
    assert stamp_ms(make_stamp(ms, 0, NODE)) == clamped


def test_a_wrong_node_or_counter_is_a_bug_of_the_caller() -> None:
    """Only a calling program can pass these."""
    for counter, node in ((0, b"short"), (STAMP_COUNTER_MAX + 1, NODE), (-1, NODE)):
        with pytest.raises(MisuseError):
            make_stamp(1, counter, node)


@given(st.lists(st.integers(-10, 2 * STAMP_MS_MAX), min_size=2, max_size=30))
def test_ticks_only_go_forward(clock: list[int]) -> None:
    """Whatever the device's clock does, each stamp is greater than the last (I-8, pitfalls P14)."""
    stamps = [ZERO_STAMP]
    for now_ms in clock:
        stamps.append(tick(stamps[-1], now_ms, NODE))
    assert all(before < after for before, after in pairwise(stamps))


def test_a_full_counter_moves_into_the_next_millisecond() -> None:
    """A bulk import at one moment never locks a device out (pitfalls P11, D7)."""
    last = make_stamp(1_000, STAMP_COUNTER_MAX, NODE)
    assert tick(last, 1_000, NODE) == make_stamp(1_001, 0, NODE)


@given(st.lists(_stamps, max_size=30))
def test_byte_order_is_the_order_of_time_and_of_sqlite(stamps: list[Stamp]) -> None:
    """Comparing bytes, comparing the parts and ORDER BY in SQLite agree (architecture §2)."""
    by_parts = sorted(stamps, key=lambda s: (stamp_ms(s), stamp_counter(s), stamp_node(s)))
    assert sorted(stamps) == by_parts
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE t (stamp BLOB)")
        database.executemany("INSERT INTO t VALUES (?)", [(stamp,) for stamp in stamps])
        rows = database.execute("SELECT stamp FROM t ORDER BY stamp").fetchall()
    assert [row[0] for row in rows] == by_parts


@given(
    raws=st.lists(st.tuples(_stamps, st.integers(-(10**12), 10**12)), min_size=1, max_size=20),
    received_ms=st.integers(10**12, 2 * 10**12),
)
def test_merge_stamps_of_a_device_only_go_forward_and_are_bounded(
    raws: list[tuple[Stamp, int]], received_ms: int
) -> None:
    """However wrong a clock is, its events keep their order and none lies further ahead of its
    receipt than the bound, unless the one before it already did (I-8, CON-08)."""
    last = ZERO_STAMP
    bound_ms = received_ms + CLOCK_AHEAD_MS_MAX
    for raw, offset_ms in raws:
        decided = correct(raw, offset_ms=offset_ms, received_ms=received_ms, last=last)
        assert decided.stamp > last
        assert stamp_ms(decided.stamp) <= bound_ms + 1
        last = decided.stamp


def test_a_good_clock_keeps_its_own_stamp() -> None:
    """Offsets within the noise of the measurement change nothing (pitfalls P60)."""
    raw = make_stamp(50_000, 3, NODE)
    decided = correct(raw, offset_ms=1_999, received_ms=51_000, last=ZERO_STAMP)
    assert decided == (raw, False)


def test_a_wrong_clock_is_corrected_by_its_offset() -> None:
    """A clock ten minutes ahead gives the time at which the event really was made (CON-08)."""
    raw = make_stamp(1_600_000, 3, NODE)
    decided = correct(raw, offset_ms=600_000, received_ms=1_000_500, last=ZERO_STAMP)
    assert decided == (make_stamp(1_000_000, 3, NODE), False)


def test_an_impossible_time_is_disputed_and_ordered_by_receipt() -> None:
    """Work from a clock that cannot be right is taken, and moves nobody's clock (pitfalls P11)."""
    raw = make_stamp(10**13, 0, NODE)
    decided = correct(raw, offset_ms=0, received_ms=1_000, last=ZERO_STAMP)
    assert decided == (make_stamp(1_000, 0, NODE), True)


def test_the_offset_is_that_of_the_shortest_round_trip() -> None:
    """Transit is not mistaken for skew; without a sample there is no correction (pitfalls P60)."""
    slow = ClockSample(0, 40_000, 40_000, 20_000)
    quick = ClockSample(0, 5_010, 5_010, 20)
    assert best_offset_ms((slow, quick)) == 5_000
    assert best_offset_ms(()) == 0
