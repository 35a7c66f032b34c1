"""The devices of a load: real ones, in processes of their own, that do what a phone does.

Each has its journal file, enrols with a code, appends (one durable commit per bundle of work) and
syncs live through its websocket while it appends. A process hosts several devices when there are
more devices than cores; each still has its own journal, chain, connection and thread.

The parent speaks to a process through a pipe. A full pipe blocks the parent, so a file is never
read faster than its events are made durable.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple, Self

from replica.crdt.digest import SectionTotal
from replica.device.device import Device
from replica.device.status import Status
from replica.errors import PeerGone, ReplicaError
from replica.events.payloads import Payload
from replica.limits import HISTORY_BUNDLE_EVENTS, HISTORY_PROOFS_MAX, HISTORY_STALL_S


class Enrolment(NamedTuple):
    """What one device starts with. ``number`` counts the devices from 0."""

    number: int
    journal: Path
    url: str
    code: str
    name: str


class Proof(NamedTuple):
    """What one device holds in the end: its digest at a position, and whether the server has the
    same there. ``rejected`` are own events that are not in the log, with the reasons."""

    number: int
    position: int
    sections: tuple[SectionTotal, ...]
    equal: bool
    rejected: tuple[str, ...]


class LoadFailed(ReplicaError):
    """A device could not do its part. What was acknowledged is on the server."""

    code = "load_failed"


class Fleet:
    """All devices of a load. Use as a context manager; leaving it ends the processes."""

    def __init__(self, enrolments: Sequence[Enrolment], *, processes: int) -> None:
        count = min(processes, len(enrolments))
        self._workers = [_Worker(enrolments[at::count]) for at in range(count)]
        self._bundles: dict[int, list[Payload]] = {one.number: [] for one in enrolments}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.end()

    def append(self, device: int, payload: Payload) -> None:
        """Let ``device`` append ``payload`` after everything it was given before."""
        bundle = self._bundles[device]
        bundle.append(payload)
        if len(bundle) >= HISTORY_BUNDLE_EVENTS:
            self._send(device)

    def settle(self) -> None:
        """Wait until the server has answered for every event of every device."""
        for device in self._bundles:
            self._send(device)
        self._ask("settle")

    def prove(self) -> list[Proof]:
        """Let every device take in everything and compare its digest with the server's: at one
        position, and until nothing has come since, as the server decides about names that were
        given twice when it has read them."""
        before: set[int] = set()
        for _ in range(HISTORY_PROOFS_MAX):
            proofs: list[Proof] = self._ask("prove")
            positions = {proof.position for proof in proofs}
            if len(positions) == 1 and positions == before:
                break
            before = positions
        return sorted(proofs)

    def _send(self, device: int) -> None:
        bundle = self._bundles[device]
        if bundle:
            self._workers[device % len(self._workers)].send(("append", device, bundle))
            self._bundles[device] = []

    def _ask(self, what: str) -> list[Any]:
        for worker in self._workers:
            worker.send((what,))
        return [answer for worker in self._workers for answer in worker.receive()]


class _Worker:
    """One process and the parent's end of its pipe."""

    def __init__(self, enrolments: Sequence[Enrolment]) -> None:
        # Spawned, not forked: a device starts threads, and a fork copies only one of them.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, list(enrolments)), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, message: tuple[Any, ...]) -> None:
        try:
            self._pipe.send(message)
        except OSError:
            self.receive()  # says why
            raise

    def receive(self) -> list[Any]:
        """The answer to the last question. Raises ``LoadFailed`` with the process's reason."""
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise LoadFailed("a process of the load ended without a word") from error
        if isinstance(answer, str):
            raise LoadFailed(answer)
        return list(answer)

    def end(self) -> None:
        with suppress(OSError):
            self._pipe.close()
        self._process.join(HISTORY_STALL_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()


def _work(pipe: Connection, enrolments: list[Enrolment]) -> None:
    """Life of one process: serve the parent until it hangs up."""
    with pipe, suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        try:
            with ExitStack() as stack:
                devices = {one.number: _open(one, stack) for one in enrolments}
                while True:
                    _serve(pipe, devices)
        except ReplicaError as error:
            pipe.send(f"{error.code}: {error}")


def _open(one: Enrolment, stack: ExitStack) -> Device:
    one.journal.parent.mkdir(parents=True, exist_ok=True)
    device = stack.enter_context(Device.open(one.journal))
    device.enrol(one.url, one.code, one.name)
    device.start()
    return device


def _serve(pipe: Connection, devices: dict[int, Device]) -> None:
    what, *arguments = pipe.recv()
    if what == "append":
        device, payloads = arguments
        devices[device].append(*payloads)
    elif what == "settle":
        for device in devices.values():
            _settle(device)
        pipe.send([])
    else:
        pipe.send([_prove(number, device) for number, device in devices.items()])


def _settle(device: Device) -> None:
    """Wait until nothing is pending. Raises ``PeerGone`` when it stops getting less."""
    while pending := device.status().pending:
        device.wait_until(partial(_fewer_than, pending), HISTORY_STALL_S)


def _fewer_than(pending: int, status: Status) -> bool:
    return status.pending < pending


def _prove(number: int, device: Device) -> Proof:
    while True:
        cursor = device.status().cursor
        try:
            result = device.sync(HISTORY_STALL_S)
        except PeerGone:
            if device.status().cursor == cursor:
                raise
            continue  # it is coming, there is only much of it
        rejected = tuple(f"{one.type} {one.id}: {one.reason}" for one in device.status().rejected)
        return Proof(number, result.position, result.digest, result.equal, rejected)


def processes_for(devices: int) -> int:
    """One process per core is as fast as the machine gets."""
    return max(1, min(devices, os.cpu_count() or 1))
