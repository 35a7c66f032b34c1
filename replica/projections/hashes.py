"""Documents by their hashes: what a device that differs compares, and asks for (wire-protocol.md
§13.3).

Take what belongs together from one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from replica.crdt.documents import DocKey
from replica.events.event import AccountId
from replica.limits import PROJECTION_KEYS_MAX
from replica.projections import tables as t


def changed_after(
    connection: Connection, account: AccountId, position: int
) -> Iterator[tuple[DocKey, bytes]]:
    """Key and hash of every document that a record after ``position`` touched."""
    c = t.documents.c
    query = select(c.type, c.id, c.hash).where(c.account == account, c.position > position)
    rows = connection.execute(query, execution_options={"yield_per": PROJECTION_KEYS_MAX})
    return ((DocKey(kind, identity), bytes(value)) for kind, identity, value in rows)


def states(
    connection: Connection, account: AccountId, hashes: Sequence[bytes], limit_bytes: int
) -> list[tuple[DocKey, bytes]]:
    """Documents that have one of ``hashes`` now: at least one if there is any, then as many as fit
    into ``limit_bytes`` of states. ``hashes`` go into one statement: some hundred at a time."""
    c = t.documents.c
    query = select(c.type, c.id, c.state).where(c.account == account, c.hash.in_(hashes))
    found: list[tuple[DocKey, bytes]] = []
    for kind, identity, state in connection.execute(query):
        if found and len(state) > limit_bytes:
            break
        limit_bytes -= len(state)
        found.append((DocKey(kind, identity), bytes(state)))
    return found
