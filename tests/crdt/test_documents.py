"""Documents: canonical states that survive storage."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.crdt.documents import DocKey, Document, Fact, tag_event, tag_ms, tag_node
from replica.errors import CorruptionError
from replica.events import payloads as p
from replica.events.record import Record
from tests.crdt.samples import Writer, folded, record_sets


@settings(max_examples=60, deadline=None)
@given(records=record_sets())
def test_a_stored_document_is_the_same_document(records: list[Record]) -> None:
    """Decoding what was encoded gives the state back (I-10)."""
    for key, document in folded(records).items():
        again = Document.decode(key, document.encode())
        assert again == document
        assert again.encode() == document.encode()


@given(data=st.binary(max_size=40))
def test_bytes_that_are_no_state_are_called_corrupt(data: bytes) -> None:
    """A damaged row stops the reader with a typed error and no other (I-22)."""
    try:
        Document.decode(DocKey("order", "o1"), data).encode()
    except CorruptionError as error:
        assert "o1" in str(error)  # noqa: PT017 - either outcome is fine, only their kind is tested


def test_a_fact_is_kept_once_and_in_tag_order() -> None:
    """Inserting is idempotent and sorts."""
    document = Document(DocKey("order", "o1"))
    facts = [Fact(bytes([number]) * 48, 1, b"") for number in (2, 1, 3, 2)]
    assert [document.insert("order.changed", fact) for fact in facts] == [True, True, True, False]
    assert [fact.tag[0] for fact in document] == [1, 2, 3]


def test_a_document_of_another_key_is_another_document() -> None:
    """Documents are compared by key and state, and not with anything else."""
    first, second = Document(DocKey("order", "o1")), Document(DocKey("order", "o2"))
    assert first != second
    assert first != "o1"
    with pytest.raises(TypeError):
        hash(first)


def test_a_tag_names_time_writer_and_event() -> None:
    """Stamp first, event id second: byte order is merge order (architecture §2)."""
    record = Writer(7).says(p.CustomerDeleted("c1"), 1_234)
    assert tag_ms(record.tag) == 1_234
    assert tag_node(record.tag) == bytes(7) + b"\x07"
    assert tag_event(record.tag) == record.id
