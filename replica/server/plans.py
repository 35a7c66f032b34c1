"""The plan of a Sync Now: what it will do, as far as that is known before (architecture.md §9).

A plan is a value with an id made of what it says, so a press can name the plan that somebody has
read. The run then does what there is to do and says where reality has moved on meanwhile. Nothing
is computed here that a sink's queue and outlook do not say already. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from replica.server.devices import DeviceRow
from replica.server.web.words import count
from replica.sink import Outlook, QueueRow, RunReport

ID_CHARS = 16
NOT_ASKED = Outlook("not asked before the run")
_STAYS = frozenset({"needs_you", "excluded"})
_NAMED = 5
_ROW = (
    *("id", "entity", "number", "customer", "amount_minor", "currency"),
    *("becomes", "state", "reason", "changes", "foreseen"),
)
_INCOMING = ("name", "becomes", "changes", "gives_way", "goes_over")


@dataclass(frozen=True)
class Deleted:
    """A record that is deleted here and that some device has not heard of yet."""

    type: str
    id: str
    name: str


@dataclass(frozen=True)
class Plan:
    """What a run would do at ``made_ms``, with the log at ``position``.

    ``rows`` are the first of the sinks' queue in sending order, ``counts`` all of it by state.
    """

    made_ms: int
    by: str
    position: int
    devices: Sequence[DeviceRow] = ()
    rows: Sequence[QueueRow] = ()
    counts: tuple[tuple[str, int], ...] = ()
    outlook: Outlook = NOT_ASKED
    deleted: Sequence[Deleted] = ()

    @property
    def id(self) -> str:
        """Names what the plan says: positions, devices, queue, and what was seen there."""
        parts = (
            self.position,
            [(row.id, row.state, row.pending) for row in self.devices],
            self.counts,
            [(row.id, row.state, row.becomes, row.changes) for row in self.rows],
            self.outlook.rows,
            self.deleted,
        )
        return sha256(_encode(parts)).hexdigest()[:ID_CHARS]

    @property
    def pushed(self) -> int:
        """Documents that go to the other system."""
        return sum(number for state, number in self.counts if state not in _STAYS)

    @property
    def staying(self) -> int:
        """Documents that wait for somebody and do not go."""
        return sum(number for state, number in self.counts if state in _STAYS)

    @property
    def pulled(self) -> int:
        """Changes there that bring something here; where ours counts, it goes over theirs."""
        return sum(bool(one.changes or not one.goes_over) for one in self.outlook.rows)

    @property
    def whole(self) -> bool:
        """Whether every row of the queue is named."""
        return len(self.rows) == sum(number for _, number in self.counts)

    @property
    def held(self) -> int:
        """Events that devices were known to hold, as last reported."""
        return sum(row.pending or 0 for row in self.devices)


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Plan).decode


def named(row: QueueRow) -> str:
    """One row of the queue in a few words."""
    return " ".join(filter(None, (row.entity, row.number or row.customer or row.local_id)))


def overridden(plan: Plan) -> Iterator[str]:
    """What stands there and gives way to what is here."""
    for row in plan.rows:
        if row.changes and row.state not in _STAYS:
            yield f"{named(row)}: {', '.join(row.changes)}"
    for one in plan.outlook.rows:
        yield from (f"{one.name}, {text}" for text in one.goes_over)


def lost(plan: Plan) -> Iterator[str]:
    """Edits here that give way to newer ones there, or to a deletion."""
    for one in plan.outlook.rows:
        yield from (f"{one.name}, {text}" for text in one.gives_way)
    for gone in plan.deleted:
        yield f"{gone.name or gone.id}: an edit that a device has not sent yet changes nothing"


def deletions(plan: Plan) -> Iterator[str]:
    """What is deleted or rejected, on which side."""
    for row in plan.rows:
        if row.becomes == "marked as rejected":
            yield f"{named(row)} is marked as rejected there"
    for one in plan.outlook.rows:
        if one.becomes == "deleted there":
            yield f"{one.local_type} {one.name or one.local_id} was deleted there"
    for gone in plan.deleted:
        yield f"{gone.type} {gone.name or gone.id} is deleted on every device"


def moved(plan: Plan, now: Plan) -> list[str]:
    """Where things stand otherwise than ``plan`` says; one sentence each."""
    found = []
    if now.position > plan.position:
        more = count(now.position - plan.position, "event")
        found.append(f"{more} came into the log")
    found.extend(_queue_moved(plan, now))
    states = {row.id: row.state for row in plan.devices}
    found.extend(
        f"{row.name} is {row.state}" for row in now.devices if states.get(row.id) != row.state
    )
    return found


def _queue_moved(plan: Plan, now: Plan) -> Iterator[str]:
    if not (plan.whole and now.whole):
        if plan.counts != now.counts:
            yield f"{count(now.pushed, 'document')} to send, {plan.pushed} were planned"
        return
    before, after = _by_id(plan.rows), _by_id(now.rows)
    both = [(before[key], row) for key, row in after.items() if key in before]
    for text, rows in (
        ("more to send", [row for key, row in after.items() if key not in before]),
        ("not waiting any more", [row for key, row in before.items() if key not in after]),
        ("waiting otherwise", [row for old, row in both if _said(old) != _said(row)]),
    ):
        if rows:
            yield f"{len(rows)} {text}: {_names(rows, named)}"


def undone(plan: Plan, left: Plan, reports: Iterable[RunReport]) -> list[str]:
    """What a run did otherwise than ``plan`` said; ``left`` is what waits after it."""
    reports = list(reports)
    found = []
    waits = _by_id(left.rows)
    still = [waits[row.id] for row in plan.rows if row.id in waits and row.state not in _STAYS]
    if not left.whole:
        found.append(f"{count(left.pushed, 'document')} still wait")
    elif still:
        found.append(f"{len(still)} of {plan.pushed} planned still wait: {_names(still, _why)}")
    sent = sum(report.sent for report in reports)
    if left.whole and sent > plan.pushed - len(still):
        extra = sent - plan.pushed + len(still)
        found.append(f"{count(extra, 'document')} more than planned went")
    pulled = sum(report.pulled for report in reports)
    if plan.outlook.at_ms and pulled != plan.pulled:
        found.append(f"{count(pulled, 'change')} came from there, {plan.pulled} were planned")
    return found


def plan_values(plan: Plan, device: str = "") -> dict[str, Any]:
    """The plan as plain values; with ``device`` only what that one may see: counts and itself."""
    full = not device
    shown = [row for row in plan.devices if full or row.id == device]
    return {
        "plan": plan.id,
        "made_ms": plan.made_ms,
        "by": plan.by,
        "position": plan.position,
        "devices": [
            {"device": row.id} | _picked(row, ("name", "state", "seen_ms", "pending", "behind"))
            for row in shown
        ],
        "push": {
            "count": plan.pushed,
            "staying": plan.staying,
            "states": dict(plan.counts),
            "rows": [_picked(row, _ROW) for row in plan.rows] if full else [],
        },
        "pull": {
            "text": plan.outlook.text,
            "at_ms": plan.outlook.at_ms,
            "count": plan.pulled,
            "rows": [
                {"type": one.local_type, "id": one.local_id} | _picked(one, _INCOMING)
                for one in plan.outlook.rows
            ]
            if full
            else [],
        },
        "overridden": list(overridden(plan)) if full else [],
        "deleted": list(deletions(plan)) if full else [],
        "lost": list(lost(plan)) if full else [],
    }


def encode_plan(plan: Plan) -> bytes:
    """The plan as it is kept with the run that goes by it."""
    return _encode(plan)


def decode_plan(data: bytes) -> Plan | None:
    """The same again; None when another version of this program kept it otherwise."""
    try:
        return _decode(data)
    except msgspec.MsgspecError:
        return None


def entries(plan: Plan, changed: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the result of a run keeps of its plan."""
    yield "plan", plan.id
    yield "plan.made_ms", str(plan.made_ms)
    yield "plan.position", str(plan.position)
    yield "plan.push", f"{plan.pushed} to send, {plan.staying} wait for somebody"
    yield "plan.pull", f"{plan.pulled} to fetch, {plan.outlook.text}"
    yield "plan.held", f"{plan.held} on devices"
    for name, texts in (("overridden", overridden(plan)), ("deleted", deletions(plan))):
        yield from ((f"plan.{name}.{at}", text) for at, text in _first(texts))
    yield from ((f"plan.lost.{at}", text) for at, text in _first(lost(plan)))
    yield from ((f"plan.changed.{at}", text) for at, text in enumerate(changed))


def _first(texts: Iterable[str]) -> Iterator[tuple[int, str]]:
    return ((at, text) for at, text in enumerate(texts) if at < _NAMED)


def _by_id(rows: Iterable[QueueRow]) -> dict[str, QueueRow]:
    return {row.id: row for row in rows}


def _said(row: QueueRow) -> tuple[str, str]:
    return row.state, row.becomes


def _names(rows: Sequence[QueueRow], words: Callable[[QueueRow], str]) -> str:
    shown = ", ".join(words(row) for row in rows[:_NAMED])
    return f"{shown}, …" if len(rows) > _NAMED else shown


def _why(row: QueueRow) -> str:
    reason = row.cause or row.reason
    return f"{named(row)} ({reason})" if reason else named(row)


def _picked(one: object, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(one, name) for name in names}
