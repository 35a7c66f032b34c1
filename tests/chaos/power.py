"""What a disk may hold when the power goes: enumerated from a recorded day.

After every call of a trace the machine may stop. What was flushed by then is there. Of what was
not, any part may be: each write there or missing, in any order, torn between sectors, the file
grown or not, and of the names made, moved and removed in a directory any beginning. Each such disk
is built as files and opened with the product; what had been told before that moment has to be true.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256
from pathlib import Path
from random import Random

from tests.chaos.auditor import Broken, Ledger
from tests.chaos.watch import Call, Mark

SECTOR_BYTES = 512
FLUSHES = ("fsync", "fdatasync")
# Rebuilt from the write-ahead log whenever nobody has it open: never read after a power loss.
VOLATILE = "-shm"

Image = dict[str, bytes]
"""Every file of the directory by its name."""


class Fate(Enum):
    """What became of one write that was not flushed."""

    THERE = "there"
    MISSING = "missing"
    TORN = "torn"
    GROWN = "grown"  # the file has its new size, and zeros where the data should be


@dataclass
class _File:
    flushed: bytes = b""
    waiting: list[Call] = field(default_factory=list)

    def now(self, fates: Iterator[Fate], dice: Random) -> bytes:
        """Its content when the waiting writes have these fates."""
        content = bytearray(self.flushed)
        for call in self.waiting:
            _apply(content, call, next(fates), dice)
        return bytes(content)


def _apply(content: bytearray, call: Call, fate: Fate, dice: Random) -> None:
    if fate is Fate.MISSING:
        return
    if call.name == "ftruncate":
        if fate is Fate.THERE:
            _resize(content, call.offset)
        return
    end = call.offset + len(call.data)
    if fate is Fate.GROWN:
        _resize(content, max(len(content), end))
        return
    _resize(content, max(len(content), call.offset))
    if fate is Fate.THERE:
        content[call.offset : end] = call.data
        return
    _resize(content, max(len(content), end))
    at = call.offset
    while at < end:
        until = min(at - at % SECTOR_BYTES + SECTOR_BYTES, end)
        if dice.random() < 0.5:
            content[at:until] = call.data[at - call.offset : until - call.offset]
        at = until


def _resize(content: bytearray, size: int) -> None:
    if len(content) > size:
        del content[size:]
    else:
        content.extend(bytes(size - len(content)))


class Disk:
    """A directory in which calls happen; :meth:`images` is what a power loss now may leave."""

    def __init__(self) -> None:
        self._names: dict[str, _File] = {}  # as the programs see them
        self._flushed: dict[str, _File] = {}  # as they surely are on the disk
        self._moves: list[Call] = []  # of names, since the directory was last flushed
        self._made: dict[int, _File] = {}  # the file of each creation in _moves

    def do(self, call: Call) -> None:
        """The next call of the trace."""
        if call.path.endswith(VOLATILE):
            return
        if call.name in FLUSHES:
            self._flush(call.path)
        elif call.name in {"create", "rename", "unlink"}:
            if call.name == "create":
                self._made[id(call)] = _File()
            self._moves.append(call)
            _move(self._names, call, self._made)
        else:
            self._names[call.path].waiting.append(call)

    def _flush(self, path: str) -> None:
        if path == ".":
            self._flushed = dict(self._names)
            self._moves.clear()
            self._made.clear()
            return
        file = self._names[path]
        always = iter(lambda: Fate.THERE, None)
        file.flushed = file.now(always, Random(0))
        file.waiting.clear()

    def images(self, dice: Random, *, singles: int, random: int) -> Iterator[Image]:
        """The extremes, up to ``singles`` with one write missing and with one write alone, and
        ``random`` ones with any fate for each."""
        waiting = sum(len(file.waiting) for file in self._files())
        moves = len(self._moves)
        there, missing = [Fate.THERE] * waiting, [Fate.MISSING] * waiting
        yield self._image(there, moves, dice)
        if waiting or moves:
            yield self._image(missing, 0, dice)
        if waiting and moves:
            yield self._image(there, 0, dice)
            yield self._image(missing, moves, dice)
        if waiting > 1:
            for chosen in dice.sample(range(waiting), min(singles, waiting)):
                yield self._image(_but(there, chosen, Fate.MISSING), moves, dice)
                yield self._image(_but(missing, chosen, Fate.THERE), moves, dice)
        if waiting:
            for _ in range(random):
                fates = dice.choices(list(Fate), (5, 3, 2, 1), k=waiting)
                yield self._image(fates, dice.randint(0, moves), dice)

    def _files(self) -> list[_File]:
        """Every file that may be on the disk under some name, once."""
        all_of_them = [*self._flushed.values(), *self._names.values(), *self._made.values()]
        return list({id(file): file for file in all_of_them}.values())

    def _image(self, fates: list[Fate], moves: int, dice: Random) -> Image:
        names = dict(self._flushed)
        for call in self._moves[:moves]:
            _move(names, call, self._made)
        each = iter(fates)
        content = {id(file): file.now(each, dice) for file in self._files()}
        return {name: content[id(file)] for name, file in names.items()}


def _move(names: dict[str, _File], call: Call, made: dict[int, _File]) -> None:
    match call.name:
        case "create":
            names[call.path] = made[id(call)]
        case "rename":
            names[call.target] = names.pop(call.path)
        case "unlink":
            names.pop(call.path, None)


def _but(fates: list[Fate], index: int, fate: Fate) -> list[Fate]:
    return [*fates[:index], fate, *fates[index + 1 :]]


# Enumerating -----------------------------------------------------------------------------------

Check = Callable[[Path, Ledger, bool], None]
"""Opens what is in a directory and holds it against what was told; the last says thoroughly."""


@dataclass
class Tally:
    """The figures of a report."""

    calls: int = 0
    points: int = 0
    states: int = 0
    same: int = 0  # disks that had been looked at before
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


def enumerate_states(
    trace: list[Call | Mark],
    check: Check,
    folder: Path,
    *,
    seed: int,
    singles: int = 4,
    random: int = 4,
    every: int = 1,
    thorough_every: int = 20,
    enough_broken: int = 20,
) -> Tally:
    """Look at the disks that a power loss after each (or each ``every``-th) call may leave.

    Stops after ``enough_broken`` broken promises.
    """
    dice, disk, ledger, tally = Random(seed), Disk(), Ledger(), Tally()
    started_s = time.monotonic()
    seen: set[tuple[bytes, int]] = set()
    for step in trace:
        if isinstance(step, Mark):
            ledger.hear(step.told)
            continue
        disk.do(step)
        tally.calls += 1
        if tally.calls % every:
            continue
        tally.points += 1
        for image in disk.images(dice, singles=singles, random=random):
            key = (_digest(image), ledger.size)
            if key in seen:
                tally.same += 1
                continue
            seen.add(key)
            tally.states += 1
            thorough = tally.states % thorough_every == 0
            try:
                _look(image, folder, check, ledger, thorough)
            except Exception as error:  # noqa: BLE001  a report of all is worth more than the first
                tally.broken.append(f"after call {tally.calls} ({step}): {_words(error)}")
                if len(tally.broken) >= enough_broken:
                    tally.seconds = time.monotonic() - started_s
                    return tally
    tally.seconds = time.monotonic() - started_s
    return tally


def _look(image: Image, folder: Path, check: Check, ledger: Ledger, thorough: bool) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in image.items():
        (folder / name).write_bytes(content)
    check(folder, ledger, thorough)


def _digest(image: Image) -> bytes:
    hashed = sha256()
    for name, content in sorted(image.items()):
        hashed.update(f"{name} {len(content)}\0".encode() + content)
    return hashed.digest()


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, Broken) else repr(error)
