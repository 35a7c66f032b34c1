"""The pulled lists in the ledger's database: written by the pull, read in pages.

All methods block and are one transaction each. What was pulled can always be pulled again, so
nothing here is needed for exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, func, insert, select, tuple_, update

from qbo_sink import schema
from qbo_sink.lists import DELETED, ListRow
from qbo_sink.rows import parts, reading, upsert, writing

_lists, _rows = schema.lists, schema.list_rows
SORTS = {
    "label": (_rows.c.label, False),
    "number": (_rows.c.number, False),
    "date": (_rows.c.date, False),
    "-date": (_rows.c.date, True),
    "amount": (_rows.c.amount_e4, False),
    "-amount": (_rows.c.amount_e4, True),
}
"""What a list can be sorted by, and whether the greatest comes first."""


@dataclass(frozen=True)
class ListState:
    """Where the pull of one list stands. Times in epoch milliseconds, 0 for never."""

    name: str
    loaded_ms: int = 0
    pulled_ms: int = 0
    began_ms: int = 0
    next_start: int = 0
    reason: str = ""
    refused_ms: int = 0
    rows: int = 0


class Shown(NamedTuple):
    """One row for a page."""

    external_id: str
    state: str
    values: dict[str, str]


@dataclass(frozen=True)
class Page:
    """Some rows, and the key to ask for the next ones with; None after the last."""

    rows: Sequence[Shown] = field(default_factory=list)
    after: tuple[str | int, str] | None = None


class ListStore:
    """``qbo_lists`` and ``qbo_list_rows`` of all accounts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def states(self, account: bytes) -> dict[str, ListState]:
        """Every list that was ever pulled, with the number of its rows that still stand there."""
        with reading(self._engine) as connection:
            counted = connection.execute(
                select(_rows.c.list, func.count().label("rows"))
                .where(_rows.c.account == account, _rows.c.state != DELETED)
                .group_by(_rows.c.list)
            )
            counts = {row.list: row.rows for row in counted}
            found = connection.execute(select(_lists).where(_lists.c.account == account))
            names = [name for name in ListState.__dataclass_fields__ if name != "rows"]
            return {
                row.name: ListState(
                    **{name: getattr(row, name) for name in names}, rows=counts.get(row.name, 0)
                )
                for row in found
            }

    def begin(self, account: bytes, name: str, now_ms: int) -> None:
        """A reading of the whole list begins."""
        self._set(account, name, began_ms=now_ms, next_start=1)

    def take_page(
        self, account: bytes, name: str, rows: Iterable[ListRow], *, began_ms: int, next_start: int
    ) -> None:
        """A page of the reading that began at ``began_ms``, and where it goes on."""
        with writing(self._engine) as connection:
            upsert(connection, _rows, _values(account, name, rows, began_ms), _KEY)
            connection.execute(_of(account, name).values(next_start=next_start))

    def finish(self, account: bytes, name: str, began_ms: int, now_ms: int) -> int:
        """The reading is through: what it did not show is gone there. How many those are."""
        gone = and_(
            _rows.c.account == account,
            _rows.c.list == name,
            _rows.c.seen_ms < began_ms,
            _rows.c.state != DELETED,
        )
        with writing(self._engine) as connection:
            swept = connection.execute(update(_rows).where(gone).values(state=DELETED)).rowcount
            done = {"loaded_ms": began_ms, "pulled_ms": now_ms, "began_ms": 0, "next_start": 0}
            connection.execute(_of(account, name).values(**done, reason="", refused_ms=0))
        return swept

    def take_changes(
        self,
        account: bytes,
        name: str,
        rows: Iterable[ListRow],
        deleted: Sequence[str],
        now_ms: int,
    ) -> int:
        """What change data capture told of a list that was read through. How many rows are other
        than they were: the window overlaps with the last one, and most of it is known."""
        with writing(self._engine) as connection:
            values = _values(account, name, rows, now_ms)
            changed = _unlike(connection, account, name, values, deleted)
            upsert(connection, _rows, values, _KEY)
            for part in parts(list(deleted)):
                connection.execute(
                    update(_rows)
                    .where(
                        _rows.c.account == account,
                        _rows.c.list == name,
                        _rows.c.external_id.in_(part),
                    )
                    .values(state=DELETED, seen_ms=now_ms)
                )
            connection.execute(_of(account, name).values(pulled_ms=now_ms, reason=""))
        return changed

    def refused(self, account: bytes, name: str, reason: str, now_ms: int) -> None:
        """QuickBooks does not tell this list, or not now; the page shows why, the others go on."""
        self._set(account, name, reason=reason, refused_ms=now_ms)

    def page(
        self,
        account: bytes,
        name: str,
        *,
        text: str = "",
        state: str | None = None,
        sort: str = "label",
        after: tuple[str | int, str] | None = None,
        limit: int = 50,
    ) -> Page:
        """Rows by ``sort`` (``SORTS``), those with ``text`` in them; ``state`` picks one state."""
        column, falling = SORTS[sort]
        keys = (column, _rows.c.external_id)
        query = select(_rows, column.label("key")).where(
            _rows.c.account == account, _rows.c.list == name
        )
        if text:
            query = query.where(_rows.c.text.contains(text.strip().casefold(), autoescape=True))
        if state is not None:
            query = query.where(_rows.c.state == state)
        if after is not None:
            bound = tuple_(*keys)
            query = query.where(bound < after if falling else bound > after)
        order = [key.desc() if falling else key for key in keys]
        with reading(self._engine) as connection:
            found = connection.execute(query.order_by(*order).limit(limit + 1)).all()
        rows = [Shown(row.external_id, row.state, json.loads(row.content)) for row in found[:limit]]
        last = found[limit - 1] if len(found) > limit else None
        return Page(rows, None if last is None else (last.key, last.external_id))

    def contents(self, account: bytes, name: str) -> dict[str, dict[str, str]]:
        """Every row that stands there, by its id. For small lists (tax codes)."""
        with reading(self._engine) as connection:
            found = connection.execute(
                select(_rows.c.external_id, _rows.c.content).where(
                    _rows.c.account == account, _rows.c.list == name, _rows.c.state == ""
                )
            )
            return {row.external_id: json.loads(row.content) for row in found}

    def _set(self, account: bytes, name: str, **values: Any) -> None:
        with writing(self._engine) as connection:
            changed = connection.execute(_of(account, name).values(**values))
            if not changed.rowcount:
                connection.execute(insert(_lists).values(account=account, name=name, **values))


_KEY = ["account", "list", "external_id"]


def _of(account: bytes, name: str) -> Any:
    return update(_lists).where(_lists.c.account == account, _lists.c.name == name)


def _unlike(
    connection: Connection,
    account: bytes,
    name: str,
    values: list[dict[str, Any]],
    deleted: Sequence[str],
) -> int:
    """How many of ``values`` and of the ``deleted`` are not stored like that yet."""
    told = {row["external_id"]: (row["state"], row["content"]) for row in values}
    stored: dict[str, tuple[str, str]] = {}
    for part in parts([*told, *deleted]):
        query = select(_rows.c.external_id, _rows.c.state, _rows.c.content).where(
            _rows.c.account == account, _rows.c.list == name, _rows.c.external_id.in_(part)
        )
        stored.update(
            {row.external_id: (row.state, row.content) for row in connection.execute(query)}
        )
    gone = sum(one in stored and stored[one][0] != DELETED for one in deleted)
    return gone + sum(stored.get(one) != now for one, now in told.items())


def _values(
    account: bytes, name: str, rows: Iterable[ListRow], seen_ms: int
) -> list[dict[str, Any]]:
    return [
        {
            "account": account,
            "list": name,
            "external_id": row.external_id,
            "label": row.label,
            "number": row.number,
            "date": row.date,
            "amount_e4": row.amount_e4,
            "state": row.state,
            "text": row.text,
            "content": json.dumps(row.values, ensure_ascii=False, sort_keys=True),
            "seen_ms": seen_ms,
        }
        for row in rows
    ]
