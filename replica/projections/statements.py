"""Bulk writes of rows: one prepared statement per table, executed over plain tuples.

Rows go to the driver as they are. Building a statement object and a dictionary per row costs more
than folding the event that the row came from.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import cache
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Table

from replica.limits import PROJECTION_KEYS_MAX

Row = tuple[Any, ...]


def upsert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert ``rows`` (all columns, in table order); one with a known key replaces the old one."""
    _many(connection, _insert_text(table, _mark(connection), replaces=True), rows)


def insert_missing(connection: Connection, table: Table, rows: Sequence[Row]) -> int:
    """Insert ``rows``; a row with a known key stays as it was. Returns how many were new."""
    return _many(connection, _insert_text(table, _mark(connection), replaces=False), rows)


def insert(connection: Connection, table: Table, rows: Sequence[Row]) -> None:
    """Insert ``rows``, none of which is there."""
    _many(connection, _plain_insert_text(table, _mark(connection)), rows)


def delete_under(connection: Connection, table: Table, keys: Collection[Row]) -> None:
    """Delete the rows whose first key columns equal one of ``keys``, all of one length."""
    if keys:
        width = len(next(iter(keys)))
        columns = tuple(column.name for column in list(table.primary_key)[:width])
        delete_where(connection, table, columns, keys)


def delete_where(
    connection: Connection, table: Table, columns: tuple[str, ...], keys: Collection[Row]
) -> None:
    """Delete the rows whose ``columns`` equal one of ``keys``."""
    _many(connection, _delete_text(table, columns, _mark(connection)), list(keys))


def chunked(keys: Collection[str]) -> Iterator[list[str]]:
    """``keys`` in lists short enough for one IN (…)."""
    rest = iter(keys)
    while chunk := list(islice(rest, PROJECTION_KEYS_MAX)):
        yield chunk


def _many(connection: Connection, text: str, rows: Sequence[Row]) -> int:
    return connection.exec_driver_sql(text, list(rows)).rowcount if rows else 0


def _mark(connection: Connection) -> str:
    return "?" if connection.dialect.paramstyle == "qmark" else "%s"


@cache
def _plain_insert_text(table: Table, mark: str) -> str:
    names = ", ".join(column.name for column in table.columns)
    marks = ", ".join(mark for _ in table.columns)
    return f"INSERT INTO {table.name} ({names}) VALUES ({marks})"  # noqa: S608  names are ours


@cache
def _insert_text(table: Table, mark: str, *, replaces: bool) -> str:
    keys = ", ".join(column.name for column in table.primary_key)
    others = [column.name for column in table.columns if not column.primary_key]
    assigned = ", ".join(f"{name} = excluded.{name}" for name in others)
    action = f"DO UPDATE SET {assigned}" if replaces else "DO NOTHING"
    return f"{_plain_insert_text(table, mark)} ON CONFLICT ({keys}) {action}"


@cache
def _delete_text(table: Table, columns: tuple[str, ...], mark: str) -> str:
    tests = " AND ".join(f"{name} = {mark}" for name in columns)
    return f"DELETE FROM {table.name} WHERE {tests}"  # noqa: S608  names are ours
