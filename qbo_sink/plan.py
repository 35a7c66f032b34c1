"""What to send, in which order, and what waits for what. Pure.

A document's intent follows from comparing hashes: what is wanted, what was acknowledged, what is
open. So replaying every event there is gives the same intents, and nothing is sent twice
(pitfalls P46).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from qbo_sink import doubt
from qbo_sink.model import ENTITY_ORDER, UNKNOWN_OUTCOME, Key, Op, State


@dataclass(frozen=True)
class Intent:
    """One piece of work, written down before it is tried. Mirrors a row of the ledger."""

    id: int
    key: Key
    op: Op
    generation: int
    hash: str
    content: bytes
    state: State
    position: int
    rank: int = 0
    body: bytes = b""
    requestid: str = ""
    sends: int = 0
    looks: int = 0
    first_sent_ms: int = 0
    sent_ms: int = 0
    looked_ms: int = 0
    due_ms: int = 0
    cycles: int = 0
    corrections: str = ""
    code: str = ""
    cause: str = ""
    fix: str = ""
    detail: str = ""
    told: bool = False
    queued_ms: int = 0
    form: str = ""  # what the document was first meant to be made as


class Change(StrEnum):
    """What the feed does about one document."""

    NONE = "none"
    ADD = "add"
    REPLACE = "replace"  # several edits before a send collapse into the last
    CANCEL = "cancel"


class Decision(NamedTuple):
    change: Change
    op: Op | None = None


_NONE = Decision(Change.NONE)


def decide(
    wanted_hash: str,
    *,
    cancelled: bool,
    acknowledged_hash: str | None,
    current: Intent | None,
    follows: bool = True,
) -> Decision:
    """What to do so that the document there becomes what is wanted here.

    ``acknowledged_hash`` is None when nothing stands there. While the outcome of an open intent is
    unknown nothing changes; the caller decides again once it is known. ``follows`` is False for
    what is only created there and belongs to the office afterwards (items).
    """
    if current is not None and current.state in UNKNOWN_OUTCOME:
        return _NONE
    op = _needed(wanted_hash, cancelled=cancelled, acknowledged_hash=acknowledged_hash)
    if acknowledged_hash is not None and not follows:
        op = None
    if op is None:
        return _NONE if current is None else Decision(Change.CANCEL)
    if current is None:
        return Decision(Change.ADD, op)
    if current.hash == wanted_hash and current.op == op:
        return _NONE
    return Decision(Change.REPLACE, op)


def _needed(wanted_hash: str, *, cancelled: bool, acknowledged_hash: str | None) -> Op | None:
    if acknowledged_hash is None:
        return None if cancelled else Op.CREATE
    if acknowledged_hash == wanted_hash:
        return None
    return Op.REJECT if cancelled else Op.UPDATE


class Action(StrEnum):
    SEND = "send"
    LOOK = "look"
    WAIT = "wait"  # for time, or for another row
    HOLD = "hold"  # for somebody


@dataclass(frozen=True)
class Step:
    """What one row does next; ``due_ms`` is set when it waits for time alone."""

    intent: Intent
    action: Action
    reason: str = ""
    due_ms: int | None = None
    waits_for: Key | None = None


_NOT_NOW = (Action.WAIT, Action.HOLD)
_PINNED = {State.PARKED: 0, State.FAULTED: 0}
_LAST = {State.EXCLUDED: 2}


def sending_order(intents: Iterable[Intent]) -> list[Intent]:
    """Failing rows first, then customers, items and estimates, each in commit order.

    The row that an error belongs to stands on top (QB-21); unlike a queue that it would block, the
    rest goes on below it.
    """
    return sorted(
        intents,
        key=lambda i: (
            _PINNED.get(i.state, _LAST.get(i.state, 1)),
            i.rank,
            ENTITY_ORDER[i.key.entity],
            i.position,
            i.id,
        ),
    )


def plan(
    intents: Sequence[Intent],
    needs: Mapping[int, Sequence[Key]],
    mapped: frozenset[Key] | set[Key],
    now_ms: int,
    *,
    strict_order: bool = False,
) -> list[Step]:
    """A step for every open intent, in sending order.

    ``needs`` names, per intent id, what must stand there first. Only the rows that depend on a
    failing one wait; with ``strict_order`` every row behind it does.
    """
    open_keys = {intent.key: intent for intent in intents}
    steps: list[Step] = []
    held = ""
    for intent in sending_order(intents):
        step = _step(intent, needs.get(intent.id, ()), mapped, open_keys, now_ms)
        if strict_order and held and step.action is not Action.HOLD:
            step = Step(intent, Action.WAIT, f"waits for {held}, which is ahead of it")
        elif strict_order and step.action in _NOT_NOW and intent.state is not State.EXCLUDED:
            held = held or describe(intent.key)
        steps.append(step)
    return steps


def _step(
    intent: Intent,
    needs: Sequence[Key],
    mapped: frozenset[Key] | set[Key],
    open_keys: Mapping[Key, Intent],
    now_ms: int,
) -> Step:
    if intent.state is State.EXCLUDED:
        return Step(intent, Action.HOLD, "excluded")
    if intent.state in (State.PARKED, State.FAULTED):
        return Step(intent, Action.HOLD, intent.cause)
    if intent.state in UNKNOWN_OUTCOME:
        move = doubt.next_move(intent, intent.due_ms)
        if move.due_ms > now_ms:
            return Step(intent, Action.WAIT, "its outcome is being looked up", move.due_ms)
        action = Action.LOOK if move.move is doubt.Move.LOOK else Action.SEND
        return Step(intent, action, "the outcome of the last try is unknown")
    for need in needs:
        if need not in mapped:
            return Step(intent, Action.WAIT, _waits_for(need, open_keys), waits_for=need)
    if intent.due_ms > now_ms:
        return Step(intent, Action.WAIT, intent.cause or "waits its time", intent.due_ms)
    return Step(intent, Action.SEND)


def _waits_for(need: Key, open_keys: Mapping[Key, Intent]) -> str:
    name = describe(need)
    ahead = open_keys.get(need)
    if ahead is None:
        return f"waits for {name}, which is not known here yet"
    if ahead.state in (State.PARKED, State.FAULTED):
        return f"waits for {name}: {ahead.cause}"
    if ahead.state is State.EXCLUDED:
        return f"waits for {name}, which is excluded"
    return f"waits for {name}"


def describe(key: Key) -> str:
    return f"{key.local_type} {key.local_id}"
