"""Sync Now for the whole account, from a device: the plan, the press, the result.

:meth:`Device.sync` makes this one device equal to the server; this makes everything equal that can
be reached, accounting included (architecture.md §9).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from replica.device.asking import OK, Server, connected
from replica.device.journal import Identity
from replica.errors import Forbidden, Malformed, MisuseError, PeerGone
from replica.limits import ACCOUNT_SYNC_ANSWER_BYTES_MAX, ACCOUNT_SYNC_POLL_S

T = TypeVar("T")
_PATH = "device/sync-now"


class SyncPlan(NamedTuple):
    """What a Sync Now would do. ``held`` is what the server knows this device to hold, None when
    it does not know; ``pull`` what changed in the accounting program, as ``pull_text`` says."""

    id: str
    position: int
    held: int | None
    push: int
    staying: int
    pull: int
    pull_text: str


class Differing(msgspec.Struct, frozen=True):
    """A section that differs: documents and digest (hex) on either side."""

    section: str
    server_count: int
    server_digest: str
    device_count: int
    device_digest: str


class SyncStep(msgspec.Struct, frozen=True):
    """One step. ``state``: waiting, running, done, attention; while it runs, ``done`` of ``total``,
    which is 0 while nobody knows, and ``text`` in words (SYN-14)."""

    name: str
    title: str
    state: str
    text: str
    done: int = 0
    total: int = 0


class AccountSync(msgspec.Struct, frozen=True):
    """A run, while it goes on and afterwards.

    ``proof`` is the state of this device in it, with the fingerprint of everything that either
    side held (hex, empty until they were compared; wire-protocol.md §7) and the sections in which
    they differ.
    """

    run: str
    running: bool
    plan: str
    received: int
    sent: int
    fetched: int
    position: int
    equal: bool
    proof: str
    moved: tuple[str, ...]  # what was otherwise than the plan said
    problems: tuple[str, ...]
    server_fingerprint: str = ""
    device_fingerprint: str = ""
    differing: tuple[Differing, ...] = ()
    steps: tuple[SyncStep, ...] = ()


class _Device(msgspec.Struct):
    pending: int | None


class _Push(msgspec.Struct):
    count: int
    staying: int


class _Pull(msgspec.Struct):
    count: int
    text: str


class _Plan(msgspec.Struct):
    plan: str
    position: int
    devices: list[_Device]
    push: _Push
    pull: _Pull


def plan(identity: Identity) -> SyncPlan:
    """Ask for a plan. Raises ``PeerGone`` without a connection and ``Forbidden`` for a device that
    was shut out."""
    with connected(identity) as server:
        found = _ask(server, f"{_PATH}/plan", b"", _Plan)
    held = found.devices[0].pending if found.devices else None
    push, pull = found.push, found.pull
    return SyncPlan(
        found.plan, found.position, held, push.count, push.staying, pull.count, pull.text
    )


def press(
    identity: Identity, plan_id: str, timeout_s: float, progress: Callable[[AccountSync], None]
) -> AccountSync:
    """Start or join a run and wait for its end; the run goes on without a device that leaves.

    Raises as :func:`plan`, ``MisuseError`` for a plan that the server does not know any more, and
    ``PeerGone`` when the time is over.
    """
    query = f"?{urlencode({'plan': plan_id})}" if plan_id else ""
    until_s = time.monotonic() + timeout_s
    with connected(identity) as server:
        run = _ask(server, f"{_PATH}{query}", b"", AccountSync)
        while run.running:
            progress(run)
            if time.monotonic() > until_s:
                raise PeerGone("the run goes on in the server; look again later")
            time.sleep(ACCOUNT_SYNC_POLL_S)
            run = _ask(server, _PATH, None, AccountSync)
    return run


def _ask(server: Server, path: str, body: bytes | None, shape: type[T]) -> T:
    answer = server.ask(path, ACCOUNT_SYNC_ANSWER_BYTES_MAX, body)
    if answer.status == 403:
        raise Forbidden("the server does not let this device in")
    if answer.status == 404:
        raise MisuseError("the server does not know that plan any more", hint="make a new one")
    if answer.status != OK:
        raise PeerGone(f"the server answered {answer.status}")
    try:
        return msgspec.json.decode(answer.data, type=shape)
    except msgspec.MsgspecError as error:
        raise Malformed(f"not an answer about a Sync Now: {error}") from error
