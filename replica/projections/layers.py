"""Documents in bulk: what changed after a position, as chunks are cut from it.

The order is that of ``replica.crdt.priority``, but for whose a sale is: those lie by author, so
that few chunks hold what one device sold, and whoever serves that device puts these first. Else
they lie as they changed, which is mostly as their events were written: these follow each other in a
chunk then (``replica.sync.frozen``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, select

from replica.crdt import priority as order
from replica.crdt.digest import DIGEST_MODULUS, SectionTotal
from replica.crdt.documents import DocKey
from replica.events.event import AccountId, Position
from replica.limits import PROJECTION_KEYS_MAX
from replica.projections import tables as t
from replica.sync.chunks import Kept

_DELETABLE: dict[str, Table] = {"product": t.products, "customer": t.customers}


class Standing(NamedTuple):
    """What the documents of an account are the fold of, by which rules, and what they amount to."""

    position: Position
    chain: bytes
    fingerprint: bytes
    sections: tuple[SectionTotal, ...]

    @property
    def total(self) -> int:
        """The sum of the hashes of all documents."""
        return sum(int.from_bytes(one.digest, "big") for one in self.sections) % DIGEST_MODULUS


class Stretch(NamedTuple):
    """Documents of one section, in order; they are read while they are consumed."""

    section: str
    documents: Iterator[Kept]


def standing(connection: Connection, account: AccountId) -> Standing | None:
    """None before the first step. Take it and what it is about from one transaction."""
    c = t.checkpoints.c
    row = connection.execute(
        select(c.position, c.chain, c.fingerprint).where(c.account == account)
    ).first()
    if row is None:
        return None
    s = t.section_totals.c
    totals = connection.execute(
        select(s.section, s.count, s.digest).where(s.account == account).order_by(s.section)
    )
    return Standing(
        Position(row.position),
        bytes(row.chain),
        bytes(row.fingerprint),
        tuple(SectionTotal(name, count, bytes(digest)) for name, count, digest in totals if count),
    )


def gone(connection: Connection, account: AccountId) -> set[DocKey]:
    """The products and customers that are deleted."""
    return {
        DocKey(section, identity)
        for section, table in _DELETABLE.items()
        for identity in connection.execute(
            select(table.c.id).where(table.c.account == account, table.c.present == 0)
        ).scalars()
    }


def changed_after(
    connection: Connection, account: AccountId, sections: Sequence[str], position: int
) -> Iterator[Stretch]:
    """Documents of ``sections`` that a record after ``position`` touched, most urgent first; sales
    by author.

    Consume each stretch before the next one.
    """
    known = sorted(sections, key=lambda section: (order.priority(section), section))
    c = t.documents.c

    def stretch(section: str, *tests: ColumnElement[bool]) -> Stretch:
        query = (
            select(c.id, c.state, c.authors)
            .where(c.account == account, c.type == section, c.position > position, *tests)
            .order_by(*([c.authors] if section in order.SALES else []), c.position)
        )
        rows = connection.execute(query, execution_options={"yield_per": PROJECTION_KEYS_MAX})
        return Stretch(section, (_kept(section, *row) for row in rows))

    gone = {
        section: select(table.c.id).where(table.c.account == account, table.c.present == 0)
        for section, table in _DELETABLE.items()
        if section in known
    }
    for section, ids in gone.items():
        yield stretch(section, c.id.in_(ids))
    for section in known:
        present = [c.id.not_in(gone[section])] if section in gone else []
        yield stretch(section, *present)


def _kept(section: str, identity: str, state: bytes, authors: bytes) -> Kept:
    return Kept(identity, bytes(state), bytes(authors) if section in order.SALES else b"")
