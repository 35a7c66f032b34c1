"""The journal: durable, exclusive, versioned, and honest about a full disk."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from replica.device import journal as journals
from replica.device.chain import Author, Fact, Head, extend
from replica.device.journal import Answer, Identity, Journal, Life, Place, State
from replica.errors import (
    CorruptionError,
    InUse,
    MisuseError,
    StorageFull,
    StoreFailed,
    StoreUnavailable,
    UpgradeRequired,
)
from replica.events.event import decode_event
from replica.limits import JOURNAL_CHECKPOINT_PAGES
from tests.device.desk import identity

AUTHOR = Author(identity().account, identity().device)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def begun(path: Path) -> Journal:
    journal = Journal(path)
    journal.begin(Life(1, AUTHOR.device, 1), identity=identity(), place=journal.place)
    return journal


def put(journal: Journal, *bodies: bytes, now_ms: int = 5) -> None:
    facts = [Fact("test.said", 1, body) for body in bodies]
    journal.append(extend(AUTHOR, journal.head, facts, now_ms), journal.numbers)


def test_what_was_appended_is_there_after_reopening(path: Path) -> None:
    """Bytes, order, head, clock, numbers and identity survive closing (I-1, OFF-07)."""
    journal = begun(path)
    put(journal, b"a", b"b")
    made = extend(AUTHOR, journal.head, [Fact("test.said", 1, b"c")], 4)
    journal.append(made, 9)
    before = (journal.head, journal.numbers, journal.lives, journal.place)
    journal.close()
    journal = Journal(path)
    assert (journal.head, journal.numbers, journal.lives, journal.place) == before
    assert journal.identity == identity()
    assert [decode_event(row.data).payload for row in journal.pending()] == [b"a", b"b", b"c"]
    assert journal.pending_count == 3
    journal.close()


def test_settings_survive_a_power_cut(path: Path) -> None:
    """Every commit is flushed, by the one connection there is (reliability D1, D2)."""
    journal = begun(path)
    names = ("synchronous", "journal_mode", "locking_mode", "mmap_size")
    found = [journal._sql.execute(f"PRAGMA {name}").fetchone() for name in names]
    assert [value for row in found for value in row] == [2, "wal", "exclusive", 0]
    assert not Path(f"{path}-shm").exists()
    journal.close()


def test_much_to_take_in_makes_a_longer_log_for_a_while(path: Path) -> None:
    """The write-ahead log grows while the device is behind, is folded back when it is level, and
    stays short while its user works; what was committed is there in every case."""

    def wait() -> int:
        (found,) = journal._sql.execute("PRAGMA wal_autocheckpoint").fetchone()
        return int(found)

    journal = begun(path)
    behind = [("order", f"o-{number}", bytes(4_000)) for number in range(JOURNAL_CHECKPOINT_PAGES)]
    assert wait() == JOURNAL_CHECKPOINT_PAGES
    journal.catch_up(behind=True)
    with journal.commit():
        journal.put_documents(behind)
    assert path.stat().st_size < len(behind) * 4_000
    journal.catch_up(behind=False)
    assert path.stat().st_size > len(behind) * 4_000
    assert wait() == JOURNAL_CHECKPOINT_PAGES
    put(journal, b"kept")
    journal.close()
    journal = Journal(path)
    assert journal.document("order", "o-0") == bytes(4_000)
    assert journal.last_n == 1
    journal.close()


def test_second_opening_is_told_so(path: Path) -> None:
    """One connection is all there ever is: a second one gets a typed error at once."""
    journal = begun(path)
    with pytest.raises(InUse):
        Journal(path)
    journal.close()
    Journal(path).close()


@pytest.mark.process
def test_second_process_is_told_so(path: Path) -> None:
    """Another process cannot open the journal while this one has it."""
    code = (
        "import sys; from replica.device import Device; from replica.errors import InUse\n"
        "try: Device.open(sys.argv[1])\n"
        "except InUse: print('in use')"
    )
    journal = begun(path)
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=True)
    assert found.stdout.strip() == b"in use"
    journal.close()


@pytest.mark.parametrize("more", [[], [b"and a small one"]])
def test_full_disk_is_told_before_anybody_believes(path: Path, more: list[bytes]) -> None:
    """An append without room raises, saves nothing, moves no clock; reads and room go on (§2.1)."""
    journal = begun(path)
    put(journal, b"kept")
    (pages,) = journal._sql.execute("PRAGMA page_count").fetchone()
    journal._sql.execute(f"PRAGMA max_page_count = {pages}")
    before = (journal.head, journal.last_n, journal.numbers)
    with pytest.raises(StorageFull) as caught:
        put(journal, bytes(60_000), *more)
    assert "not saved" in str(caught.value)
    assert (journal.head, journal.last_n, journal.numbers) == before
    assert [row.n for row in journal.pending()] == [1]
    journal._sql.execute("PRAGMA max_page_count = 100000")
    put(journal, bytes(60_000))
    assert [decode_event(row.data).seq for row in journal.pending()] == [1, 2]
    journal.close()


@pytest.mark.parametrize("lost", [[b"lost"], [b"lost", b"lost"]])
def test_io_error_ends_all_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch, lost: list[bytes]
) -> None:
    """After an I/O error of a commit nothing is accepted until the file is opened again (D4)."""

    class Broken:
        in_transaction = False

        def execute(self, statement: str, row: object = ()) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise error

    journal = begun(path)
    real = journal._sql
    monkeypatch.setattr(journal, "_sql", Broken())
    with pytest.raises(StoreFailed):
        put(journal, *lost)
    monkeypatch.setattr(journal, "_sql", real)
    with pytest.raises(StoreFailed):
        put(journal, b"lost too")
    journal.close()
    journal = Journal(path)
    put(journal, b"fine")
    assert journal.head.seq == 1
    journal.close()


def test_newer_schema_is_left_alone(path: Path) -> None:
    """A journal of a newer program is not touched and asks for that program (P34)."""
    journal = begun(path)
    journal._sql.execute("PRAGMA user_version = 99")
    journal.close()
    before = path.read_bytes()
    with pytest.raises(UpgradeRequired):
        Journal(path)
    assert path.read_bytes() == before


def test_migration_leaves_the_outbox_as_it_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later schema finds every own event byte for byte (P34)."""
    journal = begun(path)
    put(journal, b"a", b"b")
    before = [row.data for row in journal.pending()]
    journal.close()
    later = (*journals.MIGRATIONS, ("CREATE TABLE more (x)", "INSERT INTO more VALUES (1)"))
    monkeypatch.setattr(journals, "MIGRATIONS", later)
    journal = Journal(path)
    assert [row.data for row in journal.pending()] == before
    assert journal._sql.execute("SELECT count(*) FROM more").fetchone() == (1,)
    journal.close()
    Journal(path).close()


def test_outbox_format_is_frozen(path: Path) -> None:
    """A rescue tool may rely on these three columns of every journal ever written (P34)."""
    journal = begun(path)
    columns = journal._sql.execute("SELECT name, type FROM pragma_table_info('outbox')").fetchall()
    assert columns == [("n", "INTEGER"), ("numbers", "INTEGER"), ("event", "BLOB")]
    journal.close()


def test_other_files_are_no_journal(tmp_path: Path) -> None:
    """Neither another database nor any other file is taken over."""
    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE mine (x)")
    other.close()
    with pytest.raises(CorruptionError, match="no journal"):
        Journal(tmp_path / "other.db")
    (tmp_path / "text").write_bytes(b"no database at all, but long enough to have a header" * 99)
    with pytest.raises(CorruptionError):
        Journal(tmp_path / "text")
    with pytest.raises(StoreUnavailable):
        Journal(tmp_path)


def test_token_is_for_its_owner_alone(path: Path) -> None:
    """The file that holds the token is readable by its owner only, and the token is not printed."""
    journal = begun(path)
    put(journal, b"a")
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o077 == 0, file.name
    assert "token" not in repr(journal.identity)
    journal.close()


def test_failed_commit_leaves_no_trace(path: Path) -> None:
    """Whatever is raised inside a commit undoes all of it (I-9)."""
    journal = begun(path)

    def half() -> None:
        with journal.commit():
            journal.put_place(Place(cursor=7))
            journal.put_documents([("order", "o-1", b"x")])
            raise MisuseError("stop")

    with pytest.raises(MisuseError):
        half()
    assert journal.document("order", "o-1") is None
    journal.close()
    journal = Journal(path)
    assert journal.place.cursor == 0
    journal.close()


def test_answers_end_the_waiting(path: Path) -> None:
    """What is answered is not pending; aside events are listed with their reason (I-19)."""
    journal = begun(path)
    put(journal, b"a", b"b", b"c")
    with journal.commit():
        journal.put_answers(
            [
                Answer(1, State.ACKNOWLEDGED, 10, b"", 0, 5),
                Answer(2, State.REFUSED, 0, b"", 0, 0, "too_large", "too long"),
            ]
        )
    journal.answered_n = 2
    assert [row.n for row in journal.pending()] == [3]
    (aside,) = journal.aside()
    assert (aside.n, aside.state, aside.answer and aside.answer.detail) == (
        2,
        State.REFUSED,
        "too long",
    )
    journal.close()
    journal = Journal(path)
    assert journal.answered_n == 2
    assert journal.pending_count == 1
    journal.close()


def test_new_life_keeps_the_old_rows(path: Path) -> None:
    """Remade rows stay as evidence; seqs start at 1 and numbers anew (reliability D6)."""
    journal = begun(path)
    put(journal, b"a", b"b")
    old = [row.n for row in journal.pending()]
    made = extend(AUTHOR, Head(2, stamp=journal.head.stamp), [Fact("test.said", 1, b"a")], 9)
    journal.begin(
        Life(3, AUTHOR.device, 2), identity=identity(), place=journal.place, old=old, made=made
    )
    assert [row.n for row in journal.pending()] == [3]
    assert [row.state for row in journal.own(1, 2)] == [State.REMADE, State.REMADE]
    head = journal.head
    assert (head.epoch, head.seq) == (2, 1)
    journal.close()
    journal = Journal(path)
    assert journal.head == head
    assert [row.n for row in journal.pending()] == [3]
    journal.close()


def test_identity_is_kept_with_its_life(path: Path) -> None:
    """A life without events opens with an empty chain and the clock of the one before."""
    journal = begun(path)
    put(journal, b"a", now_ms=77)
    stamp = journal.head.stamp
    other = Identity(AUTHOR.account, bytes(16), "t", "n", "http://x")
    journal.begin(Life(2, other.device, 1), identity=other, place=journal.place, old=[1])
    journal.close()
    journal = Journal(path)
    assert journal.head == Head(1, stamp=stamp)
    assert journal.identity == other
    assert journal.pending_count == 0
    journal.close()
