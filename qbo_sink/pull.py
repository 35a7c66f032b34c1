"""The pull: what others changed there since the last run, as visible states, never silent.

Change data capture with an overlap of five minutes; our own writes come back and are recognised by
their sync token. A gap longer than Intuit keeps, or an answer that is full, is left to the
comparison of everything (quickbooks.md §1.9, §2.5).
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from qbo_sink import compare
from qbo_sink.connections import Connections
from qbo_sink.ledger import Ledger
from qbo_sink.model import Entity, JsonObject, Key
from qbo_sink.rows import Mapping
from qbo_sink.session import Session
from qbo_sink.wire import Answer, decode_body
from replica.limits import (
    QBO_CHANGES_MAX,
    QBO_CHANGES_OVERLAP_MS,
    QBO_CHANGES_WINDOW_MS,
)

ENTITIES = (Entity.CUSTOMER, Entity.ITEM, Entity.ESTIMATE)


class Pull:
    """Pulls for one account during one run."""

    def __init__(self, session: Session, ledger: Ledger, connections: Connections) -> None:
        self._session = session
        self._ledger = ledger
        self._connections = connections

    async def run(self) -> tuple[int, list[str]]:
        """How many things others changed, and what there is to say about it."""
        now_ms = self._session.now_ms()
        stored = self._session.link.changes_since
        since_ms = _parse(stored) if stored else now_ms
        if now_ms - since_ms >= QBO_CHANGES_WINDOW_MS:
            since_ms = now_ms
            notes = ["The last pull was too long ago; run a comparison to see every change."]
        else:
            notes = []
        since = _iso(since_ms - QBO_CHANGES_OVERLAP_MS)
        reply = await self._session.changes(",".join(ENTITIES), since)
        if not isinstance(reply, Answer) or reply.faults or reply.status != 200:
            return 0, [
                *notes,
                "QuickBooks did not say what changed there; the next run asks again.",
            ]
        body = reply.body or {}
        changed = total = 0
        for entity in ENTITIES:
            rows = _rows(body, entity)
            total += len(rows)
            changed += await self._take(entity, rows)
        if total >= QBO_CHANGES_MAX:
            notes.append("More changed there than one answer holds; run a comparison.")
        server_time = str(body.get("time") or "") or _iso(now_ms)
        await asyncio.to_thread(
            self._connections.update, self._session.account, changes_since=server_time
        )
        return changed, notes

    async def _take(self, entity: Entity, rows: list[JsonObject]) -> int:
        """Note what became of the entities that are ours; wake rows that waited for it."""
        ids = [str(row["Id"]) for row in rows if row.get("Id")]
        known = await asyncio.to_thread(self._ledger.mapped_by_id, self._session.realm, entity, ids)
        changed = 0
        woken: list[Key] = []
        for row in rows:
            mapping = known.get(str(row.get("Id")))
            if mapping is None or str(row.get("SyncToken", "")) == mapping.sync_token:
                continue
            state = _state(entity, row, mapping)
            # A token that moved while the fields we own did not (another field, a link) is taken
            # up, so that our next update starts from it.
            token = str(row["SyncToken"]) if "SyncToken" in row and state in _OURS else None
            if state != mapping.drift or token is not None:
                await asyncio.to_thread(
                    self._ledger.drifted, self._session.account, mapping.key, state, token
                )
            changed += state != mapping.drift
            woken.append(mapping.key)
        if woken and entity is not Entity.ESTIMATE:
            await asyncio.to_thread(self._ledger.wake, self._session.account)
        return changed


_OURS = ("", "invoiced")


def _state(entity: Entity, row: JsonObject, mapping: Mapping) -> str:
    if row.get("status") == "Deleted":
        return "deleted"
    if entity is not Entity.ESTIMATE:
        return "" if row.get("Active", True) else "inactive"
    snapshot = decode_body(mapping.snapshot.encode()) if mapping.snapshot else {}
    return compare.drift(row, snapshot, Decimal(mapping.total) if mapping.total else None)


def _rows(body: JsonObject, entity: str) -> list[JsonObject]:
    return [
        row
        for response in body.get("CDCResponse") or []
        for part in response.get("QueryResponse") or []
        for row in part.get(entity) or []
    ]


def _parse(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return 0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)


def _iso(ms: int) -> str:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return moment.isoformat(timespec="seconds")
