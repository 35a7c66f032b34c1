"""Change data capture: everything that changed since a moment, however much (quickbooks.md §1.9).

One call asks for all entities. An answer that is full, or a refusal because of one of them, is
asked again entity by entity; a full answer for one entity goes on from the newest time it showed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from qbo_sink.faults import Expired, Throttled, classify
from qbo_sink.model import JsonObject
from qbo_sink.session import Session
from qbo_sink.wire import Answer, Reply
from replica.limits import QBO_CHANGES_CALLS_MAX, QBO_CHANGES_MAX


@dataclass
class Changes:
    """What changed. ``server_time`` is where the next call goes on from."""

    server_time: str = ""
    rows: dict[str, list[JsonObject]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)  # entity → why it was not told
    overflowed: set[str] = field(default_factory=set)  # more changed than can be told


async def read_changes(session: Session, entities: Sequence[str], since: str) -> Changes | None:
    """Everything that changed since ``since``; None when there was no answer at all.

    Raises nothing. Costs one metered read, and more only where one answer does not hold it.
    """
    reply = await session.changes(",".join(entities), since)
    body = _body(reply)
    if body is not None:
        found = Changes(server_time=str(body.get("time") or ""))
        found.rows = {entity: rows_of(body, entity) for entity in entities}
        if sum(len(rows) for rows in found.rows.values()) < QBO_CHANGES_MAX:
            return found
    elif not _is_refusal(reply):
        return None
    found = Changes()
    for entity in entities:
        if not await _read_one(session, entity, since, found):
            return None
    return found


async def _read_one(session: Session, entity: str, since: str, found: Changes) -> bool:
    """One entity, in as many calls as it takes; False when the company stopped answering."""
    kept: dict[str, JsonObject] = {}
    for _ in range(QBO_CHANGES_CALLS_MAX):
        reply = await session.changes(entity, since)
        body = _body(reply)
        if body is None:
            if session.halted or not isinstance(reply, Answer) or not _is_refusal(reply):
                return False
            fault = reply.faults[0]
            found.refused[entity] = f"{fault.message} {fault.detail}".strip()
            break
        found.server_time = found.server_time or str(body.get("time") or "")
        rows = rows_of(body, entity)
        kept |= {str(row.get("Id")): row for row in rows}
        newest = max((updated(row) for row in rows), default="")
        if len(rows) < QBO_CHANGES_MAX:
            break
        if parse_ms(newest) <= parse_ms(since):
            found.overflowed.add(entity)
            break
        since = newest
    else:
        found.overflowed.add(entity)
    found.rows[entity] = list(kept.values())
    return True


def rows_of(body: JsonObject, entity: str) -> list[JsonObject]:
    """The changed rows of one entity in an answer."""
    return [
        row
        for response in body.get("CDCResponse") or []
        for part in response.get("QueryResponse") or []
        for row in part.get(entity) or []
    ]


def updated(row: JsonObject) -> str:
    """When a row was changed there, as it says it; "" when it does not."""
    return str((row.get("MetaData") or {}).get("LastUpdatedTime") or "")


def updated_ms(row: JsonObject) -> int:
    """The same in epoch milliseconds, 0 when it does not say."""
    return parse_ms(updated(row))


def _is_refusal(reply: Reply) -> bool:
    """Whether QuickBooks said no to what was asked, rather than to being asked at all."""
    if not isinstance(reply, Answer) or not reply.faults:
        return False
    return not isinstance(classify(reply, ""), Throttled | Expired)


def _body(reply: Reply) -> JsonObject | None:
    usable = isinstance(reply, Answer) and not reply.faults and reply.status == 200
    return (reply.body or {}) if usable and isinstance(reply, Answer) else None


def parse_ms(text: str) -> int:
    """An ISO 8601 time in epoch milliseconds, UTC where it names no offset; 0 for none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def iso(ms: int) -> str:
    """Epoch milliseconds as QuickBooks takes a time, to the second."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="seconds")
