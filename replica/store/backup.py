"""Backups of the SQLite log, their proof, and what a restore has to do.

A backup is taken while the server runs and is worth something only once it was opened and its
chain walked (reliability §2.3 "backup during writes"). A restore forgets what came after it, so it
starts a new generation: devices notice and offer again what was forgotten (D5).
PostgreSQL has tools of its own for copying; :func:`verify` and :func:`raise_generation` serve both.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import DBAPIError

from replica.errors import CorruptionError, MisuseError, StorageFull, StoreUnavailable
from replica.events.event import GENESIS, AccountId, Position, decode_event, event_id
from replica.events.record import Segment, extend_chain, raw_records
from replica.store.engine import Database, flush, open_sqlite, read_engine, sqlite_module
from replica.store.faults import translate
from replica.store.sql import SEGMENT_COLUMNS
from replica.store.tables import asides, device_heads, logs, segments


class Proof(NamedTuple):
    """An account's log, walked from its first event to its head and found unbroken."""

    account: AccountId
    position: Position
    chain: bytes


_Chain = tuple[bytes, int]  # device and epoch
_Ends = set[tuple[int, bytes]]  # seqs and ids that may be the end of a chain


def backup(source: Path, target: Path) -> list[Proof]:
    """Copy the live database ``source`` to the new file ``target`` and prove the copy.

    Works beside a running server. ``target`` appears under its name only when it is complete,
    verified and on disk. Raises ``MisuseError`` when it exists, ``CorruptionError`` when the copy
    does not verify; then keep older backups and run `replica doctor`. Raises ``StorageFull``,
    ``StoreUnavailable`` or ``StoreFailed`` when a disk does not do what it is asked.
    """
    if target.exists():
        raise MisuseError(f"{target.name} exists already")
    with _typed(target):
        partial = _clean_partial(target)
        try:
            os.close(os.open(partial, os.O_CREAT | os.O_RDWR, 0o600))
            with closing(sqlite_module().connect(source)) as connection:
                connection.execute("VACUUM INTO ?", (str(partial),))
            proofs = verify_file(partial)
            flush(partial)
            partial.rename(target)
            flush(target.parent)
        finally:
            _clean_partial(target)
    return proofs


@contextmanager
def _typed(target: Path) -> Iterator[None]:
    """Errors of the system and of the driver in our words."""
    module = sqlite_module()
    try:
        yield
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        family = StorageFull if full else StoreUnavailable
        raise family(f"{target.name} cannot be made: {error.strerror}") from error
    except module.Error as error:
        ours = translate(DBAPIError.instance("VACUUM INTO", None, error, module.Error))
        raise ours or StoreUnavailable(f"{target.name} cannot be made: {error}") from error


def _clean_partial(target: Path) -> Path:
    """Where a copy grows until it is worth its name, with nothing left of an earlier try: SQLite
    would take an old write-ahead log for a part of the new copy."""
    partial = target.with_name(target.name + ".partial")
    for leftover in target.parent.glob(partial.name + "*"):
        leftover.unlink()
    return partial


def verify_file(path: Path) -> list[Proof]:
    """Check the pages of an SQLite file, then its logs. Raises as :func:`verify`."""
    engine = read_engine(path)
    with closing(Database(write=engine, read=engine)) as database:
        try:
            with database.reading() as connection:
                verdict = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()
            if verdict != "ok":
                raise _broken(f"{path.name}: {verdict}")
            return verify(database)
        except DBAPIError as error:  # such as a table that is not there any more
            raise _broken(f"{path.name} is not a log: {error.orig}") from error


def verify(database: Database) -> list[Proof]:
    """Walk every account's log: positions without a gap, every event's hash, every chain hash.

    Raises ``CorruptionError`` with the account and the position of the first thing wrong
    (reliability I-22, I-23). Reads everything: not for a request's way.
    """
    with database.reading() as connection:
        heads = connection.execute(select(logs).order_by(logs.c.account)).all()
        return [
            _walk(connection, AccountId(head.account), head.position, head.chain) for head in heads
        ]


def raise_generation(database: Database, *, now_ms: int) -> None:
    """Start a new generation of every account's log; call once after a restore.

    The number is the second of the restore, so that restoring one backup twice gives two
    generations and not one number for two histories.
    """
    with database.writing() as connection:
        for row in connection.execute(select(logs.c.account, logs.c.generation)).all():
            connection.execute(
                update(logs)
                .where(logs.c.account == row.account)
                .values(generation=max(row.generation + 1, now_ms // 1_000))
            )


def restore(source: Path, target: Path, *, now_ms: int) -> list[Proof]:
    """Put the verified backup ``source`` in the place of the missing database ``target``.

    Raises ``MisuseError`` while ``target`` exists: moving a damaged database aside is the
    operator's decision. Raises ``CorruptionError`` when the backup does not verify, and what
    :func:`backup` raises of disks.
    """
    if target.exists():
        raise MisuseError(
            f"{target.name} exists", hint="move it and its -wal and -shm files aside, and keep them"
        )
    proofs = verify_file(source)
    with _typed(target):
        partial = _clean_partial(target)
        shutil.copyfile(source, partial)
        partial.chmod(0o600)
        with closing(open_sqlite(partial)) as database:
            raise_generation(database, now_ms=now_ms)
            database.checkpoint(empty=True)
        flush(partial)
        partial.rename(target)
        flush(target.parent)
        _clean_partial(target)
    return proofs


def _walk(connection: Connection, account: AccountId, position: int, chain: bytes) -> Proof:
    last, computed = 0, bytes(GENESIS)
    ends: dict[_Chain, _Ends] = {}
    for segment in _segments(connection, account):
        events = [data for data, _, _ in raw_records(segment)]
        ids = [event_id(data) for data in events]
        computed = extend_chain(computed, ids)
        if segment.first != last + 1 or segment.chain != computed:
            raise _broken(f"log of account {account.hex()} breaks at position {segment.first}")
        last = segment.last
        # Later segments hold later seqs of their chain, so the last one seen is the furthest.
        ends[segment.device, segment.epoch] = {(decode_event(events[-1]).seq, ids[-1])}
    if (last, computed) != (position, chain):
        raise _broken(f"log of account {account.hex()} ends at {last}, its head says {position}")
    _check_heads(connection, account, ends)
    return Proof(account, Position(last), computed)


def _check_heads(connection: Connection, account: AccountId, ends: dict[_Chain, _Ends]) -> None:
    """Every device chain has to end where its head says: at an event in the log or beside it."""
    query = select(asides).where(asides.c.account == account)
    for row in connection.execute(query.execution_options(yield_per=64)):
        if row.event and event_id(row.event) != row.id:
            raise _broken(f"an event kept aside from device {row.device.hex()} is damaged")
        ends.setdefault((row.device, row.epoch), set()).add((row.seq, row.id))
    heads = connection.execute(select(device_heads).where(device_heads.c.account == account))
    known = {(row.device, row.epoch): (row.seq, row.hash) for row in heads}
    for chain in ends.keys() | known.keys():
        seen = ends.get(chain, set())
        head = known.get(chain)
        if head not in seen or head[0] != max(seq for seq, _ in seen):
            raise _broken(f"the head of device {chain[0].hex()} does not fit what is stored of it")


def _broken(message: str) -> CorruptionError:
    return CorruptionError(message, hint="restore a backup; devices offer again what it lacks")


def _segments(connection: Connection, account: AccountId) -> Iterator[Segment]:
    query = (
        select(*SEGMENT_COLUMNS)
        .where(segments.c.account == account)
        .order_by(segments.c.last)
        .execution_options(yield_per=64)
    )
    for row in connection.execute(query):
        yield Segment(*row)
