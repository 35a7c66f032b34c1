"""The stored vectors are what the code produces, and the code accepts them."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from replica.crdt.text import note_text
from replica.events.event import decode_event, event_id
from replica.events.kinds import decode_payload
from replica.sync.chunks import ChunkInfo, inflate_chunk, open_chunk
from replica.sync.columns import LISTS, Unpacker, numbers
from replica.sync.frozen import COMPUTED, PLACED, TOLD
from tests.vectors.chunk import made as chunk_made
from tests.vectors.make import CONTENT, FILES, FOLDER, PAYLOADS, money, text_of


def stored(name: str) -> Any:
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_stored_vectors_are_what_the_code_makes(name: str) -> None:
    """No format changes unnoticed: a client in another language can rely on the files (I-10)."""
    assert (FOLDER / name).read_text(encoding="utf-8") == text_of(name)


def test_the_stored_events_are_accepted() -> None:
    """Every event vector decodes, is known, keeps its rules, and chains to the one before it."""
    heads: dict[str, str] = {}
    for row in stored("event.json"):
        data = bytes.fromhex(row["event"])
        event = decode_event(data)
        assert event_id(data).hex() == row["id"]
        assert decode_payload(event) is not None
        assert heads.get(row["device"], "00" * 32) == row["prev"]
        heads[row["device"]] = row["id"]


def test_the_stored_chunk_is_what_it_says() -> None:
    """The columns of the chunk vector, in every way there is, are put together to their values; the
    chunk is opened to its documents, whose ids of events are told or computed (SYN-01, SYN-17)."""
    held = stored("chunk.json")
    unpacker, ways = Unpacker(), set()
    for row in held["columns"]:
        node = msgspec.msgpack.decode(bytes.fromhex(row["node"]))
        ways.add(node[0])
        assert [one.hex() for one in unpacker.unpack(node, len(row["values"]))] == row["values"]
    assert ways == set(range(LISTS + 1))
    chunk, data = held["chunk"], bytes.fromhex(held["chunk"]["data"])
    info = ChunkInfo(chunk["sha256"], len(data), chunk["section"], chunk["count"])
    found = [{"id": one.id, "state": one.state.hex()} for one in open_chunk(info, data)]
    assert found == chunk["documents"] == chunk_made()["chunk"]["documents"]
    frozen = inflate_chunk(info, data)
    how = numbers(Unpacker().unpack(frozen.tables[0].how, 6))
    assert set(how) == {TOLD, PLACED, COMPUTED}


def test_the_samples_say_what_they_mean() -> None:
    """The order's total is right and the note is readable, so that clients can check theirs."""
    assert money()["content_total_minor"] == CONTENT.total_minor
    (update,) = [payload.update for payload in PAYLOADS if hasattr(payload, "update")]
    assert note_text([update]) == ("hi", ())
