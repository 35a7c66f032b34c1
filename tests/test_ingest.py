"""The door: one durable outcome per event, the same answer every time, the chain never stops."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.errors import CorruptionError, Forbidden, Forked, Gap, Malformed, Overloaded, TooLarge
from replica.events.clock import make_stamp, stamp_ms
from replica.events.event import (
    GENESIS,
    AccountId,
    DeviceId,
    Event,
    Position,
    decode_event,
    encode_event,
)
from replica.events.kinds import encode_payload
from replica.events.payloads import (
    Content,
    CustomerDeleted,
    OrderCommitted,
    OrderEstimated,
    Payload,
    SealedLine,
)
from replica.events.ports import AppendRequest, AppendResult, DeviceHead, HeadMoved
from replica.events.record import Flag, Origin, records
from replica.ingest import (
    Admitted,
    Context,
    Fact,
    Find,
    Judge,
    admit,
    compose,
    foresee,
    judge,
    judge_each,
    judge_together,
    recall,
    through,
    write,
)
from replica.limits import CLOCK_AHEAD_MS_MAX, EVENT_BYTES_MAX, HEAD_MOVES_MAX, PUSH_BYTES_MAX
from replica.store.memory import MemoryLog
from replica.sync.heads import head_in, next_epoch
from replica.sync.messages import Outcome, Verdict
from replica.sync.verdicts import answers

ACCOUNT = AccountId(bytes(range(16)))
DEVICE = DeviceId(bytes([7] * 16))
NOW = 1_700_000_000_000
CONTEXT = Context(ACCOUNT, DEVICE, 1, Origin.DEVICE, 2, 0, NOW)
START = head_in((), 1)
YEAR_MS = 365 * 86_400_000


def fact(payload: Payload, *deps: bytes) -> Fact:
    return Fact(*encode_payload(payload), deps)


def deleted(name: str = "c-1", *deps: bytes) -> Fact:
    return fact(CustomerDeleted(customer=name), *deps)


def an_order(total_minor: int) -> Fact:
    content = Content(
        number="A-1",
        customer="c-1",
        currency="USD",
        date="2024-05-01",
        total_minor=total_minor,
        lines=(SealedLine("l-1", "p-1", 2_000, 150_000),),
    )
    return fact(OrderCommitted(order="o-1", content=content))


GOOD_ORDER, WRONG_TOTAL = an_order(3_000), an_order(2_999)


def identity(data: bytes) -> bytes:
    return sha256(data).digest()


def outcomes(admitted: Admitted) -> list[Outcome]:
    settlement = admitted.settlement
    return [answer.outcome for answer in answers(settlement.verdicts, settlement.decisions)]


def chained(
    *parts: Fact | bytes, head: DeviceHead = START, context: Context = CONTEXT
) -> list[bytes]:
    """Events after ``head``; bytes stand for themselves, and the chain goes on over them."""
    events: list[bytes] = []
    for part in parts:
        if isinstance(part, bytes):
            events.append(part)
        else:
            events += compose(context, head, [part])
        stamp = head.stamp if isinstance(part, bytes) else decode_event(events[-1]).stamp
        head = DeviceHead(head.epoch, head.seq + 1, identity(events[-1]), stamp)
    return events


def take(
    log: MemoryLog, events: Sequence[bytes], first_seq: int = 1, context: Context = CONTEXT
) -> Admitted:
    head = head_in(log.device_heads(ACCOUNT, DEVICE), context.epoch)
    return through(log, admit(context, head, first_seq, events))


def changed(data: bytes, **fields: object) -> bytes:
    event = decode_event(data)
    values = {name: getattr(event, name) for name in event.__struct_fields__}
    return encode_event(Event(**{**values, **fields}))


# Outcomes


def test_sound_events_are_accepted() -> None:
    """Accepted events get consecutive positions and stand in the log as they were made (§5)."""
    log = MemoryLog()
    events = chained(deleted("c-1"), GOOD_ORDER, deleted("c-2"))
    admitted = take(log, events)
    assert admitted.settlement.verdicts == (Verdict(Outcome.ACCEPTED, 3, 1, NOW),)
    assert admitted.segment is not None
    assert [record.id for _, record in records(admitted.segment)] == [*map(identity, events)]
    assert admitted.head == log.device_heads(ACCOUNT, DEVICE)[0]
    assert admitted.head.hash == identity(events[-1])


@pytest.mark.parametrize(("kind", "version"), [("order.teleported", 1), ("order.committed", 9)])
def test_what_nobody_knows_yet_is_accepted_untouched(kind: str, version: int) -> None:
    """An unknown kind or version is stored bit for bit (reliability I-13)."""
    log = MemoryLog()
    (event,) = events = chained(Fact(kind, version, b"\xc1 whatever"))
    admitted = take(log, events)
    assert outcomes(admitted) == [Outcome.ACCEPTED]
    assert admitted.segment is not None
    assert event in admitted.segment.records


def damaged() -> dict[str, tuple[bytes, str]]:
    (sound,) = chained(deleted())
    spacious = b"\x9b\xcd\x00\x01" + sound[2:]  # the format number in three bytes instead of one
    return {
        "nothing": (b"", "malformed"),
        "no msgpack": (b"\xc1", "malformed"),
        "cut short": (sound[:-1], "malformed"),
        "one byte more": (sound + b"\x00", "malformed"),
        "not canonical": (spacious, "malformed"),
        "broken UTF-8": (sound.replace(b"\xb0customer", b"\xb0\xff\xfestomer"), "malformed"),
        "100,000 levels": (b"\x91" * 100_000, "malformed"),
        "too large": (bytes(EVENT_BYTES_MAX + 1), "too_large"),
        "another account": (changed(sound, account=bytes(16)), "forbidden"),
        "another device": (changed(sound, device=b"\x00" * 8 + b"\x07" * 8), "forbidden"),
        "another epoch": (changed(sound, epoch=2), "forbidden"),
        "the sink's word": (
            chained(fact(OrderEstimated("o", "qbo", "1", "1", 5)))[0],
            "forbidden",
        ),
        "the sink's word, later version": (
            chained(Fact("order.estimated", 2, b""))[0],
            "forbidden",
        ),
    }


@pytest.mark.parametrize("what", sorted(damaged()))
def test_what_is_no_event_of_this_device_is_refused(what: str) -> None:
    """Malformed, forged, too large and forbidden bytes are refused with the reason, only their
    hash is kept, and the next event goes on from that hash (§5, I-7, pitfalls P29)."""
    data, code = damaged()[what]
    log = MemoryLog()
    admitted = take(log, [data])
    assert outcomes(admitted) == [Outcome.REFUSED]
    assert admitted.settlement.verdicts[0].code == code
    assert admitted.settlement.verdicts[0].detail
    (aside,) = admitted.asides
    assert (aside.seq, aside.id, aside.event) == (1, identity(data), b"")
    (following,) = chained(deleted(), head=admitted.head)
    assert outcomes(take(log, [following], 2)) == [Outcome.ACCEPTED]
    assert log.head(ACCOUNT).position == 1


@pytest.mark.parametrize(
    "bad",
    [
        WRONG_TOTAL,
        Fact("customer.deleted", 1, b"\xc1"),
        Fact("customer.deleted", 1, msgspec.msgpack.encode({"customer": "c", "more": 1})),
        Fact("customer.deleted", 1, b"\x81\xa8customer" + b"\xd9\x01c"),
    ],
    ids=["wrong total", "no payload", "unknown field", "not canonical"],
)
def test_a_sound_envelope_around_a_bad_payload_is_quarantined(bad: Fact) -> None:
    """It is kept whole with the reason, and its neighbours are accepted (§5, B7)."""
    log = MemoryLog()
    events = chained(deleted("a"), bad, deleted("b"))
    admitted = take(log, events)
    assert outcomes(admitted) == [Outcome.ACCEPTED, Outcome.QUARANTINED, Outcome.ACCEPTED]
    assert [(v.first_position, v.code) for v in admitted.settlement.verdicts] == [
        (1, ""),
        (0, "payload"),
        (2, ""),
    ]
    (aside,) = admitted.asides
    assert (aside.seq, aside.event) == (2, events[1])


def test_only_dependants_wait_for_a_quarantined_event() -> None:
    """An event that builds on one in quarantine waits with it, directly or through others, in the
    same push or a later one; an unrelated one does not (§5, pitfalls P29)."""
    log = MemoryLog()
    events = chained(WRONG_TOTAL)
    bad = identity(events[0])
    head = DeviceHead(1, 1, bad, decode_event(events[0]).stamp)
    events += chained(deleted("a", bad), deleted("b"), head=head)
    waiting = identity(events[1])
    admitted = take(log, events)
    assert outcomes(admitted) == [Outcome.QUARANTINED, Outcome.QUARANTINED, Outcome.ACCEPTED]
    later = chained(deleted("d", waiting), deleted("e"), head=admitted.head)
    held = CONTEXT._replace(quarantined={aside.id for aside in admitted.asides})
    admitted = take(log, later, 4, held)
    assert outcomes(admitted) == [Outcome.QUARANTINED, Outcome.ACCEPTED]
    assert admitted.settlement.verdicts[0].code == "waits_on"
    assert waiting.hex() in admitted.settlement.verdicts[0].detail


def test_each_origin_may_write_its_own_kinds() -> None:
    """What is forbidden to a device is the sink's to say (architecture §4)."""
    log, sink = MemoryLog(), CONTEXT._replace(origin=Origin.SINK)
    events = chained(fact(OrderEstimated("o", "qbo", "1", "1", 5)))
    assert outcomes(take(log, events, context=sink)) == [Outcome.ACCEPTED]


# Together


PARTS: tuple[Fact | bytes, ...] = (
    GOOD_ORDER,
    deleted("a"),
    deleted("b", b"\x01" * 32),
    Fact("order.teleported", 1, b"\xc1"),
    WRONG_TOTAL,
    Fact("customer.deleted", 1, b"\xc1"),
    fact(OrderEstimated("o", "qbo", "1", "1", 5)),
    b"no event",
)


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.sampled_from(PARTS), min_size=1, max_size=6),
    ahead_ms=st.sampled_from([0, -YEAR_MS, 2 * CLOCK_AHEAD_MS_MAX]),
    offset_ms=st.sampled_from([0, 1_999, 5_000]),
    held=st.booleans(),
    torn=st.integers(0, 8),
)
def test_deciding_together_decides_the_same(
    *, parts: list[Fact | bytes], ahead_ms: int, offset_ms: int, held: bool, torn: int
) -> None:
    """Events taken in passes over all get what they get one by one, or are left to that."""
    events = chained(*parts, context=CONTEXT._replace(received_ms=NOW + ahead_ms))
    if torn < len(events):
        del events[torn]
    held_ids = {b"\x01" * 32} if held else frozenset()
    context = CONTEXT._replace(offset_ms=offset_ms, quarantined=held_ids)
    together, each = judge(context, START, events), judge_each(context, START, events)
    assert together._replace(error=None) == each._replace(error=None)
    assert str(together.error) == str(each.error)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(PARTS[:4]), min_size=1, max_size=6))
def test_sound_events_are_decided_together(parts: list[Fact | bytes]) -> None:
    """The usual case takes the quick way, unknown kinds and dependencies included."""
    events = chained(*parts)
    assert judge_together(CONTEXT, START, events) == judge_each(CONTEXT, START, events)


# Time


@pytest.mark.parametrize("offset_ms", [0, 1_999, -10 * YEAR_MS, 10 * YEAR_MS])
def test_a_wrong_clock_is_corrected_and_never_a_reason(offset_ms: int) -> None:
    """With the offset known the corrected time is the real one, within the noise (CON-08)."""
    author = CONTEXT._replace(received_ms=NOW + offset_ms)
    admitted = take(
        MemoryLog(),
        chained(deleted(), context=author),
        context=CONTEXT._replace(offset_ms=offset_ms),
    )
    assert admitted.segment is not None
    ((_, record),) = records(admitted.segment)
    assert abs(stamp_ms(record.stamp) - NOW) < 2_000
    assert record.flags == 0
    if offset_ms:
        assert stamp_ms(record.event.stamp) == NOW + offset_ms  # type: ignore[arg-type]


def test_a_time_that_cannot_be_is_disputed_and_ordered_by_receipt() -> None:
    """A stamp far ahead of a clock that was measured right is kept, marked, and wins nothing."""
    author = CONTEXT._replace(received_ms=NOW + 10 * YEAR_MS)
    admitted = take(MemoryLog(), chained(deleted("a"), deleted("b"), context=author))
    assert outcomes(admitted) == [Outcome.ACCEPTED] * 2
    assert [d.flags for d in admitted.settlement.decisions] == [Flag.DISPUTED] * 2
    assert [stamp_ms(d.stamp) for d in admitted.settlement.decisions] == [NOW, NOW]  # type: ignore[arg-type]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 0xFFFF)), min_size=1, max_size=12),
    st.integers(-(2**53), 2**53),
)
def test_merge_stamps_of_one_device_only_grow(
    stamps: list[tuple[int, int]], offset_ms: int
) -> None:
    """Whatever a device stamps and whatever its clock is taken for, its events keep their order
    and stay below receipt plus the bound, unless its own earlier ones pushed them (I-8, P18)."""
    prev, events = GENESIS, []
    for seq, (ms, counter) in enumerate(stamps, 1):
        stamp = make_stamp(ms, counter, DEVICE[8:])
        event = Event(1, ACCOUNT, DEVICE, 1, seq, prev, stamp, "test.said", 1, (), b"")
        events.append(encode_event(event))
        prev = identity(events[-1])  # type: ignore[assignment]
    admitted = take(MemoryLog(), events, context=CONTEXT._replace(offset_ms=offset_ms))
    assert admitted.segment is not None
    given_out = [record.stamp for _, record in records(admitted.segment)]
    assert given_out == sorted(set(given_out))
    assert stamp_ms(given_out[-1]) <= NOW + CLOCK_AHEAD_MS_MAX + len(stamps)
    assert admitted.head.stamp == given_out[-1]


# The chain


def test_a_push_above_the_chain_is_a_gap() -> None:
    """Nothing is taken and the device learns where to go on."""
    log = MemoryLog()
    admitted = take(log, chained(deleted(), deleted("b"))[1:], 2)
    assert isinstance(admitted.settlement.error, Gap)
    assert admitted.settlement.error.head_seq == 0
    assert admitted.settlement.answered == log.head(ACCOUNT).position == 0


@pytest.mark.parametrize("fields", [{"prev": b"x" * 32}, {"seq": 9}])
def test_an_event_that_does_not_continue_the_chain_is_a_fork(fields: dict[str, object]) -> None:
    """What stands before it is taken, it and the rest are not looked at (I-5, §6)."""
    log = MemoryLog()
    events = chained(deleted("a"), deleted("b"), deleted("c"))
    events[1] = changed(events[1], **fields)
    admitted = take(log, events)
    assert outcomes(admitted) == [Outcome.ACCEPTED]
    assert isinstance(admitted.settlement.error, Forked)
    assert (admitted.settlement.error.seq, admitted.settlement.error.next_epoch) == (2, 2)
    assert log.head(ACCOUNT).position == 1
    assert take(log, events[1:], 2).settlement.answered == 0


def test_another_content_at_a_known_seq_is_a_fork() -> None:
    """Known events before it are answered as known (I-5)."""
    log = MemoryLog()
    events = chained(deleted("a"), deleted("b"))
    take(log, events)
    twin = [events[0], *chained(deleted("other"), head=judged_head(events[:1]))]
    admitted = take(log, twin)
    assert outcomes(admitted) == [Outcome.DUPLICATE]
    assert isinstance(admitted.settlement.error, Forked)
    assert admitted.settlement.error.seq == 2


def judged_head(events: Sequence[bytes]) -> DeviceHead:
    request = judge(CONTEXT, START, events).request
    assert request is not None
    return request.after


MIXED = chained(deleted("a"), WRONG_TOTAL, b"\xc1", deleted("b"), deleted("c"))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_same_answer_every_time(data: st.DataObject) -> None:
    """However a device repeats itself, overlapping and in pieces, each event keeps its first
    answer and stands in the log once (I-2, I-3, pitfalls P30)."""
    log = MemoryLog()
    slow = CONTEXT._replace(offset_ms=-5_000)
    first: dict[int, tuple[object, ...]] = {}
    done = 0
    for turn in range(8):
        start = data.draw(st.integers(0, min(done, len(MIXED) - 1)))
        end = data.draw(st.integers(start + 1, len(MIXED)))
        late = slow._replace(received_ms=NOW + turn * 1_000_000, offset_ms=-5_000 * (turn + 1))
        admitted = take(log, MIXED[start:end], start + 1, late)
        assert admitted.settlement.error is None
        settlement = admitted.settlement
        for seq, answer in enumerate(answers(settlement.verdicts, settlement.decisions), start):
            outcome = Outcome.ACCEPTED if answer.outcome is Outcome.DUPLICATE else answer.outcome
            assert first.setdefault(seq, (outcome, *answer[1:])) == (outcome, *answer[1:])
            if seq < done:
                assert answer.outcome is not Outcome.ACCEPTED
        done = max(done, end)
    assert log.head(ACCOUNT).position == sum(1 for a in first.values() if a[1])


def test_a_hole_below_the_head_is_corruption() -> None:
    """A log that lost what it answered for says so instead of guessing (reliability I-22)."""
    with pytest.raises(CorruptionError):
        recall(CONTEXT, 1, MIXED, ((), ()))


def test_several_events_beyond_the_bound_are_too_large() -> None:
    """A segment always fits in a frame, so what is decided together is bounded (§9)."""
    with pytest.raises(TooLarge):
        take(MemoryLog(), [bytes(PUSH_BYTES_MAX), b"x"])


def test_reasons_are_bounded() -> None:
    """A refusal repeats only so much of what was sent."""
    (event,) = chained(Fact("customer.deleted", 1, msgspec.msgpack.encode({"x" * 5_000: 1})))
    verdict = take(MemoryLog(), [event]).settlement.verdicts[0]
    assert len(verdict.detail.encode()) <= 200


# Writers that race


def test_a_decision_based_on_an_old_head_is_made_again() -> None:
    """When another connection was first, its events are found and answered as known (I-2)."""
    log = MemoryLog()
    events = chained(deleted("a"), deleted("b"), deleted("c"))
    take(log, events[:2])
    admitted = through(log, admit(CONTEXT, START, 1, events))
    assert outcomes(admitted) == [Outcome.DUPLICATE, Outcome.DUPLICATE, Outcome.ACCEPTED]
    assert log.head(ACCOUNT).position == 3


class LostRace(MemoryLog):
    """A log in which somebody else was always first."""

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        head = requests[0].before
        return [HeadMoved(head._replace(seq=head.seq))]


def test_losing_every_race_ends() -> None:
    """The number of new decisions is bounded (reliability I-20)."""
    log = LostRace()
    with pytest.raises(Overloaded):
        through(log, admit(CONTEXT, START, 1, chained(deleted())))
    with pytest.raises(Overloaded):
        through(log, write(CONTEXT, START, [deleted()]))
    assert HEAD_MOVES_MAX > 1


def test_only_known_events_ask_the_log_first() -> None:
    """New events cost one append and no look-up."""
    questions = []
    routine = admit(CONTEXT, START, 1, chained(deleted()))
    question = next(routine)
    assert isinstance(question, Judge)
    questions.append(routine.send(judge(*question)))
    assert isinstance(questions[0], AppendRequest)
    head = judged_head(chained(deleted()))
    question = next(admit(CONTEXT, head, 1, chained(deleted())))
    assert question == Find(ACCOUNT, DEVICE, 1, 1, 1)


# Writers inside the server


def test_a_local_writer_goes_through_the_same_door() -> None:
    """The web writes as a device with a chain of its own (architecture §1)."""
    log, web = MemoryLog(), CONTEXT._replace(origin=Origin.WEB)
    first = through(log, write(web, START, [deleted("a"), GOOD_ORDER]))
    assert outcomes(first) == [Outcome.ACCEPTED] * 2
    again = through(log, write(web, START, [deleted("b")]))
    assert again.settlement.verdicts == (Verdict(Outcome.ACCEPTED, 1, 3, NOW),)
    assert log.chain_at(ACCOUNT, Position(3)) == log.head(ACCOUNT).chain
    assert next_epoch(log.device_heads(ACCOUNT, DEVICE), 1) == 2


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (WRONG_TOTAL, Malformed),
        (fact(OrderEstimated("o", "qbo", "1", "1", 5)), Forbidden),
        (deleted("x", b"q" * 32), Malformed),
    ],
)
def test_a_local_writer_is_told_at_once_and_nothing_is_written(
    bad: Fact, error: type[Exception]
) -> None:
    """A page can show what is wrong, so nothing of it goes to quarantine."""
    log = MemoryLog()
    web = CONTEXT._replace(origin=Origin.WEB, quarantined={b"q" * 32})
    with pytest.raises(error):
        through(log, write(web, START, [deleted("a"), bad]))
    assert log.device_heads(ACCOUNT, DEVICE) == []


def test_a_local_write_is_bounded_like_a_push() -> None:
    """What does not fit in a frame is turned away before it is decided."""
    big = Fact("test.said", 1, bytes(EVENT_BYTES_MAX // 2))
    with pytest.raises(TooLarge):
        through(MemoryLog(), write(CONTEXT, START, [big, big, big]))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5))
def test_any_bytes_have_an_outcome(pushed: list[bytes]) -> None:
    """Whatever a device pushes, every entry is answered and told again alike (I-20, I-3)."""
    log = MemoryLog()
    once, twice = take(log, pushed), take(log, pushed)
    assert once.settlement.error is None
    assert once.settlement == twice.settlement
    assert once.settlement.answered == len(pushed)


@settings(max_examples=60)
@given(data=st.data())
def test_a_foresight_is_what_will_be_decided(data: st.DataObject) -> None:
    """Asked first, the door tells the outcomes it then decides, for new, known, bad, missing and
    contradicting events alike, and asking changes nothing (OFF-16, I-3)."""
    kinds: list[Fact | bytes] = [deleted(), GOOD_ORDER, WRONG_TOTAL, b"no event"]
    facts = st.lists(st.sampled_from(kinds), max_size=6)
    log = MemoryLog()
    events = chained(*data.draw(facts), *data.draw(facts), deleted())
    if pushed := data.draw(st.integers(0, len(events) - 1)):
        take(log, events[:pushed])
    first = data.draw(st.integers(1, pushed + 2))
    asked = events[first - 1 :]
    if data.draw(st.booleans()):
        asked = [*asked[:-1], *chained(deleted("c-other"))]
    before = log.head(ACCOUNT), log.device_heads(ACCOUNT, DEVICE)
    head = head_in(before[1], 1)
    held = frozenset(aside.id for aside in log.find(ACCOUNT, DEVICE, 1, 1, 99)[1] if aside.event)
    context = CONTEXT._replace(quarantined=held)
    seen = through(log, foresee(context, head, first, asked))
    assert (log.head(ACCOUNT), log.device_heads(ACCOUNT, DEVICE)) == before
    decided = take(log, asked, first, context)
    assert outcomes(seen) == outcomes(decided)
    assert (seen.head, seen.asides) == (decided.head, decided.asides)
    assert type(seen.settlement.error) is type(decided.settlement.error)
