"""One run of Sync Now as a value: its steps while it goes on, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from replica.crdt.digest import DIGEST_BYTES, fingerprint
from replica.events.event import AccountId
from replica.server.devices import DeviceRow
from replica.server.plans import Plan
from replica.sink import Comparison, RunReport
from replica.sync.messages import SectionDigest

DIGEST_CHARS = 16  # of the 64 that a digest has: enough for people to compare
NAMED = 5  # names in a sentence; the rest are counted


@dataclass
class Step:
    """One step of a run. ``state``: waiting, running, done, attention.

    While it runs, ``text`` says how far it is: ``done`` of ``total``, which is zero while nobody
    knows. Afterwards it says what came of it.
    """

    name: str
    title: str
    state: str = "waiting"
    text: str = ""
    done: int = 0
    total: int = 0

    def reached(self, done: int, total: int, doing: str = "") -> None:
        """It has come so far."""
        number = f"{done:,} of {total:,}" if total else f"{done:,}" if done else ""
        self.done, self.total = done, total
        self.text = ": ".join(filter(None, (doing, number)))


class Unlike(NamedTuple):
    """One section that is not the same on both sides; a side without documents counts none."""

    section: str
    server: SectionDigest
    device: SectionDigest


@dataclass(frozen=True)
class Compared:
    """What the server and a device held at one position of the log."""

    position: int
    server: tuple[SectionDigest, ...]
    device: tuple[SectionDigest, ...]

    @cached_property
    def fingerprints(self) -> tuple[str, str]:
        """The server's and the device's, of everything they hold, in hex (wire-protocol.md §7)."""
        return fingerprint(self.server).hex(), fingerprint(self.device).hex()

    @cached_property
    def unlike(self) -> tuple[Unlike, ...]:
        """The sections that differ, by name."""
        one, other = _by_name(self.server), _by_name(self.device)
        return tuple(
            Unlike(name, one.get(name, _none(name)), other.get(name, _none(name)))
            for name in sorted(one.keys() | other.keys())
            if one.get(name) != other.get(name)
        )


@dataclass
class DeviceProof:
    """What a run learnt of one device.

    ``state``: equal, differs, pending (it still holds unsent events), moving (it kept changing),
    silent (it was here and did not answer in time), offline. ``compared`` is None when both sides
    were never seen at the same position.
    """

    row: DeviceRow
    state: str
    pending: int = 0
    compared: Compared | None = None

    @property
    def troubled(self) -> bool:
        """Whether somebody has to know: it is here, and was not shown to hold the same."""
        return self.state not in ("equal", "offline")

    @property
    def fingerprints(self) -> tuple[str, str]:
        """The server's and the device's, both empty when they were not compared."""
        return self.compared.fingerprints if self.compared else ("", "")

    @property
    def unlike(self) -> tuple[Unlike, ...]:
        """The sections that differ."""
        return self.compared.unlike if self.compared else ()


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
    told_s: float = 0.0  # by the monotonic clock, when open pages last heard how far it is
    finished_ms: int | None = None
    plan: Plan | None = None  # that somebody read, or as things stood when the run began
    moved: list[str] = field(default_factory=list)  # what is otherwise than the plan said
    asked: set[str] = field(default_factory=set)  # devices that were here, ids in hex
    received: int = 0  # events that devices sent because of it
    sections: tuple[SectionDigest, ...] = ()
    position: int = 0  # of the log, that the sections hold for
    checked: str = ""  # what was done to see that the documents are what the log says
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
        return not self.problems and not any(proof.troubled for proof in self.devices)


def proof_values(proof: DeviceProof) -> dict[str, object]:
    """What a run learnt of one device as plain values, both fingerprints and what differs."""
    server, device = proof.fingerprints
    return {
        "device": proof.row.id,
        "name": proof.row.name,
        "state": proof.state,
        "seen_ms": proof.row.seen_ms,
        "pending": proof.pending,
        "position": proof.compared.position if proof.compared else None,
        "server_fingerprint": server,
        "device_fingerprint": device,
        "differing": [
            {
                "section": one.section,
                "server_count": one.server.count,
                "server_digest": one.server.digest,
                "device_count": one.device.count,
                "device_digest": one.device.digest,
            }
            for one in proof.unlike
        ],
    }


def _by_name(sections: Sequence[SectionDigest]) -> dict[str, SectionDigest]:
    return {section.section: section for section in sections if section.count}


def _none(name: str) -> SectionDigest:
    return SectionDigest(name, 0, bytes(DIGEST_BYTES))


def device_problems(proofs: Sequence[DeviceProof]) -> list[str]:
    """One sentence per kind of trouble, with the first names."""
    found = []
    for state, text in _TROUBLES.items():
        names = [proof.row.name for proof in proofs if proof.state == state]
        if names:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            found.append(f"{', '.join(names[:NAMED])}{more}: {text}")
    return found


_TROUBLES = {
    "differs": "other data than the server's; what differs, or everything, is fetched again",
    "pending": "still some work that could not be sent",
    "silent": "connected, and no answer in time",
    "moving": "kept changing while it was compared; press again",
}


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
                shown = ", ".join(numbers[:NAMED]) + (", …" if len(numbers) > NAMED else "")
                found.append(f"{name}: {len(numbers)} {text} ({shown})")
    return found
