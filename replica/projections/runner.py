"""The projector: keeps documents and read models in step with the log.

Rows and checkpoint move in one transaction, so what is stored is always the exact state at some
position, whatever dies when (pitfalls P49). Two processes may project the same account: the
checkpoint is moved by compare-and-set, first thing in the transaction, and whoever comes second
starts over from where the other arrived.

All calls block; run them off the event loop. A projector may be called from several threads.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, update

from replica.crdt.digest import SectionTotal
from replica.crdt.fold import fold as fold_record
from replica.events.event import AccountId, Position
from replica.events.kinds import catalogue_fingerprint
from replica.events.ports import Log
from replica.events.record import Segment
from replica.limits import PROJECTION_STEP_BYTES_MAX, WAL_CHECKPOINT_BYTES
from replica.projections import queries
from replica.projections import tables as t
from replica.projections.pause import Pause, go_on
from replica.projections.step import Fold, Step
from replica.store.engine import Database
from replica.store.statements import insert_missing


class Checkpoint(NamedTuple):
    """Where the rows of one account stand, and which fold wrote them."""

    position: Position
    chain: bytes
    fingerprint: bytes


class Rebuilt(NamedTuple):
    """The outcome of a rebuild. ``equal``: the digest is the one that the old rows had at the same
    position; None when there was nothing to compare with."""

    position: Position
    sections: tuple[SectionTotal, ...]
    equal: bool | None


class _Overtaken(Exception):
    """Another process moved the checkpoint first. Nothing was written."""


class Projector:
    """Documents and read models of all accounts of one log.

    ``fold`` is :func:`replica.crdt.fold.fold`; another one is for tests of what happens when a
    fold raises. With ``decides`` somebody looks for twins before sinks read
    (:mod:`replica.projections.twins`). The tables must exist:
    :func:`replica.projections.tables.open_views`.
    """

    def __init__(
        self,
        views: Database,
        log: Log,
        *,
        fold: Fold = fold_record,
        decides: bool = False,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._views = views
        self._log = log
        self._fold = fold
        self._undecided = 0 if decides else t.DECIDED_BY_NOBODY
        self._monotonic_s = monotonic_s
        self._fingerprint = catalogue_fingerprint()
        self._turn = Lock()
        self._checked: set[bytes] = set()

    def step(
        self,
        account: AccountId,
        limit_bytes: int = PROJECTION_STEP_BYTES_MAX,
        pause: Pause = go_on,
    ) -> Position:
        """Fold the next stretch of the log and return the position reached. ``pause`` is called
        again and again on the way.

        The same position as before means that the log holds nothing more. The first call for an
        account checks that its rows were made by this fold from this log, and rebuilds them if not.
        Raises as ``Database.writing``; nothing was written then.
        """
        with self._turn:
            self._check_once(account)
            return self._step(account, limit_bytes, pause)

    def catch_up(self, account: AccountId) -> Position:
        """Step until the log holds nothing more."""
        position = self.position(account)
        while (reached := self.step(account)) != position:
            position = reached
        return position

    def wait(self, account: AccountId, position: Position, timeout_s: float) -> bool:
        """Read your own writes: True once the rows include ``position``, False after the timeout.

        Helps instead of waiting: whoever needs a position takes the steps towards it.
        """
        deadline_s = self._monotonic_s() + timeout_s
        # Rows that were not checked yet may be of another history and have reached nothing.
        reached = self.position(account) if account in self._checked else -1
        while reached < position:
            remaining_s = deadline_s - self._monotonic_s()
            if remaining_s <= 0 or not self._turn.acquire(timeout=remaining_s):
                return False
            try:
                self._check_once(account)
                before, reached = reached, self._step(account, PROJECTION_STEP_BYTES_MAX)
            finally:
                self._turn.release()
            if reached == before:
                return False
        return True

    def position(self, account: AccountId) -> Position:
        """How far the rows of ``account`` have come; 0 before the first step."""
        checkpoint = self._checkpoint(account)
        return checkpoint.position if checkpoint else Position(0)

    def lag(self, account: AccountId) -> int:
        """Records of the log that the rows do not include yet."""
        return self._log.head(account).position - self.position(account)

    def digest(self, account: AccountId) -> tuple[Position, tuple[SectionTotal, ...]]:
        """The section totals and the position they hold for, from one snapshot."""
        with self._views.reading() as connection:
            return queries.sections(connection, account)

    def rebuild(self, account: AccountId, *, strict: bool = True) -> Rebuilt:
        """Fold the whole log again, aside, and put the result in the place of the rows at once.

        Readers see the old rows until the switch. An interrupted rebuild goes on where it was.
        With ``strict`` a poison record stops it with ``Poisoned`` and the old rows stay; without,
        it is noted and skipped. ``equal`` False means that the fold is not a function of the log
        alone, or the rows were damaged: report it.
        """
        self._drop_foreign_aside(account)
        self._step_aside(account, strict=strict)  # the long part, beside ordinary steps
        with self._turn:
            return self._finish_rebuild(account, strict=strict)

    # Steps ---------------------------------------------------------------------------------------

    def _step(self, account: AccountId, limit_bytes: int, pause: Pause = go_on) -> Position:
        checkpoint = self._checkpoint(account)
        after = checkpoint.position if checkpoint else Position(0)
        segments = self._log.read(account, after, limit_bytes)
        if not segments:
            return after
        try:
            return self._apply(account, checkpoint, segments, strict=False, pause=pause)
        except _Overtaken:
            return self.position(account)

    def _apply(
        self,
        key: bytes,
        before: Checkpoint | None,
        segments: list[Segment],
        *,
        strict: bool,
        pause: Pause = go_on,
    ) -> Position:
        reached = Checkpoint(segments[-1].last, segments[-1].chain, self._fingerprint)
        with self._views.writing() as connection:
            if not self._move(connection, key, before, reached):
                raise _Overtaken
            Step(connection, key, self._fold, strict=strict, pause=pause).run(segments)
        if self._views.wal_bytes() > WAL_CHECKPOINT_BYTES:
            self._views.checkpoint(empty=False)
        return reached.position

    def _check_once(self, account: AccountId) -> None:
        """Rows of another fold or another history are worth nothing: make them again."""
        if account in self._checked:
            return
        checkpoint = self._checkpoint(account)
        if checkpoint is not None and not self._is_ours(account, checkpoint):
            self._drop_foreign_aside(account)
            self._finish_rebuild(account, strict=False)
        self._checked.add(account)

    def _is_ours(self, account: AccountId, checkpoint: Checkpoint) -> bool:
        """Whether rows at ``checkpoint`` are what this fold makes of this log."""
        same_fold = checkpoint.fingerprint == self._fingerprint
        return same_fold and self._in_log(account, checkpoint)

    def _in_log(self, account: AccountId, checkpoint: Checkpoint) -> bool:
        return checkpoint.chain == self._log.chain_at(account, checkpoint.position)

    # Rebuilding ----------------------------------------------------------------------------------

    def _target(self, account: AccountId) -> Position:
        """Where a rebuild switches: at the rows' own position if this log has it."""
        checkpoint = self._checkpoint(account)
        if checkpoint is not None and self._in_log(account, checkpoint):
            return checkpoint.position
        return self._log.head(account).position

    def _drop_foreign_aside(self, account: AccountId) -> None:
        """Throw away what an interrupted rebuild of another fold or history left."""
        checkpoint = self._checkpoint(_aside(account))
        if checkpoint is None or (
            self._is_ours(account, checkpoint) and checkpoint.position <= self._target(account)
        ):
            return
        with self._views.writing() as connection:
            _delete(connection, _aside(account))

    def _step_aside(self, account: AccountId, *, strict: bool) -> None:
        aside = _aside(account)
        target = self._target(account)
        while (position := self.position(aside)) < target:
            segments = self._log.read(account, position, PROJECTION_STEP_BYTES_MAX)
            wanted = [segment for segment in segments if segment.last <= target]
            with suppress(_Overtaken):  # another process rebuilds too: share the work
                self._apply(aside, self._checkpoint(aside), wanted, strict=strict)

    def _finish_rebuild(self, account: AccountId, *, strict: bool) -> Rebuilt:
        """Take the last steps and switch; the caller has the turn, so the rows stand still."""
        while True:
            self._step_aside(account, strict=strict)
            before = self._checkpoint(account)
            position, sections = self.digest(_aside(account))
            _, old_sections = self.digest(account)
            if self._switch(account, before):
                break
        if before is None or before.position != position or before.fingerprint != self._fingerprint:
            return Rebuilt(position, sections, None)
        return Rebuilt(position, sections, sections == old_sections)

    def _switch(self, account: AccountId, before: Checkpoint | None) -> bool:
        """One transaction: the old rows go, the new ones take their key. False if overtaken."""
        with self._views.writing() as connection:
            if _checkpoint(connection, account, lock=True) != before:
                return False
            c = t.checkpoints.c
            old = connection.scalar(select(c.decided).where(c.account == account))
            _delete(connection, account)
            for table in t.ACCOUNT_TABLES:
                is_new = table.c.account == _aside(account)
                connection.execute(update(table).where(is_new).values(account=account))
            if before is not None and self._in_log(account, before):
                # What was decided is in the log, and nobody has to look through all of it again.
                kept = update(t.checkpoints).where(c.account == account)
                connection.execute(kept.values(decided=old))
        return True

    def _move(
        self, connection: Connection, account: bytes, before: Checkpoint | None, after: Checkpoint
    ) -> bool:
        """Compare-and-set. False when the checkpoint is no longer ``before``."""
        c = t.checkpoints.c
        if before is None:
            first = (account, *after, self._undecided, 0)
            return insert_missing(connection, t.checkpoints, [first]) == 1
        move = update(t.checkpoints).where(c.account == account, c.position == before.position)
        return connection.execute(move.values(**after._asdict())).rowcount == 1

    def _checkpoint(self, account: AccountId) -> Checkpoint | None:
        with self._views.reading() as connection:
            return _checkpoint(connection, account)


def _aside(account: AccountId) -> AccountId:
    """What keys the rows of a rebuild under way. No account has an id of this length."""
    return AccountId(account + b"aside")


def _checkpoint(connection: Connection, account: bytes, *, lock: bool = False) -> Checkpoint | None:
    c = t.checkpoints.c
    query = select(c.position, c.chain, c.fingerprint).where(c.account == account)
    row = connection.execute(query.with_for_update() if lock else query).first()
    if row is None:
        return None
    return Checkpoint(Position(row.position), bytes(row.chain), bytes(row.fingerprint))


def _delete(connection: Connection, account: bytes) -> None:
    for table in t.ACCOUNT_TABLES:
        connection.execute(delete(table).where(table.c.account == account))
