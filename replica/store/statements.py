"""Bulk writes of rows: one prepared statement per table, executed over plain tuples.

Rows go to the driver as they are. Building a statement object and a dictionary per row costs more
than folding the event that the row came from.

SQLite takes many rows in one statement. It gives the interpreter away for each statement, and a
thread that wants it back waits for whoever has it: a commit of fifty rows in fifty statements takes
longer for waiting than for writing while the event loop is busy. PostgreSQL's driver sends the rows
of one statement together.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache, partial
from itertools import chain, islice
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

from replica.limits import PROJECTION_KEYS_MAX

Row = tuple[Any, ...]
T = TypeVar("T")


_ROWS_AT_ONCE = (64, 32, 16, 8, 4, 2, 1)
"""Rows of a statement on SQLite. Few sizes, so that each stays prepared."""


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert ``rows`` (all columns, in table order); one with a known key replaces the old one."""
    _many(connection, rows, partial(_insert_text, table, "replaces"))


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert ``rows``; a row with a known key stays as it was. Returns how many were new."""
    return _many(connection, rows, partial(_insert_text, table, "keeps"))


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert ``rows``, none of which is there."""
    _many(connection, rows, partial(_insert_text, table, ""))


def update(
    connection: Connection, table: Table, columns: tuple[str, ...], rows: Sequence[Row]
) -> None:
    """Give ``columns`` new values in rows that are there; ``rows`` hold the key and the values."""
    _many(connection, rows, partial(_update_text, table, columns))


def delete_under(connection: Connection, table: Table, keys: Collection[Row]) -> None:
    """Delete the rows whose first key columns equal one of ``keys``, all of one length."""
    if keys:
        width = len(next(iter(keys)))
        delete_where(connection, table, _key_columns(table)[:width], keys)


def delete_where(
    connection: Connection, table: Table, columns: tuple[str, ...], keys: Collection[Row]
) -> None:
    """Delete the rows whose ``columns`` equal one of ``keys``."""
    _many(connection, list(keys), partial(_delete_text, table, columns))


def chunked(keys: Collection[T]) -> Iterator[list[T]]:
    """``keys`` in lists short enough for one IN (…)."""
    rest = iter(keys)
    while chunk := list(islice(rest, PROJECTION_KEYS_MAX)):
        yield chunk


def _many(connection: Connection, rows: Sequence[Row], text: Callable[[str], str]) -> int:
    """Execute the statement whose text is ``text(rows of marks)``; gives how many rows it meant."""
    if not rows:
        return 0
    if connection.dialect.paramstyle != "qmark":
        return connection.exec_driver_sql(text(_marks("%s", len(rows[0]), 1)), list(rows)).rowcount
    count = at = 0
    for size in _ROWS_AT_ONCE:
        while len(rows) - at >= size:
            some = rows[at : at + size]
            statement = text(_marks("?", len(rows[0]), size))
            count += connection.exec_driver_sql(statement, tuple(chain(*some))).rowcount
            at += size
    return count


@cache
def _marks(mark: str, width: int, rows: int) -> str:
    return ", ".join([f"({', '.join([mark] * width)})"] * rows)


def _key_columns(table: Table) -> tuple[str, ...]:
    return tuple(column.name for column in table.primary_key)


@cache
def _insert_text(table: Table, known: str, marks: str) -> str:
    names = ", ".join(column.name for column in table.columns)
    text = f"INSERT INTO {table.name} ({names}) VALUES {marks}"  # noqa: S608  names are ours
    others = [column.name for column in table.columns if not column.primary_key]
    assigned = ", ".join(f"{name} = excluded.{name}" for name in others)
    action = {"replaces": f"DO UPDATE SET {assigned}", "keeps": "DO NOTHING"}.get(known)
    return f"{text} ON CONFLICT ({', '.join(_key_columns(table))}) {action}" if action else text


@cache
def _update_text(table: Table, columns: tuple[str, ...], marks: str) -> str:
    keys = _key_columns(table)
    assigned = ", ".join(f"{name} = new.{name}" for name in columns)
    same = " AND ".join(f"{table.name}.{name} = new.{name}" for name in keys)
    new = f"WITH new ({', '.join((*keys, *columns))}) AS (VALUES {marks})"
    return f"{new} UPDATE {table.name} SET {assigned} FROM new WHERE {same}"  # noqa: S608


@cache
def _delete_text(table: Table, columns: tuple[str, ...], marks: str) -> str:
    named = ", ".join(columns)
    return f"DELETE FROM {table.name} WHERE ({named}) IN (VALUES {marks})"  # noqa: S608
