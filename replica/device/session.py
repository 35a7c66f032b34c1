"""One connection of a device, from its first frame to its goodbye.

Performs the effects of a :class:`~replica.sync.device_peer.DevicePeer` on the holding and the
socket. Every decision about the protocol is the peer's; every decision about merging the fold's.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, NamedTuple

from replica.crdt.documents import DocKey
from replica.device import chunks, notices
from replica.device.asking import Line
from replica.device.holding import Holding
from replica.device.proof import Ask, Proof, Proved
from replica.device.status import Mode, Progress
from replica.errors import CorruptionError, ReplicaError
from replica.events.record import Segment
from replica.limits import CLOCK_SET_MS, PROOFS_UNEQUAL_MAX, SCOPE_GATHER_MS
from replica.sync import effects as e
from replica.sync.device_peer import DevicePeer
from replica.sync.messages import Goodbye, Outcome, SectionDigest
from replica.sync.table import State
from replica.sync.verdicts import answers

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection


class Counts(NamedTuple):
    """What the link has done since it was made."""

    sent: int = 0
    received: int = 0
    quarantined: int = 0
    refused: int = 0

    def settled(self, outcomes: Sequence[Outcome]) -> Counts:
        return self._replace(
            sent=self.sent + len(outcomes),
            quarantined=self.quarantined + outcomes.count(Outcome.QUARANTINED),
            refused=self.refused + outcomes.count(Outcome.REFUSED),
        )

    def applied(self, segments: Sequence[Segment]) -> Counts:
        return self._replace(received=self.received + sum(one.count for one in segments))


@dataclass
class Report:
    """What the link tells the application. Read and written under the holding's lock."""

    changed: Callable[[], None]
    mode: Mode = Mode.OFFLINE
    text: str = "sync is not started"
    failures: int = 0  # connections lost since one was last let in, or a proof was wished for
    server_position: int = 0  # where the server's log was when it last let us in
    counts: Counts = field(default_factory=Counts)
    proof: Proof | None = None  # wished for, and not there yet
    proved: Proved | None = None
    unequal: int = 0  # proofs that failed since one held
    unmended: Proved | None = None  # a proof that failed, and what differs is still to be taken
    mended: tuple[DocKey, ...] = ()  # documents taken since a proof was last wished for
    stopping: bool = False
    log_serves: bool = False  # the server has nothing in bulk for this device
    progress: tuple[Progress, ...] = ()  # documents on their way in bulk
    manual: bool = False  # the work of others waits until somebody wishes for a proof
    waiting: int = 0  # events that wait so, as far as they have come

    @property
    def holds_back(self) -> bool:
        """Whether the work of others waits now (SYN-11)."""
        return self.manual and self.proof is None and self.unmended is None

    def wants_bulk(self, holding: Holding) -> bool:
        """Whether so much of the log is missing that documents are fetched in its place."""
        if self.log_serves or self.holds_back:
            return False
        return chunks.wanted(holding, self.server_position)


@dataclass
class Clock:
    """The wall clock, made steady for one connection: it advances like the monotonic clock."""

    wall_ms: Callable[[], int]
    started_ms: int = field(init=False)
    started_s: float = field(init=False)

    def __post_init__(self) -> None:
        self.started_ms, self.started_s = self.wall_ms(), time.monotonic()

    def now_ms(self) -> int:
        return self.started_ms + int((time.monotonic() - self.started_s) * 1000)

    @property
    def was_set(self) -> bool:
        """Somebody set the wall clock, or the machine slept: the skew is worth nothing now."""
        return abs(self.wall_ms() - self.now_ms()) > CLOCK_SET_MS


class Session:
    """Run once. ``goodbye`` is what ended it, None when the socket was simply gone."""

    def __init__(
        self, holding: Holding, report: Report, *, wall_ms: Callable[[], int], software: str
    ) -> None:
        self._holding = holding
        self._report = report
        self._wall_ms = wall_ms
        self._clock = Clock(wall_ms)
        self._peer = DevicePeer(holding.standing(software))
        # Bounded by the peer: pushes in flight, one CURSOR for each EVENTS, probes.
        self._outgoing: asyncio.Queue[bytes | e.Close] = asyncio.Queue()
        self.goodbye: Goodbye | None = None
        self._next_epoch = 0  # as WELCOME said
        self._scope = 0  # as WELCOME said: documents of a scope come instead of the log
        self._tasks: asyncio.TaskGroup | None = None
        self._looked = self._looking = False  # after documents of another scope than is held
        self._bell = asyncio.Event()
        self._ticks_ms = 0  # when the peer is given a tick unless the bell rings before
        self._held: e.Apply | None = None  # the peer keeps what comes after it, a window at most
        self._counted = 0  # with a scope: the position up to which the server was asked what waits
        self._counting: asyncio.Task[None] | None = None
        self.line = Line(holding.identity)  # for the documents of a scope, one thread at a time
        self._asked_s = -inf  # when the server was last asked for them, monotonic
        self._hurry = asyncio.Event()  # somebody waits for what a question would bring

    async def run(self, socket: ClientConnection, bell: asyncio.Event) -> None:
        """Returns when the connection has ended; raises what the socket or the journal raised."""
        self._bell = bell
        bell.set()
        self._perform(self._peer.opened(self._clock.now_ms()))
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                writer = tasks.create_task(self._write(socket))
                ticker = tasks.create_task(self._tick())
                async for message in socket:
                    data = message.encode() if isinstance(message, str) else message
                    self._perform(self._peer.receive(data, self._clock.now_ms()))
                self._hurry.set()
                writer.cancel()
                ticker.cancel()
        finally:
            self._peer.lost()
            self.line.close()

    async def _write(self, socket: ClientConnection) -> None:
        while isinstance(item := await self._outgoing.get(), bytes):
            await socket.send(item)
        await socket.close(item.goodbye.close_code)

    async def _tick(self) -> None:
        """Ring the peer when there is work, and when one of its timers is due."""
        peer, now_ms = self._peer, self._clock.now_ms
        while (deadline_ms := peer.deadline_ms) is not None:
            self._ticks_ms = deadline_ms
            rang = await _rings(self._bell, max(deadline_ms - now_ms(), 0) / 1000)
            if self._report.stopping:
                self._perform(peer.close("going_away", "the device goes offline"))
            elif self._clock.was_set:
                self._perform(peer.close("closed", "the device's clock was set"))
            else:
                self._perform(peer.offer(now_ms()) if rang else peer.tick(now_ms()))

    # Effects -------------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[e.Effect]) -> None:
        """Perform effects and what follows from them in order; then see to the proof."""
        waiting = deque(effects)
        while waiting:
            effect = waiting.popleft()
            try:
                waiting.extend(self._say(effect) or self._keep(effect))
            except CorruptionError:
                raise
            except ReplicaError as error:
                # The journal could not take it. Nothing was confirmed, so it comes again.
                waiting = deque(self._peer.failed(error))
        if self._report.proof is not None:
            self._hurry.set()
        if self._peer.state is State.LIVE:
            if self._held is not None and not self._report.holds_back:
                held, self._held = self._held, None
                self._perform([held])
                return
            self._count()
            self._holding.catch_up(self._report.server_position)
            self._holding.exchanged(self._report.server_position, self._wall_ms())
            if self._holding.forgotten(self._report.server_position):
                told = notices.said_again(self._next_epoch)
                self._go_on(self._holding.say_again, "going on in a new epoch", told)
            elif self._report.wants_bulk(self._holding):
                self._perform(self._peer.close("closed", "fetching documents in bulk"))
            elif self._wants_look and self._tasks is not None:
                self._looked = self._looking = True
                self._tasks.create_task(self._pull(None))
            elif self._report.proof is not None and not self._looking:
                self._prove(self._report.proof)
        if (self._peer.deadline_ms or self._ticks_ms) < self._ticks_ms:
            self._bell.set()
        self._report.changed()

    def _notice(self, said: notices.Said) -> None:
        with self._holding.lock:
            self._holding.journal.notices.keep(said, self._wall_ms())

    def _go_on(self, renew: Callable[[int], None], why: str, said: notices.Said) -> None:
        """End this connection; what follows is done in a new epoch."""
        try:
            self._notice(said)
            renew(self._next_epoch)
        except CorruptionError:
            raise
        except ReplicaError as error:
            self._perform(self._peer.failed(error))
        else:
            self._perform(self._peer.close("closed", why))

    def _say(self, effect: e.Effect) -> Sequence[e.Effect]:
        """Effects on the connection."""
        match effect:
            case e.Send(data):
                self._outgoing.put_nowait(data)
            case e.Close(goodbye):
                self.goodbye = goodbye
                self._outgoing.put_nowait(effect)
            case e.ReadOutbox():
                return self._peer.loaded(self._holding.outbox(*effect), self._clock.now_ms())
            case e.TakeDigest():
                level = self._holding.level()
                sections = tuple(SectionDigest(*one) for one in level.sections)
                return self._peer.digested(
                    level.cursor, sections, level.pending, self._clock.now_ms()
                )
            case e.DigestReceived(digest):
                if self._report.proof is not None:
                    self._report.proof.answered(digest)
        return ()

    def _keep(self, effect: e.Effect) -> Sequence[e.Effect]:
        """Effects on what the device holds, each one transaction."""
        holding, report = self._holding, self._report
        match effect:
            case e.Settled(first_seq, verdicts, decisions):
                said = list(answers(verdicts, decisions))
                holding.settled(first_seq, said)
                self._looked = self._looked and holding.journal.place.stored_ms > 0
                report.counts = report.counts.settled([one.outcome for one in said])
            case e.Apply(segments) if (segments or self._scoped) and report.holds_back:
                self._held = effect
            case e.Apply() if self._scoped and self._tasks is not None:
                self._tasks.create_task(self._pull(effect))
            case e.Apply(segments, through, chain):
                holding.received(segments, through, chain)
                report.counts = report.counts.applied(segments)
                return self._peer.appended(through, self._clock.now_ms())
            case e.Reset(log_id, generation, known_seq):
                known_n = holding.journal.lives[-1].first_n + known_seq - 1
                forgotten = max(holding.journal.answered_n - known_n, 0)
                self._notice(notices.restored(log_id, generation, forgotten))
                holding.start_over(*effect)
                self._take_everything()
            case e.Welcomed(welcome):
                before = holding.level().cursor
                holding.met(welcome.log_id, welcome.generation, welcome.position)
                if holding.level().cursor < before or not holding.journal.place.synced_ms:
                    self._take_everything()
                self._next_epoch, self._scope = welcome.next_epoch, welcome.scope
                self._live(welcome.position)
            case e.ForkFound(next_epoch):
                self._notice(notices.forked(next_epoch))
                holding.fork(next_epoch)
            case e.Offset(offset_ms):
                holding.measured(offset_ms)
            case e.SyncRequested():
                # Whoever asks for our digest compares it, and cannot mend what is here.
                report.proof = report.proof or Proof()
        return ()

    @property
    def _scoped(self) -> bool:
        """Whether this device holds a part of the account, or is on its way from that to all."""
        return self._scope > 0 or self._holding.journal.place.scope > 0

    @property
    def _wants_look(self) -> bool:
        """Whether what is held was not made equal to the scope that WELCOME named: once in a
        connection, as the cursor may stand where it should already."""
        place = self._holding.journal.place
        unlike = self._scope != place.scope or (place.scope > 0 and not place.stored_ms)
        return unlike and not self._looked and not self._report.holds_back

    def _show(self, progress: tuple[Progress, ...]) -> None:
        with self._holding.lock:
            self._report.progress = progress
        self._report.changed()

    async def _pull(self, apply: e.Apply | None) -> None:
        """Documents in scope, up to where the cursor is to be; then the cursor itself."""
        from replica.device.scope import pull  # noqa: PLC0415 - few devices have a scope

        holding, report = self._holding, self._report
        await self._gather()
        try:
            came = await asyncio.to_thread(
                pull,
                holding,
                self.line,
                apply.through if apply else holding.journal.place.cursor,
                self._scope,
                now_ms=self._wall_ms,
                stopping=lambda: report.stopping,
                progress=self._show,
            )
            # A connection that ended may have ended in another life, or another log, of which this
            # is no cursor.
            if apply is not None and self._peer.state is State.LIVE:
                holding.received(*apply)
        except CorruptionError:
            raise
        except ReplicaError as error:
            self._perform(self._peer.failed(error))
            return
        finally:
            self._looking = self._looking and apply is not None
            self._asked_s = time.monotonic()
            if self._report.proof is None and not self._report.stopping:
                self._hurry.clear()
        report.counts = report.counts._replace(received=report.counts.received + came)
        if self._peer.state is State.LIVE:
            done = apply and self._peer.appended(apply.through, self._clock.now_ms())
            self._perform(done or ())

    async def _gather(self) -> None:
        """Where changes come one by one, ask about several at once: every question costs the server
        as much as some changes do. Not for somebody who waits for a proof."""
        rest_s = self._asked_s + SCOPE_GATHER_MS / 1_000 - time.monotonic()
        if rest_s > 0 and not self._hurry.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._hurry.wait()

    def _count(self) -> None:
        """How much of others' work waits: it lies here, or with a scope still at the server."""
        if self._held is None or not self._scoped:
            held_events = 0 if self._held is None else sum(one.count for one in self._held.segments)
            self._report.waiting = held_events + self._peer.received
        elif self._counting is None and self._counted < self._peer.heard and self._tasks:
            self._counted = self._peer.heard
            self._counting = self._tasks.create_task(self._ask_waiting(self._counted))

    async def _ask_waiting(self, through: int) -> None:
        from replica.device.scope import waiting  # noqa: PLC0415 - as below

        try:
            found = await asyncio.to_thread(waiting, self._holding, self.line, through)
        except ReplicaError:
            found = self._report.waiting  # a hint for the user: the next frame asks again
        self._counting = None
        if self._held is not None:
            self._report.waiting = found
            self._count()
            self._report.changed()

    def _live(self, server_position: int) -> None:
        with self._holding.lock:
            report = self._report
            report.mode, report.text, report.failures = Mode.ONLINE, "connected", 0
            report.server_position = server_position
            if report.proof is not None:
                report.proof = Proof()  # what an earlier connection asked is not answered here

    def _take_everything(self) -> None:
        """The device has nothing yet, or the server's log is another: waiting for the user would
        leave him with nothing to look at."""
        if self._report.holds_back:
            self._report.proof = Proof()

    def _prove(self, proof: Proof) -> None:
        found = proof.next(self._holding.level())
        if isinstance(found, Ask):
            self._perform(self._peer.ask_digest(found.position, self._clock.now_ms()))
        elif isinstance(found, Proved):
            if found.equal:
                self._holding.proved(self._wall_ms())
            report = self._report
            with self._holding.lock:
                report.unequal = 0 if found.equal else report.unequal + 1
                if report.unequal == 1:
                    report.unmended = found  # the proof is made again when that is done
                elif report.unequal != PROOFS_UNEQUAL_MAX:  # and so it is after fetching everything
                    report.proof, report.proved = None, found
            if not found.equal:
                self._meet_anew()

    def _meet_anew(self) -> None:
        """Between two connections the documents that differ are mended. Meeting anew also shows
        whether a copy of this device writes elsewhere: the ends of the chains tell. When it is
        neither, everything is fetched again, once: if that does not help either, doing it for ever
        would not (wire-protocol.md §6.2)."""
        if self._report.unequal == PROOFS_UNEQUAL_MAX:
            told = notices.renewed(self._next_epoch)
            self._go_on(self._holding.distrust, "the digests differ; fetching everything", told)
        else:
            self._perform(self._peer.close("closed", "the digests differ; meeting anew"))


async def _rings(bell: asyncio.Event, within_s: float) -> bool:
    try:
        async with asyncio.timeout(within_s):
            await bell.wait()
    except TimeoutError:
        return False
    bell.clear()
    return True
