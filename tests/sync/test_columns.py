"""Values by columns: what is taken apart is put together again, and nothing else is believed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgpack
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from replica.errors import Malformed
from replica.limits import CHUNK_RAW_BYTES_MAX
from replica.sync.columns import (
    AGAIN,
    CHOICE,
    DEPTH_MAX,
    LISTS,
    NUMBERS,
    PLAIN,
    PLANES,
    RECORDS,
    SAME,
    Packer,
    Unpacker,
    encoded,
    numbers,
)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=20)
        | st.dictionaries(st.text(max_size=3), inner, max_size=5)
        | st.dictionaries(st.integers(0, 3), inner, max_size=2)
    ),
    max_leaves=20,
)
encodings = values.map(msgpack.packb)
# Alike, as documents are: of few shapes, with few different leaves.
_leaf = st.integers(0, 300) | st.sampled_from(["a", "bb", None, b"\0" * 4])
alike = st.fixed_dictionaries(
    {"id": st.text("abc", min_size=3, max_size=3), "lines": st.lists(st.tuples(_leaf, _leaf))},
    optional={"memo": _leaf, "at": st.fixed_dictionaries({"city": _leaf})},
).map(msgpack.packb)
# Longer than they need be, or with a key twice: MessagePack, but in no form that is made again.
ODD = [
    b"\xd9\x01a",
    b"\xde\x00\x01\xa1a\x01",
    b"\xdc\x00\x01\x01",
    b"\xcd\x00\x01",
    b"\xc7\x01\x05x",
]
ODD += [b"\x82\xa1a\x01\xa1a\x02", b"\x82\xa1b\x01\xa1a\x02", b"\x81\xa1\xff\x01", b"\x81\x01\x02"]
nodes = st.recursive(
    st.none() | st.integers(-1, 300) | st.binary(max_size=20) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=5) | st.tuples(st.integers(0, 7), inner, inner, inner).map(list)
    ),
    max_leaves=25,
)


def packed(column: list[bytes]) -> Any:
    """The node of a column as it comes over the wire."""
    return msgpack.unpackb(msgpack.packb(Packer().pack(column)))


@given(
    st.lists(encodings | st.sampled_from(ODD), max_size=40)
    | st.lists(alike, max_size=40)
    | st.lists(st.lists(encodings, max_size=3).map(lambda some: some[0] if some else b"\xc0"))
)
def test_any_values_come_back_byte_for_byte(column: list[bytes]) -> None:
    """Whatever MessagePack values are taken apart, canonical or not, the same bytes are put
    together in the same order (SYN-01)."""
    assert Unpacker().unpack(packed(column), len(column)) == column


@given(st.lists(st.lists(alike, min_size=4, max_size=4), max_size=4), st.lists(alike, max_size=4))
def test_columns_may_repeat_earlier_ones(columns: list[list[bytes]], known: list[bytes]) -> None:
    """Columns of one packer come back in its order, whatever they say twice or both ends know."""
    packer, unpacker = Packer(), Unpacker()
    packer.know(known)
    unpacker.know(known)
    found = [packer.pack(column) for column in (*columns, *columns)]
    assert [unpacker.unpack(node, 4) for node in found] == columns * 2


@pytest.mark.parametrize(
    ("said", "way"),
    [
        (["a"] * 100, SAME),
        ([f"{n * 7919 % 997}" for n in range(100)], PLAIN),
        ([f"N-{n:06}" for n in range(100)], PLANES),
        ([n * 7919 % 70_000 for n in range(100)], NUMBERS),
        ([("red", "yellow")[n * n % 7 % 2] for n in range(100)], CHOICE),
        ([{"a": n, "b": n} for n in range(100)], RECORDS),
        ([(n, -n) for n in range(100)], RECORDS),
        ([[(n, n)] * (n % 3) for n in range(100)], LISTS),
        ([list(range(n)) for n in range(100)], LISTS),
    ],
)
def test_each_kind_of_column_has_its_way(said: list[Any], way: int) -> None:
    """What is alike is written in the way that makes it small."""
    assert packed(encoded(said))[0] == way


def test_a_column_is_written_once() -> None:
    """Two places of a value that say the same, as an order and its payload do, are one column."""
    node = packed(encoded({"a": f"id-{n:04}", "b": f"id-{n:04}"} for n in range(50)))
    assert [one[0] for one in node[3]] == [PLANES, AGAIN]


@given(nodes, st.integers(0, 30))
def test_garbage_is_malformed(node: Any, count: int) -> None:
    """Whatever stands in the place of a node, the answer is Malformed or so many values."""
    with suppress(Malformed):
        column = Unpacker().unpack(node, count)
        assert len(column) == count
        numbers(column)


@given(st.lists(alike, min_size=2, max_size=20), st.data())
def test_a_changed_node_is_malformed_or_something_else(
    column: list[bytes], data: st.DataObject
) -> None:
    """A node with one byte changed is refused, or is as many other values: nothing else happens."""
    wire = bytearray(msgpack.packb(Packer().pack(column)))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        node = msgpack.unpackb(bytes(wire), strict_map_key=False)
    except (ValueError, msgpack.UnpackException):
        assume(False)
    with suppress(Malformed):
        assert len(Unpacker().unpack(node, len(column))) == len(column)


def deep(levels: int) -> Any:
    node: Any = [SAME, b"\xc0"]
    for _ in range(levels):
        node = [LISTS, [SAME, b"\x01"], node]
    return node


MANY = 1 << 40
FEW = CHUNK_RAW_BYTES_MAX // 64


@pytest.mark.parametrize(
    ("node", "count"),
    [
        ([SAME, b"\xc0"], MANY),
        ([SAME, b"x" * 100], FEW),
        ([PLAIN, b"\xc0"], FEW),
        ([CHOICE, 1, b"\xc4\xff" + b"x" * 255, bytes(FEW)], FEW),
        ([LISTS, [SAME, msgpack.packb(MANY)], [SAME, b"\xc0"]], 1),
        ([RECORDS, [["k" * 1_000]], [SAME, b"\x00"], [[SAME, b"\xc0"]]], FEW),
        ([RECORDS, [[]] * 1_000, [SAME, b"\x00"], []], 1),
        ([RECORDS, [MANY], [SAME, b"\x00"], []], 1),
        (deep(DEPTH_MAX + 1), 1),
        (deep(500), 1),
    ],
)
def test_a_small_node_of_a_flood_is_refused(node: Any, count: int) -> None:
    """Few bytes that claim more than a chunk may hold, or levels without end, cost no more than
    what a chunk may hold."""
    with pytest.raises(Malformed):
        Unpacker().unpack(node, count)


@pytest.mark.parametrize("nest", [lambda v, n: {"k": v, "n": n}, lambda v, n: [v, [n]] * 2])
def test_values_within_values_are_left_whole_in_the_end(nest: Callable[[Any, int], Any]) -> None:
    """What is nested deeper than columns go comes back as well."""
    column = []
    for row in range(20):
        value: Any = row
        for number in range(DEPTH_MAX + 3):
            value = nest(value, number)
        column.append(msgpack.packb(value))
    assert Unpacker().unpack(packed(column), 20) == column
