"""Two sides find exactly what differs, whatever the sets, the frames and the other side."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import Malformed, MisuseError, PeerError, TooLarge, UpgradeRequired
from replica.limits import (
    RECONCILE_FRAME_BYTES_MAX,
    RECONCILE_OPEN_RANGES_MAX,
    RECONCILE_ROUNDS_MAX,
)
from replica.sync.reconcile import Initiator, Item, ItemSet, Responder, Split
from replica.sync.reconcile.items import END, INFINITE_TIME, START, Bound
from replica.sync.reconcile.wire import VERSION, Piece, Writer, fingerprint_body, list_body
from tests.sync.test_reconcile_items import ident

VECTORS = json.loads(
    (Path(__file__).parents[1] / "vectors" / "negentropy.json").read_text(encoding="utf-8")
)["cases"]
REFERENCE_SPLIT = Split(parts=16, list_below=32)


class Outcome(NamedTuple):
    """What an exchange came to; messages in turn, the asking side first."""

    messages: list[bytes]
    have: list[bytes]
    need: list[bytes]

    @property
    def rounds(self) -> int:
        return len(self.messages) // 2

    @property
    def size(self) -> int:
        return sum(map(len, self.messages))


def exchange(asking: Initiator, answering: Responder) -> Outcome:
    """Carry messages to and fro until the asking side has no question left."""
    said: list[bytes] = []
    have: list[bytes] = []
    need: list[bytes] = []
    message: bytes | None = asking.initiate()
    while message is not None:
        answer = answering.reconcile(message)
        assert answer.reply is not None
        assert (answer.have, answer.need) == ((), ())
        said += [message, answer.reply]
        message, more_have, more_need = asking.reconcile(answer.reply)
        have += more_have
        need += more_need
    return Outcome(said, have, need)


def only(items: Iterable[Item], others: Iterable[Item]) -> list[bytes]:
    """Ids of what is in the first and not in the second, sorted."""
    return sorted(item.id for item in {*items} - {*others})


@st.composite
def two_sets(draw: st.DrawFn) -> tuple[list[Item], list[Item]]:
    """Sets of up to some thousand items that share many, some or none, at few or many times."""
    count = draw(st.sampled_from([0, 1, 2, 31, 100, 700, 3_000]))
    spread = draw(st.sampled_from([1, 3, 1_000_000]))
    last = draw(st.sampled_from([0, 1_700_000_000_000, INFINITE_TIME - 1 - count]))
    items = [Item(last + k // spread, ident(k)) for k in range(count)]
    sets = []
    for _ in range(2):
        if draw(st.booleans()):
            start = draw(st.integers(0, count))
            gone = set(range(start, min(count, start + draw(st.sampled_from([1, 50, count])))))
        else:
            gone = draw(st.sets(st.integers(0, max(count - 1, 0)), max_size=12))
        sets.append([item for k, item in enumerate(items) if k not in gone])
    return sets[0], sets[1]


@settings(max_examples=80, deadline=None)
@given(
    two_sets(),
    st.sampled_from([4_096, 9_000, RECONCILE_FRAME_BYTES_MAX]),
    st.sampled_from([4_096, 9_000, RECONCILE_FRAME_BYTES_MAX]),
)
def test_exactly_what_differs_is_found(
    sets: tuple[list[Item], list[Item]], asking_bytes: int, answering_bytes: int
) -> None:
    """Each difference once and nothing else, and no message above its side's frame limit."""
    here, there = sets
    outcome = exchange(
        Initiator(ItemSet(here), frame_bytes=asking_bytes),
        Responder(ItemSet(there), frame_bytes=max(asking_bytes, answering_bytes)),
    )
    assert sorted(outcome.have) == only(here, there)
    assert sorted(outcome.need) == only(there, here)
    assert all(len(message) <= asking_bytes for message in outcome.messages[::2])
    assert all(
        len(message) <= max(asking_bytes, answering_bytes) for message in outcome.messages[1::2]
    )


@settings(max_examples=30, deadline=None)
@given(two_sets(), st.data())
def test_any_division_into_parts_leads_there(
    sets: tuple[list[Item], list[Item]], data: st.DataObject
) -> None:
    """How a side divides its ranges is its own choice: other implementations choose otherwise."""
    splits = st.builds(Split, st.integers(2, 40), st.integers(0, 50), st.integers(1, 5))
    here, there = sets
    asking = Initiator(
        ItemSet(here), first_split=data.draw(splits), split=data.draw(splits), frame_bytes=9_000
    )
    answering_split = data.draw(splits)._replace(list_below=data.draw(st.integers(2, 50)))
    outcome = exchange(asking, Responder(ItemSet(there), split=answering_split))
    assert sorted(outcome.have) == only(here, there)
    assert sorted(outcome.need) == only(there, here)


# Another implementation --------------------------------------------------------------------------


def vector_sets(case: dict[str, Any]) -> tuple[ItemSet, ItemSet]:
    items = [
        Item(case["first_time"] + k // case["items_per_time"], ident(k))
        for k in range(case["count"])
    ]
    asking = [item for k, item in enumerate(items) if k not in case["only_answering"]]
    answering = [item for k, item in enumerate(items) if k not in case["only_asking"]]
    return ItemSet(asking), ItemSet(answering)


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: str(case["name"]))
def test_the_reference_implementation_says_the_same_bytes(case: dict[str, Any]) -> None:
    """Dividing as the C++ reference does, both our sides say what it said, byte for byte."""
    here, there = vector_sets(case)
    asking = Initiator(here, first_split=REFERENCE_SPLIT, split=REFERENCE_SPLIT)
    outcome = exchange(asking, Responder(there, split=REFERENCE_SPLIT))
    assert [message.hex() for message in outcome.messages] == case["messages"]
    assert sorted(outcome.have) == sorted(ident(k) for k in case["only_asking"])
    assert sorted(outcome.need) == sorted(ident(k) for k in case["only_answering"])


# Versions, misuse, hostile sides -----------------------------------------------------------------


def test_another_version_is_answered_with_ours() -> None:
    """A newer client learns what to fall back to; one that cannot is told to be updated."""
    items = ItemSet([(1, ident(1))])
    assert Responder(items).reconcile(b"\x62 something new").reply == bytes((VERSION,))
    asking = Initiator(items)
    asking.initiate()
    with pytest.raises(UpgradeRequired):
        asking.reconcile(b"\x60")


def test_an_exchange_begins_once() -> None:
    """Two questions at once would mix their answers."""
    asking = Initiator(ItemSet())
    asking.initiate()
    with pytest.raises(MisuseError):
        asking.initiate()


def test_frames_have_a_smallest_size() -> None:
    """Below it a list of ids might not fit, and an exchange would not come to its end."""
    with pytest.raises(MisuseError):
        Responder(ItemSet(), frame_bytes=4_095)
    with pytest.raises(MisuseError):
        Initiator(ItemSet(), frame_bytes=100)


def test_a_message_above_the_frame_is_refused() -> None:
    """Work per message is bounded by its size, so its size is."""
    with pytest.raises(TooLarge):
        Responder(ItemSet(), frame_bytes=4_096).reconcile(b"\x61" + bytes(4_096))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4), st.booleans())
def test_hostile_bytes_end_in_an_answer_or_a_typed_error(tails: list[bytes], begun: bool) -> None:
    """Whatever comes, each side answers or says whose fault it is; nothing else escapes."""
    items = ItemSet((k, ident(k)) for k in range(300))
    asking, answering = Initiator(items), Responder(items)
    if begun:
        asking.initiate()
    for tail in tails:
        for side in (asking, answering):
            with suppress(PeerError):
                reply = side.reconcile(b"\x61" + tail).reply
                assert reply is None or len(reply) <= RECONCILE_FRAME_BYTES_MAX


def test_a_side_that_never_agrees_is_given_up() -> None:
    """Wrong fingerprints for ever end after a bounded number of rounds, in bounded memory."""
    asking = Initiator(ItemSet((k, ident(k)) for k in range(3)), frame_bytes=4_096)
    asking.initiate()
    writer = Writer(4_096)
    writer.add_rest(START, bytes(16))
    for _ in range(RECONCILE_ROUNDS_MAX - 1):
        assert asking.reconcile(writer.message()).reply is not None
    with pytest.raises(TooLarge, match="rounds"):
        asking.reconcile(writer.message())


def test_open_ranges_are_bounded() -> None:
    """A side that says that everything differs makes the other ask more often, not hold more."""
    count = RECONCILE_OPEN_RANGES_MAX + 2_000
    asking = Initiator(ItemSet((k, ident(k)) for k in range(count)))
    asking.initiate()
    writer = Writer(10_000_000)
    wrong = fingerprint_body(bytes(16))
    for start, end in pairwise([*(Bound(k, b"") for k in range(count)), END]):
        assert writer.add(Piece(start, end, wrong))
    assert asking.reconcile(writer.message()).reply is not None
    assert len(asking._open) <= RECONCILE_OPEN_RANGES_MAX


def test_a_side_that_claims_to_hold_nothing_is_believed() -> None:
    """An empty list for everything is an answer: all of ours is news there."""
    items = [Item(k, ident(k)) for k in range(500)]
    asking = Initiator(ItemSet(items))
    asking.initiate()
    writer = Writer(4_096)
    writer.add(Piece(START, END, list_body([])))
    assert asking.reconcile(writer.message()) == (None, tuple(item.id for item in items), ())


@pytest.mark.parametrize("message", [b"", b"\x00", b"\x61\x00", b"\x61\x00\x00\x07"])
def test_what_is_no_message_is_malformed_on_both_sides(message: bytes) -> None:
    """The same typed error, asking or answering."""
    asking = Initiator(ItemSet())
    asking.initiate()
    sides: Sequence[Initiator | Responder] = (asking, Responder(ItemSet()))
    for side in sides:
        with pytest.raises(Malformed):
            side.reconcile(message)
