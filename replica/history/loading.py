"""Loading a history: read the file twice, let devices do the work, prove that all is there.

The first reading counts (:mod:`replica.history.survey`), the second maps and hands every event to
its device. When all devices have their answers, each proves by digest that it holds what the server
holds. Memory follows the number of documents and the bundles on their way, not the rows.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TextIO

from replica.crdt.digest import SectionTotal
from replica.errors import MisuseError
from replica.history.fleet import Enrolment, Fleet, Proof, processes_for
from replica.history.mapping import Contradiction, Counts, Mapping
from replica.history.office import Office
from replica.history.rows import KeptAside, Line, RawRow, read
from replica.history.source import Columns, rows
from replica.history.survey import Survey, survey
from replica.limits import HISTORY_DEVICES_MAX, HISTORY_REJECTED_SHOWN_MAX


@dataclass(frozen=True)
class Load:
    """What to load and how. ``journals`` is where the devices keep theirs."""

    file: Path
    journals: Path
    kept_aside: Path
    columns: Columns = field(default_factory=Columns)
    devices: int = 4
    currency: str = "GBP"


@dataclass(frozen=True)
class Loaded:
    """How a load ended, in the units of its JSON line.

    ``customers`` are named in the file, ``walk_ins`` stand for the unnamed ones of a country.
    ``digest`` is one hash over all section totals at ``position``; ``replicas_equal`` says that
    every device and the server have the same there and that nothing was rejected.
    """

    lines: int
    invoices: int
    orders: int
    returns: int
    events: int
    customers: int
    walk_ins: int
    products: int
    devices: int
    total_minor: int
    kept_aside: int
    rejected: list[str]
    seconds: float
    events_per_s: int
    lines_per_s: int
    replicas_equal: bool
    position: int
    digest: str

    def as_json(self, **more: Any) -> str:
        return json.dumps({**asdict(self), **more})


def load(task: Load, office: Office, *, tell: Callable[[str], None]) -> Loaded:
    """Load ``task.file`` into the server of ``office``. ``tell`` hears of progress, in words.

    Raises ``Malformed`` for a file that cannot be read, ``MisuseError`` for wrong options,
    ``LoadFailed`` when a device could not do its part. Loading again names the same documents.
    """
    if not 1 <= task.devices <= HISTORY_DEVICES_MAX:
        raise MisuseError(f"--devices is 1 to {HISTORY_DEVICES_MAX}, not {task.devices}")
    started_s = time.monotonic()
    surveyed = survey(line for line in _read(task) if isinstance(line, Line))
    tell(f"{len(surveyed.invoices)} invoices, {surveyed.country_lines.total()} lines to load")
    with _fleet(task, office) as fleet:
        counts, aside = _map(task, surveyed, fleet, tell)
        fleet.settle()
        tell("every event is acknowledged; comparing digests")
        proofs = fleet.prove()
    return _outcome(counts, aside, proofs, time.monotonic() - started_s)


def digest_of(sections: tuple[SectionTotal, ...]) -> str:
    """All sections as one hash, in hex."""
    text = "\n".join(f"{name} {count} {digest.hex()}" for name, count, digest in sections)
    return sha256(text.encode()).hexdigest()


def _read(task: Load) -> Iterator[Line | KeptAside]:
    return map(read, rows(task.file, task.columns))


def _fleet(task: Load, office: Office) -> AbstractContextManager[Fleet]:
    enrolments = []
    for number in range(task.devices):
        name = f"history {number + 1}"
        journal = task.journals / f"device-{number + 1}.journal"
        enrolments.append(Enrolment(number, journal, office.url, office.code(name), name))
    return Fleet(enrolments, processes=processes_for(task.devices))


def _map(
    task: Load, surveyed: Survey, fleet: Fleet, tell: Callable[[str], None]
) -> tuple[Counts, int]:
    """Hand all work to the devices; returns the counts and how many rows were kept aside."""
    mapping = Mapping(surveyed, devices=task.devices, currency=task.currency)
    with _AsideFile(task.kept_aside) as aside:
        for found in _read(task):
            if isinstance(found, KeptAside):
                aside.keep(found.row, found.reason)
                continue
            for work in mapping.add(found):
                if isinstance(work, Contradiction):
                    aside.keep(work.line, work.reason)
                else:
                    fleet.append(work.device, work.payload)
    if aside.count:
        tell(f"{aside.count} rows kept aside in {task.kept_aside}")
    return mapping.finish(), aside.count


class _AsideFile:
    """JSON lines of what could not be loaded; made when the first one comes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: TextIO | None = None
        self.count = 0

    def __enter__(self) -> _AsideFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def keep(self, row: RawRow | Line, reason: str) -> None:
        if self._stream is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._path.open("w", encoding="utf-8")
        number, *_ = row
        entry = {"row": number, "reason": reason, "values": row._asdict()}
        # Whatever type a file has a cell of can be shown as text; NaN is no JSON.
        self._stream.write(json.dumps(_plain(entry), ensure_ascii=False) + "\n")
        self.count += 1


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    finite = isinstance(value, float) and value - value == 0.0
    return value if value is None or finite or isinstance(value, str | int) else str(value)


def _outcome(counts: Counts, aside: int, proofs: list[Proof], seconds: float) -> Loaded:
    rejected = [reason for proof in proofs for reason in proof.rejected]
    first = proofs[0]
    same = {(proof.position, proof.sections) for proof in proofs} == {
        (first.position, first.sections)
    }
    return Loaded(
        **counts._asdict(),
        devices=len(proofs),
        kept_aside=aside,
        rejected=rejected[:HISTORY_REJECTED_SHOWN_MAX],
        seconds=round(seconds, 2),
        events_per_s=round(counts.events / seconds),
        lines_per_s=round(counts.lines / seconds),
        replicas_equal=same and all(proof.equal for proof in proofs) and not rejected,
        position=first.position,
        digest=digest_of(first.sections),
    )
