"""A server, its devices and the links between them, all in memory and moved one step at a time.

The edges here do what real edges do and no more: they perform effects in order. What a test varies
is when: every frame, every effect and every hint waits until somebody lets it go, and a link may
break in between. Nothing here shares code with the machines under test except the frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from hashlib import sha256
from typing import NamedTuple

from replica.errors import ReplicaError
from replica.events.clock import Stamp, tick
from replica.events.event import (
    GENESIS,
    AccountId,
    DeviceId,
    Event,
    Position,
    decode_event,
    device_node,
    encode_event,
)
from replica.events.ports import DeviceHead, LogHead
from replica.events.record import Origin, Segment, raw_records
from replica.ingest import Admitted, Context, admit, through
from replica.store.memory import MemoryLog
from replica.sync import effects as e
from replica.sync.device_peer import DevicePeer
from replica.sync.heads import head_in, next_epoch
from replica.sync.messages import Digest, Goodbye, Outcome, SectionDigest
from replica.sync.server_peer import ServerPeer
from replica.sync.table import State
from replica.sync.verdicts import answers

ACCOUNT = bytes(range(16))
START_MS = 1_700_000_000_000
Held = dict[bytes, tuple[bytes, int]]
"""Event id → (merge stamp, flags): what a replica folds, as a set."""


def device_id(number: int) -> bytes:
    return bytes([number] * 16)


def digest_of(held: Held) -> tuple[SectionDigest, ...]:
    whole = sha256()
    for identity in sorted(held):
        stamp, flags = held[identity]
        whole.update(identity + stamp + bytes([flags]))
    return (SectionDigest("all", len(held), whole.digest()),)


class RestoredLog(MemoryLog):
    """A log that was brought back from a backup, with or without telling so."""

    generation = 1

    def head(self, account: AccountId) -> LogHead:
        return super().head(account)._replace(generation=self.generation)


class Journal:
    """A device's durable state: own events per life, their outcomes, the base and the cursor."""

    def __init__(self, device: bytes, skew_ms: int = 0) -> None:
        self.device = device
        self.skew_ms = skew_ms
        self.epoch = 1
        self.own: list[bytes] = []  # events of this epoch
        self.stamp = Stamp(bytes(16))
        self.answered_seq = 0
        self.answered_through = 0
        self.outcomes: dict[bytes, Outcome] = {}
        self.positions: dict[bytes, int] = {}
        self.log_id = b""
        self.generation = 0
        self.cursor = 0
        self.chain = b""
        self.base: Held = {}

    def place(self) -> e.Place:
        return e.Place(
            token="token",
            account=ACCOUNT,
            device=self.device,
            epoch=self.epoch,
            head_seq=len(self.own),
            answered_seq=self.answered_seq,
            log_id=self.log_id,
            generation=self.generation,
            cursor=self.cursor,
            chain=self.chain,
            answered_through=self.answered_through,
            software="test",
        )

    def write(self, now_ms: int, text: bytes, *, kind: str = "test.said") -> bytes:
        """One more own event; ``text`` is its payload."""
        self.stamp = tick(self.stamp, now_ms + self.skew_ms, device_node(self.device))
        prev = sha256(self.own[-1]).digest() if self.own else GENESIS
        seq = len(self.own) + 1
        event = Event(1, ACCOUNT, self.device, self.epoch, seq, prev, self.stamp, kind, 1, (), text)
        self.own.append(encode_event(event))
        return self.own[-1]

    def spoil(self, data: bytes) -> None:
        """One more own entry that is no event at all."""
        self.own.append(data)

    def page(self, after: int, limit_events: int) -> e.OutboxPage:
        prev = GENESIS if after == 0 else sha256(self.own[after - 1]).digest()
        return e.OutboxPage(prev, tuple(self.own[after : after + limit_events]))

    def settle(self, effect: e.Settled) -> None:
        seq = effect.first_seq
        for answer in answers(effect.verdicts, effect.decisions):
            data = self.own[seq - 1]
            identity = sha256(data).digest()
            self.outcomes[identity] = answer.outcome
            if answer.position:
                raw = decode_event(data).stamp
                self.base[identity] = (answer.stamp or raw, answer.flags)
                self.positions[identity] = answer.position
                self.answered_through = max(self.answered_through, answer.position)
            self.answered_seq = max(self.answered_seq, seq)
            seq += 1

    def apply(self, effect: e.Apply) -> None:
        self.base.update(held_in(effect.segments))
        self.cursor, self.chain = effect.through, effect.chain

    def reset(self, effect: e.Reset) -> None:
        self.base = {}
        self.cursor, self.chain, self.answered_through = 0, b"", 0
        self.answered_seq = min(self.answered_seq, effect.device_seq)

    def fork(self, effect: e.ForkFound, now_ms: int) -> None:
        unanswered = self.own[self.answered_seq :]
        self.epoch, self.own, self.answered_seq = effect.next_epoch, [], 0
        self.cursor, self.chain = 0, b""
        for data in unanswered:
            try:
                event = decode_event(data)
                self.write(now_ms, event.payload, kind=event.kind)
            except ReplicaError:
                self.spoil(data)


def held_in(segments: Sequence[Segment]) -> Held:
    held: Held = {}
    for segment in segments:
        for data, stamp, flags in raw_records(segment):
            held[sha256(data).digest()] = (stamp or decode_event(data).stamp, flags)
    return held


class Link(NamedTuple):
    """One connection: both machines, the frames on the way, and effects waiting to be performed."""

    journal: Journal
    device: DevicePeer
    server: ServerPeer
    up: deque[bytes]
    down: deque[bytes]
    device_jobs: deque[e.Effect]
    server_jobs: deque[e.Effect]
    goodbyes: list[Goodbye]

    @property
    def open(self) -> bool:
        return State.CLOSED not in {self.device.state, self.server.state}


class World:
    """One account's server and everybody connected to it."""

    def __init__(self, *, log: MemoryLog | None = None) -> None:
        self.log = log or RestoredLog(mint=lambda: b"L" * 16)
        self.now_ms = START_MS
        self.links: list[Link] = []
        self.seen: list[e.Effect] = []
        self.quarantined: set[bytes] = set()
        self.hints: deque[tuple[Link, e.Offer]] = deque()
        self._sessions = 0

    # Connections

    def connect(self, journal: Journal) -> Link:
        for old in self.links:  # a device finishes with one connection before the next
            if old.journal is journal:
                old.device.lost()
                while old.device_jobs:
                    self.device_job(old)
        link = Link(
            journal,
            DevicePeer(journal.place()),
            ServerPeer(),
            deque(),
            deque(),
            deque(),
            deque(),
            [],
        )
        self.links.append(link)
        self.server_does(link, link.server.opened(self.now_ms))
        self.device_does(link, link.device.opened(self.device_ms(link)))
        return link

    def drop(self, link: Link) -> None:
        """The socket breaks: frames on the way are lost; appends already asked for still happen."""
        link.device.lost()
        link.server.lost()
        link.up.clear()
        link.down.clear()
        link.device_jobs.clear()
        self.links.remove(link)
        while link.server_jobs:
            self.server_job(link)

    def device_ms(self, link: Link) -> int:
        return self.now_ms + link.journal.skew_ms

    # Effects

    def server_does(self, link: Link, effects: list[e.Effect]) -> None:
        self._does(link, effects, link.down, link.server_jobs)

    def device_does(self, link: Link, effects: list[e.Effect]) -> None:
        self._does(link, effects, link.up, link.device_jobs)

    def _does(
        self, link: Link, effects: list[e.Effect], wire: deque[bytes], jobs: deque[e.Effect]
    ) -> None:
        self.seen.extend(effects)
        for effect in effects:
            if isinstance(effect, e.Send):
                wire.append(effect.data)
            elif isinstance(effect, e.Close):
                link.goodbyes.append(effect.goodbye)
            else:
                jobs.append(effect)

    def server_job(self, link: Link) -> None:
        effect, peer = link.server_jobs.popleft(), link.server
        if isinstance(effect, e.Authenticate):
            hello = effect.hello
            self._take_over(link, (hello.device, hello.epoch))
            account, device = AccountId(hello.account), DeviceId(hello.device)
            standing = e.Standing(
                device_heads=self.log.device_heads(account, device),
                head=self.log.head(account),
                chain_at_cursor=self.log.chain_at(account, Position(hello.cursor)),
                session=self._session(),
            )
            self.server_does(link, peer.authenticated(standing, self.now_ms))
        elif isinstance(effect, e.Pushed):
            if append := peer.take():
                admitted = self.admit(link.journal.device, peer, append)
                self.server_does(link, peer.appended(admitted.settlement, self.now_ms))
        elif isinstance(effect, e.Read):
            page = self.log.read(AccountId(ACCOUNT), Position(effect.after), effect.limit_bytes)
            self.server_does(link, peer.loaded(page, self.now_ms))
        elif isinstance(effect, e.TakeDigest):
            held = held_in(self.segments(effect.position or None))
            position = effect.position or self.position
            self.server_does(link, peer.digested(position, digest_of(held), 0, self.now_ms))

    def _take_over(self, newcomer: Link, writer: tuple[bytes, int]) -> None:
        """One connection per device and epoch: the newest."""
        for link in self.links:
            hello = link.server.hello
            if link is not newcomer and hello and (hello.device, hello.epoch) == writer:
                self.server_does(link, link.server.close("taken_over", "connected elsewhere"))

    def admit(self, device: bytes, peer: ServerPeer, effect: e.Append) -> Admitted:
        assert peer.hello is not None
        account, epoch = AccountId(ACCOUNT), peer.hello.epoch
        heads = self.log.device_heads(account, DeviceId(device))
        context = Context(
            account,
            DeviceId(device),
            epoch,
            Origin.DEVICE,
            next_epoch(heads, epoch),
            effect.offset_ms,
            effect.received_ms,
            self.quarantined,
        )
        head: DeviceHead = head_in(heads, epoch)
        admitted = through(self.log, admit(context, head, effect.first_seq, effect.events))
        self.quarantined |= {aside.id for aside in admitted.asides if aside.event}
        if admitted.segment is not None:
            offer = e.make_offer([admitted.segment])
            listening = {State.AUTHENTICATING, State.PROBING, State.LIVE}
            self.hints.extend((o, offer) for o in self.links if o.server.state in listening)
        return admitted

    def device_job(self, link: Link) -> None:
        effect, peer, journal = link.device_jobs.popleft(), link.device, link.journal
        now_ms = self.device_ms(link)
        if isinstance(effect, e.ReadOutbox):
            page = journal.page(effect.after_seq, effect.limit_events)
            self.device_does(link, peer.loaded(page, now_ms))
        elif isinstance(effect, e.Apply):
            journal.apply(effect)
            self.device_does(link, peer.appended(effect.through, now_ms))
        elif isinstance(effect, e.Settled):
            journal.settle(effect)
        elif isinstance(effect, e.Reset):
            journal.reset(effect)
        elif isinstance(effect, e.Welcomed):
            journal.log_id = effect.welcome.log_id
            journal.generation = effect.welcome.generation
        elif isinstance(effect, e.ForkFound):
            journal.fork(effect, self.now_ms)
        elif isinstance(effect, e.TakeDigest):
            pending = len(journal.own) - journal.answered_seq
            sections = digest_of(journal.base)
            self.device_does(link, peer.digested(journal.cursor, sections, pending, now_ms))

    def _session(self) -> bytes:
        self._sessions += 1
        return self._sessions.to_bytes(8, "big")

    # Steps

    def moves(self, link: Link) -> list[Callable[[], None]]:
        """What could happen next on a link."""
        moves: list[Callable[[], None]] = []
        if link.up:
            moves.append(lambda: self.deliver_up(link))
        if link.down:
            moves.append(lambda: self.deliver_down(link))
        if link.server_jobs:
            moves.append(lambda: self.server_job(link))
        if link.device_jobs:
            moves.append(lambda: self.device_job(link))
        return moves

    def deliver_up(self, link: Link) -> None:
        self.server_does(link, link.server.receive(link.up.popleft(), self.now_ms))

    def deliver_down(self, link: Link) -> None:
        frame = link.down.popleft()
        self.device_does(link, link.device.receive(frame, self.device_ms(link)))

    def hint(self) -> None:
        link, offer = self.hints.popleft()
        self.server_does(link, link.server.offer(offer, self.now_ms))

    def settle(self, *, most: int = 20_000) -> None:
        """Let everything happen until nothing is left to happen."""
        for _ in range(most):
            moves = [move for link in self.links for move in self.moves(link)]
            if self.hints:
                moves.append(self.hint)
            if not moves:
                return
            moves[0]()
        raise AssertionError("the world does not come to rest")

    def exchange(self, *journals: Journal) -> list[Link]:
        """Connect, let everything happen, until every device stays connected."""
        links: list[Link] = []
        for _ in range(8):
            self.links = [link for link in self.links if link.open]
            at_home = [link.journal for link in self.links]
            for journal in journals:
                if not any(journal is other for other in at_home):
                    self.connect(journal)
            self.settle()
            links = [link for link in self.links if link.open]
            if len(links) >= len(journals):
                break
        return links

    # What a test asks

    @property
    def position(self) -> int:
        return self.log.head(AccountId(ACCOUNT)).position

    def segments(self, through: int | None = None) -> list[Segment]:
        found: list[Segment] = []
        after = 0
        while page := self.log.read(AccountId(ACCOUNT), Position(after), 1 << 20):
            found.extend(page)
            after = page[-1].last
        return [segment for segment in found if through is None or segment.last <= through]

    @property
    def held(self) -> Held:
        return held_in(self.segments())

    def payloads(self) -> list[bytes]:
        return [
            decode_event(data).payload
            for segment in self.segments()
            for data, _, _ in raw_records(segment)
        ]

    def backup(self) -> MemoryLog:
        """A copy of the log as it is now; ``restored`` makes a world that goes on from it."""
        copy = RestoredLog(mint=lambda: b"L" * 16)
        copy._accounts = deepcopy(self.log._accounts)
        return copy


def effects_of(world: World, kind: type[e.Effect]) -> list[e.Effect]:
    return [effect for effect in world.seen if isinstance(effect, kind)]


__all__ = [
    "ACCOUNT",
    "START_MS",
    "Digest",
    "Journal",
    "Link",
    "RestoredLog",
    "World",
    "device_id",
    "digest_of",
    "effects_of",
    "held_in",
]
