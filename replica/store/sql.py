"""The log in SQLite or PostgreSQL.

How positions stay gapless and readable in commit order (pitfalls P1, reliability D8): they are
given out inside the transaction that commits them, while nobody else can give out any for that
account. On SQLite that is the one writer of the one process; on PostgreSQL it is the account's row
in ``logs``, locked with ``FOR UPDATE`` in account order, so that two transactions that touch the
same accounts wait for each other instead of deadlocking. A sequence is never used: it hands out
10 before 9 is visible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Row, select, tuple_

from replica.errors import CorruptionError, MisuseError
from replica.events.event import GENESIS, AccountId, DeviceId, Position
from replica.events.ports import (
    Appended,
    AppendRequest,
    AppendResult,
    Aside,
    DeviceHead,
    HeadMoved,
    LogHead,
)
from replica.events.record import Segment, extend_chain
from replica.limits import HEAD_CACHE_ENTRIES_MAX, READ_SEGMENTS_MAX, WAL_CHECKPOINT_BYTES
from replica.store.engine import Database
from replica.store.memory import empty_head, mint_log_id, same_end
from replica.store.statements import Row as TableRow
from replica.store.statements import insert, insert_missing, update, upsert
from replica.store.tables import asides, device_heads, logs, segments

_DeviceKey = tuple[bytes, bytes, int]  # account, device, epoch
_AccountEnd = tuple[int, bytes]  # position, chain


class _Ends:
    """Ends of accounts and device chains as one transaction sees them, and its new rows."""

    def __init__(self) -> None:
        self.accounts: dict[bytes, _AccountEnd] = {}
        self.devices: dict[_DeviceKey, DeviceHead] = {}
        self.segment_rows: list[TableRow] = []  # columns in the order of the table
        self.aside_rows: list[TableRow] = []
        self.moved_accounts: dict[bytes, None] = {}  # insertion-ordered sets
        self.moved_devices: dict[_DeviceKey, None] = {}

    def take(self, request: AppendRequest) -> AppendResult:
        """Decide one request and note its rows. Later requests see what this one did."""
        key = (request.account, request.device, request.epoch)
        actual = self.devices.get(key) or empty_head(request.epoch)
        if not same_end(actual, request.before):
            return HeadMoved(actual)
        self.devices[key] = request.after
        self.moved_devices[key] = None
        self.aside_rows.extend(_aside_row(request, aside) for aside in request.asides)
        if not request.ids:
            return Appended(None)
        position, chain = self.accounts[request.account]
        segment = Segment(
            first=position + 1,
            count=len(request.ids),
            chain=extend_chain(chain, request.ids),
            device=request.device,
            epoch=request.epoch,
            origin=request.origin,
            received_ms=request.received_ms,
            records=request.records,
        )
        self.accounts[request.account] = (segment.last, segment.chain)
        self.moved_accounts[request.account] = None
        self.segment_rows.append(_segment_row(request, segment))
        return Appended(segment)


class SqlLog:
    """A :class:`replica.events.ports.Log` over an open database whose migrations have run.

    Blocking; safe to call from several threads. After ``StoreFailed`` every call raises it again:
    end the process (reliability D4). On PostgreSQL a connection lost during the commit is
    ``StoreUnavailable``: whether the commit happened is then unknown, and the compare-and-set
    makes asking again safe, since a second try of a committed request is ``HeadMoved``.
    """

    def __init__(self, database: Database, *, mint: Callable[[], bytes] = mint_log_id) -> None:
        self._database = database
        self._mint = mint
        self._create_log = database.insert(logs).on_conflict_do_nothing()
        # What is at the end of each chain, kept between commits. Only the process that holds the
        # database's lock may do so: nobody else can have moved an end since (reliability D3).
        # The turn keeps a second thread from reading them between a failed commit and the clearing.
        self._turn = Lock() if database.exclusive else nullcontext()
        self._known_accounts: dict[bytes, _AccountEnd] = {}
        self._known_devices: dict[_DeviceKey, DeviceHead] = {}
        self._created: set[bytes] = set()

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        if not requests:
            return []
        for account in {request.account for request in requests} - self._created:
            self.head(account)
        with self._turn:
            try:
                with self._database.writing() as connection:
                    ends = self._load(connection, requests)
                    results = [ends.take(request) for request in requests]
                    _store(connection, ends)
            except BaseException:
                self._known_accounts.clear()
                self._known_devices.clear()
                raise
            if self._database.exclusive:
                self._remember(ends)
        return results

    def read(self, account: AccountId, after: Position, limit_bytes: int) -> list[Segment]:
        query = (
            select(*SEGMENT_COLUMNS)
            .where(segments.c.account == account, segments.c.last > after)
            .order_by(segments.c.last)
            .limit(READ_SEGMENTS_MAX)
            # One statement is one snapshot, so a page has no hole at its edge (pitfalls P4);
            # streamed, so that a page costs what it holds and not all that follows it.
            .execution_options(stream_results=True, max_row_buffer=64)
        )
        page: list[Segment] = []
        size = 0
        expected = after + 1
        with self._database.reading() as connection, connection.execute(query) as rows:
            for row in rows:
                segment = _segment(row)
                if segment.first != expected:
                    raise _misplaced(account, after, expected, segment)
                expected = segment.last + 1
                size += len(segment.records)
                if page and size > limit_bytes:
                    break
                page.append(segment)
        return page

    def head(self, account: AccountId | bytes) -> LogHead:
        query = select(logs.c.log_id, logs.c.generation, logs.c.position, logs.c.chain).where(
            logs.c.account == account
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            with self._database.writing() as connection:
                connection.execute(
                    self._create_log,
                    {
                        "account": account,
                        "log_id": self._mint(),
                        "generation": 1,
                        "position": 0,
                        "chain": GENESIS,
                    },
                )
                row = connection.execute(query).one()
        self._created.add(account)
        return LogHead(row.log_id, row.generation, Position(row.position), row.chain)

    def chain_at(self, account: AccountId, position: Position) -> bytes | None:
        if position == 0:
            return GENESIS
        query = select(segments.c.chain).where(
            segments.c.account == account, segments.c.last == position
        )
        with self._database.reading() as connection:
            chain: bytes | None = connection.execute(query).scalar_one_or_none()
        return chain

    def device_heads(self, account: AccountId, device: DeviceId) -> list[DeviceHead]:
        query = (
            select(*_HEAD_COLUMNS)
            .where(device_heads.c.account == account, device_heads.c.device == device)
            .order_by(device_heads.c.epoch)
        )
        with self._database.reading() as connection:
            return [DeviceHead(*row) for row in connection.execute(query)]

    def find(
        self, account: AccountId, device: DeviceId, epoch: int, first_seq: int, last_seq: int
    ) -> tuple[list[Segment], list[Aside]]:
        in_log = (
            select(*SEGMENT_COLUMNS)
            .where(
                segments.c.account == account,
                segments.c.device == device,
                segments.c.epoch == epoch,
                segments.c.last_seq >= first_seq,
                segments.c.first_seq <= last_seq,
            )
            .order_by(segments.c.last)
        )
        aside = (
            select(*_ASIDE_COLUMNS)
            .where(
                asides.c.account == account,
                asides.c.device == device,
                asides.c.epoch == epoch,
                asides.c.seq.between(first_seq, last_seq),
            )
            .order_by(asides.c.seq, asides.c.id)
        )
        with self._database.reading() as connection:
            return (
                [_segment(row) for row in connection.execute(in_log)],
                [Aside(*row) for row in connection.execute(aside)],
            )

    def positions(self, accounts: Iterable[AccountId]) -> dict[AccountId, Position]:
        """Where each account's log ends, in one query: what the fan-out's poll asks."""
        query = select(logs.c.account, logs.c.position).where(logs.c.account.in_(list(accounts)))
        with self._database.reading() as connection:
            return {
                AccountId(account): Position(position)
                for account, position in connection.execute(query)
            }

    def maintain(self, *, idle: bool) -> None:
        """Keep SQLite's write-ahead log small; call from the writer's thread between commits.

        ``idle`` empties it, otherwise it is only copied back above ``WAL_CHECKPOINT_BYTES``.
        Raises as :meth:`append`.
        """
        if idle or self._database.wal_bytes() > WAL_CHECKPOINT_BYTES:
            self._database.checkpoint(empty=idle)

    def _load(self, connection: Connection, requests: Sequence[AppendRequest]) -> _Ends:
        """The ends this group builds on: remembered ones, the others read under the lock."""
        ends = _Ends()
        unknown_accounts: set[bytes] = set()
        unknown_devices: set[_DeviceKey] = set()
        for request in requests:
            key = (request.account, request.device, request.epoch)
            if head := self._known_devices.get(key):
                ends.devices[key] = head
            else:
                unknown_devices.add(key)
            if end := self._known_accounts.get(request.account):
                ends.accounts[request.account] = end
            else:
                unknown_accounts.add(request.account)
        if unknown_accounts:
            ends.accounts.update(_lock_accounts(connection, unknown_accounts))
        if unknown_devices:
            ends.devices.update(_read_heads(connection, unknown_devices))
        return ends

    def _remember(self, ends: _Ends) -> None:
        if len(self._known_devices) + len(self._known_accounts) > HEAD_CACHE_ENTRIES_MAX:
            self._known_accounts.clear()
            self._known_devices.clear()
        self._known_accounts.update(ends.accounts)
        self._known_devices.update(ends.devices)


SEGMENT_COLUMNS = (
    segments.c.first,
    segments.c.count,
    segments.c.chain,
    segments.c.device,
    segments.c.epoch,
    segments.c.origin,
    segments.c.received_ms,
    segments.c.records,
)
_HEAD_COLUMNS = (
    device_heads.c.epoch,
    device_heads.c.seq,
    device_heads.c.hash,
    device_heads.c.stamp,
)
_ASIDE_COLUMNS = (asides.c.seq, asides.c.id, asides.c.code, asides.c.detail, asides.c.event)


def _lock_accounts(connection: Connection, accounts: set[bytes]) -> dict[bytes, _AccountEnd]:
    """Ends of ``accounts``, locked until the commit; in key order, so that no two lock crosswise.

    On SQLite the transaction already holds the one write lock and ``FOR UPDATE`` is left out.
    """
    query = (
        select(logs.c.account, logs.c.position, logs.c.chain)
        .where(logs.c.account.in_(sorted(accounts)))
        .order_by(logs.c.account)
        .with_for_update()
    )
    return {row.account: (row.position, row.chain) for row in connection.execute(query)}


def _read_heads(connection: Connection, keys: set[_DeviceKey]) -> dict[_DeviceKey, DeviceHead]:
    """Heads of the chains in ``keys``. Safe once their accounts are locked: heads move under it."""
    device = (device_heads.c.account, device_heads.c.device)
    query = select(*device, *_HEAD_COLUMNS).where(
        tuple_(*device, device_heads.c.epoch).in_(sorted(keys))
    )
    return {
        (row.account, row.device, row.epoch): DeviceHead(row.epoch, row.seq, row.hash, row.stamp)
        for row in connection.execute(query)
    }


def _store(connection: Connection, ends: _Ends) -> None:
    """One statement per table for the whole group, whatever its size."""
    insert(connection, segments, ends.segment_rows)
    moved = [(account, *ends.accounts[account]) for account in ends.moved_accounts]
    update(connection, logs, ("position", "chain"), moved)
    insert_missing(connection, asides, ends.aside_rows)
    heads = [(*key[:2], *ends.devices[key]) for key in ends.moved_devices]
    upsert(connection, device_heads, heads)


def _segment_row(request: AppendRequest, segment: Segment) -> TableRow:
    return (
        request.account,
        segment.last,
        segment.first,
        segment.count,
        segment.device,
        segment.epoch,
        request.first_seq,
        request.last_seq,
        segment.origin,
        segment.received_ms,
        segment.chain,
        segment.records,
    )


def _aside_row(request: AppendRequest, aside: Aside) -> TableRow:
    where = (request.account, request.device, request.epoch)
    return (*where, aside.seq, aside.id, aside.code, aside.detail, request.received_ms, aside.event)


def _segment(row: Row[*tuple[Any, ...]]) -> Segment:
    return Segment(*row)


def _misplaced(
    account: bytes, after: int, expected: int, segment: Segment
) -> MisuseError | CorruptionError:
    if expected == after + 1 and segment.first <= after:
        return MisuseError(f"position {after} is inside a segment")
    return CorruptionError(
        f"log of account {account.hex()} goes on at {segment.first} instead of {expected}",
        hint="run `replica doctor`; restore from a backup if it confirms the hole",
    )
