"""One run of Sync Now as a value: its steps while it goes on, its result, the event it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from replica.events.event import AccountId
from replica.events.payloads import SyncFinished
from replica.limits import REPORT_ENTRIES_MAX
from replica.server.devices import DeviceRow
from replica.server.plans import Plan, entries
from replica.sink import Comparison, RunReport
from replica.sync.messages import SectionDigest

DIGEST_CHARS = 16  # of the 64 that a digest has: enough for people to compare


@dataclass
class Step:
    """One step of a run. ``state``: waiting, running, done, attention."""

    name: str
    title: str
    state: str = "waiting"
    text: str = ""


@dataclass
class DeviceProof:
    """What a run learnt of one device.

    ``state``: equal, differs, pending (it still holds unsent events), silent (it was here and did
    not answer in time), offline.
    """

    row: DeviceRow
    state: str
    pending: int = 0
    differing: tuple[str, ...] = ()


def steps() -> list[Step]:
    """What a run will do, in order."""
    return [
        Step("plan", "What will be done is looked at"),
        Step("devices", "Devices send what they hold"),
        Step("views", "Lists and totals catch up"),
        Step("sinks", "QuickBooks: send and fetch"),
        Step("compare", "Orders are compared with their estimates"),
        Step("proof", "Devices prove that they hold the same"),
    ]


@dataclass
class Run:
    """One run, while it goes on and afterwards. Times are ms of the wall clock."""

    id: str
    account: AccountId
    by: str
    started_ms: int
    taken_up: bool = False  # begun by a process that ended in the middle of it
    steps: list[Step] = field(default_factory=steps)
    presses: int = 1
    finished_ms: int | None = None
    plan: Plan | None = None  # that somebody read, or as things stood when the run began
    moved: list[str] = field(default_factory=list)  # what is otherwise than the plan said
    asked: set[str] = field(default_factory=set)  # devices that were here, ids in hex
    received: int = 0  # events that devices sent because of it
    sections: tuple[SectionDigest, ...] = ()
    position: int = 0  # of the log, that the sections hold for
    devices: list[DeviceProof] = field(default_factory=list)
    reports: Mapping[str, RunReport] = field(default_factory=dict)
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.finished_ms is None

    @property
    def sent(self) -> int:
        """Work that the sinks delivered."""
        return sum(report.sent for report in self.reports.values())

    @property
    def fetched(self) -> int:
        """Changes that the sinks brought in."""
        return sum(report.pulled for report in self.reports.values())

    @property
    def equal(self) -> bool:
        """Whoever could be asked holds the same, and nothing needs anybody."""
        agreed = all(proof.state in ("equal", "offline") for proof in self.devices)
        return agreed and not self.problems


def finished_event(run: Run, finished_ms: int) -> SyncFinished:
    """The result of ``run`` as every replica will show it."""
    entries = dict(_entries(run))
    return SyncFinished(
        run=run.id,
        started_ms=run.started_ms,
        finished_ms=max(finished_ms, run.started_ms),
        pushed=run.received + run.sent,
        pulled=run.fetched,
        equal=run.equal,
        report=dict(list(entries.items())[:REPORT_ENTRIES_MAX]),
    )


def _entries(run: Run) -> Iterator[tuple[str, str]]:
    yield "by", run.by
    yield "position", str(run.position)
    yield "received", str(run.received)
    for section in run.sections:
        yield f"section.{section.section}", f"{section.count} {section.digest.hex()}"
    for name, report in run.reports.items():
        done = f"sent {report.sent}, fetched {report.pulled}"
        yield f"sink.{name}", f"{done}, failed {report.failed}, waiting {report.waiting}"
    if run.plan is not None:
        yield from entries(run.plan, run.moved)
    for number, problem in enumerate(run.problems):
        yield f"problem.{number}", problem
    for proof in run.devices:
        since = f" since {proof.row.seen_ms}" if proof.state == "offline" else ""
        yield f"device.{proof.row.id}", f"{proof.state}{since}, pending {proof.pending}"


def differing(ours: Sequence[SectionDigest], theirs: Sequence[SectionDigest]) -> tuple[str, ...]:
    """Names of the sections that are not the same on both sides."""
    one = {section.section: section for section in ours if section.count}
    other = {section.section: section for section in theirs if section.count}
    return tuple(
        sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    )


def disagreements(comparisons: Mapping[str, Comparison]) -> list[str]:
    """What a comparison of orders with estimates found, one sentence per kind of finding."""
    found = []
    for name, comparison in comparisons.items():
        for numbers, text in (
            (comparison.missing, "missing there"),
            (comparison.deleted, "deleted there"),
            (comparison.changed, "changed there"),
            (comparison.differs, "with another amount there"),
            (comparison.extra, "there that nothing here stands for"),
        ):
            if numbers:
                shown = ", ".join(numbers[:5]) + (", …" if len(numbers) > 5 else "")
                found.append(f"{name}: {len(numbers)} {text} ({shown})")
    return found
