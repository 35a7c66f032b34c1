"""A phone's power fails while its disk writes: what was not synced is there, missing or torn.

The journal is the product's over real files. After each commit of a scripted day the disk is put
into states in which a power cut may leave it: any of the 512-byte sectors that this commit wrote to
the write-ahead log new or old, cut off anywhere, or, where a checkpoint wrote to the database, any
of its sectors new or old. Opened again, it holds the state before the commit or the one after it,
whole (reliability §2.1, D1; I-1, I-9).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from replica.device.holding import Holding
from replica.device.journal import Identity, Journal
from tests.simulation.dice import Dice
from tests.simulation.disk import ACCOUNT, MemoryJournal
from tests.simulation.errands import Errands
from tests.simulation.fuse import Fuse
from tests.simulation.run import audit, settle
from tests.simulation.test_findings import connect, save, world_of

SECTOR = 512
STATES = 4  # of each commit
TABLES = ("outbox", "life", "answer", "document", "sale", "total", "identity", "place", "resaid")

Rows = dict[str, list[Any]]


class Files(NamedTuple):
    database: bytes
    log: bytes


class TornJournal(MemoryJournal):
    """Looks at its files before and after each commit."""

    def __init__(self, path: Path) -> None:
        self.tried = self.kept = 0
        self.made = False  # the schema
        self._dice, self._fuse = Dice(5), Fuse()
        Journal.__init__(self, path)
        self.made = True
        self.before = self._files()
        self.holds = dump(self)

    def _files(self) -> Files:
        log = Path(f"{self.path}-wal")
        return Files(Path(self.path).read_bytes(), log.read_bytes() if log.exists() else b"")

    @contextmanager
    def commit(self) -> Iterator[None]:
        with super().commit():
            yield
        self._tear()

    def append_one(self, row: tuple[int, int, bytes]) -> None:
        super().append_one(row)
        self._tear()

    def catch_up(self, behind: bool) -> None:
        super().catch_up(behind)
        self._tear()

    def _tear(self) -> None:
        if not self.made:
            return
        before, after = self.before, self._files()
        held, self.holds = self.holds, dump(self)
        self.before = after
        for _ in range(STATES):
            left = self._left(before, after)
            found = opened(Path(self.path).with_name("torn"), left)
            assert found in (held, self.holds), "a commit is there in part"
            self.tried += 1
            self.kept += found == self.holds

    def _left(self, before: Files, after: Files) -> Files:
        """One of the states in which a power cut during this commit leaves the files."""
        if after.database != before.database:  # the commit is synced, the checkpoint is not
            return Files(self._mixed(before.database, after.database), after.log)
        return Files(after.database, self._mixed(before.log, after.log))

    def _mixed(self, old: bytes, new: bytes) -> bytes:
        size = max(len(old), len(new))
        sectors = [
            (new if self._dice.chance(50) else old)[at : at + SECTOR].ljust(SECTOR, b"\0")
            for at in range(0, size, SECTOR)
        ]
        mixed = b"".join(sectors)[:size]
        return mixed[: len(old) + self._dice.below(size - len(old) + 1)] if size else mixed


def dump(journal: Journal) -> Rows:
    return {
        name: sorted(journal._sql.execute(f"SELECT * FROM {name}").fetchall())  # noqa: S608
        for name in TABLES
    }


def opened(path: Path, files: Files) -> Rows:
    """What a journal holds that is opened over these files."""
    path.write_bytes(files.database)
    path.with_name(path.name + "-wal").write_bytes(files.log)
    journal = Journal(path)
    try:
        return dump(journal)
    finally:
        journal.close()


def day(world: Errands) -> None:
    """Saved offline, sent, answered, heard; a log that goes back, and everything said again."""
    phone, other = world.phones
    save(world, phone, "w1")
    connect(world, other)
    save(world, other, "w2")
    world.do_backup_server(Dice(0))
    connect(world, phone)
    for word in ("w3", "w4", "w5"):
        save(world, phone, word)
    world.do_restore_raised(Dice(0))
    settle(world)
    audit(world)


def test_unsynced_writes_of_a_phone_may_be_lost_or_torn(tmp_path: Path) -> None:
    """Whatever part of a commit reaches the disk, the journal holds what was there before it, or
    all of it, and nothing that an earlier commit had stored is touched."""
    world = world_of(phones=2)
    phone = world.phones[0]
    phone.journal.close()
    journal = TornJournal(tmp_path / "journal")
    phone.holding = Holding(journal)
    phone.holding.enrol(Identity(ACCOUNT, phone.device, "token-1", "phone 1", "sim://"))
    day(world)
    assert journal._sql.execute("PRAGMA synchronous").fetchone() == (2,)
    journal.close()
    for one in world.phones[1:]:
        one.journal.close()
    assert journal.tried > 80
    assert 0 < journal.kept < journal.tried
