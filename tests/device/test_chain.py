"""The author's end of a chain: gapless, linked, strictly later, and able to start over."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.device.chain import Author, Fact, Head, Made, extend, head_after, remake
from replica.errors import MisuseError, TooLarge
from replica.events.clock import Stamp
from replica.events.event import GENESIS, decode_event, event_id
from replica.events.kinds import decode_payload, encode_payload
from replica.events.payloads import LineFields, OrderLinePut, OrderLineRemoved
from replica.limits import EVENT_BYTES_MAX

AUTHOR = Author(bytes(16), bytes([7]) * 16)
FACT = Fact("test.said", 1, b"\x80")


def chained(made: list[Made], prev: bytes) -> bool:
    """Whether the events follow each other and are what their bytes say."""
    for one in made:
        if one.event.prev != prev or event_id(one.data) != one.id:
            return False
        if decode_event(one.data) != one.event:
            return False
        prev = one.id
    return True


@given(st.lists(st.lists(st.integers(-(2**47), 2**47), min_size=1, max_size=4), max_size=12))
@settings(max_examples=100)
def test_chain_is_gapless_whatever_the_clock_says(clocks: list[list[int]]) -> None:
    """Seqs count from 1, every event names the one before, stamps only grow (I-5, P14)."""
    head = Head(1)
    every: list[Made] = []
    for readings in clocks:
        for now_ms in readings:
            made = extend(AUTHOR, head, [FACT] * len(readings), now_ms)
            head = head_after(head, made)
            every += made
    assert [one.event.seq for one in every] == list(range(1, len(every) + 1))
    assert chained(every, GENESIS)
    stamps = [one.event.stamp for one in every]
    assert stamps == sorted(set(stamps))


def test_head_does_not_move_by_itself() -> None:
    """Making events leaves the head where it was; only what is stored moves it (P13)."""
    head = Head(1)
    first = extend(AUTHOR, head, [FACT], 5)
    again = extend(AUTHOR, head, [FACT], 5)
    assert first == again
    assert head_after(head, []) == head


def test_event_above_the_bound_is_told_to_its_author() -> None:
    """An event that no server would take is refused before it is stored (P36)."""
    with pytest.raises(TooLarge, match="event bytes"):
        extend(AUTHOR, Head(1), [Fact("test.said", 1, bytes(EVENT_BYTES_MAX))], 1)


def test_append_of_nothing_is_misuse() -> None:
    """An empty append is a bug of the calling program."""
    with pytest.raises(MisuseError):
        extend(AUTHOR, Head(1), [], 1)


def test_remade_events_say_the_same() -> None:
    """Under a new epoch kinds, payloads and times stay; the chain starts anew (reliability D6)."""
    old = extend(AUTHOR, Head(1, 4, event_id(b"x")), [FACT, Fact("test.said", 2, b"\x01")], 99)
    made = remake(AUTHOR, Head(3, stamp=Stamp(old[-1].event.stamp)), old)
    assert chained(made, GENESIS)
    assert [one.event.seq for one in made] == [1, 2]
    for before, after in zip(old, made, strict=True):
        assert after.event.epoch == 3
        assert after.event.stamp == before.event.stamp
        said_before = (before.event.kind, before.event.version, before.event.payload)
        assert (after.event.kind, after.event.version, after.event.payload) == said_before


def test_remade_events_keep_their_references() -> None:
    """A dep and a removed put that were remade themselves are named by their new ids."""
    put = extend(
        AUTHOR, Head(1), [Fact(*encode_payload(OrderLinePut("o", "1", LineFields(qty_e3=1))))], 1
    )
    elsewhere = bytes([9]) * 32
    removal = OrderLineRemoved("o", "1", tuple(sorted((put[0].id, elsewhere))))
    fact = Fact(*encode_payload(removal), (put[0].id, elsewhere))
    old = put + extend(AUTHOR, head_after(Head(1), put), [fact], 2)
    new_put, new_removal = remake(AUTHOR, Head(2), old)
    assert new_removal.event.deps == (new_put.id, elsewhere)
    said = decode_payload(new_removal.event)
    assert isinstance(said, OrderLineRemoved)
    assert set(said.seen) == {new_put.id, elsewhere}
    assert said.order == "o"


def test_remade_for_another_device_carries_its_node() -> None:
    """After enrolling anew the stamps name the new device, in the same order of time."""
    old = extend(AUTHOR, Head(1), [FACT, FACT, FACT], 50)
    other = Author(bytes(16), bytes([8]) * 16)
    made = remake(other, Head(1), old)
    assert [one.event.stamp[:8] for one in made] == [one.event.stamp[:8] for one in old]
    assert {one.event.stamp[8:] for one in made} == {other.device[8:]}
