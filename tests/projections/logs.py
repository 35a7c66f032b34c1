"""Logs made of records, and read models as plain values to compare."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import select

from replica.crdt.stock import Sold
from replica.events.event import AccountId, DeviceId, encode_event
from replica.events.ports import AppendRequest, DeviceHead, Log
from replica.events.record import Record, encode_record
from replica.projections import tables as t
from replica.store.engine import Database
from replica.store.memory import MemoryLog, empty_head

# Where and when the log got something is a fact of the log, not of the set of records.
PLACES = {"position", "received_ms"}
# So is whether something was in a sale that another one overruled before or after it came.
NEVER_SOLD = Sold(b"", 0).encode()


def log_of(account: AccountId, records: Sequence[Record], *, run: int = 3) -> MemoryLog:
    """A log that holds ``records`` in this order, in segments of at most ``run``."""
    log = MemoryLog()
    commit(log, account, records, run=run)
    return log


def commit(log: Log, account: AccountId, records: Sequence[Record], *, run: int = 3) -> None:
    for writer, neighbours in groupby(records, lambda record: (record.event.device, record.origin)):
        mine = list(neighbours)
        for at in range(0, len(mine), run):
            _append(log, account, *writer, mine[at : at + run])


def _append(
    log: Log, account: AccountId, device: bytes, origin: int, records: list[Record]
) -> None:
    heads = log.device_heads(account, DeviceId(device))
    before = heads[-1] if heads else empty_head(0)
    seq = before.seq + len(records)
    log.append(
        [
            AppendRequest(
                account=account,
                device=DeviceId(device),
                epoch=0,
                origin=origin,
                received_ms=records[0].received_ms,
                before=before,
                after=DeviceHead(0, seq, records[-1].id, records[-1].stamp),
                ids=tuple(record.id for record in records),
                first_seq=before.seq + 1,
                last_seq=seq,
                records=b"".join(
                    encode_record(encode_event(record.event), record.stamp, record.flags)
                    for record in records
                ),
            )
        ]
    )


def contents(
    views: Database, account: AccountId, *, places: bool = True
) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of ``account``, sorted; without ``places`` only what the set of records says."""
    found = {}
    with views.reading() as connection:
        for table in t.ACCOUNT_TABLES:
            if not places and table in (t.checkpoints, t.failures):
                continue
            columns = [
                column
                for column in table.columns
                if column.name != "account" and (places or column.name not in PLACES)
            ]
            rows = connection.execute(select(*columns).where(table.c.account == account)).all()
            if not places and table is t.sold:
                rows = [row for row in rows if row.state != NEVER_SOLD]
            found[table.name] = sorted((tuple(row) for row in rows), key=repr)
    return found
