"""The sorted set with sums by block: whatever is put in and taken out, it equals a plain list."""

from __future__ import annotations

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from replica.errors import MisuseError
from replica.limits import RECONCILE_BLOCK_ITEMS
from replica.sync.reconcile.items import (
    END,
    INFINITE_TIME,
    START,
    Bound,
    Item,
    ItemSet,
    bound_between,
    encode_number,
    fingerprint,
)


def ident(number: int) -> bytes:
    """The id of item ``number``, the same in every run."""
    return sha256(b"%d" % number).digest()


def plain_fingerprint(ids: list[bytes]) -> bytes:
    """The fingerprint by its definition."""
    total = sum(int.from_bytes(one, "little") for one in ids) % 2**256
    named = total.to_bytes(32, "little") + encode_number(len(ids))
    return sha256(named).digest()[:16]


few_times = st.integers(0, 3) | st.integers(0, INFINITE_TIME - 1)
items = st.builds(
    Item, few_times, st.integers(0, 40).map(ident) | st.binary(min_size=32, max_size=32)
)


class Sets(RuleBasedStateMachine):
    """Insertions and removals in any order, each batch followed by every question."""

    @initialize(
        start=st.lists(items, max_size=5), many=st.sampled_from([0, 3 * RECONCILE_BLOCK_ITEMS])
    )
    def begin(self, start: list[Item], many: int) -> None:
        start = [*start, *(Item(k // 5, ident(k)) for k in range(many))]
        self.plain = set(start)
        self.set = ItemSet(start)

    @rule(item=items)
    def add(self, item: Item) -> None:
        assert self.set.add(*item) is (item not in self.plain)
        self.plain.add(item)

    @rule(time=st.integers(0, 80), count=st.integers(1, 2 * RECONCILE_BLOCK_ITEMS))
    def add_many(self, time: int, count: int) -> None:
        for item in (Item(time, ident(k)) for k in range(count)):
            assert self.set.add(*item) is (item not in self.plain)
            self.plain.add(item)

    @rule(some=st.lists(items, max_size=20), time=st.integers(0, 80), count=st.integers(0, 300))
    def update(self, some: list[Item], time: int, count: int) -> None:
        batch = [*some, *(Item(time, ident(k)) for k in range(count))]
        self.set.update(batch)
        self.plain.update(batch)

    @rule(item=items)
    def discard(self, item: Item) -> None:
        assert self.set.discard(*item) is (item in self.plain)
        self.plain.discard(item)

    @rule(data=st.data(), count=st.integers(1, 2 * RECONCILE_BLOCK_ITEMS))
    def discard_many(self, data: st.DataObject, count: int) -> None:
        ordered = sorted(self.plain)
        at = data.draw(st.integers(0, len(ordered)))
        for item in ordered[at : at + count]:
            assert self.set.discard(*item)
            self.plain.discard(item)

    @rule(item=items)
    def find(self, item: Item) -> None:
        assert (item in self.set) is (item in self.plain)
        for bound in (Bound(*item), Bound(item.time, item.id[:2]), Bound(item.time, b"")):
            assert self.set.find(bound) == sum(one < bound for one in self.plain)

    @rule(data=st.data())
    def ask(self, data: st.DataObject) -> None:
        ordered = sorted(self.plain)
        first = data.draw(st.integers(0, len(ordered)))
        last = data.draw(st.integers(first, len(ordered)))
        ids = [item.id for item in ordered[first:last]]
        assert self.set.ids(first, last) == ids
        assert fingerprint(self.set, first, last) == plain_fingerprint(ids)
        if first < len(ordered):
            assert self.set.item(first) == ordered[first]

    @invariant()
    def same(self) -> None:
        assert list(self.set) == sorted(self.plain)
        assert len(self.set) == len(self.plain)
        assert self.set.find(START) == 0
        assert self.set.find(END) == len(self.plain)


TestSets = Sets.TestCase
TestSets.settings = settings(max_examples=25, stateful_step_count=10, deadline=None)


@given(st.lists(items, max_size=30))
def test_items_given_twice_are_held_once(given_items: list[Item]) -> None:
    """A set, however it was given (SYN: proof counts every event once)."""
    assert list(ItemSet([*given_items, *given_items])) == sorted(set(given_items))


@given(items, items)
def test_a_bound_parts_two_items(one: Item, other: Item) -> None:
    """The shortest bound lies above the first and not above the second, prefix without zeros."""
    before, after = sorted([one, other])
    if before == after:
        return
    bound = bound_between(before, after)
    assert before < bound <= after
    assert not bound.prefix.endswith(b"\0")
    if before.time != after.time:
        assert bound.prefix == b""
    else:
        assert before.id[: len(bound.prefix) - 1] == bound.prefix[:-1]


@pytest.mark.parametrize(
    ("time", "identity"), [(-1, bytes(32)), (INFINITE_TIME, bytes(32)), (0, bytes(31)), (0, b"")]
)
def test_what_is_no_item_is_the_callers_mistake(time: int, identity: bytes) -> None:
    """An id of another length, or the time that stands for the end, never gets in."""
    with pytest.raises(MisuseError):
        ItemSet().add(time, identity)
    with pytest.raises(MisuseError):
        ItemSet([(5, ident(1)), (time, identity)])


def test_late_items_in_the_middle_stay_cheap() -> None:
    """Ten thousand insertions into one place leave blocks of bounded size, not one long one."""
    held = ItemSet((k, ident(k)) for k in range(1_000))
    for k in range(10_000):
        held.add(500, ident(-k))
    sizes = [len(block.times) for block in held._blocks]
    assert max(sizes) <= 2 * RECONCILE_BLOCK_ITEMS
    assert len(sizes) <= 2 * len(held) / RECONCILE_BLOCK_ITEMS + 1


def test_blocks_that_emptied_are_joined() -> None:
    """Removals do not leave thousands of blocks of one item behind."""
    held = ItemSet((k, ident(k)) for k in range(20_000))
    for k in range(20_000):
        if k % 100:
            held.discard(k, ident(k))
    assert len(held) == 200
    assert len(held._blocks) <= 4
