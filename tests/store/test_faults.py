"""Disks that are full, disks that fail, and processes that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from replica.errors import StorageFull, StoreFailed, StoreUnavailable
from replica.events.event import AccountId, Position
from replica.events.ports import Appended, HeadMoved
from replica.store import migrations
from replica.store.backup import verify
from replica.store.engine import Database, open_sqlite, sqlite_module
from replica.store.faults import translate
from replica.store.sql import SqlLog
from tests.store.authors import Author, device_id

MANY = 1_000_000
ROOT = Path(__file__).parents[2]


class FailingDisk:
    """A driver connection whose commits fail on demand with an error of SQLite's own kind."""

    code: int | None = None

    @classmethod
    def connection(cls) -> type[Any]:
        """The connection class to hand to the driver."""
        module = sqlite_module()

        class Connection(module.Connection):  # type: ignore[misc, name-defined]
            def commit(self) -> None:
                if cls.code is not None and self.in_transaction:
                    error = module.OperationalError("disk I/O error")
                    error.sqlite_errorcode = cls.code
                    raise error
                super().commit()

            def cursor(self) -> Any:
                return super().cursor(Cursor)

        class Cursor(module.Cursor):  # type: ignore[misc, name-defined]
            def execute(self, sql: str, *arguments: Any) -> Any:
                if cls.code is not None and "wal_checkpoint" in sql:
                    error = module.OperationalError("disk I/O error")
                    error.sqlite_errorcode = cls.code
                    raise error
                return super().execute(sql, *arguments)

        return Connection


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Database]:
    """A migrated database on a disk that can be told to fail."""
    args = {"factory": FailingDisk.connection()}
    with closing(open_sqlite(tmp_path / "log.db", connect_args=args)) as database:
        migrations.upgrade(database)
        yield database
        FailingDisk.code = None


def error_with(**attributes: object) -> OperationalError:
    """What SQLAlchemy raises for a driver's error that carries these codes."""
    cause = type("DriverError", (Exception,), attributes)("said the driver")
    return OperationalError("COMMIT", None, cause)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"sqlite_errorcode": 13}, StorageFull),
        ({"sqlite_errorcode": 10 | (19 << 8)}, StorageFull),
        ({"sqlite_errorcode": 10 | (4 << 8)}, StoreFailed),
        ({"sqlite_errorcode": 11}, StoreFailed),
        ({"sqlite_errorcode": 26}, StoreFailed),
        ({"sqlite_errorcode": 5}, StoreUnavailable),
        ({"sqlite_errorcode": 14}, StoreUnavailable),
        ({"sqlstate": "53100"}, StorageFull),
        ({"sqlstate": "58030"}, StoreFailed),
        ({"sqlstate": "40P01"}, StoreUnavailable),
        ({"sqlstate": None}, StoreUnavailable),
        ({"sqlite_errorcode": 1}, type(None)),
    ],
)
def test_each_code_has_one_meaning(attributes: dict[str, object], expected: type) -> None:
    """A full disk is retried, a failed one ends the process, a bug stays a bug (D4)."""
    assert type(translate(error_with(**attributes))) is expected


def test_a_full_disk_refuses_and_recovers(sqlite_database: Database, account: AccountId) -> None:
    """With no room left an append is refused whole, reads go on, and writing resumes by itself
    once there is room, with nothing lost or doubled (reliability §2.3, I-1)."""
    log = SqlLog(sqlite_database)
    author = Author(account, device_id(1))
    log.append([author.request(2)])
    _set_room(sqlite_database, spare_pages=4)
    kept = author.head
    large = author.request(1, payload=os.urandom(100_000))
    for _ in range(2):
        with pytest.raises(StorageFull) as caught:
            log.append([large, Author(account, device_id(2)).request(1)])
        assert caught.value.hint
    assert [s.count for s in log.read(account, Position(0), MANY)] == [2]
    assert log.device_heads(account, author.device) == [kept]
    _set_room(sqlite_database, spare_pages=1_000_000)
    assert isinstance(log.append([large])[0], Appended)
    assert [s.last for s in log.read(account, Position(0), MANY)] == [2, 3]
    verify(sqlite_database)


def _set_room(database: Database, *, spare_pages: int) -> None:
    with database.writing() as connection:
        used = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={used + spare_pages}")


def test_an_io_error_at_the_commit_stops_the_log(failing: Database, account: AccountId) -> None:
    """After an I/O error from COMMIT nothing is acknowledged and nothing accepted ever again, even
    when the disk seems well (D4)."""
    log = SqlLog(failing)
    author = Author(account, device_id(1))
    log.append([author.request(1)])
    FailingDisk.code = 10 | (4 << 8)  # SQLITE_IOERR_FSYNC
    with pytest.raises(StoreFailed) as caught:
        log.append([author.request(1)])
    assert "doctor" in caught.value.hint
    FailingDisk.code = None
    with pytest.raises(StoreFailed):
        log.append([author.request(1)])
    with pytest.raises(StoreFailed):
        log.read(account, Position(0), MANY)
    with pytest.raises(StoreFailed):
        failing.checkpoint(empty=True)


def test_an_io_error_at_a_checkpoint_stops_the_log(failing: Database, account: AccountId) -> None:
    """A failed flush of the database file is as bad as one of a commit and is not overlooked,
    while a full disk only postpones the checkpoint (D4)."""
    log = SqlLog(failing)
    author = Author(account, device_id(1))
    log.append([author.request(1)])
    FailingDisk.code = 13
    with pytest.raises(StorageFull):
        log.maintain(idle=True)
    FailingDisk.code = None
    log.append([author.request(1)])
    FailingDisk.code = 10 | (4 << 8)
    with pytest.raises(StoreFailed):
        log.maintain(idle=True)
    FailingDisk.code = None
    with pytest.raises(StoreFailed):
        log.append([author.request(1)])


def test_whoever_meets_the_failure_it_is_told_and_nobody_goes_on(failing: Database) -> None:
    """An I/O error met through the bare engine, as a sink's ledger uses it, is told once and stops
    every later transaction of that database (D4)."""
    heard: list[StoreFailed] = []
    failing.on_failed = heard.append
    FailingDisk.code = 10 | (4 << 8)
    with pytest.raises(OperationalError), failing.write.begin() as connection:
        connection.execute(text("CREATE TABLE ledger (one INTEGER)"))
    FailingDisk.code = None
    for _ in range(2):
        with pytest.raises(StoreFailed), failing.write.begin():
            pass
    with pytest.raises(StoreFailed), failing.reading():
        pass
    assert len(heard) == 1


def test_a_failed_commit_leaves_nothing_remembered(failing: Database, account: AccountId) -> None:
    """When a commit fails for want of room, the next append is decided on what is on disk and not
    on what would have been (I-4)."""
    log = SqlLog(failing)
    author = Author(account, device_id(1))
    log.append([author.request(1)])
    lost = author.request(2)
    FailingDisk.code = 13
    with pytest.raises(StorageFull):
        log.append([lost])
    FailingDisk.code = None
    (moved,) = log.append([author.request(1)])
    assert isinstance(moved, HeadMoved)
    assert moved.actual.seq == 1
    (written,) = log.append([lost])
    assert isinstance(written, Appended)
    assert written.segment is not None
    assert written.segment.first == 2


FILE_LIMIT = """
import resource, sys
from pathlib import Path
from replica.errors import StoreFailed
from replica.store.engine import open_sqlite
from replica.store.sql import SqlLog
from tests.store.authors import Author, device_id
database = open_sqlite(Path(sys.argv[1]))
log, author = SqlLog(database), Author(bytes(16), device_id(1))
log.append([author.request(1)])
resource.setrlimit(resource.RLIMIT_FSIZE, (database.wal_bytes() + 8_192,) * 2)
try:
    while True:
        log.append([author.request(1)])
        print(author.head.seq, flush=True)
except StoreFailed:
    print("failed", flush=True)
"""


@pytest.mark.process
def test_a_write_the_kernel_refuses_stops_the_log(reopenable: Path) -> None:
    """A real write error of the operating system ends the log, and what was acknowledged before
    it is there after a restart (D4, I-1)."""
    done = subprocess.run(
        [sys.executable, "-c", FILE_LIMIT, str(reopenable)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    *acknowledged, last = done.stdout.split()
    assert last == "failed"
    with closing(open_sqlite(reopenable)) as database:
        (proof,) = verify(database)
    assert proof.position >= len(acknowledged) + 1


APPEND_FOREVER = """
import sys
from pathlib import Path
from replica.store.engine import open_sqlite
from replica.store.sql import SqlLog
from tests.store.authors import Author, device_id
log, author = SqlLog(open_sqlite(Path(sys.argv[1]))), Author(bytes(16), device_id(int(sys.argv[2])))
while True:
    log.append([author.request(3), author.request(1, asides=1)])
    log.maintain(idle=author.head.seq % 25 == 0)
    print(author.head.seq, flush=True)
"""


@pytest.fixture
def reopenable(tmp_path: Path) -> Path:
    """A migrated SQLite database that nobody has open."""
    path = tmp_path / "log.db"
    with closing(open_sqlite(path)) as database:
        migrations.upgrade(database)
    return path


@pytest.mark.process
def test_a_killed_process_loses_nothing_it_acknowledged(reopenable: Path) -> None:
    """Killed between or during appends, the log holds every acknowledged request whole and its
    chain verifies; each start goes on where the last one was killed (I-1, I-9, I-22)."""
    account = AccountId(bytes(16))
    for cycle in range(3):
        device = Author(account, device_id(cycle)).device
        child = subprocess.Popen(
            [sys.executable, "-c", APPEND_FOREVER, str(reopenable), str(cycle)],
            stdout=subprocess.PIPE,
            cwd=ROOT,
        )
        with child:
            assert child.stdout is not None
            seqs = [int(child.stdout.readline()) for _ in range(3 + 2 * cycle)]
            child.send_signal(signal.SIGKILL)
            seqs += [int(line) for line in child.stdout if line.endswith(b"\n")]
        with closing(open_sqlite(reopenable)) as database:
            log = SqlLog(database)
            (head,) = log.device_heads(account, device)
            assert head.seq >= seqs[-1]
            assert head.seq % 5 == 0, "an append is there whole or not at all"
            segments, asides = log.find(account, device, 0, 1, head.seq)
            assert sum(s.count for s in segments) + len(asides) == head.seq
            verify(database)


def test_an_unusable_directory_is_told_with_a_hint(tmp_path: Path) -> None:
    """A data directory that cannot be made is "unavailable", with the system's reason."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(StoreUnavailable, match=r"File exists|Not a directory") as caught:
        open_sqlite(blocked / "log.db")
    assert "data directory" in caught.value.hint


def test_a_busy_database_is_unavailable(tmp_path: Path) -> None:
    """Somebody else's write lock is waited for and then told as retryable (D3)."""
    path = tmp_path / "log.db"
    with closing(open_sqlite(path, connect_args={"timeout": 0.01})) as database:
        intruder = sqlite_module().connect(path, isolation_level=None)
        with closing(intruder):
            intruder.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreUnavailable), database.writing() as connection:
                connection.execute(text("SELECT 1"))
