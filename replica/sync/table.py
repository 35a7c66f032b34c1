"""The sync protocol as a table: who, in which state, may be given what, and where it leads.

Theory of operation. A connection is two machines, one per role, each in one of a few states. An
*input* is either a frame from the other end or something the edge reports. ``TABLE`` names for
every allowed (role, state, input) the handler that deals with it and the states it may end in.
Everything that is not in the table is wrong: a frame is then the other end's protocol violation,
an edge's report is a bug in the edge.

Rules of this file: whatever decides *when* something may be said stands here; what is said and
what follows from it stands in the handlers; nothing here knows a socket, a clock or a log. CLOSED
has no rows: whatever comes then is ignored, because answers to earlier effects may still arrive.

wire-protocol.md §4 shows this table, written by :func:`render`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple


class Role(StrEnum):
    """Which end of the connection."""

    SERVER = "server"
    DEVICE = "device"


class State(StrEnum):
    """Where one end stands. Every state but START and CLOSED owns a timer (pitfalls P32)."""

    START = "start"
    AWAIT_HELLO = "await_hello"
    AUTHENTICATING = "authenticating"
    PROBING = "probing"
    AWAIT_WELCOME = "await_welcome"
    LIVE = "live"
    CLOSED = "closed"


class Input(StrEnum):
    """Frames from the other end in capitals, reports of the edge in small letters."""

    HELLO = "HELLO"
    WELCOME = "WELCOME"
    PROBE = "PROBE"
    PROBE_REPLY = "PROBE_REPLY"
    PUSH = "PUSH"
    RESULT = "RESULT"
    EVENTS = "EVENTS"
    CURSOR = "CURSOR"
    DIGEST_REQUEST = "DIGEST_REQUEST"
    DIGEST = "DIGEST"
    SYNC_REQUEST = "SYNC_REQUEST"
    GOODBYE = "GOODBYE"
    OPENED = "opened"
    AUTHENTICATED = "authenticated"
    OFFERED = "offered"
    HINTED = "hinted"
    APPENDED = "appended"
    LOADED = "loaded"
    DIGESTED = "digested"
    ASK_DIGEST = "ask_digest"
    ASK_SYNC = "ask_sync"
    TICK = "tick"
    CLOSE = "close"

    @property
    def is_frame(self) -> bool:
        return self.value.isupper()


class Row(NamedTuple):
    """``handler`` names a method of the role's peer; afterwards the state is one of ``states``."""

    handler: str
    states: tuple[State, ...]


_S = State
_I = Input
_States = Mapping[State, Mapping[Input, tuple[str, ...]]]

_SERVER: _States = {
    _S.START: {
        _I.OPENED: ("on_opened", _S.AWAIT_HELLO),
    },
    _S.AWAIT_HELLO: {
        _I.HELLO: ("on_hello", _S.AUTHENTICATING, _S.CLOSED),
    },
    _S.AUTHENTICATING: {
        _I.AUTHENTICATED: ("on_authenticated", _S.PROBING, _S.CLOSED),
        _I.OFFERED: ("on_early", _S.AUTHENTICATING),
        _I.HINTED: ("on_early", _S.AUTHENTICATING),
    },
    _S.PROBING: {
        _I.PROBE_REPLY: ("on_first_probe_reply", _S.LIVE, _S.CLOSED),
        _I.OFFERED: ("on_early_offer", _S.PROBING),
        _I.HINTED: ("on_early_hint", _S.PROBING),
        _I.ASK_SYNC: ("on_early_ask", _S.PROBING),
    },
    _S.LIVE: {
        _I.PROBE_REPLY: ("on_probe_reply", _S.LIVE, _S.CLOSED),
        _I.PUSH: ("on_push", _S.LIVE, _S.CLOSED),
        _I.CURSOR: ("on_cursor", _S.LIVE, _S.CLOSED),
        _I.DIGEST_REQUEST: ("on_digest_request", _S.LIVE, _S.CLOSED),
        _I.DIGEST: ("on_digest", _S.LIVE, _S.CLOSED),
        _I.OFFERED: ("on_offered", _S.LIVE),
        _I.HINTED: ("on_hinted", _S.LIVE),
        _I.APPENDED: ("on_appended", _S.LIVE, _S.CLOSED),
        _I.LOADED: ("on_loaded", _S.LIVE),
        _I.DIGESTED: ("on_digested", _S.LIVE),
        _I.ASK_DIGEST: ("on_ask_digest", _S.LIVE),
        _I.ASK_SYNC: ("on_ask_sync", _S.LIVE),
    },
}

_DEVICE: _States = {
    _S.START: {
        _I.OPENED: ("on_opened", _S.AWAIT_WELCOME),
    },
    _S.AWAIT_WELCOME: {
        _I.WELCOME: ("on_welcome", _S.LIVE, _S.CLOSED),
        _I.OFFERED: ("on_early_offer", _S.AWAIT_WELCOME),
    },
    _S.LIVE: {
        _I.PROBE: ("on_probe", _S.LIVE),
        _I.RESULT: ("on_result", _S.LIVE, _S.CLOSED),
        _I.EVENTS: ("on_events", _S.LIVE, _S.CLOSED),
        _I.DIGEST_REQUEST: ("on_digest_request", _S.LIVE, _S.CLOSED),
        _I.DIGEST: ("on_digest", _S.LIVE, _S.CLOSED),
        _I.SYNC_REQUEST: ("on_sync_request", _S.LIVE),
        _I.OFFERED: ("on_offered", _S.LIVE),
        _I.APPENDED: ("on_appended", _S.LIVE, _S.CLOSED),
        _I.LOADED: ("on_loaded", _S.LIVE, _S.CLOSED),
        _I.DIGESTED: ("on_digested", _S.LIVE),
        _I.ASK_DIGEST: ("on_ask_digest", _S.LIVE),
    },
}

_ALWAYS: Mapping[Input, tuple[str, ...]] = {
    _I.GOODBYE: ("on_goodbye", _S.CLOSED),
    _I.CLOSE: ("on_close", _S.CLOSED),
}


def _rows() -> dict[tuple[Role, State, Input], Row]:
    rows = {}
    for role, states in ((Role.SERVER, _SERVER), (Role.DEVICE, _DEVICE)):
        for state, inputs in states.items():
            for given, (handler, *ends) in {**inputs, **_ALWAYS}.items():
                rows[role, state, given] = Row(handler, tuple(State(end) for end in ends))
            rows[role, state, _I.TICK] = Row("on_tick", (state, State.CLOSED))
    return rows


TABLE: Mapping[tuple[Role, State, Input], Row] = MappingProxyType(_rows())


def render() -> str:
    """The table as Markdown, one row per (role, state, input)."""
    lines = ["| End | State | Input | Next state |", "|---|---|---|---|"]
    for (role, state, given), row in TABLE.items():
        ends = " or ".join(f"`{end}`" for end in row.states)
        lines.append(f"| {role} | `{state}` | `{given}` | {ends} |")
    return "\n".join(lines) + "\n"
