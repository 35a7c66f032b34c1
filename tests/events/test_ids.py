"""Identifiers in payloads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import MisuseError
from replica.events.ids import RANDOM_BYTES, make_id, valid_id

_random = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(st.integers(0, 2**48 - 1), _random, st.integers(0, 2**48 - 1), _random)
def test_ids_sort_by_the_time_of_their_making(
    ms: int, salt: bytes, other_ms: int, other_salt: bytes
) -> None:
    """Text order of two ids is the order of (time, random bytes), and no two pairs share an id."""
    one, other = make_id(ms, salt), make_id(other_ms, other_salt)
    assert len(one) == 26
    assert valid_id(one)
    assert (one < other) == ((ms, salt) < (other_ms, other_salt))


def test_a_known_id() -> None:
    """Crockford's alphabet without I, L, O and U, most significant digit first."""
    assert make_id(0, bytes(10)) == "0" * 26
    assert make_id(2**48 - 1, b"\xff" * 10) == "7" + "Z" * 25
    assert make_id(1_469_918_176_385, bytes(10)) == "01ARYZ6S41" + "0" * 16
    assert make_id(-1, bytes(10)) == make_id(0, bytes(10))


def test_random_bytes_of_another_length_are_a_bug() -> None:
    """Fewer random bytes would make ids clash."""
    with pytest.raises(MisuseError):
        make_id(0, bytes(9))


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("c-17850", True),
        ("a.b_c:D", True),
        ("x" * 64, True),
        ("", False),
        ("x" * 65, False),
        ("a b", False),
        ("a\n", False),
        ("ä", False),
        ("a/b", False),
    ],
)
def test_what_an_id_may_be(text: str, valid: bool) -> None:
    """One to 64 characters of the documented set."""
    assert valid_id(text) is valid
