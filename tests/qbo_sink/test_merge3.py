"""Three-way merge: what one side changed goes to the other, and both end up the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.merge3 import merge, same

NAMES = ("name", "phone", "email")
values = st.sampled_from(["", "a", "b", "c"])
sides = st.fixed_dictionaries(dict.fromkeys(NAMES, values))


@given(base=sides, ours=sides, theirs=sides, newer=st.booleans())
@settings(max_examples=150, deadline=None)
def test_after_a_merge_both_sides_say_the_same(
    base: dict[str, Any],
    ours: dict[str, Any],
    theirs: dict[str, Any],
    newer: bool,
) -> None:
    """Whatever either side did since a common base, one exchange ends in one value per field; each
    value given up is listed, and nothing that one side alone changed is given up (CON-01)."""
    merged = merge(base, base, ours, theirs, lambda _: newer)
    here, there = {**ours, **merged.take}, {**theirs, **merged.send}
    assert here == there
    assert not merged.take.keys() & merged.send.keys()
    for name in NAMES:
        if ours[name] == base[name]:
            assert here[name] == theirs[name]
        if theirs[name] == base[name]:
            assert there[name] == ours[name]
    conflicts = {one.field for one in merged.overruled}
    assert conflicts == {name for name in NAMES if len({base[name], ours[name], theirs[name]}) == 3}
    for one in merged.overruled:
        assert here[one.field] == (one.ours if newer else one.theirs)


@given(base=sides, ours=sides, theirs=sides)
@settings(max_examples=50, deadline=None)
def test_a_second_merge_finds_nothing_to_do(
    base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    """What was exchanged becomes the base, and the next merge is empty: no echo."""
    first = merge(base, base, ours, theirs, lambda _: True)
    agreed = {**ours, **first.take}
    again = merge(agreed, agreed, agreed, {**theirs, **first.send}, lambda _: True)
    assert (again.take, again.send, again.overruled) == ({}, {}, ())


def test_one_thing_said_in_two_ways_is_no_change() -> None:
    """A name that had to be written otherwise there stays as each side writes it."""
    base_ours, base_theirs = {"name": "Acme"}, {"name": "Acme (2)"}
    merged = merge(base_ours, base_theirs, base_ours, base_theirs, lambda _: True)
    assert (merged.take, merged.send) == ({}, {})
    renamed = merge(base_ours, base_theirs, {"name": "Acme Ltd"}, base_theirs, lambda _: True)
    assert renamed.send == {"name": "Acme Ltd"}


def test_blanks_and_the_folding_of_an_address_are_no_change() -> None:
    """Texts compare without outer blanks, addresses as one joined line (§1.12)."""
    assert same(" a  b ", "a b")
    assert same(None, "")
    assert same({"line1": "Quay 1", "city": "Bonn"}, {"line1": "QUAY 1 Bonn", "city": ""})
    assert not same({"line1": "Quay 1"}, {"line1": "Quay 2"})
