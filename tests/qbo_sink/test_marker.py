"""Markers and request ids: what recognises a document as ours."""

from __future__ import annotations

import string
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from qbo_sink import marker
from qbo_sink.model import Entity, Key, Op
from qbo_sink.requestid import requestid

KEY, OTHER = b"k" * 32, b"o" * 32
ids = st.text(string.ascii_letters + string.digits + "._:-", min_size=1, max_size=64)
types = st.sampled_from(["order", "quote", "customer"])


@given(local_type=types, identity=ids, note=st.text(max_size=5_000))
def test_a_marker_is_found_behind_any_note(local_type: str, identity: str, note: str) -> None:
    """It is the last line of at most 4,000 characters and names its document."""
    text = marker.append(note, marker.sign(KEY, local_type, identity), 4_000)
    assert len(text) <= 4_000
    assert marker.find([OTHER, KEY], text) == (local_type, identity)


@given(local_type=types, identity=ids)
def test_a_marker_of_another_account_is_not_ours(local_type: str, identity: str) -> None:
    """Another key's signature is never taken."""
    assert marker.find([OTHER], marker.sign(KEY, local_type, identity)) is None


@given(st.text() | st.none() | st.integers())
def test_other_notes_hold_no_marker(note: object) -> None:
    """Whatever people write is not a marker, and nothing raises."""
    assert marker.find([KEY], note) is None


def test_a_forged_marker_is_not_taken() -> None:
    """The id of one document under the signature of another is refused."""
    mark = marker.sign(KEY, "order", "o-1")
    assert marker.find([KEY], mark.replace("o-1", "o-2")) is None


values = st.tuples(
    st.text(max_size=8),
    st.sampled_from(list(Entity)),
    st.text(max_size=8),
    st.text(max_size=8),
    st.sampled_from(list(Op)),
    st.text(max_size=8),
    st.integers(1, 100),
)


@given(left=values, right=values)
def test_request_ids_are_equal_only_for_equal_writes(
    left: tuple[str, Entity, str, str, Op, str, int],
    right: tuple[str, Entity, str, str, Op, str, int],
) -> None:
    """The same write has the same 36 characters, any other write has others (§2.2 layer 2)."""

    def make(v: tuple[str, Entity, str, str, Op, str, int]) -> str:
        return requestid(v[0], Key(v[1], v[2], v[3]), v[4], v[5], v[6])

    assert (make(left) == make(right)) == (left == right)
    assert len(make(left)) == 36
    assert UUID(make(left)).version == 5
