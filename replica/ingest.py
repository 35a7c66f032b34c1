"""The door: the one way into the log, whoever writes. Pure; it decides and the edges perform.

Every event gets one durable outcome (wire-protocol.md §5):

- *accepted*: it stands in the log. So does a kind or version nobody here knows yet.
- *duplicate*: it stood there already; the answer of the first time is given again.
- *quarantined*: the envelope is sound, but its payload breaks a rule of its kind, or it depends on
  a quarantined event. Kept whole, shown to author and office, stands in nobody's way.
- *refused*: the bytes are no event, another writer's event, too large, or of a kind that this
  writer may not write. Only the hash is kept.

Whatever the outcome, the device's chain goes on: the next event has the next seq and names the hash
of these bytes, so one bad event never blocks the next (pitfalls P29). Nothing is refused for its
time (requirements CON-08): the door decides the stamp that merges will use and that is that.

:func:`admit` and :func:`write` are generators. An edge sends every ``Find`` and ``AppendRequest``
they yield to the log and sends the answer back in; :func:`through` does so for a synchronous log.
A ``Judge`` is work and no question to anybody: the edge calls :func:`judge`, wherever it has a
processor to spare.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import attrgetter, lt
from types import MappingProxyType
from typing import NamedTuple, TypeVar

from replica.errors import (
    CorruptionError,
    Forbidden,
    Forked,
    Gap,
    Malformed,
    Overloaded,
    PeerError,
    TooLarge,
)
from replica.events.clock import Stamp, correct, standing_until, tick
from replica.events.event import (
    EVENT_FORMAT,
    AccountId,
    DeviceId,
    Event,
    check_event,
    decode_event,
    decode_events,
    device_node,
    encode_event,
)
from replica.events.kinds import ANYBODY, CATALOGUE, REGISTRY, decode_payload
from replica.events.ports import (
    Appended,
    AppendRequest,
    AppendResult,
    Aside,
    DeviceHead,
    HeadMoved,
    Log,
)
from replica.events.record import Flag, Origin, Segment, encode_record, encode_records, raw_records
from replica.limits import HEAD_MOVES_MAX, PUSH_BYTES_MAX
from replica.sync.messages import Decision, Outcome, Verdict, bounded
from replica.sync.verdicts import NOTHING, Settlement, add_verdict, join, nothing_but

QUARANTINE_PAYLOAD = "payload"
QUARANTINE_WAITS_ON = "waits_on"


def _origins() -> Mapping[str, frozenset[Origin]]:
    """Who may write a kind, whatever the version: a version we do not know yet gives nobody a
    right that the known ones withhold."""
    names: dict[str, frozenset[Origin]] = {}
    for kind in CATALOGUE.values():
        names[kind.name] = names.get(kind.name, frozenset()) | kind.origins
    return MappingProxyType(names)


ORIGINS = _origins()


class Context(NamedTuple):
    """Who writes, as the server knows it. Nothing of it is taken from the events."""

    account: AccountId
    device: DeviceId
    epoch: int
    origin: Origin
    next_epoch: int  # the repair that a fork is told (``replica.sync.heads.next_epoch``)
    offset_ms: int  # the writer's clock minus ours; 0 for writers inside the server
    received_ms: int
    quarantined: Collection[bytes] = frozenset()  # ids in quarantine in this account


class Find(NamedTuple):
    """A question to the log: ``Log.find`` with these arguments."""

    account: AccountId
    device: DeviceId
    epoch: int
    first_seq: int
    last_seq: int


class Judge(NamedTuple):
    """Decide ``events``, which come right after ``head``: the arguments of :func:`judge`."""

    context: Context
    head: DeviceHead
    events: Sequence[bytes]


Found = tuple[Sequence[Segment], Sequence[Aside]]
"""What ``Log.find`` answers."""


@dataclass(slots=True)
class Run:
    """Neighbouring events with the same outcome for the same reason."""

    outcome: Outcome
    count: int
    code: str
    detail: str


class Judged(NamedTuple):
    """Decided, not yet durable. ``request`` is None when not even the first event was taken."""

    request: AppendRequest | None
    runs: tuple[Run, ...]
    decisions: tuple[Decision, ...]
    error: Forked | None


class Admitted(NamedTuple):
    """Durable. ``head`` is where the device's chain ends now; ``segment`` and ``asides`` are what
    this call added, for telling readers and the quarantine."""

    settlement: Settlement
    head: DeviceHead
    segment: Segment | None = None
    asides: tuple[Aside, ...] = ()


class Fact(NamedTuple):
    """What a writer inside the server says; see ``kinds.encode_payload`` for the first three."""

    kind: str
    version: int
    payload: bytes
    deps: tuple[bytes, ...] = ()


Question = Find | Judge | AppendRequest
Reply = Found | Judged | AppendResult
Routine = Generator[Question, Reply, Admitted]

_T = TypeVar("_T")


# Ways in -----------------------------------------------------------------------------------------


def admit(context: Context, head: DeviceHead, first_seq: int, events: Sequence[bytes]) -> Routine:
    """Take a device's events in; they claim to be ``first_seq`` and following.

    ``head`` is the end of its chain as last known: a hint, the log compares it. Returns when every
    event is answered durably, or with ``settlement.error`` set to ``Gap`` or ``Forked`` when the
    events from some point on do not continue the chain: those before it are answered, the rest was
    not looked at. Raises ``TooLarge`` when several events pass ``PUSH_BYTES_MAX`` together and
    ``Overloaded`` when other writers of the same device win ``HEAD_MOVES_MAX`` times.
    """
    size = sum(map(len, events))
    if len(events) > 1 and size > PUSH_BYTES_MAX:
        raise TooLarge("bytes of a push", limit=PUSH_BYTES_MAX, actual=size)
    for _ in range(HEAD_MOVES_MAX):
        told, judged = yield from _consider(context, head, first_seq, events)
        if judged is None:
            return Admitted(told, head)
        if judged.request is None:
            return Admitted(join(told, nothing_but(judged.error)), head)
        result = yield judged.request
        if isinstance(result, Appended):
            request, settled = judged.request, settle(judged, result)
            return Admitted(join(told, settled), request.after, result.segment, request.asides)
        assert isinstance(result, HeadMoved)
        head = result.actual
    raise Overloaded("other writers of this device keep coming first")


def foresee(context: Context, head: DeviceHead, first_seq: int, events: Sequence[bytes]) -> Routine:
    """What :func:`admit` would answer at this moment, with nothing written: for a preview. Events
    that would be accepted have no position yet."""
    told, judged = yield from _consider(context, head, first_seq, events)
    if judged is None:
        return Admitted(told, head)
    verdicts = tuple(
        Verdict(run.outcome, run.count, code=run.code, detail=run.detail) for run in judged.runs
    )
    answer = join(told, Settlement(verdicts, judged.decisions, judged.error))
    if judged.request is None:
        return Admitted(answer, head)
    return Admitted(answer, judged.request.after, asides=judged.request.asides)


def _consider(
    context: Context, head: DeviceHead, first_seq: int, events: Sequence[bytes]
) -> Generator[Question, Reply, tuple[Settlement, Judged | None]]:
    """The answers to events that the log knows already, and what is to be done with the others;
    None when there are none, or they are not to be looked at."""
    if first_seq > head.seq + 1:
        return nothing_but(Gap(head_seq=head.seq, first_seq=first_seq)), None
    known = min(head.seq + 1 - first_seq, len(events))
    told = NOTHING
    if known:
        found = yield Find(*context[:3], first_seq, first_seq + known - 1)
        assert not isinstance(found, Appended | HeadMoved | Judged)
        told = recall(context, first_seq, events[:known], found)
    if told.error is not None or known == len(events):
        return told, None
    judged = yield Judge(context, head, events[known:])
    assert isinstance(judged, Judged)
    return told, judged


def write(context: Context, head: DeviceHead, facts: Sequence[Fact]) -> Routine:
    """Make events of ``facts`` for a writer inside the server and take them in, all or none.

    Raises ``Malformed`` or ``Forbidden`` with the reason, and nothing written, when one of them
    would not be accepted: who writes here is present and can be told. ``context.received_ms`` is
    the time of writing.
    """
    for _ in range(HEAD_MOVES_MAX):
        events = compose(context, head, facts)
        size = sum(map(len, events))
        if len(events) > 1 and size > PUSH_BYTES_MAX:
            raise TooLarge("bytes of a write", limit=PUSH_BYTES_MAX, actual=size)
        judged = judge(context, head, events)
        for run in judged.runs:
            if run.outcome is not Outcome.ACCEPTED:
                raise Forbidden(run.detail) if run.code == Forbidden.code else Malformed(run.detail)
        assert judged.request is not None, "what was composed here continues the chain"
        result = yield judged.request
        if isinstance(result, Appended):
            return Admitted(settle(judged, result), judged.request.after, result.segment)
        assert isinstance(result, HeadMoved)
        head = result.actual
    raise Overloaded("other writers of this device keep coming first")


def through(log: Log, routine: Generator[Question, Reply, _T]) -> _T:
    """Run ``routine`` against a log at once, each question one blocking call."""
    try:
        question = next(routine)
        while True:
            if isinstance(question, Find):
                question = routine.send(log.find(*question))
            elif isinstance(question, Judge):
                question = routine.send(judge(*question))
            else:
                question = routine.send(log.append([question])[0])
    except StopIteration as done:
        answer: _T = done.value
        return answer


def compose(context: Context, head: DeviceHead, facts: Sequence[Fact]) -> list[bytes]:
    """The next events after ``head``. Raises ``Malformed`` for a bad envelope."""
    seq, prev, stamp = head.seq, head.hash, Stamp(head.stamp)
    node = device_node(context.device)
    events = []
    for fact in facts:
        seq, stamp = seq + 1, tick(stamp, context.received_ms, node)
        event = Event(
            EVENT_FORMAT,
            context.account,
            context.device,
            context.epoch,
            seq,
            prev,
            stamp,
            fact.kind,
            fact.version,
            fact.deps,
            fact.payload,
        )
        check_event(event)
        events.append(encode_event(event))
        prev = sha256(events[-1]).digest()
    return events


# Deciding ----------------------------------------------------------------------------------------


def judge(context: Context, head: DeviceHead, events: Sequence[bytes]) -> Judged:
    """Decide events that come right after ``head``, each hashed once.

    Stops where an event does not continue the chain; ``error`` is then set.
    """
    return judge_together(context, head, events) or judge_each(context, head, events)


def judge_together(context: Context, head: DeviceHead, events: Sequence[bytes]) -> Judged | None:
    """What :func:`judge_each` decides when every event is accepted as it is, which is nearly
    always so; None when one of them needs a look of its own.

    Passes over all events instead of all questions for one event: two thirds of the time.
    """
    if not events:
        return None
    try:
        decoded = decode_events(events)
        REGISTRY.check_all(decoded)
    except PeerError:
        return None
    ids = [sha256(data).digest() for data in events]
    if not _continues(context, head, decoded, ids):
        return None
    if any(dep in context.quarantined for deps in map(_deps_of, decoded) for dep in deps):
        return None
    stamp = decoded[-1].stamp
    if stamp > standing_until(offset_ms=context.offset_ms, received_ms=context.received_ms):
        return None
    if any(context.origin not in ORIGINS.get(name, ANYBODY) for name in {e.kind for e in decoded}):
        return None
    request = AppendRequest(
        account=context.account,
        device=context.device,
        epoch=context.epoch,
        origin=context.origin,
        received_ms=context.received_ms,
        before=head,
        after=DeviceHead(context.epoch, decoded[-1].seq, ids[-1], stamp),
        ids=tuple(ids),
        first_seq=head.seq + 1,
        last_seq=decoded[-1].seq,
        records=encode_records(events),
    )
    return Judged(request, (Run(Outcome.ACCEPTED, len(events), "", ""),), (), None)


def _continues(
    context: Context, head: DeviceHead, events: Sequence[Event], ids: Sequence[bytes]
) -> bool:
    """Whether ``events`` are this writer's next ones, each naming the one before it and later."""
    first_seq = head.seq + 1
    stamps = [head.stamp, *map(_stamp_of, events)]
    return (
        set(map(_writer_of, events)) == {(context.account, context.device, context.epoch)}
        and list(map(_seq_of, events)) == list(range(first_seq, first_seq + len(events)))
        and list(map(_prev_of, events)) == [head.hash, *ids[:-1]]
        and all(map(lt, stamps, stamps[1:]))
    )


_writer_of = attrgetter("account", "device", "epoch")
_seq_of, _prev_of, _stamp_of, _deps_of = map(attrgetter, ("seq", "prev", "stamp", "deps"))


def judge_each(context: Context, head: DeviceHead, events: Sequence[bytes]) -> Judged:
    """Decide one event after the other, whatever they are."""
    bench = _Bench(context, head)
    error = None
    for data in events:
        if not bench.take(data):
            error = Forked(epoch=context.epoch, seq=bench.seq + 1, next_epoch=context.next_epoch)
            break
    return bench.judged(error)


def settle(judged: Judged, appended: Appended) -> Settlement:
    """The answers to judged events, now that they are durable and have their positions."""
    segment = appended.segment
    position = segment.first if segment is not None else 0
    verdicts = []
    for run in judged.runs:
        if run.outcome is Outcome.ACCEPTED:
            assert segment is not None, "accepted events were appended"
            verdicts.append(Verdict(run.outcome, run.count, position, segment.received_ms))
            position += run.count
        else:
            verdicts.append(Verdict(run.outcome, run.count, code=run.code, detail=run.detail))
    return Settlement(tuple(verdicts), judged.decisions, judged.error)


def recall(context: Context, first_seq: int, events: Sequence[bytes], found: Found) -> Settlement:
    """Answer events at seqs that the log has outcomes for: the same answers as the first time.

    Stops with ``Forked`` at bytes other than those the outcome was about. Raises
    ``CorruptionError`` when the log knows nothing of a seq below its own head.
    """
    placed = _placed(found[0])
    asides = {aside.seq: aside for aside in found[1]}
    verdicts: list[Verdict] = []
    decisions: list[Decision] = []
    error = None
    for index, data in enumerate(events):
        seq = first_seq + index
        aside = asides.get(seq)
        if aside is None and seq not in placed:
            raise CorruptionError(f"seq {seq} is below the head and in no segment")
        identity = aside.id if aside else placed[seq].id
        if sha256(data).digest() != identity:
            error = Forked(epoch=context.epoch, seq=seq, next_epoch=context.next_epoch)
            break
        if aside:
            outcome = Outcome.QUARANTINED if aside.event else Outcome.REFUSED
            verdict = Verdict(outcome, 1, code=aside.code, detail=aside.detail)
        else:
            row = placed[seq]
            verdict = Verdict(Outcome.DUPLICATE, 1, row.position, row.received_ms)
            if row.stamp is not None or row.flags:
                decisions.append(Decision(index, row.stamp or row.raw, row.flags))
        add_verdict(verdicts, verdict)
    return Settlement(tuple(verdicts), tuple(decisions), error)


class _Bench:
    """The chain while it is being extended: what was decided so far, event by event."""

    __slots__ = (
        "_asides",
        "_at",
        "_before",
        "_context",
        "_decisions",
        "_first_seq",
        "_hash",
        "_held",
        "_ids",
        "_last_seq",
        "_me",
        "_records",
        "_runs",
        "_stamp",
        "_standing",
        "seq",
    )

    def __init__(self, context: Context, head: DeviceHead) -> None:
        self.seq = head.seq
        self._context = context
        self._before = head
        self._hash = head.hash
        self._stamp = Stamp(head.stamp)
        self._standing = standing_until(
            offset_ms=context.offset_ms, received_ms=context.received_ms
        )
        self._me = (context.account, context.device, context.epoch)
        self._at = 0  # index of the event at hand
        self._ids: list[bytes] = []
        self._records: list[bytes] = []
        self._first_seq = self._last_seq = 0
        self._runs: list[Run] = []
        self._decisions: list[Decision] = []
        self._asides: list[Aside] = []
        self._held: set[bytes] = set()  # quarantined by this very call

    def take(self, data: bytes) -> bool:
        """Decide one event. False when it does not continue the chain; nothing changed then."""
        identity = sha256(data).digest()
        try:
            event = decode_event(data)
        except PeerError as error:
            self._set_aside(identity, error.code, str(error), b"")
            return True
        if (event.account, event.device, event.epoch) != self._me:
            detail = "the event names another account, device or epoch than the session"
            self._set_aside(identity, Forbidden.code, detail, b"")
            return True
        if event.seq != self.seq + 1 or event.prev != self._hash:
            return False
        origins = ORIGINS.get(event.kind)
        if origins is not None and self._context.origin not in origins:
            detail = f"{event.kind} may not be written from here"
            self._set_aside(identity, Forbidden.code, detail, b"")
            return True
        if (reason := self._reason_to_hold(event)) is not None:
            self._held.add(identity)
            self._set_aside(identity, *reason, data)
            return True
        self._accept(identity, event, data)
        return True

    def _reason_to_hold(self, event: Event) -> tuple[str, str] | None:
        for dep in event.deps:
            if dep in self._held or dep in self._context.quarantined:
                return QUARANTINE_WAITS_ON, f"waits on {dep.hex()}, which is in quarantine"
        try:
            decode_payload(event)
        except Malformed as error:
            return QUARANTINE_PAYLOAD, str(error)
        return None

    def _accept(self, identity: bytes, event: Event, data: bytes) -> None:
        raw = Stamp(event.stamp)
        if self._stamp < raw <= self._standing:
            self._stamp = raw
            self._records.append(encode_record(data, None, 0))
        else:
            self._records.append(self._correct(raw, data))
        self._ids.append(identity)
        self._first_seq = self._first_seq or event.seq
        self._last_seq = event.seq
        self._advance(identity, Outcome.ACCEPTED, "", "")

    def _correct(self, raw: Stamp, data: bytes) -> bytes:
        """The record of an event whose time does not simply stand."""
        context = self._context
        stamp, disputed = correct(
            raw, offset_ms=context.offset_ms, received_ms=context.received_ms, last=self._stamp
        )
        self._stamp = stamp
        flags = int(Flag.DISPUTED) if disputed else 0
        if stamp == raw and not flags:
            return encode_record(data, None, 0)
        self._decisions.append(Decision(self._at, stamp, flags))
        return encode_record(data, None if stamp == raw else stamp, flags)

    def _set_aside(self, identity: bytes, code: str, detail: str, event: bytes) -> None:
        detail = bounded(detail)
        outcome = Outcome.QUARANTINED if event else Outcome.REFUSED
        self._asides.append(Aside(self.seq + 1, identity, code, detail, event))
        self._advance(identity, outcome, code, detail)

    def _advance(self, identity: bytes, outcome: Outcome, code: str, detail: str) -> None:
        self.seq += 1
        self._at += 1
        self._hash = identity
        last = self._runs[-1] if self._runs else None
        if last and last.outcome is outcome and last.detail == detail and last.code == code:
            last.count += 1
        else:
            self._runs.append(Run(outcome, 1, code, detail))

    def judged(self, error: Forked | None) -> Judged:
        context = self._context
        request = AppendRequest(
            account=context.account,
            device=context.device,
            epoch=context.epoch,
            origin=context.origin,
            received_ms=context.received_ms,
            before=self._before,
            after=DeviceHead(context.epoch, self.seq, self._hash, self._stamp),
            ids=tuple(self._ids),
            first_seq=self._first_seq,
            last_seq=self._last_seq,
            records=b"".join(self._records),
            asides=tuple(self._asides),
        )
        return Judged(
            request if self._at else None, tuple(self._runs), tuple(self._decisions), error
        )


# Answers -----------------------------------------------------------------------------------------


class _Placed(NamedTuple):
    id: bytes
    position: int
    received_ms: int
    raw: bytes
    stamp: bytes | None
    flags: int


def _placed(segments: Sequence[Segment]) -> dict[int, _Placed]:
    """Accepted events of one device and epoch by seq."""
    placed = {}
    for segment in segments:
        for offset, (data, stamp, flags) in enumerate(raw_records(segment)):
            event = decode_event(data)
            placed[event.seq] = _Placed(
                sha256(data).digest(),
                segment.first + offset,
                segment.received_ms,
                event.stamp,
                stamp,
                flags,
            )
    return placed
