"""Digests: sums of document hashes that need no order."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from replica.crdt.digest import SectionTotal, SectionTotals, document_hash
from replica.crdt.documents import DocKey

_keys = st.builds(DocKey, st.sampled_from(["order", "stock"]), st.sampled_from("abc"))
_states = st.dictionaries(_keys, st.binary(max_size=8), max_size=5)


def totals(states: dict[DocKey, bytes]) -> SectionTotals:
    found = SectionTotals()
    for key, state in states.items():
        found.add(key, state)
    return found


def test_a_digest_is_the_documented_sum() -> None:
    """Type, id and state are hashed as a msgpack array; the sum is 32 bytes, big-endian."""
    key = DocKey("order", "o1")
    assert document_hash(key, b"\x80") == sha256(b"\x93\xa5order\xa2o1\xc4\x01\x80").digest()
    other = DocKey("order", "o2")
    total = sum(int.from_bytes(document_hash(k, b""), "big") for k in (key, other)) % 2**256
    expected = (SectionTotal("order", 2, total.to_bytes(32, "big")),)
    assert totals({key: b"", other: b""}).sections() == expected


@given(before=_states, after=_states)
def test_changes_give_the_same_digest_as_counting_anew(
    before: dict[DocKey, bytes], after: dict[DocKey, bytes]
) -> None:
    """Adding, replacing and removing documents in a stored total equals a total from nothing."""
    running = SectionTotals(totals(before).sections())
    for key in before.keys() - after.keys():
        running.remove(key, before[key])
    for key, state in after.items():
        running.replace(key, before.get(key), state)
    assert running.sections() == totals(after).sections()


@given(left=_states, right=_states)
def test_equal_digests_mean_equal_documents(
    left: dict[DocKey, bytes], right: dict[DocKey, bytes]
) -> None:
    """A document more, less or different shows, also under another type or id."""
    same = totals(left).sections() == totals(right).sections()
    assert same == (left == right)
