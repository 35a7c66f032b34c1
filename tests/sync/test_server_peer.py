"""The server's end by itself: who may what, and how much may be on the way."""

from __future__ import annotations

from itertools import pairwise

import pytest

from replica.errors import (
    CorruptionError,
    Forbidden,
    Forked,
    MisuseError,
    Overloaded,
    ReplicaError,
    Revoked,
    StorageFull,
    StoreUnavailable,
)
from replica.events.clock import ZERO_STAMP
from replica.events.event import GENESIS, Position
from replica.events.ports import DeviceHead
from replica.events.record import Segment
from replica.limits import (
    APPENDS_IN_FLIGHT_MAX,
    DIGEST_ASKS_MAX,
    EVENT_BYTES_MAX,
    EVENTS_BYTES_TARGET,
    PROBE_INTERVAL_MS,
    PROBE_SAMPLES,
    PUSH_BYTES_MAX,
    PUSH_EVENTS_MAX,
    PUSHES_IN_FLIGHT_MAX,
    PUSHES_TOGETHER_MAX,
    READ_RETRY_MS,
    UNCONFIRMED_BYTES_MAX,
)
from replica.sync import effects as e
from replica.sync.messages import (
    CloseCode,
    Cursor,
    Decision,
    Digest,
    DigestRequest,
    Events,
    Goodbye,
    Outcome,
    Probe,
    ProbeReply,
    Push,
    Result,
    SyncRequest,
    Verdict,
    Welcome,
)
from replica.sync.server_peer import LIMITS, ServerPeer
from replica.sync.table import State
from replica.sync.verdicts import Settlement
from tests.sync.drive import (
    HEAD,
    HELLO,
    NOW,
    STANDING,
    goodbye,
    others,
    push,
    say,
    sent,
    server,
)
from tests.sync.samples import DEVICE, LOG_ID, SEGMENT

OTHER = bytes(16)


def accepted(count: int, position: int = 1) -> Settlement:
    return Settlement((Verdict(Outcome.ACCEPTED, count, position, NOW),), ())


def a_segment(first: int, *, count: int = 1, device: bytes = OTHER, size: int = 100) -> Segment:
    return Segment(first, count, GENESIS, device, 1, 1, NOW, bytes(size))


def an_offer(first: int, *, count: int = 1, device: bytes = OTHER, size: int = 100) -> e.Offer:
    return e.make_offer([a_segment(first, count=count, device=device, size=size)])


def a_hello(**changes: object) -> ServerPeer:
    values = {name: getattr(HELLO, name) for name in HELLO.__struct_fields__}
    return server(State.AUTHENTICATING, hello=type(HELLO)(**{**values, **changes}))


# Meeting


@pytest.mark.parametrize(("lowest", "highest"), [(2, 9), (0, 0)])
def test_without_a_common_version_the_device_is_told(lowest: int, highest: int) -> None:
    """A device of another time is told ``upgrade_required`` before its token is looked at
    (OFF-23)."""
    peer = server(State.AWAIT_HELLO)
    hello = type(HELLO)(lowest, highest, *(getattr(HELLO, n) for n in HELLO.__struct_fields__[2:]))
    effects = say(peer, hello)
    assert goodbye(effects).close_code == CloseCode.UPGRADE_REQUIRED
    assert others(effects) == [effects[-1]]


def test_a_device_that_stays_silent_is_let_go() -> None:
    """Without a first frame the connection ends at its deadline (reliability I-20)."""
    peer = server(State.AWAIT_HELLO)
    deadline_ms = peer.deadline_ms
    assert deadline_ms is not None
    assert peer.tick(deadline_ms - 1) == []
    assert goodbye(peer.tick(deadline_ms)).code == "timeout"


@pytest.mark.parametrize(
    ("error", "code", "close_code"),
    [
        (Forbidden("no such token"), "forbidden", CloseCode.UNAUTHENTICATED),
        (Revoked("revoked"), "revoked", CloseCode.REVOKED),
        (Overloaded("later", retry_after_ms=7), "overloaded", CloseCode.TRY_AGAIN),
        (StoreUnavailable("/data/log.db is locked"), "store_unavailable", CloseCode.TRY_AGAIN),
        (StorageFull("/data is full"), "storage_full", CloseCode.TRY_AGAIN),
        (CorruptionError("page 7 of /data/log.db"), "internal", CloseCode.INTERNAL),
        (MisuseError("a bug"), "internal", CloseCode.INTERNAL),
    ],
)
def test_each_failure_has_its_goodbye(
    error: ReplicaError, code: str, close_code: CloseCode
) -> None:
    """The device is told what to do next, and nothing about our insides (§8)."""
    said = goodbye(server(State.AUTHENTICATING).failed(error))
    assert (said.code, said.close_code) == (code, close_code)
    assert "/data" not in said.message
    assert said.retry_after_ms == getattr(error, "retry_after_ms", 0)


def welcome_to(hello_changes: dict[str, object], standing: e.Standing = STANDING) -> Welcome:
    (welcome,) = sent(a_hello(**hello_changes).authenticated(standing, NOW))
    assert isinstance(welcome, Welcome)
    return welcome


def test_welcome_names_the_devices_place() -> None:
    """WELCOME carries the chain's end in the device's epoch, the repair epoch and the limits."""
    heads = [DeviceHead(1, 40, b"1" * 32, ZERO_STAMP), DeviceHead(2, 7, b"2" * 32, ZERO_STAMP)]
    welcome = welcome_to({"epoch": 1}, STANDING._replace(device_heads=heads))
    assert (welcome.device_seq, welcome.device_hash, welcome.next_epoch) == (40, b"1" * 32, 3)
    assert welcome.limits == LIMITS
    fresh = welcome_to({"epoch": 5}, STANDING._replace(device_heads=heads))
    assert (fresh.device_seq, fresh.device_hash, fresh.next_epoch) == (0, GENESIS, 6)


CHAIN = b"c" * 32
KNOWN = {"log_id": LOG_ID, "generation": 1, "cursor": 5, "chain": CHAIN}


@pytest.mark.parametrize(
    ("changes", "chain_at_cursor", "resumes"),
    [
        ({}, CHAIN, True),
        ({"generation": 2}, CHAIN, False),
        ({"log_id": b"x" * 16}, CHAIN, False),
        ({"chain": b"d" * 32}, CHAIN, False),
        ({}, None, False),
        ({"cursor": 11}, CHAIN, False),
    ],
)
def test_a_cursor_counts_only_in_its_own_history(
    changes: dict[str, object], chain_at_cursor: bytes | None, resumes: bool
) -> None:
    """Another log, generation or chain, or a cursor from the future, starts from 0 (I-6)."""
    standing = STANDING._replace(
        head=HEAD._replace(position=Position(10)), chain_at_cursor=chain_at_cursor
    )
    assert welcome_to({**KNOWN, **changes}, standing).resume_after == (5 if resumes else 0)


@pytest.mark.parametrize("generation", [1, 2])
def test_after_a_reset_a_device_gets_its_own_segments_too(generation: int) -> None:
    """A device that had to drop its documents gets everything up to the head at WELCOME; what it
    pushes afterwards is not sent back (§6)."""
    standing = STANDING._replace(head=HEAD._replace(position=Position(1), generation=generation))
    standing = standing._replace(chain_at_cursor=CHAIN)
    peer = a_hello(**{**KNOWN, "cursor": 1})
    peer.authenticated(standing, NOW)
    effects = say(peer, ProbeReply(NOW, NOW, NOW))
    if generation == 2:
        assert e.Read(0, 131_072) in effects
        (frame,) = sent(peer.loaded([a_segment(1, device=DEVICE)], NOW))
        assert isinstance(frame, Events)
        assert len(frame.segments) == 1
    (frame,) = sent(peer.offer(an_offer(2, device=DEVICE), NOW))
    assert isinstance(frame, Events)
    assert (frame.through, frame.segments) == (2, ())


# Clock


def test_the_clock_is_sampled_in_a_burst_and_then_by_the_minute() -> None:
    """Three samples at once, the one with the shortest round trip counts, then one a minute."""
    peer = server(State.PROBING)
    now_ms, probe_ms, offsets = NOW, NOW, []
    for round_trip_ms in (400, 20, 90):
        now_ms += round_trip_ms
        effects = say(peer, ProbeReply(probe_ms, now_ms + 5_000, now_ms + 5_000), now_ms)
        offsets += [effect.offset_ms for effect in effects if isinstance(effect, e.Offset)]
        probes = [frame for frame in sent(effects) if isinstance(frame, Probe)]
        if probes:
            probe_ms = probes[0].probe_sent_ms
    assert offsets == [5_200, 5_010, 5_010]
    assert len(offsets) == PROBE_SAMPLES
    assert peer.offset_ms == 5_010
    assert peer.deadline_ms == now_ms + PROBE_INTERVAL_MS
    (probe,) = sent(peer.tick(now_ms + PROBE_INTERVAL_MS))
    assert probe == Probe(now_ms + PROBE_INTERVAL_MS, 5_010)


def test_a_reply_to_no_probe_is_a_violation() -> None:
    """A PROBE_REPLY must repeat the time of the probe it answers (§4)."""
    assert goodbye(say(server(State.PROBING), ProbeReply(NOW + 1, 0, 0))).code == (
        "protocol_violation"
    )


def test_a_probe_without_answer_ends_the_connection() -> None:
    """A device that does not answer a probe is not there (pitfalls P32)."""
    peer = server()
    assert peer.deadline_ms is not None
    assert goodbye(peer.tick(peer.deadline_ms)).code == "timeout"


def test_a_clock_that_is_set_back_does_not_stop_the_timers() -> None:
    """When our wall clock goes back a year, deadlines go back with it."""
    peer = server()
    deadline_ms, year_ms = peer.deadline_ms, 365 * 86_400_000
    assert deadline_ms is not None
    peer.tick(NOW - year_ms)
    assert peer.deadline_ms == deadline_ms - year_ms


# Up


def take(peer: ServerPeer) -> e.Append:
    """What the door is given when it turns to this connection."""
    append = peer.take()
    assert append is not None
    return append


def test_a_push_is_answered_after_its_commit() -> None:
    """PUSH asks for an append, and RESULT leaves only when that is durable (SYN-25)."""
    peer = server()
    assert say(peer, push()) == [e.Pushed()]
    assert take(peer) == e.Append(1, push().events, 0, NOW)
    effects = peer.appended(accepted(1, position=9), NOW + 5)
    assert sent(effects) == [Result(1, (Verdict(Outcome.ACCEPTED, 1, 9, NOW),))]


def test_pushes_that_wait_are_decided_together_and_answered_apart() -> None:
    """One append for all that came meanwhile and adjoins, one RESULT for each push."""
    peer = server()
    say(peer, push(1, 1, (b"a",)))
    take(peer)
    assert say(peer, push(2, 2, (b"b", b"c")), NOW + 1) == [e.Pushed()]
    assert say(peer, push(3, 4, (b"d",)), NOW + 2) == []
    assert take(peer) == e.Append(2, (b"b", b"c", b"d"), 0, NOW + 2)
    assert sent(peer.appended(accepted(1), NOW + 3)) == [Result(1, accepted(1).verdicts)]
    settlement = Settlement(
        (
            Verdict(Outcome.ACCEPTED, 1, 2, NOW),
            Verdict(Outcome.REFUSED, 1, code="malformed", detail="no event"),
            Verdict(Outcome.ACCEPTED, 1, 3, NOW),
        ),
        (Decision(0, bytes(16), 1), Decision(2, bytes(16), 0)),
    )
    assert sent(peer.appended(settlement, NOW)) == [
        Result(2, settlement.verdicts[:2], (Decision(0, bytes(16), 1),)),
        Result(3, settlement.verdicts[2:], (Decision(0, bytes(16), 0),)),
    ]


def test_some_pushes_are_committed_while_others_are_decided() -> None:
    """A full window of pushes makes two appends, so that door and disk work at the same time; a
    third waits for the first to be answered."""
    peer = server()
    effects = [
        effect
        for number in range(1, PUSHES_IN_FLIGHT_MAX + 1)
        for effect in say(peer, push(number, number, (b"x",)))
    ]
    assert effects == [e.Pushed()] * APPENDS_IN_FLIGHT_MAX
    appends = [take(peer) for _ in effects]
    assert [append.first_seq for append in appends] == [1, 1 + PUSHES_TOGETHER_MAX]
    answers = sent(peer.appended(accepted(PUSHES_TOGETHER_MAX), NOW))
    assert [one.number for one in answers if isinstance(one, Result)] == [1, 2, 3, 4]
    assert say(peer, push(PUSHES_IN_FLIGHT_MAX + 1, PUSHES_IN_FLIGHT_MAX + 1)) == [e.Pushed()]


def test_pushes_that_do_not_adjoin_or_fit_are_decided_apart() -> None:
    """What is decided together is one run of seqs that fits in one segment of one frame (§9)."""
    peer = server()
    say(peer, push(1, 1, (b"a",)))
    say(peer, push(2, 9, (b"b",)))
    say(peer, push(3, 10, (bytes(PUSH_BYTES_MAX),)))
    assert [take(peer).first_seq, take(peer).first_seq] == [1, 9]
    assert others(peer.appended(accepted(1), NOW)) == [e.Pushed()]
    assert take(peer).first_seq == 10


def test_a_fork_answers_what_came_before_it() -> None:
    """Events before the fork get their RESULT, then GOODBYE names the next epoch (§6)."""
    peer = server()
    say(peer, push(1, 1, (b"a", b"b")))
    take(peer)
    settlement = accepted(1)._replace(error=Forked(epoch=1, seq=2, next_epoch=4))
    result, said = sent(peer.appended(settlement, NOW))
    assert result == Result(1, (Verdict(Outcome.ACCEPTED, 1, 1, NOW),))
    assert isinstance(said, Goodbye)
    assert (said.code, said.next_epoch, said.close_code) == ("forked", 4, CloseCode.POLICY)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (push(2), "protocol_violation"),
        (push(1, 0), "protocol_violation"),
        (push(1, 1, ()), "protocol_violation"),
        (push(1, 1, (b"x",) * (PUSH_EVENTS_MAX + 1)), "too_large"),
        (push(1, 1, (bytes(PUSH_BYTES_MAX), b"x")), "too_large"),
    ],
)
def test_a_push_out_of_bounds_ends_the_connection(wrong: Push, code: str) -> None:
    """Numbers, counts and bytes of a push are checked before anything is decided (§9)."""
    effects = say(server(), wrong)
    assert goodbye(effects).code == code
    assert len(effects) == 2


def test_one_event_alone_may_be_too_large_and_is_decided_by_the_door() -> None:
    """A single event above its bound is refused as an event, so it does not block the chain."""
    assert say(server(), push(1, 1, (bytes(EVENT_BYTES_MAX + 1),))) == [e.Pushed()]


def test_pushes_in_flight_are_bounded() -> None:
    """A device that does not wait for answers is stopped (reliability I-20)."""
    peer = server()
    for number in range(1, PUSHES_IN_FLIGHT_MAX + 1):
        say(peer, push(number, number))
    assert peer.state is State.LIVE
    said = goodbye(say(peer, push(PUSHES_IN_FLIGHT_MAX + 1, PUSHES_IN_FLIGHT_MAX + 1)))
    assert said.code == "protocol_violation"


def test_answers_that_come_after_the_end_are_ignored() -> None:
    """An append outlives the connection that asked for it; its answer then goes nowhere."""
    peer = server()
    say(peer, push())
    take(peer)
    say(peer, push(2, 2))
    peer.lost()
    assert peer.take() is None
    assert peer.appended(accepted(1), NOW) == []
    assert peer.offer(an_offer(1), NOW) == peer.loaded([], NOW) == peer.tick(NOW) == []


# Down


def test_a_committed_batch_that_joins_on_is_sent_as_it_is() -> None:
    """The frame that was encoded once for all is the frame that is sent."""
    offer = an_offer(1)
    assert server().offer(offer, NOW) == [e.Send(offer.frame)]


def test_a_batch_that_does_not_join_on_is_read_from_the_log() -> None:
    """A lost or early offer costs a read, never an event (pitfalls P5)."""
    peer = server()
    assert peer.offer(an_offer(3), NOW) == [e.Read(0, 131_072)]
    assert peer.offer(an_offer(4), NOW) == []
    page = [a_segment(1), a_segment(2), a_segment(3)]
    frame, *rest = peer.loaded(page, NOW)
    assert frame == e.Send(e.make_offer(page).frame)
    assert rest == [e.Read(3, 131_072)]
    assert sent(peer.loaded([a_segment(4)], NOW))
    assert peer.offer(an_offer(2), NOW) == []


def test_a_device_that_comes_home_is_answered_before_it_is_told() -> None:
    """While pushes queue up, what others wrote waits; after the last answer it is read from the
    log in pages (SYN-16)."""
    peer = server()
    say(peer, push(1, 1))
    take(peer)
    say(peer, push(2, 2))
    take(peer)
    assert peer.offer(an_offer(1), NOW) == []
    assert others(peer.appended(accepted(1), NOW)) == []
    assert peer.offer(an_offer(2), NOW) == []
    assert others(peer.appended(accepted(1), NOW)) == [e.Read(0, EVENTS_BYTES_TARGET)]
    (told,) = sent(peer.loaded([a_segment(1), a_segment(2)], NOW))
    assert isinstance(told, Events)
    assert told.through == 2


def test_a_device_that_never_stops_pushing_is_told_by_the_clock() -> None:
    """The wait is bounded: one page each time it runs out (SYN-16)."""
    peer = server()
    say(peer, push(1, 1))
    say(peer, push(2, 2))
    assert peer.offer(an_offer(1), NOW) == []
    assert peer.tick(NOW + READ_RETRY_MS - 1) == []
    assert peer.tick(NOW + READ_RETRY_MS) == [e.Read(0, EVENTS_BYTES_TARGET)]
    peer.loaded([a_segment(1)], NOW + READ_RETRY_MS)
    assert peer.offer(an_offer(2), NOW + READ_RETRY_MS) == []


def test_one_push_at_a_time_holds_nothing_up() -> None:
    """Who takes orders while others do is told of each commit as it is made (SYN-16)."""
    peer = server()
    say(peer, push())
    assert peer.offer(an_offer(1), NOW) == [e.Send(an_offer(1).frame)]


def test_an_author_is_told_once_about_many_of_its_own_segments() -> None:
    """While its pushes go on, the author's cursor moves silently; at the end it is told (§4)."""
    peer = server()
    say(peer, push(1, 1, (b"a",)))
    take(peer)
    say(peer, push(2, 2, (b"b",)))
    take(peer)
    assert peer.offer(an_offer(1, device=DEVICE), NOW) == []
    assert [type(frame) for frame in sent(peer.appended(accepted(1), NOW))] == [Result]
    assert peer.offer(an_offer(2, device=DEVICE), NOW) == []
    assert sent(peer.appended(accepted(1, 2), NOW)) == [
        Result(2, accepted(1, 2).verdicts),
        Events(2, GENESIS, ()),
    ]


def test_an_author_that_never_stops_is_told_by_the_clock() -> None:
    """The owed cursor is sent after a while even when pushes never end."""
    peer = server()
    say(peer, push())
    peer.offer(an_offer(1, device=DEVICE), NOW)
    due_ms = peer.deadline_ms
    assert due_ms is not None
    assert sent(peer.tick(due_ms)) == [Events(1, GENESIS, ())]


def test_segments_of_an_earlier_epoch_are_sent() -> None:
    """After a fork the device's earlier life comes to it like anybody's."""
    segment = Segment(1, 1, GENESIS, DEVICE, 9, 1, NOW, b"")
    assert sent(server().offer(e.make_offer([segment]), NOW)) == [Events(1, GENESIS, (segment,))]


def test_a_slow_reader_costs_one_window() -> None:
    """Without CURSOR at most a window is on the way, whatever is committed, and with CURSOR the
    rest follows from the log (pitfalls P38, reliability §2.2)."""
    peer = server()
    size, bytes_sent, through, reads = 50_000, 0, 0, 0
    for first in range(1, 201):
        for effect in peer.offer(an_offer(first, size=size), NOW):
            if isinstance(effect, e.Send):
                bytes_sent += len(effect.data)
                through = first
            else:
                reads += 1
    assert UNCONFIRMED_BYTES_MAX - 300_000 < bytes_sent <= UNCONFIRMED_BYTES_MAX
    assert reads == 0
    effects = say(peer, Cursor(through))
    assert effects == [e.Confirmed(through), e.Read(through, 131_072)]
    assert peer.confirmed == through
    assert sent(peer.loaded([a_segment(through + 1, size=size)], NOW))


def test_an_author_that_never_confirms_costs_one_window_too() -> None:
    """Frames that only move the cursor count in the window like any other."""
    peer = server()
    frames = [
        frame for at in range(1, 9_000) for frame in peer.offer(an_offer(at, device=DEVICE), NOW)
    ]
    assert len(frames) == UNCONFIRMED_BYTES_MAX // 512


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, 0), (7, 7)])
def test_a_cursor_that_was_not_sent_is_a_violation(first: int, second: int) -> None:
    """CURSOR never goes back and never beyond what was sent (§4)."""
    peer = server()
    peer.offer(an_offer(1), NOW)
    effects = say(peer, Cursor(first))
    if peer.state is State.LIVE:
        effects = say(peer, Cursor(second))
    assert goodbye(effects).code == "protocol_violation"


def test_a_hint_is_followed_until_the_log_shows_it() -> None:
    """A head heard of before it can be read is asked for again (pitfalls P32)."""
    peer = server()
    assert peer.hint(2, NOW) == [e.Read(0, 131_072)]
    assert peer.loaded([], NOW) == []
    due_ms = peer.deadline_ms
    assert due_ms is not None
    assert peer.tick(due_ms) == [e.Read(0, 131_072)]
    assert sent(peer.loaded([a_segment(1), a_segment(2)], due_ms))


def test_what_is_heard_before_the_clock_is_known_waits() -> None:
    """Nothing fills the pipe while the first clock sample is on its way (pitfalls P60)."""
    peer = server(State.PROBING)
    assert peer.offer(an_offer(1), NOW) == peer.hint(2, NOW) == peer.ask_sync("run", NOW) == []
    effects = say(peer, ProbeReply(NOW, NOW, NOW))
    assert e.Read(0, 131_072) in effects
    assert SyncRequest("run") in sent(effects)


# Digests


def test_every_question_gets_its_own_answer() -> None:
    """Questions wait for each other, one DIGEST each, and there is a bound (§7)."""
    peer = server()
    assert sent(peer.ask_sync("run", NOW)) == [SyncRequest("run")]
    assert sent(peer.ask_digest(4, NOW)) == []
    effects = say(peer, Digest(3, ()))
    assert effects[0] == e.DigestReceived(Digest(3, ()))
    assert sent(effects) == [DigestRequest(4)]
    assert say(peer, Digest(4, ())) == [e.DigestReceived(Digest(4, ()))]
    assert goodbye(say(peer, Digest(4, ()))).code == "protocol_violation"
    peer = server()
    for _ in range(DIGEST_ASKS_MAX):
        peer.ask_digest(0, NOW)
    with pytest.raises(Overloaded):
        peer.ask_digest(0, NOW)


def test_a_device_asks_one_digest_at_a_time() -> None:
    """A digest is work, so a second question before the answer is a violation."""
    peer = server()
    assert say(peer, DigestRequest(7)) == [e.TakeDigest(7)]
    assert sent(peer.digested(7, (), 0, NOW)) == [Digest(7, ())]
    assert say(peer, DigestRequest(7)) == [e.TakeDigest(7)]
    assert goodbye(say(peer, DigestRequest(7))).code == "protocol_violation"


def test_a_goodbye_is_heard_and_not_answered() -> None:
    """When the device leaves, the connection just ends."""
    said = Goodbye("closed", "", CloseCode.NORMAL)
    assert say(server(), said) == [e.Close(said, theirs=True)]


def test_frames_leave_in_the_order_of_the_log() -> None:
    """Whatever mix of offers, pages and confirmations, through only grows (I-4)."""
    peer, throughs, waiting = server(), [], 0
    for at in range(1, 60):
        effects = peer.offer(an_offer(at, size=40_000), NOW) if at % 7 else peer.hint(at, NOW)
        while effects:
            effect = effects.pop(0)
            if isinstance(effect, e.Read):
                page = [a_segment(p, size=40_000) for p in range(effect.after + 1, at + 1)][:3]
                effects += peer.loaded(page, NOW)
            elif isinstance(effect, e.Send):
                (frame,) = sent([effect])
                assert isinstance(frame, Events)
                throughs.append(frame.through)
                waiting += 1
        if waiting > 10:
            say(peer, Cursor(throughs[-1]))
            waiting = 0
    assert all(one < other for one, other in pairwise(throughs))
    assert SEGMENT.first == 1
