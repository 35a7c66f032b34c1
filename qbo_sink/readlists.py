"""Reading the accounting lists: through once, then by what changed, or by asking again.

A reading is bounded per run and goes on where it stopped. A list that QuickBooks refuses (the
connected user may not see employees, say) shows the reason; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from qbo_sink.changes import Changes
from qbo_sink.lists import BY_ENTITY, LISTS, ListSpec, is_deleted, to_row, with_rates
from qbo_sink.liststore import ListState, ListStore
from qbo_sink.model import JsonObject
from qbo_sink.session import Session, Unanswered
from qbo_sink.wire import BOTH_STATES, select
from replica.limits import (
    QBO_LIST_PAGES_PER_RUN,
    QBO_PAGE_ROWS,
    QBO_POLL_AGE_MS,
    QBO_REFUSED_AGE_MS,
)


class ListReader:
    """Reads the lists of one account during one run. :meth:`prepare` comes first."""

    def __init__(self, session: Session, store: ListStore) -> None:
        self._session = session
        self._store = store
        self._states: dict[str, ListState] = {}
        self._anew = False

    async def prepare(self) -> None:
        """Look up where every list stands."""
        self._states = await asyncio.to_thread(self._store.states, self._session.account)

    def read_all_anew(self) -> None:
        """What changed is not known any more: every list is due."""
        self._anew = True

    def may_ask(self, entity: str) -> bool:
        """Whether it is worth asking what changed of ``entity``."""
        state = self._state(BY_ENTITY[entity])
        begun = state.loaded_ms > 0 or state.began_ms > 0
        return begun and not self._is_refused(state)

    async def take(self, changes: Changes) -> int:
        """Write down what changed; how many rows that were."""
        changed = 0
        now_ms = self._session.now_ms()
        account = self._session.account
        for entity, spec in BY_ENTITY.items():
            if entity in changes.refused:
                reason = changes.refused[entity]
                await asyncio.to_thread(self._store.refused, account, spec.name, reason, now_ms)
                continue
            if entity not in changes.rows:
                continue
            rows = changes.rows[entity]
            gone = [str(row["Id"]) for row in rows if is_deleted(row)]
            kept = [to_row(spec, row) for row in rows if not is_deleted(row)]
            changed += await asyncio.to_thread(
                self._store.take_changes, account, spec.name, kept, gone, now_ms
            )
            if entity in changes.overflowed:
                await asyncio.to_thread(self._store.begin, account, spec.name, now_ms)
        await self.prepare()
        return changed

    async def read_due(self) -> int:
        """Read through what was never read, what was not finished, and what is polled."""
        read = 0
        for spec in LISTS.values():
            if self._session.halted:
                break
            if self._is_due(spec):
                read += await self._read(spec)
        return read

    def _state(self, spec: ListSpec) -> ListState:
        return self._states.get(spec.name, ListState(spec.name))

    def _is_refused(self, state: ListState) -> bool:
        age_ms = self._session.now_ms() - state.refused_ms
        return bool(state.reason) and age_ms < QBO_REFUSED_AGE_MS

    def _is_due(self, spec: ListSpec) -> bool:
        state = self._state(spec)
        if self._is_refused(state):
            return False
        old = self._session.now_ms() - state.pulled_ms >= QBO_POLL_AGE_MS
        return self._anew or not state.loaded_ms or state.began_ms > 0 or (spec.polled and old)

    async def _read(self, spec: ListSpec) -> int:
        account, state = self._session.account, self._state(spec)
        began_ms, start = state.began_ms, state.next_start
        if not began_ms or self._anew:
            began_ms, start = self._session.now_ms(), 1
            await asyncio.to_thread(self._store.begin, account, spec.name, began_ms)
        read = 0
        try:
            for _ in range(QBO_LIST_PAGES_PER_RUN):
                rows = await self._page(spec, start)
                if not rows:
                    now_ms = self._session.now_ms()
                    await asyncio.to_thread(
                        self._store.finish, account, spec.name, began_ms, now_ms
                    )
                    break
                # The codes that every US company has stand on top of a page and are no part of it.
                start += sum("SyncToken" in row for row in rows)
                read += len(rows)
                await asyncio.to_thread(
                    self._store.take_page,
                    account,
                    spec.name,
                    [to_row(spec, row) for row in rows if row.get("Id")],
                    began_ms=began_ms,
                    next_start=start,
                )
        except Unanswered as error:
            if self._session.halted:
                return read  # the company as a whole does not answer now
            now_ms = self._session.now_ms()
            await asyncio.to_thread(self._store.refused, account, spec.name, str(error), now_ms)
        return read

    async def _page(self, spec: ListSpec, start: int) -> Sequence[JsonObject]:
        conditions = (BOTH_STATES,) if spec.names and not spec.polled else ()
        statement = select(spec.entity, *conditions, start=start, limit=QBO_PAGE_ROWS)
        rows = await self._session.query(statement, spec.entity)
        if spec.entity != "TaxCode" or not rows:
            return rows
        rates = await self._session.query(select("TaxRate", BOTH_STATES), "TaxRate")
        return with_rates(rows, rates)
