"""Which documents of a scope come next to a device that has none of them yet (SYN-01).

Documents that did not change since the first page was made keep their place in the order, and those
that did come with the pages after it. So nothing has to be remembered between two pages: a queue
that is kept spares making it anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

from replica.crdt.documents import DocKey
from replica.crdt.priority import nodes_in, priority
from replica.limits import SCOPE_PAGE_BYTES_TARGET
from replica.projections.scoping import Row
from replica.sync.scope import Ahead


class Queue(NamedTuple):
    """What had not changed since ``position``, as (priority, its position, key, size), in order."""

    position: int
    due: list[tuple[int, int, DocKey, int]]


def line_up(
    rows: Iterable[Row], position: int, nodes: Container[bytes], gone: Container[DocKey]
) -> Queue:
    """``nodes`` are the devices of the user, ``gone`` what is deleted."""

    def rank(row: Row) -> int:
        own = any(node in nodes for node in nodes_in(row.facet.authors))
        return int(priority(row.key.type, own=own, gone=row.key in gone))

    due = [(rank(row), row.position, row.key, row.size) for row in rows if row.position <= position]
    return Queue(position, sorted(due))


def choose(
    queue: Queue, now: Mapping[DocKey, Row], ahead: Ahead
) -> tuple[list[DocKey], Ahead | None]:
    """What follows ``ahead`` and fits into a page, of what is in scope and unchanged ``now``; and
    how far that is, None when nothing is left. Within a priority, documents of one position are not
    parted."""
    chosen: list[DocKey] = []
    size, last = 0, (ahead.rank, ahead.at)
    start = bisect_right(queue.due, last, key=lambda one: one[:2])
    for rank, at, key, weight in queue.due[start:]:
        row = now.get(key)
        if row is None or row.position != at:
            continue
        if chosen and (rank, at) != last and size + weight > SCOPE_PAGE_BYTES_TARGET:
            return chosen, Ahead(queue.position, *last)
        size += weight
        chosen.append(key)
        last = (rank, at)
    return chosen, None
