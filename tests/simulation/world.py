"""The world: phones, servers, wires and time, moved one step at a time in one thread.

Every step of a plan is a method ``do_…`` that takes the step's dice. Everything that happens goes
into the trace, whose hash names the history; what really struck is counted in ``struck``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from hashlib import blake2b, sha256

import msgpack

from replica.crdt.fold import document_key
from replica.device.status import Mode
from replica.errors import ReplicaError
from replica.events.event import Position
from replica.events.kinds import encode_payload
from replica.events.payloads import Payload
from replica.events.record import Origin, Segment
from replica.store.memory import _Account
from replica.sync import effects as e
from replica.sync.table import State
from replica.sync.verdicts import Settlement
from tests.simulation.auditor import Notebook, demand, said_key
from tests.simulation.books import Sink
from tests.simulation.dice import Dice
from tests.simulation.disk import DiskLog, Image, enrolled
from tests.simulation.fuse import PowerCut
from tests.simulation.options import Options, Plan, Step
from tests.simulation.phone import Phone
from tests.simulation.readmodels import ReadModels, SqlViews
from tests.simulation.server import ID, Item, Job, Server, Views, Wire, found_twins
from tests.simulation.workload import Author, Said

START_MS = 1_800_000_000_000
LISTENING = {State.AUTHENTICATING, State.PROBING, State.LIVE}


class World:
    """One seed's history while it happens."""

    def __init__(self, plan: Plan, *, tell: bool = False) -> None:
        options = plan.options
        self.plan = plan
        self.now_ms = START_MS
        self.log = DiskLog()
        self.views = self._read_models(options)
        self.servers = [Server(f"s{n}", self.log, self.views) for n in range(options.servers)]
        self.phones = [self._phone(n) for n in range(options.phones)]
        self.wires: list[Wire] = []
        self.hints: list[tuple[Wire, e.Offer]] = []
        self.partitioned = False
        self.images: dict[str, Image] = {}  # backups of phones
        self.copied: set[bytes] = set()  # devices of which there are, or were, two copies
        self.backup: _Account | None = None
        self.restored = False
        self.lost_chains: set[bytes] = set()  # that a silent restore took back
        self.unequal: Counter[str] = Counter()  # failed proofs in a row, at worst, by phone
        self.notebook = Notebook()
        self.sink = Sink()
        self.peace = False
        self.offsets_ms: dict[bytes, int] = {}  # of devices' clocks, as servers remember them
        self.struck: Counter[str] = Counter()
        self.story: list[str] | None = [] if tell else None
        self._hash = blake2b(digest_size=16)
        self._words = self._sessions = 0
        self._head = (Position(0), bytes(32))

    def _read_models(self, options: Options) -> ReadModels:
        return (SqlViews if options.real else Views)(self.log)

    def _phone(self, number: int) -> Phone:
        device = bytes([number + 1] * 16)
        disk = enrolled(device, real=self.plan.options.real)
        phone = Phone(f"phone {number + 1}", device, lambda: self.now_ms, disk)
        phone.skew_ms = self.plan.options.skews_ms[number]
        phone.be_manual(self.plan.options.manual[number])
        return phone

    # Trace ----------------------------------------------------------------------------------------

    def tell(self, text: str, data: bytes = b"") -> None:
        self._hash.update(text.encode() + data)
        if self.story is not None:
            self.story.append(f"{self.now_ms - START_MS:>9} ms  {text}")

    @property
    def trace(self) -> str:
        return self._hash.hexdigest()

    def strike(self, fault: str, text: str) -> None:
        self.struck[fault] += 1
        self.tell(text)

    # Steps ----------------------------------------------------------------------------------------

    def step(self, step: Step) -> None:
        dice = Dice(step.seed)
        act: Callable[[Dice], None] = getattr(self, f"do_{step.act}")
        act(dice)
        if len(self.wires) > 4:
            self.wires = [wire for wire in self.wires if not wire.over]
        self._watch_log()

    def _watch_log(self) -> None:
        """A log only ever grows at its end, unless somebody restored it (I-4, I-6)."""
        position, chain = self._head
        assert self.log.chain_at(ID, position) == chain, "I-6: the log changed below its head"
        head = self.log.head(ID)
        self._head = (head.position, head.chain)

    def _word(self) -> str:
        self._words += 1
        return f"w{self._words}"

    def do_save(self, dice: Dice) -> None:
        self.save(dice.pick(self.phones), dice)

    def save(self, phone: Phone, dice: Dice) -> None:
        self.say(phone, Author(dice, self._word, phone.holding.document).from_device())

    def say(self, phone: Phone, payload: Payload) -> None:
        kind, _, body = encode_payload(payload)
        self.tell(f"{phone.name} saves {kind} {said_key(kind, body)}", body)
        sure = self._on_phone(phone, lambda: phone.save(payload))
        # Two copies that say the same at the same moment have made one and the same event.
        if not (sure and phone.journal.head.id in self.notebook.made_ms):
            self.notebook.note(kind, body, sure=sure)
        if sure:
            self.notebook.made_ms[phone.journal.head.id] = self.now_ms
            shown = phone.holding.document(document_key(payload))
            assert shown is not None, "I-29: what was saved is not shown"
        self._ring(phone)

    def do_unknown(self, dice: Dice) -> None:
        self._smuggle(dice, Author.unknown, "unknown")

    def do_forbidden(self, dice: Dice) -> None:
        self._smuggle(dice, Author.forbidden, "forbidden")

    def do_broken(self, dice: Dice) -> None:
        """A bad event, and sometimes one that depends on it: both wait, the rest goes on."""
        bad = self._smuggle(dice, Author.broken, "broken")
        if bad is not None and dice.chance(60):
            self._smuggle(dice, Author.unknown, "dependent", deps=(bad[1],), phone=bad[0])

    def _smuggle(
        self,
        dice: Dice,
        make: Callable[[Author], Said],
        fault: str,
        *,
        deps: tuple[bytes, ...] = (),
        phone: Phone | None = None,
    ) -> tuple[Phone, bytes] | None:
        phone = phone or dice.pick(self.phones)
        said = make(Author(dice, self._word, phone.holding.document))._replace(deps=deps)
        self.strike(fault, f"{phone.name} smuggles {said.kind}/{said.version} ({fault})")
        made: list[bytes] = []
        sure = self._on_phone(phone, lambda: made.append(phone.smuggle(said)))
        self.notebook.note(said.kind, said.body, sure=sure, fate=_FATES.get(fault, "log"))
        if made and deps:
            self.notebook.dependants.add(made[0])
        self._ring(phone)
        return (phone, made[0]) if made else None

    def do_office(self, dice: Dice) -> None:
        server = dice.pick(self.servers)
        if not server.up:
            return
        self.views.catch_up()
        payload = Author(dice, self._word, self.views.documents.get).from_office()
        kind, _, body = encode_payload(payload)
        self.tell(f"the office saves {kind} {said_key(kind, body)} on {server.name}", body)
        admitted = server.write("web", Origin.WEB, [payload], self.now_ms + server.skew_ms)
        self.notebook.note(kind, body, sure=True)
        self._announce(admitted.segment)
        if dice.chance(50):
            self.decide(server)

    def decide(self, server: Server) -> bool:
        """A server says what it finds of names that were given twice. Whether there was any."""
        self.views.catch_up()
        found = found_twins(self.views.documents)
        for payload in found:
            kind, _, body = encode_payload(payload)
            self.strike("twins", f"{server.name} decides {kind} {said_key(kind, body)}")
            admitted = server.write("web", Origin.WEB, [payload], self.now_ms + server.skew_ms)
            self.notebook.note(kind, body, sure=True)
            self._announce(admitted.segment)
        return bool(found)

    def do_wait(self, dice: Dice) -> None:
        self._pass_time(dice.pick((10, 600, 20_000, 70_000, 200_000)))

    def _pass_time(self, ms: int) -> None:
        self.now_ms += ms
        self.tell("time passes")
        for wire in list(self.wires):
            if wire.device_open:
                self._device_says(wire, lambda wire=wire: wire.phone.tick(rang=False))  # type: ignore[misc]
            if wire.server_open:
                self._server_says(wire, wire.peer.tick(self._server_ms(wire)))

    def _ring(self, phone: Phone) -> None:
        wire = self.wire_of(phone)
        if wire is not None:
            self._device_says(wire, lambda: phone.tick(rang=True))

    # Connections ----------------------------------------------------------------------------------

    def wire_of(self, phone: Phone) -> Wire | None:
        for wire in reversed(self.wires):
            if wire.phone is phone and wire.device_open:
                return wire
        return None

    def do_connect(self, dice: Dice) -> None:
        self.connect(dice.pick(self.phones), dice)

    def connect(self, phone: Phone, dice: Dice) -> None:
        up = [server for server in self.servers if server.up]
        if self.partitioned or phone.online or not up or phone.report.mode is Mode.REVOKED:
            return
        if not self._ready(phone, dice):
            return
        wire = Wire(phone, dice.pick(up))
        self.tell(f"{phone.name} connects to {wire.server.name}")
        self.wires.append(wire)
        self._server_says(wire, wire.peer.opened(self._server_ms(wire)))
        items: list[Item] = []
        self._on_phone(phone, lambda: items.extend(phone.connect()))
        wire.session = phone.session
        self._send(wire.up, items)

    def _ready(self, phone: Phone, dice: Dice) -> bool:
        """What a phone does before it dials; False when it does not dial now."""
        return True

    def _device_says(self, wire: Wire, act: Callable[[], list[Item]]) -> None:
        items: list[Item] = []
        self._on_phone(wire.phone, lambda: items.extend(act()))
        for item in items:
            if isinstance(item, bytes) and item[1] == 10:
                self._note_push(wire, item)
        self._send(wire.up, items)

    def _server_says(self, wire: Wire, effects: list[e.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, e.Send):
                self._send(wire.down, [effect.data])
            elif isinstance(effect, e.Close):
                self._send(wire.down, [effect])
            elif isinstance(effect, e.Offset):
                self.offsets_ms[wire.phone.device] = effect.offset_ms
            elif not isinstance(effect, e.Confirmed):
                wire.jobs.append(effect)

    def _send(self, way: deque[tuple[int, Item]], items: list[Item]) -> None:
        for item in items:
            data = item if isinstance(item, bytes) else b"close"
            self._hash.update(data)
            # Ways differ, and so do measured clocks; what is sent later never arrives earlier.
            due_ms = self.now_ms + 5 + sum(data[-8:]) % 80
            way.append((max(due_ms, way[-1][0]) if way else due_ms, item))

    def _on_phone(self, phone: Phone, act: Callable[[], object]) -> bool:
        """Let a phone do something; when its fuse burns, it starts again from its disk."""
        try:
            act()
        except PowerCut:
            self.strike("cut_phone", f"{phone.name} loses power inside a commit")
            phone.start_from(phone.image())
            return False
        return True

    def _server_ms(self, wire: Wire) -> int:
        return self.now_ms + wire.server.skew_ms

    def _note_push(self, wire: Wire, data: bytes) -> None:
        _, number, _, events = msgpack.unpackb(data)
        wire.pushes[number] = [sha256(event).digest() for event in events]

    # Moves ----------------------------------------------------------------------------------------

    def do_move(self, dice: Dice) -> None:
        for _ in range(1 + dice.below(24)):
            if not self.move(dice):
                return

    def move(self, dice: Dice) -> bool:
        """One frame arrives, one job is done, one hint is heard, or what a phone has begun goes on.
        False when nothing is left."""
        moves: list[tuple[str, Wire | None]] = []
        for wire in self.wires:
            if wire.up and "up" not in wire.stalled and not self.partitioned:
                moves.append(("up", wire))
            if wire.down and "down" not in wire.stalled and not self.partitioned:
                moves.append(("down", wire))
            if wire.jobs:
                moves.append(("job", wire))
        if self.hints:
            moves.append(("hint", None))
        if self._may_go_on():
            moves.append(("begun", None))
        if not moves:
            return False
        self.now_ms += dice.below(9)
        way, chosen = dice.pick(moves)
        if way == "begun":
            self._go_on(dice)
        elif chosen is None:
            self._hint(dice)
        elif way == "up":
            self._deliver_up(chosen)
        elif way == "down":
            self._deliver_down(chosen)
        else:
            self._job(chosen, chosen.next_job(dice.below(len(chosen.jobs))))
        return True

    def unfinished(self) -> str:
        """What has begun and does not end by itself; nothing in a world like this."""
        return ""

    def _may_go_on(self) -> bool:
        """Whether a session has begun something beside itself."""
        return False

    def _go_on(self, dice: Dice) -> None:
        raise NotImplementedError

    def _deliver_up(self, wire: Wire) -> None:
        due_ms, item = wire.up.popleft()
        self.now_ms = max(self.now_ms, due_ms)
        self.tell(f"{wire.server.name} hears {_frame(item)} of {wire.phone.name}")
        if isinstance(item, e.Close):
            wire.peer.lost()
        elif wire.server_open:
            self._server_says(wire, wire.peer.receive(item, self._server_ms(wire)))

    def _deliver_down(self, wire: Wire) -> None:
        due_ms, item = wire.down.popleft()
        self.now_ms = max(self.now_ms, due_ms)
        if not wire.device_open:
            return
        phone = wire.phone
        self.tell(f"{phone.name} hears {_frame(item)}")
        if isinstance(item, e.Close):
            self._goodbye(phone, item.goodbye.code)
            return
        if item[1] == 11:
            _, number, verdicts, *_ = msgpack.unpackb(item)
            self.notebook.acknowledged(wire.pushes[number], verdicts)
        if item[1] == 31:  # the link reads the code of the goodbye that ended its session
            code = msgpack.unpackb(item)[1]
            self._device_says(wire, lambda: phone.receive(item))
            self._goodbye(phone, code)
            return
        cursor, waits = phone.journal.place.cursor, phone.holds_back
        self._device_says(wire, lambda: phone.receive(item))
        self._watch_held(wire, item, cursor if waits and phone.holds_back else None)

    def _watch_held(self, wire: Wire, item: bytes, cursor: int | None) -> None:
        """What was confirmed is on the disk (I-9); the work of others waits for the wish of a user
        who holds it back (SYN-11)."""
        phone = wire.phone
        if cursor is not None and item[1] == 20 and msgpack.unpackb(item)[3]:
            self.struck["held_back"] += phone.held_back
            demand(phone.journal.place.cursor == cursor, f"SYN-11: {phone.name} did not wait")
        if wire.device_open and wire.peer.state is State.LIVE:
            there = phone.journal.place.cursor
            demand(wire.peer.confirmed <= there, f"I-9: {phone.name} confirmed more than {there}")

    def _goodbye(self, phone: Phone, code: str) -> None:
        phone.hang_up()
        if code == "revoked":
            phone.report.mode = Mode.REVOKED

    def _hint(self, dice: Dice) -> None:
        at = dice.below(min(3, len(self.hints)))
        self.struck["reordered"] += at > 0
        wire, offer = self.hints.pop(at)
        if wire.peer.state in LISTENING:
            self._server_says(wire, wire.peer.offer(offer, self._server_ms(wire)))

    def _job(self, wire: Wire, effect: Job) -> None:
        peer, server = wire.peer, wire.server
        self.tell(f"{server.name} does {type(effect).__name__} for {wire.phone.name}")
        try:
            answer: list[e.Effect] = []
            if isinstance(effect, e.Authenticate):
                if peer.state is State.AUTHENTICATING:
                    standing = self._standing(wire)
                    answer = peer.authenticated(standing, self._server_ms(wire))
            elif isinstance(effect, e.Pushed):
                if append := peer.take():
                    wire.jobs.append(append)
                return
            elif isinstance(effect, e.Append):
                settlement = self._append(wire, effect)
                answer = peer.appended(settlement, self._server_ms(wire))
            elif isinstance(effect, e.Read):
                page = self.log.read(ID, Position(effect.after), effect.limit_bytes)
                answer = peer.loaded(page, self._server_ms(wire))
            elif isinstance(effect, e.TakeDigest):
                position, sections = server.digest(wire)
                answer = peer.digested(position, sections, 0, self._server_ms(wire))
        except ReplicaError as error:
            answer = peer.failed(error)
        self._server_says(wire, answer)

    def _standing(self, wire: Wire) -> e.Standing:
        self._sessions += 1
        hello = wire.peer.hello
        assert hello is not None
        for other in self.wires:
            theirs = other.peer.hello
            same = theirs is not None and (theirs.device, theirs.epoch) == (
                hello.device,
                hello.epoch,
            )
            if other is not wire and same and other.server is wire.server and other.server_open:
                self._server_says(other, other.peer.close("taken_over", "connected elsewhere"))
        return wire.server.standing(wire, self._sessions.to_bytes(8, "big"), wire.phone.revoked)

    def _append(self, wire: Wire, effect: e.Append) -> Settlement:
        admitted = wire.server.admit(wire, effect)
        self._announce(admitted.segment)
        return admitted.settlement

    def _announce(self, segment: Segment | None) -> None:
        if segment is not None:
            offer = e.make_offer([segment])
            self.hints += [(wire, offer) for wire in self.wires if wire.peer.state in LISTENING]


def _frame(item: Item) -> str:
    if isinstance(item, e.Close):
        return "CLOSE"
    return _FRAMES.get(item[1], "?")


_FATES = {"broken": "aside", "dependent": "either", "forbidden": "neither"}
_FRAMES = {
    1: "HELLO",
    2: "WELCOME",
    3: "PROBE_REPLY",
    4: "PROBE",
    10: "PUSH",
    11: "RESULT",
    20: "EVENTS",
    21: "CURSOR",
    31: "GOODBYE",
    40: "DIGEST_REQUEST",
    41: "DIGEST",
    42: "SYNC_REQUEST",
}
