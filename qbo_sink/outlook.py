"""What a pull would bring, said before it: the plan of a Sync Now (architecture.md §9).

Reads what changed there since the last pull, as the pull will, and asks the same pure rules what
each change would take and give up. Writes nothing, so the pull finds everything as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from qbo_sink import compare, twoway
from qbo_sink.changes import Changes, iso, parse_ms, read_changes, updated_ms
from qbo_sink.ledger import Ledger
from qbo_sink.meeting import TYPES, Meeting
from qbo_sink.merge3 import Merged
from qbo_sink.model import Entity, JsonObject, decode_wanted
from qbo_sink.rows import Mapping as Link
from qbo_sink.session import Session
from replica.limits import QBO_CHANGES_OVERLAP_MS, QBO_CHANGES_WINDOW_MS, SINK_ROWS_MAX
from replica.sink import Incoming, Outlook

_BECAME = {
    "deleted": "deleted there",
    "differs": "another amount there",
    "changed": "changed there",
    "invoiced": "invoiced there",
    "": "as it was here again",
}


async def look(session: Session, ledger: Ledger, meeting: Meeting) -> Outlook:
    """What changed there since the last pull. Costs one metered read, seldom more."""
    stored, now_ms = session.link.changes_since, session.now_ms()
    since_ms = parse_ms(stored) if stored else 0
    if now_ms - since_ms >= QBO_CHANGES_WINDOW_MS:
        return Outlook("The run reads everything anew; what is changed there shows then.")
    preferences = session.preferences
    tracked = {
        Entity.CLASS: preferences.tracks_classes,
        Entity.DEPARTMENT: preferences.departments,
    }
    records = [entity for entity in TYPES if tracked.get(entity, True)]
    since = iso(since_ms - QBO_CHANGES_OVERLAP_MS)
    changes = await read_changes(session, [*records, Entity.ESTIMATE], since)
    if changes is None:
        return Outlook("QuickBooks did not say what changed there.")
    return await asyncio.to_thread(_told, session, ledger, meeting, changes, records)


def _told(
    session: Session, ledger: Ledger, meeting: Meeting, changes: Changes, records: list[Entity]
) -> Outlook:
    found: list[Incoming] = []
    for entity in (*records, Entity.ESTIMATE):
        rows = [row for row in changes.rows.get(entity, []) if row.get("Id")]
        ids = [str(row["Id"]) for row in rows]
        links = ledger.mapped_by_id(session.realm, entity, ids)
        fresh = [
            (links.get(str(row["Id"])), row)
            for row in rows
            if str(row["Id"]) not in links
            or str(row.get("SyncToken", "")) != links[str(row["Id"])].sync_token
        ]
        if entity is Entity.ESTIMATE:
            found.extend(_estimates(fresh))
        else:
            new = [row for link, row in fresh if link is None and meeting.is_new(entity, row)]
            found.extend(_arrival(entity, row) for row in new)
            both = [(link, row) for link, row in fresh if link is not None]
            found.extend(_records(ledger, session.account, entity, both))
    text = "as QuickBooks said"
    if changes.overflowed or len(found) > SINK_ROWS_MAX:
        text = "more changed there than can be told"
    return Outlook(text, session.now_ms(), found[:SINK_ROWS_MAX])


def _records(
    ledger: Ledger,
    account: bytes,
    entity: Entity,
    rows: Sequence[tuple[Link, JsonObject]],
) -> Iterator[Incoming]:
    """Records of both sides, merged as the pull will merge them."""
    contents = ledger.wanted(account, [link.key for link, _ in rows])
    for link, row in rows:
        key = link.key
        if key not in contents:
            continue
        wanted = decode_wanted(entity, contents[key])
        name = str(getattr(wanted, "name", ""))
        if row.get("status") == "Deleted":
            yield Incoming(key.local_type, key.local_id, name, "deleted there")
            continue
        merged = twoway.meet(wanted, link, twoway.there(entity, row), updated_ms(row))
        if merged.take or merged.overruled:
            yield Incoming(
                key.local_type,
                key.local_id,
                name,
                "changed",
                [f"{field}: {_words(value)}" for field, value in merged.take.items()],
                _lost(merged, "theirs"),
                _lost(merged, "ours"),
            )


def _arrival(entity: Entity, row: JsonObject) -> Incoming:
    return Incoming(TYPES[entity], "", str(twoway.there(entity, row)["name"]), "new here")


def _lost(merged: Merged, kept: str) -> list[str]:
    """The values that give way where ``kept`` counts, each with what takes its place."""
    return [
        f"{one.field}: {_words(one.ours)} gives way to {_words(one.theirs)}"
        if kept == "theirs"
        else f"{one.field}: {_words(one.theirs)} gives way to {_words(one.ours)}"
        for one in merged.overruled
        if one.kept == kept
    ]


def _estimates(rows: Iterable[tuple[Link | None, JsonObject]]) -> Iterator[Incoming]:
    """Estimates of ours that the office changed; those it made itself stay there."""
    for link, row in rows:
        if link is None:
            continue
        before = link.row
        total = Decimal(link.total) if link.total else None
        state = compare.drift(row, before, total)
        if state != link.drift:
            fields = compare.differences(row, before) if state in ("changed", "differs") else []
            became = _BECAME.get(state, state)
            yield Incoming(link.key.local_type, link.key.local_id, link.number, became, fields)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(str(part) for part in value.values() if part) or "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value in (None, "") else str(value)
