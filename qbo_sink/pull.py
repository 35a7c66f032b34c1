"""The pull: what others changed there since the last run, as visible states, never silent.

Change data capture with an overlap of five minutes; our own writes come back and are recognised by
their sync token. A gap longer than Intuit keeps is left to reading the lists anew and to the
comparison of everything (quickbooks.md §1.9, §2.5). Lists that capture is silent about are polled.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from sqlalchemy import Engine

from qbo_sink import compare
from qbo_sink.changes import Changes, iso, parse_ms, read_changes
from qbo_sink.connections import Connections
from qbo_sink.conversion import GONE
from qbo_sink.followed import NOTHING, Became
from qbo_sink.judge import DRIFTS
from qbo_sink.ledger import Ledger
from qbo_sink.lists import LISTS
from qbo_sink.liststore import ListStore
from qbo_sink.meeting import Meeting, names_here
from qbo_sink.meeting_store import MeetingStore
from qbo_sink.model import Entity, JsonObject
from qbo_sink.readlists import ListReader
from qbo_sink.rows import Mapping
from qbo_sink.session import Session
from qbo_sink.twoway import standing
from qbo_sink.wire import as_json
from replica.limits import QBO_CHANGES_OVERLAP_MS, QBO_CHANGES_WINDOW_MS

RECORDS = (Entity.CUSTOMER, Entity.ITEM)


class Pull:
    """Pulls for one account during one run."""

    def __init__(
        self,
        session: Session,
        ledger: Ledger,
        connections: Connections,
        lists: ListStore,
        *,
        meeting: Meeting,
        views: Engine,
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._connections = connections
        self._lists = ListReader(session, lists)
        self._list_store = lists
        self._meeting = meeting
        self._views = views
        self._store = MeetingStore(ledger.engine)
        self._invoices: dict[str, str] = {}
        self._survivors: dict[tuple[str, str], str] = {}
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
        records = [*self._labels(), *RECORDS]
        asked = [*records, Entity.ESTIMATE, Entity.INVOICE, *told]
        changes = await read_changes(self._session, asked, since)
        if changes is None:
            self.notes.append("QuickBooks did not say what changed there; the next run asks again.")
            return 0, self.notes
        self._invoices = {
            str(row.get("Id")): str(row.get("DocNumber") or "")
            for row in changes.rows.get(Entity.INVOICE, [])
        }
        changed = await self._read_labels(anew=since_ms == now_ms)
        await self._note_merges(changes)
        for entity in records:
            changed += await self._meet(entity, changes.rows.get(entity, []), changes)
        changed += await self._take(changes.rows.get(Entity.ESTIMATE, []))
        changed += await self._take_invoices(changes.rows.get(Entity.INVOICE, []))
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
        if changes.overflowed & {*RECORDS, Entity.ESTIMATE}:
            self.notes.append("More changed there than can be told; run a comparison.")

    def _labels(self) -> list[Entity]:
        """Classes and departments, as far as the company tracks them (ACC-04)."""
        preferences = self._session.preferences
        found = [Entity.CLASS] if preferences.tracks_classes else []
        return [*found, Entity.DEPARTMENT] if preferences.departments else found

    async def _read_labels(self, *, anew: bool) -> int:
        """Every class and department there is, once; from then on by what changed."""
        found, account = 0, self._session.account
        states = await asyncio.to_thread(self._list_store.states, account)
        for entity in self._labels():
            if entity in states and states[entity].loaded_ms and not anew:
                continue
            now_ms = self._session.now_ms()
            async for page in self._session.pages(entity):
                found += await self._arrive(entity, page)
            await asyncio.to_thread(self._list_store.begin, account, entity, now_ms)
            await asyncio.to_thread(self._list_store.finish, account, entity, now_ms, now_ms)
        return found

    async def _arrive(self, entity: Entity, rows: list[JsonObject]) -> int:
        """Records that were made there, parents before what is below them."""
        ids = [str(row["Id"]) for row in rows]
        known = await asyncio.to_thread(self._ledger.mapped_by_id, self._session.realm, entity, ids)
        fresh = [row for row in rows if str(row["Id"]) not in known]
        fresh.sort(key=lambda row: str(row.get("FullyQualifiedName") or "").count(":"))
        names = [str(row.get("DisplayName") or row.get("Name") or "") for row in fresh]
        taken = await asyncio.to_thread(
            names_here, self._views, self._session.account, entity, names
        )
        return await self._meeting.arrivals(entity, fresh, taken)

    async def _meet(self, entity: Entity, rows: list[JsonObject], changes: Changes) -> int:
        """Take up what others changed of records that both sides change; wake what waited."""
        ids = [str(row["Id"]) for row in rows if row.get("Id")]
        known = await asyncio.to_thread(self._ledger.mapped_by_id, self._session.realm, entity, ids)
        changed = await self._arrive(
            entity, [row for row in rows if str(row.get("Id")) not in known]
        )
        met = 0
        for row in rows:
            link = known.get(str(row.get("Id")))
            if link is None or str(row.get("SyncToken", "")) == link.sync_token:
                continue
            survivor = self._survivors.get((str(entity), link.external_id))
            if survivor is not None:
                there = {str(each.get("Id")): each for each in changes.rows.get(entity, [])}
                await self._meeting.merged(link, survivor, there.get(survivor))
            elif row.get("status") == "Deleted":
                await asyncio.to_thread(
                    self._ledger.drifted, self._session.account, link.key, "deleted"
                )
            else:
                await self._meeting.meet(link, row, standing(entity, row, ""))
            met += 1
        if met:
            await asyncio.to_thread(self._ledger.wake, self._session.account)
        return changed + met

    async def _note_merges(self, changes: Changes) -> None:
        """Names that were merged there: as a webhook told, else as our estimates show it.

        A name is never deleted there; one that is gone was merged, and the documents that named it
        name the one that is left.
        """
        realm, now_ms = self._session.realm, self._session.now_ms()
        self._survivors = await asyncio.to_thread(self._store.survivors, realm)
        gone = {
            str(row["Id"])
            for row in changes.rows.get(Entity.CUSTOMER, [])
            if row.get("status") == "Deleted"
            and (str(Entity.CUSTOMER), str(row["Id"])) not in self._survivors
        }
        if not gone:
            return
        rows = changes.rows.get(Entity.ESTIMATE, [])
        links = await asyncio.to_thread(
            self._ledger.mapped_by_id, realm, Entity.ESTIMATE, [str(row["Id"]) for row in rows]
        )
        for row in rows:
            link = links.get(str(row["Id"]))
            if link is None or not link.snapshot:
                continue
            before, after = (compare.customer_of(each) for each in (link.row, row))
            if before in gone and after and after != before:
                await asyncio.to_thread(
                    self._store.note_merge, realm, str(Entity.CUSTOMER), before, after, now_ms
                )
        self._survivors = await asyncio.to_thread(self._store.survivors, realm)

    async def _take(self, rows: list[JsonObject]) -> int:
        """Note what became of the estimates that are ours."""
        account, changed = self._session.account, 0
        for row, link, before in await self._moved(Entity.ESTIMATE, rows):
            total = Decimal(link.total) if link.total else None
            state = compare.drift(None if row.get("status") == "Deleted" else row, before, total)
            # A token that moved while the fields we own did not (another field, a link) is taken
            # up, so that our next update starts from it.
            token = str(row["SyncToken"]) if "SyncToken" in row and state in _OURS else None
            if state != link.drift or token is not None or state in DRIFTS:
                became = self._became(row, before, state)
                await asyncio.to_thread(
                    self._ledger.drifted, account, link.key, state, token, became, row=row
                )
            changed += state != link.drift
        return changed

    async def _take_invoices(self, rows: list[JsonObject]) -> int:
        """Note what became of invoices of ours. They are the office's to change; what is gone
        shows, and is what a cancelled order waits for."""
        account, changed = self._session.account, 0
        for row, link, before in await self._moved(Entity.INVOICE, rows):
            total = Decimal(link.total) if link.total else None
            state = compare.invoice_drift(row, before, total)
            edited = state in ("changed", "differs")
            became = Became(", ".join(compare.differences(row, before)) if edited else "")
            await asyncio.to_thread(
                self._ledger.drifted,
                account,
                link.key,
                state,
                str(row.get("SyncToken") or link.sync_token),
                became,
                # What our next change starts from; what was gone keeps what it was.
                snapshot=None if edited or state in GONE else as_json(row),
                row=row,
            )
            if state in GONE:
                await asyncio.to_thread(self._ledger.settle, account, link.key)
            changed += state != link.drift
        return changed

    async def _moved(
        self, entity: Entity, rows: list[JsonObject]
    ) -> list[tuple[JsonObject, Mapping, JsonObject]]:
        """Rows that are ours and not as we know them, with our link and what stood there before."""
        ids = [str(row["Id"]) for row in rows if row.get("Id")]
        known = await asyncio.to_thread(self._ledger.mapped_by_id, self._session.realm, entity, ids)
        return [
            (row, link, compare.with_survivors(link.row, self._survivors))
            for row in rows
            if (link := known.get(str(row.get("Id")))) is not None
            and str(row.get("SyncToken", "")) != link.sync_token
        ]

    def _became(self, row: JsonObject, before: JsonObject, state: str) -> Became:
        """What differs, and the invoice that an estimate was converted to."""
        if state == "invoiced":
            invoice = compare.invoice_of(row)
            return Became(document=invoice, number=self._invoices.get(invoice, ""))
        if state not in ("changed", "differs"):
            return NOTHING
        return Became(", ".join(compare.differences(row, before)))


_OURS = ("", "invoiced")
