"""The bytes of reconciliation messages: what is written is read again, anything else is refused."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from replica.errors import Malformed
from replica.sync.reconcile.items import END, INFINITE_TIME, Bound, encode_number
from replica.sync.reconcile.wire import (
    Mode,
    Piece,
    Range,
    Writer,
    fingerprint_body,
    list_body,
    read_ranges,
    version_of,
)

bounds = st.builds(
    Bound,
    st.integers(0, 5) | st.integers(0, INFINITE_TIME - 1),
    st.binary(max_size=32).map(lambda prefix: prefix.rstrip(b"\0")),
)
bodies = st.one_of(
    st.binary(min_size=16, max_size=16).map(fingerprint_body),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(list_body),
)


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (0, "00"),
        (1, "01"),
        (127, "7f"),
        (128, "8100"),
        (300, "822c"),
        (2**64 - 1, "81" + "ff" * 8 + "7f"),
    ],
)
def test_numbers_have_one_encoding(value: int, encoded: str) -> None:
    """Base 128, the most significant digit first, in as few digits as possible."""
    assert encode_number(value).hex() == encoded


@given(st.lists(bounds, min_size=2, max_size=12, unique=True), st.data())
def test_what_is_written_is_read(places: list[Bound], data: st.DataObject) -> None:
    """Ranges come back with their bounds, and gaps between them as skips."""
    places = [*sorted(places), END]
    writer = Writer(100_000)
    said = []
    for start, end in pairwise(places):
        if data.draw(st.booleans()):
            said.append(Piece(start, end, data.draw(bodies)))
            assert writer.add(said[-1])
    read = list(read_ranges(writer.message()))
    assert [(one.start, one.end) for one in read if one.mode is not Mode.SKIP] == [
        piece[:2] for piece in said
    ]
    assert all(one.end == following.start for one, following in pairwise(read))


@given(st.integers(200, 2_000), st.integers(1, 60))
def test_a_message_never_passes_its_limit(limit: int, count: int) -> None:
    """What has no room is told so and leaves the message as it was; the rest always has room."""
    writer = Writer(limit)
    start, added = Bound(0, b""), 0
    for number in range(1, count + 1):
        end = Bound(number * 2**40, bytes([number]) * 32)
        if not writer.add(Piece(start, end, fingerprint_body(bytes(16)))):
            writer.add_rest(Bound(2**63, b"\1" * 32), bytes(16))
            break
        start, added = end, added + 1
    message = writer.message()
    assert len(message) <= limit
    read = [one for one in read_ranges(message) if one.mode is Mode.FINGERPRINT]
    assert len(read) == added + (added < count)


BAD = {
    "a cut bound": "61 01",
    "a cut prefix": "61 01 05 0000",
    "no mode": "61 00 00",
    "an unknown mode": "61 00 00 03",
    "a cut fingerprint": "61 00 00 01 00112233",
    "fewer ids than said": "61 00 00 02 02" + "00" * 32,
    "a count beyond all bytes": "61 00 00 02 81ffffffffffffffff7f",
    "a prefix longer than an id": "61 00 21" + "00" * 33 + "00",
    "a number with leading zeros": "61 8001 00 00",
    "a number above 64 bits": "61 83ffffffffffffffff7f 00 00",
    "a number without end": "61" + "ff" * 40,
    "a time above 64 bits": "61 81ffffffffffffffff7f 00 00 05 00 00",
    "a time after infinity": "61 00 00 00 05 00 00",
    "bounds that go back": "61 05 01 ff 00 01 01 0f 00",
}


@pytest.mark.parametrize("name", BAD)
def test_bytes_that_are_no_message_are_malformed(name: str) -> None:
    """One typed error for whatever a hostile side may send (reliability: never a crash)."""
    with pytest.raises(Malformed):
        list(read_ranges(bytes.fromhex(BAD[name])))


@given(st.binary(max_size=80).map(lambda tail: b"\x61" + tail))
@example(b"\x61" + b"\x01\x00\x00" * 20_000)
def test_any_bytes_are_read_or_refused(message: bytes) -> None:
    """Random bytes give ascending ranges and then nothing, or ``Malformed``."""
    read: list[Range] = []
    with suppress(Malformed):
        read.extend(read_ranges(message))
    assert all(one.end == following.start <= following.end for one, following in pairwise(read))


def test_a_version_is_the_first_byte() -> None:
    """Versions are 60 to 6f; anything else does not begin a message."""
    assert version_of(b"\x62anything") == 0x62
    for message in (b"", b"\x5f", b"\x70", b"\0"):
        with pytest.raises(Malformed):
            version_of(message)
