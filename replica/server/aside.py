"""What the door kept out of the log: shown to the office, held against dependants.

A quarantined event is whole and its author knows; a refused one is known by its hash and the
reason (reliability I-19).
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select

from replica.events.event import AccountId
from replica.store.engine import Database
from replica.store.tables import asides


class Kept(NamedTuple):
    """One event kept aside. ``whole`` says that its bytes were kept: it is in quarantine."""

    device: bytes
    epoch: int
    seq: int
    id: bytes
    code: str
    detail: str
    received_ms: int
    whole: bool


def quarantined(database: Database, account: AccountId) -> set[bytes]:
    """Ids of the account's quarantined events. Blocking."""
    query = select(asides.c.id).where(asides.c.account == account, func.length(asides.c.event) > 0)
    with database.reading() as connection:
        return {bytes(identity) for identity in connection.execute(query).scalars()}


def kept(database: Database, account: AccountId, limit: int) -> list[Kept]:
    """The newest events kept aside. Blocking."""
    a = asides.c
    query = (
        select(
            a.device,
            a.epoch,
            a.seq,
            a.id,
            a.code,
            a.detail,
            a.received_ms,
            (func.length(a.event) > 0).label("whole"),
        )
        .where(a.account == account)
        .order_by(a.received_ms.desc(), a.device, a.seq)
        .limit(limit)
    )
    with database.reading() as connection:
        return [Kept(*row) for row in connection.execute(query)]
