"""Documents with what membership of a scope asks of them, in the order they changed.

Every record touches one document, so the position of its newest record is each document's own:
pages by position are without gaps and without doubles (wire-protocol.md §14).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from replica.crdt.documents import DocKey
from replica.crdt.scope import Facet
from replica.events.event import AccountId
from replica.limits import PROJECTION_KEYS_MAX
from replica.projections import tables as t
from replica.projections.statements import chunked


class Row(NamedTuple):
    """One document as membership sees it; ``size`` is that of its state in bytes."""

    key: DocKey
    hash: bytes
    position: int
    facet: Facet
    size: int


def changed_after(connection: Connection, account: AccountId, position: int) -> Iterator[Row]:
    """Every document that a record after ``position`` touched, oldest change first."""
    c = t.documents.c
    columns = (c.type, c.id, c.hash, c.position, c.about, c.authors, func.length(c.state))
    query = select(*columns).where(c.account == account, c.position > position).order_by(c.position)
    rows = connection.execute(query, execution_options={"yield_per": PROJECTION_KEYS_MAX})
    for kind, identity, value, changed, about, authors, size in rows:
        yield Row(DocKey(kind, identity), bytes(value), changed, Facet(about, bytes(authors)), size)


def states(
    connection: Connection, account: AccountId, keys: Sequence[DocKey]
) -> dict[DocKey, bytes]:
    """The states of those of ``keys`` that there are, in their order."""
    c = t.documents.c
    found: dict[DocKey, bytes] = {}
    for kind in {key.type for key in keys}:
        for ids in chunked([key.id for key in keys if key.type == kind]):
            query = select(c.id, c.state).where(c.account == account, c.type == kind, c.id.in_(ids))
            found.update(
                (DocKey(kind, identity), bytes(state))
                for identity, state in connection.execute(query)
            )
    return {key: found[key] for key in keys if key in found}
