"""The stored vectors are what the code produces, and the code accepts them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from replica.crdt.text import note_text
from replica.events.event import decode_event, event_id
from replica.events.kinds import decode_payload
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


def test_the_samples_say_what_they_mean() -> None:
    """The order's total is right and the note is readable, so that clients can check theirs."""
    assert money()["content_total_minor"] == CONTENT.total_minor
    (update,) = [payload.update for payload in PAYLOADS if hasattr(payload, "update")]
    assert note_text([update]) == ("hi", ())
