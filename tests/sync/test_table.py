"""The table: every (role, state, input) leads where it says, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import pytest

from replica.errors import MisuseError
from replica.sync import effects as e
from replica.sync.device_peer import DevicePeer
from replica.sync.messages import CloseCode, Events, ProbeReply, Result, Verdict, encode_frame
from replica.sync.peer import FRAME_INPUTS, Peer
from replica.sync.server_peer import ServerPeer
from replica.sync.table import TABLE, Input, Role, State
from replica.sync.verdicts import Settlement
from tests.sync.drive import EMPTY_PAGE, NOW, STANDING, WELCOME, goodbye, peer_in, push, say
from tests.sync.samples import CHAIN, FRAMES, SEGMENT

PAIRS = list(product(Role, State, Input))

Report = Callable[[Any], list[e.Effect]]

REPORTS: dict[Input, Report] = {
    Input.OPENED: lambda peer: peer.opened(NOW),
    Input.AUTHENTICATED: lambda peer: peer.authenticated(STANDING, NOW),
    Input.HINTED: lambda peer: peer.hint(3, NOW),
    Input.DIGESTED: lambda peer: peer.digested(1, (), 0, NOW),
    Input.ASK_DIGEST: lambda peer: peer.ask_digest(0, NOW),
    Input.ASK_SYNC: lambda peer: peer.ask_sync("run-1", NOW),
    Input.TICK: lambda peer: peer.tick(NOW),
    Input.CLOSE: lambda peer: peer.close("going_away", "bye"),
}
SERVER_REPORTS: dict[Input, Report] = {
    Input.OFFERED: lambda peer: peer.offer(e.make_offer([SEGMENT]), NOW),
    Input.APPENDED: lambda peer: peer.appended(Settlement((Verdict(1, 1, 1),), ()), NOW),  # type: ignore[arg-type]
    Input.LOADED: lambda peer: peer.loaded([SEGMENT], NOW),
}
DEVICE_REPORTS: dict[Input, Report] = {
    Input.OFFERED: lambda peer: peer.offer(NOW),
    Input.APPENDED: lambda peer: peer.appended(2, NOW),
    Input.LOADED: lambda peer: peer.loaded(EMPTY_PAGE, NOW),
}


def prepare(peer: Peer, given: Input) -> None:
    """What has to be under way for a report or a frame to mean anything."""
    if peer.state is not State.LIVE:
        return
    if isinstance(peer, ServerPeer):
        if given is Input.APPENDED:
            say(peer, push())
            peer.take()
        if given is Input.LOADED:
            peer.hint(2, NOW)
        if given is Input.DIGEST:
            peer.ask_digest(0, NOW)
    if isinstance(peer, DevicePeer):
        if given is Input.APPENDED:
            say(peer, Events(2, CHAIN, (SEGMENT,)))
        if given is Input.LOADED:
            peer.offer(NOW)
        if given is Input.DIGEST:
            peer.ask_digest(0, NOW)
        if given is Input.RESULT:
            peer.offer(NOW)
            peer.loaded(e.OutboxPage(b"", (b"event",)), NOW)


def frame_bytes(given: Input) -> bytes:
    fitting = {
        Input.WELCOME: WELCOME,
        Input.PROBE_REPLY: ProbeReply(NOW, NOW, NOW),
        Input.PUSH: push(),
        Input.RESULT: Result(1, (Verdict(1, 1, 1),)),  # type: ignore[arg-type]
        Input.CURSOR: FRAMES["CURSOR"].__class__(0),  # type: ignore[call-arg, arg-type]
    }
    return encode_frame(fitting.get(given, FRAMES[given.value]))  # type: ignore[arg-type]


@pytest.mark.parametrize(("role", "state", "given"), PAIRS)
def test_every_input_leads_where_the_table_says(role: Role, state: State, given: Input) -> None:
    """Each (role, state, input) ends in a state of its row; without a row a frame is told as a
    protocol violation, a report is the edge's mistake, and a closed peer ignores both."""
    if state not in {s for r, s, _ in TABLE if r is role} | {State.CLOSED}:
        return
    peer = peer_in(role, state)
    prepare(peer, given)
    own = SERVER_REPORTS if role is Role.SERVER else DEVICE_REPORTS
    report = REPORTS.get(given) or own.get(given)
    row = TABLE.get((role, state, given))

    def act() -> list[e.Effect]:
        if given.is_frame:
            return peer.receive(frame_bytes(given), NOW)
        assert report is not None
        return report(peer)

    if not given.is_frame and not hasattr(peer, REPORT_METHODS[given]):
        assert row is None
    elif state is State.CLOSED:
        assert act() == []
    elif row is not None:
        act()
        assert peer.state in row.states
    elif given.is_frame:
        said = goodbye(act())
        assert (said.code, said.close_code) == ("protocol_violation", CloseCode.PROTOCOL)
        assert peer.state is State.CLOSED
    else:
        with pytest.raises(MisuseError):
            act()
        assert peer.state is state


REPORT_METHODS = {
    Input.OPENED: "opened",
    Input.AUTHENTICATED: "authenticated",
    Input.OFFERED: "offer",
    Input.HINTED: "hint",
    Input.APPENDED: "appended",
    Input.LOADED: "loaded",
    Input.DIGESTED: "digested",
    Input.ASK_DIGEST: "ask_digest",
    Input.ASK_SYNC: "ask_sync",
    Input.TICK: "tick",
    Input.CLOSE: "close",
}


def test_inputs_are_complete() -> None:
    """Every frame is an input, and every input is a frame or a report."""
    assert set(FRAME_INPUTS.values()) | set(REPORT_METHODS) == set(Input)
    assert {given.value for given in FRAME_INPUTS.values()} == set(FRAMES)


def test_every_handler_has_a_row() -> None:
    """No handler stands in a peer that the table does not name, and each one named exists."""
    for role, peer in ((Role.SERVER, ServerPeer), (Role.DEVICE, DevicePeer)):
        named = {row.handler for (r, _, _), row in TABLE.items() if r is role}
        written = {name for name in vars(peer) if name.startswith("on_")} - {"on_timer"}
        assert written <= named
        assert all(hasattr(peer, name) for name in named)


@pytest.mark.parametrize(("role", "state"), sorted({(role, state) for role, state, _ in TABLE}))
def test_every_state_owns_a_timer(role: Role, state: State) -> None:
    """Nothing waits for ever: each open state has a deadline after which it acts (pitfalls P32)."""
    peer = peer_in(role, state)
    if state is State.START:
        assert peer.deadline_ms is None
        return
    for _ in range(8):
        if peer.state is State.CLOSED:
            break
        assert peer.deadline_ms is not None
        peer.tick(peer.deadline_ms)
    assert peer.state is State.CLOSED
    assert peer.deadline_ms is None
