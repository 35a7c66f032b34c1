"""Every event that was ever released is still read, checked and folded as on its first day."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.view import view
from replica.events.event import decode_event, encode_event, event_id
from replica.events.kinds import MERGE_RULES_VERSION, REGISTRY, decode_payload
from tests.golden.freeze import FOLDER, file_of, folded, record_of

FILES = sorted(FOLDER.glob("*.json"))


def row_of(path: Path) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return row


def test_every_kind_and_version_is_frozen() -> None:
    """A kind cannot be released without its example, and no example is ever dropped (I-12)."""
    assert {path.name for path in FILES} == {file_of(kind).name for kind in REGISTRY.kinds.values()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_frozen_event_is_read_as_ever(path: Path) -> None:
    """Its bytes are canonical, its id is the recorded one, and its payload passes today's rules
    (I-12, I-13)."""
    row = row_of(path)
    data = bytes.fromhex(row["event"])
    event = decode_event(data)
    assert encode_event(event) == data
    assert event_id(data).hex() == row["id"]
    assert (event.kind, event.version) == (row["kind"], row["version"])
    payload = decode_payload(event)
    assert payload is not None
    assert type(payload) is REGISTRY.newest[event.kind].struct


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_frozen_event_is_folded_as_ever(path: Path) -> None:
    """It gives the document with the recorded hash; other merge rules have to raise their version,
    or replicas of two versions would differ without noticing (I-10, I-11)."""
    row = row_of(path)
    assert row["merge_rules"] == MERGE_RULES_VERSION
    assert folded(row) == {name: row[name] for name in ("document", "merge_rules", "hash")}


def test_all_frozen_events_can_be_looked_at_together() -> None:
    """Folded into one account they give a view of every document."""
    documents: dict[DocKey, Document] = {}
    for path in FILES:
        fold(documents, record_of(row_of(path)))
    assert {view(document)["type"] for document in documents.values()} == {
        kind.name.partition(".")[0] for kind in REGISTRY.kinds.values()
    }
