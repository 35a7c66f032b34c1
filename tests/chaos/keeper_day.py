"""Backup and restore, watched call by call: what they leave must be whole or not there."""

from __future__ import annotations

from contextlib import closing, suppress
from pathlib import Path
from typing import Self

from replica.store import migrations
from replica.store.backup import backup, verify_file
from replica.store.engine import open_sqlite
from replica.store.sql import SqlLog
from tests.chaos import roles
from tests.chaos.auditor import demand
from tests.chaos.watch import Fault, Watch
from tests.chaos.zygote import Child
from tests.store.authors import Author, device_id

ACCOUNT = bytes(16)
NOW_MS = 1_750_000_000_000
EVENTS = 4


class KeeperDay:
    """``replica backup make`` beside a log with a write-ahead log, or ``restore`` of a copy.

    A day of a restore ends with restoring another, older copy: nothing of the first may get in.
    """

    def __init__(self, verb: str, root: Path) -> None:
        self._verb = verb
        self._disk = root / "disk"
        self._disk.mkdir(parents=True)
        self._older, self._log = root / "older.db", self._disk / "log.db"
        self._copy = root / "newer.db" if verb == "restore" else self._disk / "copy.db"
        self.watch: Watch | None = None
        with closing(open_sqlite(self._log)) as database:
            migrations.upgrade(database)
            log, author = SqlLog(database), Author(ACCOUNT, device_id(1))
            log.append([author.request(EVENTS)])
            backup(self._log, self._older)
            log.append([author.request(EVENTS)])
            if verb == "restore":
                backup(self._log, self._copy)
        if verb == "restore":
            for path in self._disk.iterdir():
                path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between runs."""

    def run(self, fault: Fault | None = None) -> int:
        """The verb, watched; its exit status."""
        source, target = self._paths(self._copy)
        with self._child(source, target, watched=True) as child:
            self.watch = Watch(child.channel, self._disk, fault=fault)
            done = False
            with suppress(EOFError, ConnectionResetError):
                what = child.hear()
                done = what[0] == "done"
                self.watch.mark(what)
            status = child.ended()
            self.watch.join()
        demand(done or status != 0, "a backup that says nothing ended well")
        demand(not done or target.exists(), "I-1: a finished copy is not there")
        if target.exists():
            demand(self._position(target) == 2 * EVENTS, "I-9: a copy of another state")
        return status

    def finish(self) -> None:
        """Do it again without faults: the copy gets its name, the log is what it was."""
        source, target = self._paths(self._older)
        target.unlink(missing_ok=True)
        with self._child(source, target) as child:
            said = child.hear()
            demand(said[0] == "done", f"{self._verb} does not work any more: {said}")
            demand(child.ended() == 0, "exit status")
        expected = 2 * EVENTS if self._verb == "make" else EVENTS
        demand(self._position(target) == expected, "I-9: something else got into the copy")
        left = sorted(path.name for path in self._disk.iterdir() if "partial" in path.name)
        demand(not left, f"left behind: {left}")

    def _paths(self, copy: Path) -> tuple[Path, Path]:
        """Source and target of the verb."""
        return (copy, self._log) if self._verb == "restore" else (self._log, self._copy)

    def _child(self, source: Path, target: Path, *, watched: bool = False) -> Child:
        return Child(
            roles.keeper,
            verb=self._verb,
            source=source,
            target=target,
            now_ms=NOW_MS,
            watched=watched,
        )

    def _position(self, path: Path) -> int:
        (proof,) = verify_file(path)
        return proof.position
