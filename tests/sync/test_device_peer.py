"""The device's end by itself: what it says when, and what it does not believe."""

from __future__ import annotations

from hashlib import sha256

import pytest

from replica.errors import StorageFull
from replica.events.event import GENESIS
from replica.events.record import Segment
from replica.limits import (
    CONFIRM_BYTES,
    CONFIRM_INTERVAL_MS,
    PUSH_BYTES_TARGET,
    PUSH_EVENTS_MAX,
    PUSHES_IN_FLIGHT_MAX,
    RESULT_TIMEOUT_MS,
    SILENCE_TIMEOUT_MS,
)
from replica.sync import effects as e
from replica.sync.messages import (
    CloseCode,
    Cursor,
    Decision,
    Digest,
    DigestRequest,
    Events,
    Frame,
    Goodbye,
    Hello,
    Outcome,
    Probe,
    ProbeReply,
    Push,
    Result,
    SyncRequest,
    Verdict,
    Welcome,
    encode_frame,
)
from replica.sync.table import State
from tests.sync.drive import EMPTY_PAGE, NOW, PLACE, WELCOME, device, goodbye, others, say, sent
from tests.sync.samples import CHAIN, LOG_ID, SEGMENT

KNOWN = PLACE._replace(log_id=LOG_ID, generation=1, cursor=5, chain=b"c" * 32)


def a_welcome(**changes: object) -> Welcome:
    values = {name: getattr(WELCOME, name) for name in WELCOME.__struct_fields__}
    return Welcome(**{**values, **changes})


def page(*events: bytes) -> e.OutboxPage:
    return e.OutboxPage(GENESIS, events)


def accepted(number: int, count: int, position: int = 1) -> Result:
    return Result(number, (Verdict(Outcome.ACCEPTED, count, position, NOW),))


# Meeting


def test_hello_says_where_the_device_stands() -> None:
    """HELLO carries identity, the end of the own chain and the cursor with its chain (§4)."""
    peer = device(State.START, place=KNOWN)
    (hello,) = sent(peer.opened(NOW))
    assert isinstance(hello, Hello)
    assert (hello.token, hello.cursor, hello.chain, hello.log_id) == (
        "token",
        5,
        b"c" * 32,
        LOG_ID,
    )


def test_the_probe_is_answered_before_anything_else() -> None:
    """The first frame after WELCOME is PROBE_REPLY, so that nothing delays it (pitfalls P60)."""
    peer = device(State.AWAIT_WELCOME)
    effects = say(peer, WELCOME, NOW + 77)
    assert sent(effects) == [ProbeReply(NOW, NOW + 77, NOW + 77)]
    assert others(effects) == [
        e.Welcomed(WELCOME),
        e.ReadOutbox(0, PUSH_BYTES_TARGET, PUSH_EVENTS_MAX),
    ]


def test_later_probes_are_answered_and_show_the_offset() -> None:
    """The device learns how wrong its clock is."""
    effects = say(device(), Probe(NOW, -4_000))
    assert sent(effects) == [ProbeReply(NOW, NOW, NOW)]
    assert others(effects) == [e.Offset(-4_000)]


@pytest.mark.parametrize(
    ("changes", "reset"),
    [
        ({"resume_after": 5}, False),
        ({"resume_after": 0}, True),
        ({"resume_after": 5, "generation": 2}, True),
        ({"resume_after": 0, "log_id": b"x" * 16}, True),
    ],
)
def test_another_history_is_a_reset(changes: dict[str, object], reset: bool) -> None:
    """The device starts over when the log is not the one its cursor is from, before anything of
    the new history reaches it (I-6)."""
    welcome = a_welcome(**changes)
    effects = others(say(device(State.AWAIT_WELCOME, place=KNOWN), welcome))
    first = e.Reset(welcome.log_id, welcome.generation, 0) if reset else e.Welcomed(welcome)
    assert effects[0] == first


def test_a_first_meeting_is_no_reset() -> None:
    """A device that never met a server has nothing to start over."""
    effects = others(say(device(State.AWAIT_WELCOME), WELCOME))
    assert not any(isinstance(effect, e.Reset) for effect in effects)


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"version": 2}, "upgrade_required"), ({"resume_after": 3}, "protocol_violation")],
)
def test_an_impossible_welcome_is_not_accepted(changes: dict[str, object], code: str) -> None:
    """A version we do not speak and a cursor we never named end the connection."""
    peer = device(State.AWAIT_WELCOME, place=KNOWN)
    assert goodbye(say(peer, a_welcome(**{"resume_after": 5, **changes}))).code == code


def test_a_server_that_says_goodbye_is_heard() -> None:
    """The reason and the time to come back reach the edge."""
    said = Goodbye("overloaded", "", CloseCode.TRY_AGAIN, retry_after_ms=900)
    assert say(device(State.AWAIT_WELCOME), said) == [e.Close(said, theirs=True)]


# Up


@pytest.mark.parametrize(
    ("answered", "server_seq", "after"),
    [(3, 3, 3), (3, 5, 3), (5, 3, 3), (0, 0, 0)],
)
def test_the_outbox_is_read_from_where_both_agree(
    answered: int, server_seq: int, after: int
) -> None:
    """A lost answer is asked for again, a forgetful server is told again (I-1, I-2)."""
    place = PLACE._replace(answered_seq=answered, head_seq=9)
    effects = others(
        say(device(State.AWAIT_WELCOME, place=place), a_welcome(device_seq=server_seq))
    )
    assert effects[-1] == e.ReadOutbox(after, PUSH_BYTES_TARGET, PUSH_EVENTS_MAX)


def test_a_server_that_forgot_answers_is_met_anew() -> None:
    """Answers that the log no longer knows are let go before they are asked for again, since the
    log may decide otherwise now (I-10, pitfalls P18, P35)."""
    welcome = a_welcome(device_seq=3)
    place = PLACE._replace(
        answered_seq=5, head_seq=9, log_id=welcome.log_id, generation=welcome.generation
    )
    effects = others(say(device(State.AWAIT_WELCOME, place=place), welcome))
    assert [type(effect) for effect in effects] == [e.Reset, e.Close]
    assert effects[0] == e.Reset(place.log_id, place.generation, 3)


def test_pages_become_pushes_and_pushes_are_bounded() -> None:
    """The device keeps the server's bound on unanswered pushes and goes on with each answer."""
    peer = device(page=None, welcome=a_welcome(limits={"pushes_in_flight": 2}))
    effects = peer.loaded(page(b"a", b"b"), NOW)
    assert sent(effects) == [Push(1, 1, (b"a", b"b"))]
    assert others(effects) == [e.ReadOutbox(2, PUSH_BYTES_TARGET, PUSH_EVENTS_MAX)]
    assert peer.loaded(page(b"c"), NOW) == [*_frames(Push(2, 3, (b"c",)))]
    assert peer.offer(NOW) == []
    effects = say(peer, accepted(1, 2))
    assert others(effects) == [
        e.Settled(1, accepted(1, 2).verdicts, ()),
        e.ReadOutbox(3, PUSH_BYTES_TARGET, PUSH_EVENTS_MAX),
    ]


def _frames(*frames: Push) -> list[e.Effect]:
    return [e.Send(encode_frame(frame)) for frame in frames]


def test_an_empty_page_ends_the_pushing_until_something_is_offered() -> None:
    """Nothing is asked for twice, and nothing offered meanwhile is missed."""
    peer = device(page=None)
    assert peer.offer(NOW) == []
    (again,) = peer.loaded(EMPTY_PAGE, NOW)
    assert isinstance(again, e.ReadOutbox)
    assert peer.loaded(EMPTY_PAGE, NOW) == []
    (asked,) = peer.offer(NOW)
    assert isinstance(asked, e.ReadOutbox)


def test_a_page_that_is_too_long_is_cut() -> None:
    """The peer, not the edge, sees to it that a push keeps the server's bounds (§9)."""
    limits = {"push_events": 3, "push_bytes": 10, "pushes_in_flight": PUSHES_IN_FLIGHT_MAX}
    peer = device(page=None, welcome=a_welcome(limits=limits))
    (push,) = sent(peer.loaded(page(b"a", b"b", b"c", b"d"), NOW))
    assert push == Push(1, 1, (b"a", b"b", b"c"))
    (push,) = sent(peer.loaded(page(b"123456", b"123456"), NOW))
    assert push == Push(2, 4, (b"123456",))
    (push,) = sent(peer.loaded(page(bytes(50), b"x"), NOW))
    assert push == Push(3, 5, (bytes(50),))


@pytest.mark.parametrize(
    "result",
    [
        Result(2, (Verdict(Outcome.ACCEPTED, 1, 1, NOW),)),
        Result(1, (Verdict(Outcome.ACCEPTED, 3, 1, NOW),)),
        Result(1, (Verdict(Outcome.ACCEPTED, 2, 1, NOW),), (Decision(2, bytes(16), 0),)),
        Result(1, (Verdict(Outcome.ACCEPTED, 2, 1, NOW),), (Decision(0, bytes(9), 0),)),
    ],
)
def test_a_result_that_answers_nothing_is_not_believed(result: Result) -> None:
    """Verdicts for pushes never made, or beyond their events, end the connection."""
    peer = device(page=page(b"a", b"b"))
    assert goodbye(say(peer, result)).code == "protocol_violation"


def test_a_short_result_stops_the_pushing() -> None:
    """After a RESULT that leaves events unanswered nothing more is pushed: GOODBYE follows (§6)."""
    peer = device(page=None)
    peer.loaded(page(b"a", b"b"), NOW)
    peer.loaded(EMPTY_PAGE, NOW)
    effects = say(peer, accepted(1, 1))
    assert others(effects) == [e.Settled(1, accepted(1, 1).verdicts, ())]
    assert peer.offer(NOW) == []
    said = Goodbye("forked", "", CloseCode.POLICY, next_epoch=6)
    assert say(peer, said) == [e.ForkFound(6), e.Close(said, theirs=True)]


def test_an_unanswered_push_ends_the_connection() -> None:
    """The result that never comes is asked for on a new connection (pitfalls P31, P32)."""
    peer = device(page=page(b"a"))
    assert peer.deadline_ms == NOW + RESULT_TIMEOUT_MS
    assert goodbye(peer.tick(NOW + RESULT_TIMEOUT_MS)).code == "timeout"


def test_a_silent_server_is_given_up() -> None:
    """Without a frame for two and a half minutes the server is gone; any frame counts."""
    peer = device()
    say(peer, Probe(NOW, 0), NOW + 100_000)
    assert peer.deadline_ms == NOW + 100_000 + SILENCE_TIMEOUT_MS


# Forks


def test_a_chain_that_ends_differently_is_a_fork() -> None:
    """When the own event at the server's head is another one, the device starts a new epoch."""
    place = PLACE._replace(head_seq=3, answered_seq=3)
    welcome = a_welcome(device_seq=3, device_hash=b"h" * 32, next_epoch=4)
    peer = device(place=place, welcome=welcome, page=None)
    effects = peer.loaded(e.OutboxPage(b"other" * 6 + b"ha", (b"e",)), NOW)
    assert effects[0] == e.ForkFound(4)
    assert goodbye(effects).code == "forked"


def test_a_chain_that_agrees_goes_on() -> None:
    """The check compares with the id the device itself has at that seq."""
    head = sha256(b"third").digest()
    place = PLACE._replace(head_seq=4, answered_seq=3)
    welcome = a_welcome(device_seq=3, device_hash=head)
    peer = device(place=place, welcome=welcome, page=None)
    assert sent(peer.loaded(e.OutboxPage(head, (b"e",)), NOW)) == [Push(1, 4, (b"e",))]


def test_a_device_behind_its_own_chain_pushes_what_it_has_and_then_forks() -> None:
    """Unanswered events are answered first, so none is made twice (§6)."""
    place = PLACE._replace(head_seq=2, answered_seq=1)
    peer = device(place=place, welcome=a_welcome(device_seq=9, next_epoch=2), page=None)
    assert sent(peer.loaded(e.OutboxPage(b"", (b"two",)), NOW)) == [Push(1, 2, (b"two",))]
    peer.loaded(EMPTY_PAGE, NOW)
    effects = say(peer, Result(1, (Verdict(Outcome.DUPLICATE, 1, 4, NOW),)))
    assert effects[:2] == [
        e.Settled(2, (Verdict(Outcome.DUPLICATE, 1, 4, NOW),), ()),
        e.ForkFound(2),
    ]
    assert goodbye(effects).code == "forked"


# Down


def an_events(first: int, last: int, *, size: int = 10) -> Events:
    segment = Segment(first, last - first + 1, CHAIN, bytes(16), 1, 1, NOW, bytes(size))
    return Events(last, CHAIN, (segment,))


def test_frames_are_confirmed_when_they_are_durable() -> None:
    """CURSOR follows the transaction that holds events and cursor, not the frame (pitfalls P49)."""
    peer = device()
    assert say(peer, Events(2, CHAIN, (SEGMENT,))) == [e.Apply((SEGMENT,), 2, CHAIN)]
    assert sent(peer.appended(2, NOW)) == [Cursor(2)]
    assert peer.cursor == 2


def test_one_cursor_confirms_many_small_frames() -> None:
    """In a stream of small frames CURSOR speaks at once, and then at most once in an interval, of
    everything that is durable by then (§4.3)."""
    peer = device()
    said: list[Frame] = []
    for at in range(1, 6):
        say(peer, an_events(at, at), NOW + at)
        said += sent(peer.appended(at, NOW + at))
    assert said == [Cursor(1)]
    assert peer.deadline_ms == NOW + 1 + CONFIRM_INTERVAL_MS
    assert sent(peer.tick(peer.deadline_ms)) == [Cursor(5)]
    assert sent(peer.tick(NOW + 3 * CONFIRM_INTERVAL_MS)) == []


def test_large_frames_are_confirmed_at_once() -> None:
    """The server's window opens as fast as the device stores: bytes confirm without waiting."""
    peer = device()
    for at in range(1, 9):
        say(peer, an_events(at, at, size=CONFIRM_BYTES))
        assert sent(peer.appended(at, NOW)) == [Cursor(at)]


def test_a_digest_is_told_of_what_was_confirmed() -> None:
    """What a digest is about is confirmed before it, so that both ends speak of one moment (§7)."""
    peer = device()
    for at in (1, 2):
        say(peer, an_events(at, at))
        peer.appended(at, NOW)
    assert sent(say(peer, DigestRequest(0))) == [Cursor(2)]


def test_a_clock_set_back_delays_no_confirmation() -> None:
    """However far the clock went back, a stored frame is confirmed at once (CON-08)."""
    peer = device()
    for at, now_ms in ((1, NOW), (2, NOW - 1_000_000)):
        say(peer, an_events(at, at), now_ms)
        assert sent(peer.appended(at, now_ms)) == [Cursor(at)]


def test_frames_that_wait_are_applied_together() -> None:
    """What arrives while a transaction runs goes into the next one, whole."""
    peer = device()
    say(peer, an_events(1, 1))
    assert say(peer, an_events(2, 3)) == say(peer, an_events(4, 4)) == []
    (apply,) = others(peer.appended(1, NOW))
    assert isinstance(apply, e.Apply)
    assert [segment.first for segment in apply.segments] == [2, 4]
    assert apply.through == 4


@pytest.mark.parametrize(
    "events",
    [
        an_events(2, 2),
        Events(2, CHAIN, ()),
        Events(3, CHAIN, (SEGMENT,)),
        Events(4, CHAIN, an_events(5, 5).segments),
        Events(9, CHAIN, an_events(6, 6).segments + an_events(5, 5).segments),
    ],
)
def test_a_log_that_goes_back_is_not_believed(events: Events) -> None:
    """Positions only grow, within a frame and from frame to frame (pitfalls P33)."""
    peer = device()
    say(peer, an_events(1, 2))
    assert goodbye(say(peer, events)).code == "protocol_violation"


def test_a_server_that_ignores_the_window_is_stopped() -> None:
    """What waits to be applied is bounded, whoever sends (reliability I-20)."""
    peer = device()
    at = 0
    while peer.state is State.LIVE and at < 100:
        at += 1
        say(peer, an_events(at, at, size=200_000))
    assert at <= 10


def test_a_journal_that_cannot_write_says_so() -> None:
    """A full disk ends the connection with nothing confirmed, so it all comes again."""
    peer = device()
    say(peer, an_events(1, 1))
    said = goodbye(peer.failed(StorageFull("no room")))
    assert said.code == "storage_full"


# Sync Now and digests


def test_sync_now_pushes_first_and_tells_then() -> None:
    """The digest after Sync Now is taken when the outbox is empty and answered (B2, §7)."""
    peer = device()
    effects = say(peer, SyncRequest("run-1"))
    assert effects[0] == e.SyncRequested("run-1")
    peer.loaded(page(b"a"), NOW)
    peer.loaded(EMPTY_PAGE, NOW)
    effects = say(peer, accepted(1, 1, position=1))
    assert not any(isinstance(effect, e.TakeDigest) for effect in effects)
    say(peer, Events(1, CHAIN, ()))
    effects = peer.appended(1, NOW)
    assert effects[-1] == e.TakeDigest(0)
    assert sent(peer.digested(1, (), 0, NOW)) == [Digest(1, ())]


def test_a_digest_waits_until_documents_and_cursor_agree() -> None:
    """An own event acknowledged beyond the cursor, or a page half applied, would make the digest
    one of no position at all (§7)."""
    peer = device(place=PLACE._replace(answered_through=2))
    assert say(peer, DigestRequest(0)) == []
    assert say(peer, an_events(1, 1)) == [e.Apply(an_events(1, 1).segments, 1, CHAIN)]
    assert [type(effect) for effect in peer.appended(1, NOW)] == [e.Send]
    say(peer, Events(2, CHAIN, ()))
    assert peer.appended(2, NOW)[-1] == e.TakeDigest(0)


def test_a_second_question_before_the_answer_is_a_violation() -> None:
    """One digest is owed at a time (§7)."""
    peer = device()
    say(peer, DigestRequest(0))
    assert goodbye(say(peer, SyncRequest("run"))).code == "protocol_violation"
