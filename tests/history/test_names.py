"""Ids made from what a file says."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replica.events.ids import valid_id
from replica.history.names import customer_id, document_id, product_id, walk_in_id

_sources = st.text(min_size=1, max_size=100).filter(lambda text: not _lone_surrogate(text))


def _lone_surrogate(text: str) -> bool:
    return any(0xD800 <= ord(char) <= 0xDFFF for char in text)


@given(_sources, _sources)
def test_ids_are_valid_and_as_different_as_their_sources(one: str, other: str) -> None:
    """Two codes share an id only if they are the same code, blanks and case included."""
    for make in (product_id, customer_id, walk_in_id):
        assert valid_id(make(one))
        assert (make(one) == make(other)) == (one == other)


@given(_sources, st.integers(1, 9_999))
def test_parts_of_an_invoice_have_ids_of_their_own(invoice: str, part: int) -> None:
    """A part is no other invoice and no other part."""
    identity = document_id(invoice, part, is_return=False)
    assert valid_id(identity)
    assert identity != document_id(invoice, part + 1, is_return=False)
    assert identity != document_id(f"{invoice}:{part}", 1, is_return=False)


def test_plain_codes_stay_readable() -> None:
    """What is made of letters and digits keeps its spelling."""
    assert product_id("85123A") == "p-85123A"
    assert customer_id("17850") == "c-17850"
    assert walk_in_id("Channel Islands") == "w-Channel.20Islands"
    assert document_id("489434", 1, is_return=False) == "o-489434"
    assert document_id("C489449", 1, is_return=True) == "r-C489449"
