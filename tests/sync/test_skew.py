"""Clock offsets: the shortest round trip counts, and a clock that is set is noticed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replica.limits import SKEW_SAMPLES_MAX
from replica.sync.skew import Skew

BIG = 2**53 - 1
any_ms = st.integers(-BIG, BIG)


def test_nothing_measured_is_no_offset() -> None:
    """Before the first sample the device's clock is taken as it is."""
    assert Skew().offset_ms == 0


@given(st.integers(-(10**12), 10**12), st.integers(0, 30_000), st.integers(0, 30_000))
def test_the_offset_is_within_half_the_round_trip(offset_ms: int, up_ms: int, down_ms: int) -> None:
    """However uneven the way, the error is bounded by half of it (pitfalls P60)."""
    skew = Skew()
    arrived_ms = 1_000 + down_ms
    skew.add(1_000, arrived_ms + offset_ms, arrived_ms + offset_ms, arrived_ms + up_ms)
    assert abs(skew.offset_ms - offset_ms) <= (up_ms + down_ms) / 2 + 1


def test_the_shortest_round_trip_counts() -> None:
    """A later, slower sample does not spoil a good one."""
    skew = Skew()
    skew.add(0, 5_005, 5_005, 10)
    skew.add(1_000, 6_300, 6_300, 1_400)
    assert skew.offset_ms == 5_000


def test_a_clock_that_is_set_starts_anew() -> None:
    """A sample beyond what round trips explain makes the older ones worthless."""
    skew = Skew()
    skew.add(0, 5, 5, 10)
    skew.add(1_000, 3_601_010, 3_601_010, 1_020)
    assert skew.offset_ms == 3_600_000
    assert skew.count == 1


def test_our_own_clock_set_back_during_a_sample_spoils_only_that_sample() -> None:
    """A negative round trip says nothing about anybody."""
    skew = Skew()
    skew.add(1_000, 1_000, 1_000, 400)
    assert skew.count == 0


@given(st.lists(st.tuples(any_ms, any_ms, any_ms, any_ms), max_size=20))
def test_nothing_a_peer_says_can_break_it(samples: list[tuple[int, int, int, int]]) -> None:
    """Any readings at all give an offset, and memory is bounded (CON-08)."""
    skew = Skew()
    for sample in samples:
        skew.add(*sample)
    assert isinstance(skew.offset_ms, int)
    assert skew.count <= SKEW_SAMPLES_MAX
