"""What a database error means to us: one place that knows the codes of both databases.

The rule of reliability D4 lives here: after an I/O error nobody can know what reached the disk
(file systems mark pages clean after a failed fsync, and SQLite would happily accept the next
commit), so such an error is ``StoreFailed`` and ends the process.
"""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from replica.errors import ReplicaError, StorageFull, StoreFailed, StoreUnavailable

_SQLITE_PRIMARY = 0xFF
_SQLITE_IOERR = 10
_SQLITE_CORRUPT = 11
_SQLITE_FULL = 13
_SQLITE_NOTADB = 26
# No room to grow the shared index of the write-ahead log: raised before anything was committed,
# so it is a full disk and not a failed one.
_SQLITE_IOERR_SHMSIZE = _SQLITE_IOERR | (19 << 8)

_POSTGRES_FULL = frozenset({"53100"})
_POSTGRES_FAILED = frozenset({"58030", "XX001", "XX002"})

_FULL_HINT = "free space on the disk of the data directory; writing resumes by itself"
_FAILED_HINT = (
    "the process must end and recover from disk; check the disk, then run `replica doctor`"
)


def translate(error: DBAPIError) -> ReplicaError | None:
    """Our error for a database error, None when it is a bug of ours (a constraint, bad SQL).

    ``StorageFull`` and ``StoreUnavailable``: nothing was written as far as this process can know,
    retry. ``StoreFailed``: fail-stop.
    """
    cause = error.orig
    code = getattr(cause, "sqlite_errorcode", None)
    if code is not None:
        return _from_sqlite(code, str(cause))
    state = getattr(cause, "sqlstate", None)
    if state in _POSTGRES_FULL:
        return StorageFull(str(cause).strip(), hint=_FULL_HINT)
    if state in _POSTGRES_FAILED:
        return StoreFailed(str(cause).strip(), hint=_FAILED_HINT)
    if isinstance(error, OperationalError | InterfaceError):
        return StoreUnavailable(str(cause).strip())
    return None


def _from_sqlite(code: int, text: str) -> ReplicaError | None:
    primary = code & _SQLITE_PRIMARY
    if primary == _SQLITE_FULL or code == _SQLITE_IOERR_SHMSIZE:
        return StorageFull(text, hint=_FULL_HINT)
    if primary in {_SQLITE_IOERR, _SQLITE_CORRUPT, _SQLITE_NOTADB}:
        return StoreFailed(text, hint=_FAILED_HINT)
    if primary in _SQLITE_UNAVAILABLE:
        return StoreUnavailable(text)
    return None


# PERM, ABORT, BUSY, LOCKED, NOMEM, READONLY, INTERRUPT, CANTOPEN, PROTOCOL
_SQLITE_UNAVAILABLE = frozenset({3, 4, 5, 6, 7, 8, 9, 14, 15})
