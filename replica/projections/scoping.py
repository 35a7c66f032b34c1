"""Documents with what membership of a scope asks of them, in the order they changed.

What was sold of a product (wire-protocol.md §14.5) is one of them, and changes with the record
that changed a sale of it. So a record may stand behind some hundred rows of one position: pages are
without gaps and without doubles when they are cut between two positions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, LargeBinary, Text, func, literal, select, union_all

from replica.crdt.documents import DocKey
from replica.crdt.scope import Facet
from replica.crdt.stock import SOLD
from replica.events.event import AccountId
from replica.limits import PROJECTION_KEYS_MAX
from replica.projections import tables as t
from replica.store.statements import chunked


class Row(NamedTuple):
    """One document as membership sees it; ``size`` is that of its state in bytes."""

    key: DocKey
    hash: bytes
    position: int
    facet: Facet
    size: int


def changed_after(connection: Connection, account: AccountId, position: int) -> Iterator[Row]:
    """Every document that a record after ``position`` touched, oldest change first."""
    c, s = t.documents.c, t.sold.c
    columns = (c.type, c.id, c.hash, c.position, c.about, c.authors, func.length(c.state))
    about = literal("product:", Text) + s.product
    sums = (literal(SOLD, Text), s.product, s.hash, s.position, about, literal(b"", LargeBinary))
    query = union_all(
        select(*columns).where(c.account == account, c.position > position),
        select(*sums, func.length(s.state)).where(s.account == account, s.position > position),
    ).order_by("position")
    rows = connection.execute(query, execution_options={"yield_per": PROJECTION_KEYS_MAX})
    for kind, identity, value, changed, belongs_to, authors, size in rows:
        facet = Facet(belongs_to, bytes(authors))
        yield Row(DocKey(kind, identity), bytes(value), changed, facet, size)


def states(
    connection: Connection, account: AccountId, keys: Sequence[DocKey]
) -> dict[DocKey, bytes]:
    """The states of those of ``keys`` that there are, in their order."""
    c, s = t.documents.c, t.sold.c
    found: dict[DocKey, bytes] = {}
    for kind in {key.type for key in keys}:
        for ids in chunked([key.id for key in keys if key.type == kind]):
            query = select(c.id, c.state).where(c.account == account, c.type == kind, c.id.in_(ids))
            if kind == SOLD:
                query = select(s.product, s.state).where(s.account == account, s.product.in_(ids))
            found.update(
                (DocKey(kind, identity), bytes(state))
                for identity, state in connection.execute(query)
            )
    return {key: found[key] for key in keys if key in found}
