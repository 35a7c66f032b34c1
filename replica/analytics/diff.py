"""What changed between two moments: records that came, went, and the cells that differ.

apply(compare(before, after), before) == after
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from msgspec import UNSET

Row = Mapping[str, Any]


class Cell(NamedTuple):
    """One value of one record, before and after; ``UNSET`` where the record has no such column."""

    id: str
    column: str
    before: Any
    after: Any


class Difference(NamedTuple):
    """Rows that only one side has, and cells of rows that both have; everything sorted."""

    added: tuple[Row, ...]
    removed: tuple[Row, ...]
    changed: tuple[Cell, ...]


def compare(before: Iterable[Row], after: Iterable[Row]) -> Difference:
    """Differences between two tables of one section; rows have an ``id``."""
    old, new = {row["id"]: row for row in before}, {row["id"]: row for row in after}
    return Difference(
        added=tuple(new[key] for key in sorted(new.keys() - old.keys())),
        removed=tuple(old[key] for key in sorted(old.keys() - new.keys())),
        changed=tuple(
            cell
            for key in sorted(new.keys() & old.keys())
            for cell in _cells(key, old[key], new[key])
            if cell.before != cell.after
        ),
    )


def _cells(key: str, old: Row, new: Row) -> Iterator[Cell]:
    for column in dict.fromkeys((*new, *old)):
        yield Cell(key, column, old.get(column, UNSET), new.get(column, UNSET))


def apply(difference: Difference, before: Sequence[Row]) -> list[Row]:
    """``before`` as the difference leaves it, by id."""
    rows = {row["id"]: dict(row) for row in before}
    for row in difference.removed:
        del rows[row["id"]]
    for cell in difference.changed:
        if cell.after is UNSET:
            del rows[cell.id][cell.column]
        else:
            rows[cell.id][cell.column] = cell.after
    rows.update({row["id"]: dict(row) for row in difference.added})
    return [rows[key] for key in sorted(rows)]
