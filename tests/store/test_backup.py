"""Backups that were proved, damage that is found, and restores that devices notice."""

from __future__ import annotations

import os
import random
import shutil
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from replica.errors import CorruptionError, MisuseError, StoreUnavailable
from replica.events.event import AccountId, Position
from replica.store import migrations
from replica.store.backup import Proof, backup, raise_generation, restore, verify, verify_file
from replica.store.engine import Database, open_sqlite
from replica.store.sql import SqlLog
from tests.store.authors import Author, device_id

NOW_MS = 1_750_000_000_000
MANY = 10_000_000


def fill(database: Database, *accounts: AccountId, rounds: int = 4) -> list[Proof]:
    """Some history for each account; gives what a walk of it has to find."""
    log = SqlLog(database)
    for account in accounts:
        authors = [Author(account, device_id(number)) for number in range(3)]
        for number in range(rounds):
            log.append([author.request(1 + number, asides=1) for author in authors])
    heads = [(account, log.head(account)) for account in sorted(accounts)]
    return [Proof(account, head.position, head.chain) for account, head in heads]


def test_a_backup_is_the_log_at_one_moment(
    sqlite_database: Database, tmp_path: Path, account: AccountId
) -> None:
    """A copy taken from an open database holds every account's log up to a commit, verifies, is
    private, and is not touched by what is written afterwards (reliability §2.3)."""
    other = AccountId(os.urandom(16))
    proofs = fill(sqlite_database, account, other)
    target = tmp_path / "copy.db"
    assert backup(tmp_path / "log.db", target) == proofs
    fill(sqlite_database, AccountId(os.urandom(16)))
    assert verify_file(target) == proofs
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.partial*"))


def test_a_backup_never_overwrites(sqlite_database: Database, tmp_path: Path) -> None:
    """An existing file is not replaced by a backup."""
    target = tmp_path / "copy.db"
    target.write_text("older backup")
    with pytest.raises(MisuseError):
        backup(tmp_path / "log.db", target)
    assert target.read_text() == "older backup"
    assert not sqlite_database.failed


def test_a_backup_of_a_damaged_log_is_refused(
    sqlite_database: Database, tmp_path: Path, account: AccountId
) -> None:
    """A copy whose chain does not verify is thrown away and the damage is told (I-22)."""
    fill(sqlite_database, account)
    with sqlite_database.writing() as connection:
        connection.execute(text("UPDATE segments SET chain = zeroblob(32) WHERE first = 1"))
    with pytest.raises(CorruptionError, match="position 1"):
        backup(tmp_path / "log.db", tmp_path / "copy.db")
    assert {path.name for path in tmp_path.iterdir()} <= {
        "log.db",
        "log.db-wal",
        "log.db-shm",
        "log.db.lock",
    }


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM segments WHERE first = 1",
        "DELETE FROM segments WHERE last = (SELECT max(last) FROM segments)",
        "UPDATE segments SET records = substr(records, 1, length(records) - 1) WHERE first = 4",
        "UPDATE segments SET device = zeroblob(16), chain = zeroblob(32) WHERE first = 4",
        "UPDATE segments SET first = first + 1 WHERE first = 4",
        "UPDATE segments SET count = count + 1 WHERE first = 4",
        "UPDATE logs SET position = position - 1",
        "UPDATE logs SET chain = zeroblob(32)",
        "UPDATE device_heads SET seq = seq + 1",
        "UPDATE device_heads SET hash = zeroblob(32)",
        "DELETE FROM device_heads WHERE device = (SELECT min(device) FROM device_heads)",
        "UPDATE asides SET event = substr(event, 2)",
    ],
)
def test_tampering_is_found(sqlite_database: Database, account: AccountId, damage: str) -> None:
    """A removed, changed or shortened segment and a wrong head are found by the walk (I-23)."""
    fill(sqlite_database, account)
    verify(sqlite_database)
    with sqlite_database.writing() as connection:
        connection.execute(text(damage))
    with pytest.raises(CorruptionError):
        verify(sqlite_database)


def test_a_hole_is_never_read_across(sqlite_database: Database, account: AccountId) -> None:
    """A reader is told of the damage instead of being given what follows a hole (I-22)."""
    fill(sqlite_database, account)
    with sqlite_database.writing() as connection:
        connection.execute(text("DELETE FROM segments WHERE first = 2"))
    with pytest.raises(CorruptionError) as caught:
        SqlLog(sqlite_database).read(account, Position(0), MANY)
    assert "doctor" in caught.value.hint


def test_flipped_bits_are_found_or_harmless(
    sqlite_database: Database, tmp_path: Path, account: AccountId
) -> None:
    """Whatever byte of a database file is flipped, verifying says so or finds the same log; other
    content is never passed off as valid (I-22)."""
    fill(sqlite_database, account, rounds=2)
    copy = tmp_path / "copy.db"
    proofs = backup(tmp_path / "log.db", copy)
    good = copy.read_bytes()
    chance = random.Random(7)
    for _ in range(60):
        at = chance.randrange(len(good))
        broken = tmp_path / "broken.db"
        broken.write_bytes(
            good[:at] + bytes([good[at] ^ (1 << chance.randrange(8))]) + good[at + 1 :]
        )
        with suppress(CorruptionError, Exception):
            assert verify_file(broken) in ([*proofs], [])


def test_a_restore_starts_a_new_generation(
    sqlite_database: Database,
    reopen: Callable[[], Database],
    tmp_path: Path,
    account: AccountId,
) -> None:
    """A restored log has its history and name but another generation, so that devices notice that
    it may have forgotten something; two restores of one backup differ (D5, I-6)."""
    (proof,) = fill(sqlite_database, account)
    before = SqlLog(sqlite_database).head(account)
    copy = tmp_path / "copy.db"
    backup(tmp_path / "log.db", copy)
    fill(sqlite_database, account, rounds=0)
    reopen().close()
    generations = set()
    for number in range(2):
        target = tmp_path / f"restored{number}.db"
        assert restore(copy, target, now_ms=NOW_MS + number * 1_000) == [proof]
        with closing(open_sqlite(target)) as database:
            migrations.check(database)
            head = SqlLog(database).head(account)
        assert head._replace(generation=0) == before._replace(generation=0)
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        generations.add(head.generation)
    assert len(generations) == 2
    assert before.generation not in generations
    assert not list(tmp_path.glob("*.partial*"))


def test_nothing_of_an_interrupted_restore_gets_into_the_next(
    sqlite_database: Database, tmp_path: Path, account: AccountId
) -> None:
    """A restore that was killed leaves a write-ahead log beside its half-made copy; another backup
    restored afterwards is that backup and nothing else (I-1, I-23)."""
    fill(sqlite_database, account)
    older, newer, target = (tmp_path / name for name in ("older.db", "newer.db", "new.db"))
    proofs = backup(tmp_path / "log.db", older)
    fill(sqlite_database, AccountId(os.urandom(16)))
    backup(tmp_path / "log.db", newer)
    partial = target.with_name("new.db.partial")
    shutil.copyfile(newer, partial)
    with closing(open_sqlite(partial)) as database:
        raise_generation(database, now_ms=NOW_MS)
        killed = {path: path.read_bytes() for path in tmp_path.glob("new.db.partial*")}
    for path, content in killed.items():
        path.write_bytes(content)
    assert restore(older, target, now_ms=NOW_MS) == proofs
    assert verify_file(target) == proofs


def test_a_disk_without_room_is_told_in_our_words(
    sqlite_database: Database, tmp_path: Path, account: AccountId
) -> None:
    """A copy that cannot be made is a typed error, not a traceback, and leaves nothing behind."""
    fill(sqlite_database, account)
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        backup(tmp_path / "log.db", tmp_path / "missing" / "copy.db")
    assert not list(tmp_path.rglob("*.partial*"))


def test_a_restore_never_overwrites(sqlite_database: Database, tmp_path: Path) -> None:
    """A database that is there, damaged or not, is moved aside by the operator and never by us."""
    copy = tmp_path / "copy.db"
    backup(tmp_path / "log.db", copy)
    with pytest.raises(MisuseError) as caught:
        restore(copy, tmp_path / "log.db", now_ms=NOW_MS)
    assert "aside" in caught.value.hint
    assert not sqlite_database.failed


def test_generations_only_grow(database: Database, account: AccountId) -> None:
    """A clock that stands far back still gives a new, greater generation (D5)."""
    log = SqlLog(database)
    first = log.head(account).generation
    raise_generation(database, now_ms=0)
    second = log.head(account).generation
    raise_generation(database, now_ms=NOW_MS)
    third = log.head(account).generation
    assert first < second < third == NOW_MS // 1_000


@pytest.mark.postgres
def test_postgres_logs_verify_too(postgres_database: Database, account: AccountId) -> None:
    """The walk of the chain works on PostgreSQL as well."""
    (proof,) = fill(postgres_database, account)
    assert proof in verify(postgres_database)
