"""The result of a Sync Now as events, so that every replica can show it (architecture.md §9). Pure.

It says per device what both sides held: their fingerprints, and for each section that differs its
count and digest on either side. What somebody has to see is never cut: it fills further events when
one is full. Devices that hold the same share a line where their fingerprints are the same, and fill
what room is left; those for which there is none are counted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from replica.events.payloads import SyncFinished
from replica.limits import (
    REPORT_BYTES_MAX,
    REPORT_ENTRIES_MAX,
    SYNC_PROBLEMS_MAX,
    TEXT_CHARS_MAX,
)
from replica.server.plans import entries
from replica.server.runs import DeviceProof, Run

PART_MARK = "."
"""Between the id of a run, which has none, and the number of a further event of its result."""

_OWN_ENTRIES = 2  # kept free in every event: what part it is, and how many devices are left out
_IDS_IN_LINE = 100


def finished_events(run: Run, finished_ms: int) -> list[SyncFinished]:
    """The result of ``run``: one event, and further ones, ``<run>.2`` and so on, for devices that
    somebody has to see and that found no room in it. Submit them together."""
    parts = _Parts()
    for key, text in (*_said(run), *_troubled(run.devices), *_offline(run.devices)):
        parts.put(key, text)
    left_out = 0
    for number, (ids, text) in enumerate(_equal(run.devices)):
        if not parts.put_if_room(f"equal.{number}", text):
            left_out += ids
    if left_out:
        parts.reports[-1]["equal.more"] = f"and {left_out} more equal"
    if len(parts.reports) > 1:
        for number, report in enumerate(parts.reports, 1):
            report["part"] = f"{number} of {len(parts.reports)}"
    return [_event(run, finished_ms, *part) for part in enumerate(parts.reports, 1)]


def _event(run: Run, finished_ms: int, part: int, report: dict[str, str]) -> SyncFinished:
    first = part == 1
    return SyncFinished(
        run=run.id if first else f"{run.id}{PART_MARK}{part}",
        started_ms=run.started_ms,
        finished_ms=max(finished_ms, run.started_ms),
        pushed=run.received + run.sent if first else 0,
        pulled=run.fetched if first else 0,
        equal=run.equal,
        report=report,
    )


class _Parts:
    """Reports that fill one after the other."""

    def __init__(self) -> None:
        self.reports: list[dict[str, str]] = [{}]
        self._bytes = 0

    def put(self, key: str, text: str) -> None:
        """Into this report, or a new one."""
        if not self.put_if_room(key, text):
            self.reports.append({})
            self._bytes = 0
            self.put_if_room(key, text)

    def put_if_room(self, key: str, text: str) -> bool:
        """Whether there was room; there always is in an empty one."""
        text = _clipped(text)
        size = len(key.encode()) + len(text.encode())
        report = self.reports[-1]
        full = len(report) >= REPORT_ENTRIES_MAX - _OWN_ENTRIES
        if report and (full or self._bytes + size > REPORT_BYTES_MAX):
            return False
        report[key] = text
        self._bytes += size
        return True


def _said(run: Run) -> Iterator[tuple[str, str]]:
    yield "by", run.by
    yield "position", str(run.position)
    yield "received", str(run.received)
    yield "checked", run.checked
    for number, problem in enumerate(run.problems[:SYNC_PROBLEMS_MAX]):
        yield f"problem.{number}", problem
    if len(run.problems) > SYNC_PROBLEMS_MAX:
        yield "problem.more", f"and {len(run.problems) - SYNC_PROBLEMS_MAX} more"
    for section in run.sections:
        yield f"section.{section.section}", f"{section.count} {section.digest.hex()}"
    for name, report in run.reports.items():
        done = f"sent {report.sent}, fetched {report.pulled}"
        yield f"sink.{name}", f"{done}, failed {report.failed}, waiting {report.waiting}"
    if run.plan is not None:
        yield from entries(run.plan, run.moved)


def _troubled(proofs: Sequence[DeviceProof]) -> Iterator[tuple[str, str]]:
    """A line per device; those that differ first."""
    troubled = [proof for proof in proofs if proof.troubled]
    for proof in sorted(troubled, key=lambda proof: proof.state != "differs"):
        parts = [f"{proof.state}, pending {proof.pending}"]
        if proof.compared is not None:
            server, device = proof.fingerprints
            parts.append(f"at {proof.compared.position} server {server} device {device}")
        for one in proof.unlike:
            sides = (f"{side.count} {side.digest.hex()}" for side in (one.server, one.device))
            parts.append("{} server {} device {}".format(one.section, *sides))
        yield f"device.{proof.row.id}", _shortened(parts)


def _shortened(parts: Sequence[str]) -> str:
    """As many of ``parts`` as a text can hold, and how many more there are: a device can make up
    as many sections as it likes."""
    kept = list(parts)
    while len(text := "; ".join(kept)) > TEXT_CHARS_MAX - _IDS_IN_LINE:
        kept.pop()
    more = len(parts) - len(kept)
    return f"{text}; and {more} more sections" if more else text


def _offline(proofs: Sequence[DeviceProof]) -> Iterator[tuple[str, str]]:
    """Who is away and since when, in ms; 0 for a device that never was here."""
    away = [f"{one.row.id} {one.row.seen_ms or 0}" for one in proofs if one.state == "offline"]
    for number, some in enumerate(_lines(away, _IDS_IN_LINE // 2)):
        yield f"offline.{number}", ", ".join(some)


def _equal(proofs: Sequence[DeviceProof]) -> Iterator[tuple[int, str]]:
    """How many devices a line is about, and the line."""
    groups: dict[str, list[str]] = defaultdict(list)
    for proof in proofs:
        if proof.state == "equal" and proof.compared is not None:
            server, device = proof.fingerprints
            groups[f"at {proof.compared.position} server {server} device {device}"].append(
                proof.row.id
            )
    for both, ids in groups.items():
        for some in _lines(ids, _IDS_IN_LINE):
            yield len(some), f"{both}: {' '.join(some)}"


def _lines(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[first : first + size] for first in range(0, len(items), size))


def _clipped(text: str) -> str:
    """``text`` as an event can say it: bounded, and without NUL."""
    text = text.replace("\0", " ")
    return text if len(text) <= TEXT_CHARS_MAX else f"{text[: TEXT_CHARS_MAX - 1]}…"
