"""The pull: what others changed there since the last run, as visible states, never silent.

Change data capture with an overlap of five minutes; our own writes come back and are recognised by
their sync token. A gap longer than Intuit keeps is left to reading the lists anew and to the
comparison of everything (quickbooks.md §1.9, §2.5). Lists that capture is silent about are polled.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from qbo_sink import compare
from qbo_sink.changes import Changes, iso, parse_ms, read_changes
from qbo_sink.connections import Connections
from qbo_sink.followed import NOTHING, Became
from qbo_sink.ledger import Ledger
from qbo_sink.lists import LISTS
from qbo_sink.liststore import ListStore
from qbo_sink.model import Entity, JsonObject, Key
from qbo_sink.readlists import ListReader
from qbo_sink.rows import Mapping
from qbo_sink.session import Session
from qbo_sink.wire import decode_body
from replica.limits import QBO_CHANGES_OVERLAP_MS, QBO_CHANGES_WINDOW_MS

ENTITIES = (Entity.CUSTOMER, Entity.ITEM, Entity.ESTIMATE)


class Pull:
    """Pulls for one account during one run."""

    def __init__(
        self, session: Session, ledger: Ledger, connections: Connections, lists: ListStore
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._connections = connections
        self._lists = ListReader(session, lists)
        self._invoices: dict[str, str] = {}
        self.notes: list[str] = []

    async def run(self) -> tuple[int, list[str]]:
        """How many things others changed, and what there is to say about it."""
        await self._lists.prepare()
        now_ms = self._session.now_ms()
        stored = self._session.link.changes_since
        since_ms = parse_ms(stored) if stored else now_ms
        if now_ms - since_ms >= QBO_CHANGES_WINDOW_MS:
            since_ms = now_ms
            self.notes.append("The last pull was too long ago; run a comparison to see the rest.")
            self._lists.read_all_anew()
        listed = [spec.entity for spec in LISTS.values() if not spec.polled]
        told = [entity for entity in listed if self._lists.may_ask(entity)]
        since = iso(since_ms - QBO_CHANGES_OVERLAP_MS)
        changes = await read_changes(self._session, [*ENTITIES, "Invoice", *told], since)
        if changes is None:
            self.notes.append("QuickBooks did not say what changed there; the next run asks again.")
            return 0, self.notes
        self._invoices = {
            str(row.get("Id")): str(row.get("DocNumber") or "")
            for row in changes.rows.get("Invoice", [])
        }
        changed = 0
        for entity in ENTITIES:
            changed += await self._take(entity, changes.rows.get(entity, []))
        changed += await self._lists.take(changes)
        self._say_overflow(changes)
        await asyncio.to_thread(
            self._connections.update,
            self._session.account,
            changes_since=changes.server_time or iso(now_ms),
        )
        changed += await self._lists.read_due()
        return changed, self.notes

    def _say_overflow(self, changes: Changes) -> None:
        if changes.overflowed & set(ENTITIES):
            self.notes.append("More changed there than can be told; run a comparison.")

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
                    self._ledger.drifted,
                    self._session.account,
                    mapping.key,
                    state,
                    token,
                    self._became(row, mapping, state),
                )
            changed += state != mapping.drift
            woken.append(mapping.key)
        if woken and entity is not Entity.ESTIMATE:
            await asyncio.to_thread(self._ledger.wake, self._session.account)
        return changed

    def _became(self, row: JsonObject, mapping: Mapping, state: str) -> Became:
        """What differs, and the invoice that an estimate was converted to."""
        if mapping.key.entity is not Entity.ESTIMATE:
            return NOTHING
        if state == "invoiced":
            invoice = compare.invoice_of(row)
            return Became(document=invoice, number=self._invoices.get(invoice, ""))
        if state not in ("changed", "differs"):
            return NOTHING
        snapshot = decode_body(mapping.snapshot.encode()) if mapping.snapshot else {}
        return Became(", ".join(compare.differences(row, snapshot)))


_OURS = ("", "invoiced")


def _state(entity: Entity, row: JsonObject, mapping: Mapping) -> str:
    if row.get("status") == "Deleted":
        return "deleted"
    if entity is not Entity.ESTIMATE:
        return "" if row.get("Active", True) else "inactive"
    snapshot = decode_body(mapping.snapshot.encode()) if mapping.snapshot else {}
    return compare.drift(row, snapshot, Decimal(mapping.total) if mapping.total else None)
