"""Whether the stored documents are what the log says: a fresh fold of it, compared by digests."""

from __future__ import annotations

from typing import NamedTuple

from replica.crdt.digest import SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.events.event import AccountId, Position
from replica.events.ports import Log, walk
from replica.events.record import records
from replica.projections import queries
from replica.store.engine import Database


class Checked(NamedTuple):
    """What a check found at ``position``. ``folded`` says whether the log was folded again; if not,
    nothing is known of the documents. ``unlike`` are the sections that differ then."""

    position: Position
    folded: bool
    unlike: tuple[str, ...] = ()


def check(views: Database, log: Log, account: AccountId, limit: int) -> Checked:
    """Fold the log of ``account`` again, up to where its documents stand, and compare.

    A log of more than ``limit`` events is not folded. Changes nothing. Blocking.

    What differs is damage: the caller's duty is to say so, and the remedy is a rebuild.
    """
    with views.reading() as connection:
        position, stored = queries.sections(connection, account)
    if position > limit:
        return Checked(position, folded=False)
    documents: dict[DocKey, Document] = {}
    for segment in walk(log, account, Position(0)):
        if segment.first > position:
            break
        for _, record in records(segment):
            fold(documents, record)
    totals = SectionTotals()
    for key, document in documents.items():
        totals.add(key, document.encode())
    ours, fresh = {one for one in stored if one.count}, set(totals.sections())
    return Checked(position, folded=True, unlike=tuple(sorted({one[0] for one in ours ^ fresh})))
