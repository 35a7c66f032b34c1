"""Answers about pushed events: what the door hands to a peer, and how runs of verdicts are read.

Neighbouring events with the same answer share one :class:`~replica.sync.messages.Verdict`, so a
push of 500 accepted events is answered in some forty bytes (wire-protocol.md §5).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from replica.errors import PeerError
from replica.sync.messages import Decision, Outcome, Verdict

PLACED = frozenset({Outcome.ACCEPTED, Outcome.DUPLICATE})
"""Outcomes of events that stand in the log and therefore have a position."""


class Settlement(NamedTuple):
    """The door's answer to one ``Append`` effect, durable by the time it exists.

    The verdicts cover the first ``answered`` events. ``error`` says why the rest was not looked at:
    ``Forked`` or ``Gap``; the peer then answers what was settled and ends the connection.
    """

    verdicts: tuple[Verdict, ...]
    decisions: tuple[Decision, ...]
    error: PeerError | None = None

    @property
    def answered(self) -> int:
        return sum(verdict.count for verdict in self.verdicts)


NOTHING = Settlement((), ())


def nothing_but(error: PeerError | None) -> Settlement:
    """No event was looked at, because of ``error``."""
    return Settlement((), (), error)


def join(told: Settlement, fresh: Settlement) -> Settlement:
    """The answers of ``told`` followed by those of ``fresh``, whose error ends both."""
    shift = told.answered
    decisions = (
        Decision(decision.index + shift, decision.stamp, decision.flags)
        for decision in fresh.decisions
    )
    return Settlement(told.verdicts + fresh.verdicts, (*told.decisions, *decisions), fresh.error)


class Answer(NamedTuple):
    """What became of one event; ``stamp`` is None where the raw stamp stands."""

    outcome: Outcome
    position: int  # 0 unless accepted or duplicate
    received_ms: int
    code: str
    detail: str
    stamp: bytes | None
    flags: int


def answers(verdicts: Sequence[Verdict], decisions: Sequence[Decision]) -> Iterator[Answer]:
    """One answer per event, in order: the runs of ``verdicts`` spelled out."""
    decided = {decision.index: decision for decision in decisions}
    index = 0
    for verdict in verdicts:
        for offset in range(verdict.count):
            decision = decided.get(index)
            yield Answer(
                outcome=verdict.outcome,
                position=verdict.first_position + offset if verdict.first_position else 0,
                received_ms=verdict.received_ms,
                code=verdict.code,
                detail=verdict.detail,
                stamp=None if decision is None else decision.stamp,
                flags=0 if decision is None else decision.flags,
            )
            index += 1


def cut(settlement: Settlement, start: int, count: int) -> Settlement:
    """The answers to events ``start .. start + count - 1``, with indexes counted from ``start``."""
    end = start + count
    verdicts: list[Verdict] = []
    at = 0
    for verdict in settlement.verdicts:
        first, last = max(at, start), min(at + verdict.count, end)
        if first < last:
            position = verdict.first_position + first - at if verdict.first_position else 0
            part = replace(verdict, count=last - first, first_position=position)
            verdicts.append(part)
        at += verdict.count
    decisions = tuple(
        Decision(decision.index - start, decision.stamp, decision.flags)
        for decision in settlement.decisions
        if start <= decision.index < end
    )
    return Settlement(tuple(verdicts), decisions)


def add_verdict(verdicts: list[Verdict], verdict: Verdict) -> None:
    """Append the verdict of one event, joined to the run before it where it continues that."""
    if verdicts:
        last = verdicts[-1]
        position = last.first_position + last.count if last.first_position else 0
        if verdict == replace(last, count=verdict.count, first_position=position):
            verdicts[-1] = replace(last, count=last.count + verdict.count)
            return
    verdicts.append(verdict)


def highest_position(verdicts: Sequence[Verdict]) -> int:
    """The last position that any of the verdicts gives out, 0 when none does."""
    return max((v.first_position + v.count - 1 for v in verdicts if v.outcome in PLACED), default=0)
