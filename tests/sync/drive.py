"""Bring one peer by itself into a given state, and say things to it."""

from __future__ import annotations

from replica.events.clock import ZERO_STAMP
from replica.events.event import GENESIS
from replica.events.ports import DeviceHead, LogHead
from replica.sync import effects as e
from replica.sync.device_peer import DevicePeer
from replica.sync.messages import (
    Frame,
    Goodbye,
    Hello,
    ProbeReply,
    Push,
    Welcome,
    decode_frame,
    encode_frame,
)
from replica.sync.peer import Peer
from replica.sync.server_peer import LIMITS, ServerPeer
from replica.sync.table import Role, State
from tests.sync.samples import ACCOUNT, DEVICE, FIRST, LOG_ID, MS

NOW = MS

HELLO = Hello(1, 1, "token", ACCOUNT, DEVICE, 1, 0, b"", 0, 0, b"", NOW, "test")
HEAD = LogHead(LOG_ID, 1, 0, GENESIS)  # type: ignore[arg-type]
STANDING = e.Standing(HEAD, GENESIS, [DeviceHead(1, 0, GENESIS, ZERO_STAMP)], bytes(8))
PLACE = e.Place("token", ACCOUNT, DEVICE, 1, 0, 0, b"", 0, 0, b"", 0, "test")
WELCOME = Welcome(1, bytes(8), LOG_ID, 1, 0, 0, 0, GENESIS, 2, NOW, dict(LIMITS))
EMPTY_PAGE = e.OutboxPage(GENESIS, ())


def say(peer: Peer, frame: Frame, now_ms: int = NOW) -> list[e.Effect]:
    return peer.receive(encode_frame(frame), now_ms)


def sent(effects: list[e.Effect]) -> list[Frame]:
    return [decode_frame(effect.data) for effect in effects if isinstance(effect, e.Send)]


def others(effects: list[e.Effect]) -> list[e.Effect]:
    return [effect for effect in effects if not isinstance(effect, e.Send)]


def goodbye(effects: list[e.Effect]) -> Goodbye:
    """The goodbye these effects end with: said first, then closed with."""
    said = sent(effects)[-1]
    assert isinstance(said, Goodbye)
    assert effects[-1] == e.Close(said, theirs=False)
    return said


def server(
    state: State = State.LIVE, *, hello: Hello = HELLO, standing: e.Standing = STANDING
) -> ServerPeer:
    """A server's end in ``state``; LIVE has answered the first probe and read nothing."""
    peer = ServerPeer()
    order = [State.START, State.AWAIT_HELLO, State.AUTHENTICATING, State.PROBING, State.LIVE]
    steps = order.index(state) if state in order else len(order)
    if steps > 0:
        peer.opened(NOW)
    if steps > 1:
        say(peer, hello)
    if steps > 2:
        peer.authenticated(standing, NOW)
    if steps > 3:
        say(peer, ProbeReply(NOW, NOW, NOW))
    if state is State.CLOSED:
        peer.lost()
    assert peer.state is state
    return peer


def device(
    state: State = State.LIVE,
    *,
    place: e.Place = PLACE,
    welcome: Welcome = WELCOME,
    page: e.OutboxPage | None = EMPTY_PAGE,
) -> DevicePeer:
    """A device's end in ``state``; LIVE has read its first ``page``, unless that is None."""
    peer = DevicePeer(place)
    if state is not State.START:
        peer.opened(NOW)
    if state in {State.LIVE, State.CLOSED}:
        say(peer, welcome)
        if page is not None:
            peer.loaded(page, NOW)
    if state is State.CLOSED:
        peer.lost()
    assert peer.state is state
    return peer


def peer_in(role: Role, state: State) -> Peer:
    return server(state) if role is Role.SERVER else device(state)


def push(number: int = 1, first_seq: int = 1, events: tuple[bytes, ...] = (FIRST,)) -> Push:
    return Push(number, first_seq, events)
