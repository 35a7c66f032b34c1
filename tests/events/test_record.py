"""Records and segments: what the log keeps comes back as it was."""

from __future__ import annotations

from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings

from replica.errors import CorruptionError
from replica.events.clock import Stamp
from replica.events.event import array_header, encode_event
from replica.events.record import (
    Record,
    Segment,
    encode_record,
    encode_records,
    extend_chain,
    raw_records,
    records,
)
from tests.crdt.samples import record_sets


def segment(data: bytes, count: int) -> Segment:
    return Segment(5, count, bytes(32), bytes(16), 0, 1, 7, data)


@settings(max_examples=50, deadline=None)
@given(record_sets())
def test_a_segment_gives_its_records_back(made: list[Record]) -> None:
    """Events, decided stamps, flags and positions survive the encoding (§2)."""
    moved = [record._replace(stamp=Stamp(b"\x01" + record.stamp[1:])) for record in made]
    rows = [
        encode_record(encode_event(record.event), stamp, flags)
        for record, stamp, flags in [
            *((record, None, 0) for record in made),
            *((record, record.stamp, 1) for record in moved),
        ]
    ]
    found = list(records(segment(b"".join(rows), len(rows))))
    assert [position for position, _ in found] == list(range(5, 5 + len(rows)))
    assert [(record.id, record.stamp, record.flags) for _, record in found] == [
        *((record.id, record.stamp, 0) for record in made),
        *((record.id, record.stamp, 1) for record in moved),
    ]


@pytest.mark.parametrize(("data", "count"), [(b"\xc1", 1), (b"", 1), (b"\x93\xc4\x00\xc0\x00", 2)])
def test_a_damaged_segment_is_called_corrupt(data: bytes, count: int) -> None:
    """A row that does not hold its records stops the reader with a typed error (I-22)."""
    with pytest.raises(CorruptionError):
        raw_records(segment(data, count))


def test_records_are_encoded_together_as_one_by_one() -> None:
    """A run of sound events becomes the same bytes as its events alone (§2)."""
    events = [bytes([number]) * number for number in range(40)]
    assert encode_records(events) == b"".join(encode_record(data, None, 0) for data in events)


@pytest.mark.parametrize("count", [0, 15, 16, 65_535, 65_536])
def test_array_headers_are_those_of_msgpack(count: int) -> None:
    """The header that is put before the records is the one an encoder writes."""
    assert msgspec.msgpack.encode([None] * count).startswith(array_header(count))


def test_the_chain_hashes_ids_one_by_one() -> None:
    """h' = SHA-256(h ‖ id), whatever the batching (I-6)."""
    ids = [bytes([number]) * 32 for number in range(3)]
    chain = extend_chain(bytes(32), ids)
    assert chain == extend_chain(extend_chain(bytes(32), ids[:1]), ids[1:])
    assert extend_chain(bytes(32), ids[:1]) == sha256(bytes(32) + ids[0]).digest()
