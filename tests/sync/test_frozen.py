"""Documents frozen: what is thawed is what was frozen, with ids that were told or computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.errors import Malformed
from replica.events import payloads as p
from replica.events.clock import make_stamp
from replica.events.record import Origin, Record
from replica.limits import CHUNK_APART_BYTES_MAX
from replica.sync.columns import SAME
from replica.sync.frozen import Frozen, Writing, freeze, thaw
from tests.crdt.samples import ACCOUNT, Writer, content, folded, record_sets, states

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frozen).decode


class Told:
    """``Writings`` of records as a log has them."""

    account = ACCOUNT

    def __init__(self, records: Iterable[Record]) -> None:
        self.known: dict[bytes, Writing] = {one.id: written(one) for one in records}

    def of(self, ids: Sequence[bytes]) -> Mapping[bytes, Writing]:
        return {one: self.known[one] for one in ids if one in self.known}


def written(record: Record) -> Writing:
    event = record.event
    return Writing(event.device, event.epoch, event.seq, event.version, event.deps, event.stamp)


def documents_of(records: Iterable[Record], section: str = "order") -> list[tuple[str, bytes]]:
    found = states(folded(records))
    return [(key.id, state) for key, state in found.items() if key.type == section]


def over_the_wire(frozen: Frozen) -> Frozen:
    return _decode(_encode(frozen))


def ids_told(records: Sequence[Record], writings: Told | None, section: str = "order") -> int:
    """How many ids of events are in what ``records`` come to, frozen; it thaws to the same."""
    documents = documents_of(records, section)
    frozen = over_the_wire(freeze(section, documents, writings))
    assert thaw(section, frozen) == documents
    return sum(_count(table.told) for table in frozen.tables)


def _count(node: Any) -> int:
    """Ids in a node: 34 bytes each."""
    if node[0] == SAME:
        return 1 if node[1] else 0
    return len(node[-1]) // 34


@given(record_sets(), st.booleans(), st.data())
def test_documents_of_any_records_come_back(
    records: list[Record], known: bool, data: st.DataObject
) -> None:
    """Whatever devices said, and however much of its writing is known, every document comes back
    byte for byte (SYN-01, I-10)."""
    some = [one for one in records if known and data.draw(st.booleans())]
    for section in {key.type for key in folded(records)}:
        documents = documents_of(records, section)
        frozen = over_the_wire(freeze(section, documents, Told(some)))
        assert thaw(section, frozen) == documents


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=200)), max_size=30))
def test_what_is_no_state_comes_back_as_well(documents: list[tuple[str, bytes]]) -> None:
    """Bytes that are no state of a document are left whole (SYN-01)."""
    frozen = over_the_wire(freeze("order", documents, None))
    assert thaw("order", frozen) == documents


def sales(count: int) -> tuple[list[Record], list[Record]]:
    """Orders of a phone, and what the books answered to each."""
    phone, books = Writer(1), Writer(2, Origin.SINK)
    said = [
        phone.says(p.OrderCommitted(f"o-{n}", content(number=f"N-{n}")), 10 * n)
        for n in range(count)
    ]
    answers = [
        books.says(p.OrderEstimated(f"o-{n}", "books", f"{n}", f"{n + 7}", 100), 10 * n + 5)
        for n in range(count)
    ]
    return said, answers


def test_ids_that_follow_from_the_facts_are_not_told() -> None:
    """Of orders with the answers of the books, written one after the other, no id is told: the
    first event of a device has nothing before it (SYN-01)."""
    said, answers = sales(40)
    records = [*said, *answers]
    assert ids_told(records, None) == 80
    assert ids_told(records, Told(records)) == 0


def test_a_run_begins_with_an_id_that_is_told() -> None:
    """Where the event before one is not in the chunk, or nothing is known of it, one id is told and
    those behind it are computed (SYN-01)."""
    said, answers = sales(40)
    records = [*said[10:], *answers]
    assert ids_told(records, Told(records)) == 1
    assert ids_told(records, Told([*said[:20], *said[21:], *answers])) == 3


def test_deps_that_documents_do_not_keep_are_told() -> None:
    """Of a kind whose deps are not in the document they are told beside it, so that the ids behind
    come right (SYN-01)."""
    phone = Writer(1)
    first = phone.says(p.CustomerCreated("c-0", p.CustomerFields(name="Ana")), 0)
    rest = [
        phone.says(
            p.CustomerCreated(f"c-{n}", p.CustomerFields(name="Bea")), n, [first.id] * (n % 2)
        )
        for n in range(1, 9)
    ]
    records = [first, *rest]
    assert ids_told(records, Told(records), "customer") == 0
    phone = Writer(1)
    sealed = [
        phone.says(p.OrderCommitted(f"o-{n}", content()), n, [first.id] * (n % 3)) for n in range(9)
    ]
    assert ids_told(sealed, Told(sealed)) == 0


def test_a_clock_that_was_put_right_costs_no_ids() -> None:
    """Merge stamps that the door has shifted lead back to what the device wrote; where only the
    order of receipt is left of a time, the id is told (SYN-01, CON-08)."""
    phone = Writer(1)
    raw = [phone.says(p.OrderCommitted(f"o-{n}", content()), 90_000 + n) for n in range(9)]
    shifted = [one._replace(stamp=make_stamp(n, 0, phone.device[8:])) for n, one in enumerate(raw)]
    assert ids_told(shifted, Told(shifted)) == 0
    shifted[4] = shifted[4]._replace(stamp=make_stamp(4, 1, phone.device[8:]))
    assert ids_told(shifted, Told(shifted)) == 1


def test_what_is_written_differently_is_told() -> None:
    """An id that does not come out right, because the payload is a newer version's or what is known
    is wrong, is told, and so is nothing else (SYN-01)."""
    said, _ = sales(9)
    told = Told(said)
    told.known[said[4].id] = told.known[said[4].id]._replace(version=2)
    assert ids_told(said, told) == 1
    told.known[said[6].id] = told.known[said[6].id]._replace(seq=77)
    assert ids_told(said, told) == 3


def test_a_huge_state_is_left_whole() -> None:
    """A document larger than what may be taken apart is in the chunk as it is (SYN-01)."""
    phone = Writer(1)
    memo = "x" * 4_000
    edits = [
        phone.says(p.NoteEdited("order", "o-1", memo.encode() * 8), n)
        for n in range(CHUNK_APART_BYTES_MAX // 32_000 + 1)
    ]
    documents = documents_of(edits, "note")
    frozen = freeze("note", documents, Told(edits))
    assert frozen.whole == [documents[0][1]]
    assert thaw("note", frozen) == documents


def good() -> list[Any]:
    """A frozen order and its answer as plain values, to be spoiled."""
    said, answers = sales(3)
    records = [*said, *answers]
    found: list[Any] = msgspec.msgpack.decode(
        _encode(freeze("order", documents_of(records), Told(records)))
    )
    return found


COUNT, CHAINS, SHAPES, WHICH, WHOLE, TABLES = 0, 2, 4, 5, 6, 7
STAMPS, ORIGINS, DEPS, BODIES, HOW, IDS, CHAIN, SEQ, VERSION, SHIFT, CAUSES = range(11)


@pytest.mark.parametrize(
    ("at", "bad"),
    [
        ([COUNT], 4),
        ([COUNT], 1 << 50),
        ([CHAINS], []),
        ([SHAPES], [[["order.committed", 1]]]),
        ([SHAPES], [[["order.committed", 1 << 50], ["order.estimated", 1]]]),
        ([SHAPES], []),
        ([WHICH], [SAME, b"\x01"]),
        ([WHICH], [SAME, b"\xff"]),
        ([WHOLE], [b"\x80"]),
        ([TABLES, 0, STAMPS], [SAME, b"\xc4\x0f" + bytes(15)]),
        ([TABLES, 0, ORIGINS], [SAME, b"\xa1a"]),
        ([TABLES, 0, DEPS], [SAME, b"\xc0"]),
        ([TABLES, 0, BODIES], [SAME, b"\xc0"]),
        ([TABLES, 0, BODIES], [SAME, b""]),
        ([TABLES, 0, HOW], [SAME, b"\x00"]),
        ([TABLES, 0, IDS], [0]),
        ([TABLES, 0, CHAIN], [SAME, b"\x09"]),
        ([TABLES, 0, SEQ], [SAME, b"\x05"]),
        ([TABLES, 0, SEQ], [SAME, b"\x00"]),
        ([TABLES, 0, VERSION], [SAME, b"\xc0"]),
        ([TABLES, 0, SHIFT], [SAME, msgspec.msgpack.encode(1 << 48)]),
        ([TABLES, 0, CAUSES], [SAME, b"\x01"]),
        ([TABLES, 0], [[SAME, b""]] * 10),
    ],
)
def test_frozen_nonsense_is_malformed(at: list[int], bad: Any) -> None:
    """A chunk that contradicts itself is refused, whichever part of it does."""
    found = good()
    thaw("order", msgspec.convert(found, Frozen))
    into = found
    for step in at[:-1]:
        into = into[step]
    into[at[-1]] = bad
    with pytest.raises((Malformed, msgspec.ValidationError)):
        thaw("order", msgspec.convert(found, Frozen))


@given(st.data())
def test_a_changed_byte_is_malformed_or_something_else(data: st.DataObject) -> None:
    """What was frozen, with one byte changed, is refused or is other documents (I-10)."""
    wire = bytearray(msgspec.msgpack.encode(good()))
    wire[data.draw(st.integers(0, len(wire) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with suppress(Malformed, msgspec.MsgspecError, UnicodeDecodeError):
        frozen = _decode(bytes(wire))
        assert len(thaw("order", frozen)) == frozen.count
