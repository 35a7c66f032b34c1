"""What the door kept out of the log: shown to the office, held against dependants.

A quarantined event is whole and its author knows; a refused one is known by its hash and the
reason (reliability I-19). Only the author can correct an event: it is signed into the chain of its
device, so it is never let in as it is (docs/decisions/0006).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, func, select

from replica.crdt.documents import DocKey, tag_event, tag_node
from replica.crdt.fold import about
from replica.events.event import AccountId, Event, decode_event, device_node
from replica.events.ports import Log
from replica.projections import queries
from replica.projections.why import witness
from replica.server.stores import Stores
from replica.store.engine import Database
from replica.store.tables import asides
from replica.sync.remedies import fix


class Kept(NamedTuple):
    """One event kept aside: cause, and fix in words. ``whole`` says that its bytes were kept: it
    is in quarantine. ``kind``, ``type`` and ``document`` are what it means to be about, empty when
    that cannot be told; ``waiting`` are the ids of listed events that wait for it, directly or
    not. ``said_since`` is the newest event of this kind that this device has written about the
    document since: the correction, if there is one.
    """

    device: bytes
    epoch: int
    seq: int
    id: bytes
    code: str
    detail: str
    received_ms: int
    whole: bool
    fix: str
    kind: str
    type: str
    document: str
    waiting: tuple[bytes, ...]
    said_since: bytes = b""


def quarantined(database: Database, account: AccountId) -> set[bytes]:
    """Ids of the account's quarantined events. Blocking."""
    query = select(asides.c.id).where(asides.c.account == account, func.length(asides.c.event) > 0)
    with database.reading() as connection:
        return {bytes(identity) for identity in connection.execute(query).scalars()}


def kept(stores: Stores, account: AccountId, limit: int) -> list[Kept]:
    """The newest events kept aside. Blocking."""
    rows = _newest(stores.database, account, limit)
    with stores.views.reading() as connection:
        return [
            row._replace(said_since=_said_since(connection, stores.log, account, row))
            for row in rows
        ]


def _said_since(connection: Connection, log: Log, account: AccountId, row: Kept) -> bytes:
    key = DocKey(row.type, row.document)
    document = queries.document(connection, account, key) if row.document else None
    facts = document.facts.get(row.kind, ()) if document else ()
    node = device_node(row.device)
    for fact in reversed(facts):  # tags of one device rise with its seqs: its newest one decides
        if tag_node(fact.tag) == node:
            seen = witness(log, account, [row.device], fact.tag)
            event = seen.record.event if seen else None
            later = event is not None and (event.epoch, event.seq) > (row.epoch, row.seq)
            return tag_event(fact.tag) if later else b""
    return b""


def _newest(database: Database, account: AccountId, limit: int) -> list[Kept]:
    a = asides.c
    query = (
        select(a.device, a.epoch, a.seq, a.id, a.code, a.detail, a.received_ms, a.event)
        .where(a.account == account)
        .order_by(a.received_ms.desc(), a.device, a.seq)
        .limit(limit)
    )
    with database.reading() as connection:
        rows = connection.execute(query).all()
    events = {bytes(row.id): decode_event(bytes(row.event)) for row in rows if row.event}
    return [_kept(tuple(row[:7]), bytes(row.id), events) for row in rows]


def _kept(
    columns: tuple[bytes, int, int, bytes, str, str, int],
    identity: bytes,
    events: dict[bytes, Event],
) -> Kept:
    event = events.get(identity)
    key = about(event) if event else None
    return Kept(
        *columns,
        whole=event is not None,
        fix=fix(columns[4]),
        kind=event.kind if event else "",
        type=key.type if key else "",
        document=key.id if key else "",
        waiting=_waiting(identity, events),
    )


def _waiting(identity: bytes, events: dict[bytes, Event]) -> tuple[bytes, ...]:
    """Events that name ``identity`` among their causes, and those that name them in turn."""
    found = [identity]
    for cause in found:
        found.extend(
            other for other, event in events.items() if cause in event.deps and other not in found
        )
    return tuple(found[1:])
