"""A world in which some devices hold a part of the account (wire-protocol.md §14).

The office and the reps change who holds what while everything else goes on; documents come by the
product's own questions and answers, of which each may be the last one for now. Whatever a server
says to a device is looked at when it says it.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from unittest.mock import patch

import msgpack

from replica.crdt.digest import document_hash
from replica.device import scope as device_scope
from replica.device.asking import Answer
from replica.device.base import Change
from replica.device.holding import Holding
from replica.device.journal import Place
from replica.errors import ReplicaError
from replica.events.event import DeviceId
from replica.events.kinds import REGISTRY, encode_payload
from replica.events.payloads import CustomerChanged, CustomerFields, Payload
from replica.events.record import Origin
from replica.server.beginning import first_scope
from replica.server.scoped import granted
from replica.sync import effects as e
from tests.simulation.asked import NOT_FOUND, NOTHING, answered, asking
from tests.simulation.auditor import demand, kind_and_body, read_log, said_key
from tests.simulation.desk import OFFICE, Desk, Granted, Tokens, at_once
from tests.simulation.dice import Dice
from tests.simulation.errands import Errands
from tests.simulation.fuse import PowerCut
from tests.simulation.membership import Key, Membership
from tests.simulation.options import Options, Plan
from tests.simulation.phone import Begun, Phone
from tests.simulation.readmodels import ReadModels, SqlViews, database
from tests.simulation.rows import PlacedViews
from tests.simulation.server import ID, Server, Wire
from tests.simulation.workload import CUSTOMERS, PRODUCTS

_RESULT, _EVENTS = 11, 20


class Parts(Errands):
    """A world with faults in which what a device may hold changes."""

    def __init__(self, plan: Plan, *, tell: bool = False) -> None:
        super().__init__(plan, tell=tell)
        self.tokens = Tokens(self)
        self.tokens.heard = self._heard
        self.untold: set[tuple[str, bytes]] = set()  # (server, device) that a grant is news to
        self._scopes_kept: dict[bytes, bytes] = {}  # with the backup of the log
        self._pulling = False
        self._dies_after: int | None = None  # grants, the one in which it dies included
        self._granting: Server | None = None
        self._forced = False
        self._asking: tuple[Phone, int] | None = None  # and how much it had written by then
        for server in self.servers:
            server.opens = lambda one: Desk(self, one)
            server.desk = Desk(self, server)
        for phone, first in zip(self.phones, plan.options.first, strict=False):
            if first:
                self._enrol(phone, Dice(first))

    def _read_models(self, options: Options) -> ReadModels:
        return SqlViews(self.log) if options.real else PlacedViews(self.log)

    @property
    def database(self) -> Any:
        """What the product's scopes ask for documents."""
        return self.views if isinstance(self.views, PlacedViews) else database()

    def scope_of(self, device: bytes) -> dict[str, Any]:
        """What stands beside the token, as plain values; of a device without a scope, all."""
        kept = self.tokens.scopes.get(device)
        bare = {"customers": None, "prospects": None, "products": None, "orders": "team"}
        named: dict[str, Any] = {} if kept is None else msgpack.unpackb(kept)
        return {"device": device.hex(), "without": (), "leaving": {}, "version": 0} | bare | named

    def membership(self, device: bytes) -> Membership:
        """What a device may see now, by the documents as they stand."""
        states = {key: one.encode() for key, one in self.views.documents.items()}
        return Membership(self.scope_of(device), states)

    # Granting -------------------------------------------------------------------------------------

    def _enrol(self, phone: Phone, dice: Dice) -> None:
        """A first scope, with the token and before its event (CFG-05)."""
        wish = json.dumps(_wish(dice, office=False)).encode()
        scope = first_scope(DeviceId(phone.device), [wish], self.now_ms)
        self.tokens.scopes[phone.device] = REGISTRY.say(scope).body
        self.strike("scope_first", f"{phone.name} begins with a part of the account: {wish!r}")
        if dice.chance(85):
            self.say_granted(self.servers[0], [scope])

    def say_granted(self, server: Server, payloads: Sequence[Payload]) -> None:
        """The event behind a grant; its server may die before it is written."""
        if self._dies_after is not None:
            self._dies_after -= 1
            if not self._dies_after:
                raise PowerCut
        for payload in payloads:
            kind, _, body = encode_payload(payload)
            self.tell(f"{server.name} grants {said_key(kind, body)}", body)
            admitted = server.write("web", Origin.WEB, [payload], self.now_ms + server.skew_ms)
            self.notebook.note(kind, body, sure=True)
            self._announce(admitted.segment)

    def _heard(self, change: Granted) -> None:
        """A scope stands beside a token. Servers that do not know will hear of it."""
        self.untold |= {(one.name, change.device) for one in self.servers}
        self.untold.discard((self._granting.name if self._granting else "", change.device))
        before = {} if change.before is None else msgpack.unpackb(change.before).get("leaving", {})
        now = self.scope_of(change.device)
        if gone := (before.keys() - now["leaving"].keys()) & set(now["without"]):
            self.strike("handed_over", f"{sorted(gone)} leave phone {change.device[0]}")
            if not self._forced:
                self._check_nothing_waits(change.device)

    def _office(self, dice: Dice, method: str, path: str, body: dict[str, Any]) -> bool:
        """The office asks for something, at a server that may die of it. Whether it was done."""
        up = [server for server in self.servers if server.up]
        if not up:
            return False
        server = dice.pick(up)
        self._dies_after = 1 + dice.below(2) if not self.peace and dice.chance(12) else None
        try:
            answer = self._at(server, method, path, json.dumps(body).encode(), OFFICE)
        except PowerCut:
            self.strike("scope_cut", f"{server.name} dies between a grant and its event")
            self._stop(server, dice)
            server.start()
            return False
        finally:
            self._dies_after = None
        demand(answer.status_code == 200, f"CFG-01: {path} was answered {answer.status_code}")
        return True

    def _at(self, server: Server, method: str, path: str, body: bytes | None, token: str) -> Any:
        assert server.desk is not None
        before, self._granting = self._granting, server
        try:
            return server.desk.ask(method, path, body, token)
        finally:
            self._granting = before

    def do_scope(self, dice: Dice) -> None:
        """Somebody has a device hold something else: its user, or the office."""
        self.change_scope(dice.pick(self.phones), dice)

    def change_scope(self, phone: Phone, dice: Dice) -> None:
        office = dice.chance(60)
        wish = {} if dice.chance(12) else _wish(dice, office=office)
        wish = wish or {"customers": "all", "prospects": "all", "products": "all", "orders": "team"}
        up = any(server.up for server in self.servers)
        if phone.revoked or not up or (self.partitioned and not office):
            return
        self.views.catch_up()
        before = self.membership(phone.device).seen()
        who = "the office" if office else "its user"
        self.tell(f"{who} has {phone.name} hold {sorted(wish.items())}")
        if office:
            self._office(dice, "PUT", f"scope?device={phone.device.hex()}", wish)
        else:
            self._user_asks(phone, dice, wish)
        after = self.membership(phone.device).seen()
        self.struck["scope_wider"] += bool(after - before)
        self.struck["scope_narrower"] += bool(before - after)

    def _user_asks(self, phone: Phone, dice: Dice, wish: dict[str, Any]) -> None:
        locked = self.scope_of(phone.device).get("locked", False)
        with asking(lambda path, body: self._answered(phone, dice, path, body)):
            try:
                device_scope.ask(phone.holding.identity, "scope", wish)
            except ReplicaError as error:
                self.strike("scope_kept", f"and may not: {error}")
                demand(locked, f"CFG-01: a scope was not granted: {error}")
                return
        demand(not locked, "CFG-01: the office keeps a scope, and its user changed it")

    def do_hand_to(self, dice: Dice) -> None:
        """Customers go from one rep's device to another's."""
        devices = sorted({phone.device for phone in self.phones if not phone.revoked})
        if len(devices) < 2:
            return
        giver = dice.pick(devices)
        taker = dice.pick([device for device in devices if device != giver])
        names = sorted({dice.pick(CUSTOMERS) for _ in range(2)})
        force = dice.chance(20)
        body = {"customers": names, "giver": giver.hex(), "taker": taker.hex(), "force": force}
        self.tell(f"{names} go from phone {giver[0]} to phone {taker[0]}{' now' * force}")
        waits = any(one.journal.pending_count for one in self.phones if one.device == giver)
        already = set(self.scope_of(giver)["without"])
        self._forced = force
        done = self._office(dice, "POST", "scope/handover", body)
        self._forced = False
        if done:
            self.struck["hand_to"] += 1
            self.struck["hand_forced"] += force
            self.struck["hand_waits"] += waits and not force
            given, taken = self.scope_of(giver), self.scope_of(taker)
            left = set(names) - already - {*given["without"], *given["leaving"]}
            demand(not left, f"B10: {left} did not leave phone {giver[0]}")
            demand(not set(names) & set(taken["without"]), "B10: a taker does not serve")

    def _poll(self) -> None:
        """Servers hear of what others granted."""
        for name, device in sorted(self.untold):
            server = next(one for one in self.servers if one.name == name)
            if server.up and server.desk is not None:
                server.desk.scopes.told(ID, granted(self.tokens.of(device)))
        self.untold.clear()

    def _pass_time(self, ms: int) -> None:
        if ms > 1_000:
            self._poll()
        super()._pass_time(ms)

    # Backups --------------------------------------------------------------------------------------

    def do_backup_server(self, dice: Dice) -> None:
        super().do_backup_server(dice)
        self._scopes_kept = dict(self.tokens.scopes)

    def _restore_server(self, dice: Dice, *, raised: bool) -> None:
        if self.backup is not None:
            self.tokens.scopes = dict(self._scopes_kept)
            self.untold.clear()
        super()._restore_server(dice, raised=raised)

    # What phones begin ----------------------------------------------------------------------------

    def _may_go_on(self) -> bool:
        return not self._pulling and any(phone.begun for phone in self.phones)

    def _go_on(self, dice: Dice) -> None:
        phone = dice.pick([phone for phone in self.phones if phone.begun])
        begun = phone.begun.pop(0)
        if phone.session is not begun.session and dice.chance(15):
            begun.work.close()
            return
        if not self.peace and dice.chance(8):
            phone.fuse.left = 1 + dice.below(5)
        before = self.struck["cut_phone"]
        self.go_on(phone, begun, dice)
        self.struck["pull_cut"] += self.struck["cut_phone"] > before

    def go_on(self, phone: Phone, begun: Begun, dice: Dice) -> None:
        """One piece of work of a session, to its end or to the end of the session."""
        self.tell(f"{phone.name} asks for documents of its part")
        held = Holding.store

        def store(holding: Holding, change: Change, place: Place, *also: Any) -> None:
            held(holding, change, place, *also)
            self._watch_store(holding, change)

        def look() -> None:
            """A session that ended may have left its thread alone; before a new one, it has."""
            ended = phone.session is not begun.session
            if ended and (phone.session is not None or dice.chance(15)):
                raise asyncio.CancelledError

        async def to_thread(function: Any, *args: Any, **named: Any) -> Any:
            try:
                found = function(*args, **named)
            except ReplicaError:
                look()
                raise
            look()
            return found

        def act() -> None:
            try:
                at_once(begun.work)
            except asyncio.CancelledError:
                self.tell("whose answer nobody waits for")

        wire = self.wire_of(phone)
        self._pulling = True
        try:
            with (
                asking(lambda path, body: self._ask(phone, dice, path, body)),
                patch.object(Holding, "store", store),
                patch.object(asyncio, "to_thread", to_thread),
            ):
                self._on_phone(phone, act)
        finally:
            self._pulling = False
        if wire is not None and wire.session is phone.session is begun.session:
            self._device_says(wire, phone._said)

    # Questions ------------------------------------------------------------------------------------

    def _ask(self, phone: Phone, dice: Dice, path: str, body: bytes | None) -> Answer:
        holding, before = phone.holding, self._asking
        self._asking = phone, phone.journal.last_n
        try:
            answer = super()._ask(phone, dice, path, body)
        except ConnectionResetError:
            self.struck["pull_broken"] += self._pulling
            if phone.holding is not holding:
                raise PowerCut from None
            raise
        finally:
            self._asking = before
        if phone.holding is not holding:  # it started again while it waited
            raise PowerCut
        return answer

    def _answered(self, phone: Phone, dice: Dice, path: str, body: bytes | None) -> Answer:
        bounded = self.tokens.bounded(phone.device)
        if bounded and path.startswith("snapshot"):
            return answered(None, status=NOTHING)
        if bounded and path.startswith("chunks/"):
            return answered(None, status=NOT_FOUND)
        if not bounded and not path.startswith("scope"):
            return super()._answered(phone, dice, path, body)
        server = dice.pick([server for server in self.servers if server.up])
        method = "GET" if body is None else "POST"
        token = phone.holding.identity.token
        response = self._at(server, method, path, body, token)
        if response.status_code != 200:
            return answered(None, status=response.status_code)
        self._check_answer(phone, path, bytes(response.body))
        return answered(bytes(response.body), dict(response.headers))

    def _meanwhile(self, phone: Phone, dice: Dice) -> None:
        """Between two questions about a part: everything that may happen anywhere else."""
        if not self._pulling:
            super()._meanwhile(phone, dice)
            return
        what = dice.below(36)
        if what < 8:
            self.save(phone, dice)
        elif what < 12:
            self._save_what_leaves(phone, dice)
        elif what < 16:
            self.do_office(dice)
        elif what < 21:
            for _ in range(1 + dice.below(8)):
                self.move(dice)
        elif what < 26:
            self.struck["pull_moved"] += 1
            self.change_scope(phone, dice)
        elif what < 27:
            self.do_hand_to(dice)
        elif what < 28:
            self.connect(phone, dice)
        elif what < 31:
            self.do_drop(dice)
        else:
            if self.backup is None:
                self.do_backup_server(dice)
                self.do_office(dice)
            self.struck["pull_restored"] += 1
            self._restore_server(dice, raised=dice.chance(50))

    def _save_what_leaves(self, phone: Phone, dice: Dice) -> None:
        """A user writes about a customer who is about to leave him."""
        sees = self.membership(phone.device)
        held = [name for name in CUSTOMERS if phone.journal.document("customer", name)]
        leaving = [name for name in held if not sees.sees("customer", name)]
        if leaving:
            fields = CustomerFields(phone=self._word())
            self.say(phone, CustomerChanged(dice.pick(leaving), fields))

    def do_lose_answer(self, dice: Dice) -> None:
        """Work comes in, and its author does not hear so before he meets the server again."""
        phone = dice.pick(self.phones)
        wire = self.wire_of(phone)
        if wire is None:
            return
        self.save(phone, dice)
        for _ in range(30):
            if any(isinstance(item, bytes) and item[1] == _RESULT for _, item in wire.down):
                self.strike("answer_lost", f"{phone.name} loses its answer")
                self.break_wire(wire)
                self.connect(phone, dice)
                return
            if not self.move(dice):
                return

    # What is looked at ----------------------------------------------------------------------------

    def _server_says(self, wire: Wire, effects: list[e.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, e.Send) and effect.data[1] == _EVENTS:
                self._check_events(wire, effect.data)
        super()._server_says(wire, effects)

    def _check_events(self, wire: Wire, data: bytes) -> None:
        """The log is not for a device with a scope, but for what it said itself."""
        device = wire.phone.device
        if (wire.server.name, device) in self.untold or not self.tokens.bounded(device):
            return
        others = [segment for segment in msgpack.unpackb(data)[3] if segment[3] != device]
        demand(not others, f"CFG-01: {wire.phone.name} is sent the log")

    def _check_answer(self, phone: Phone, path: str, data: bytes) -> None:
        """Nothing that this device may not see, and no page that says so of too few."""
        sees = self.membership(phone.device)
        asked = path.partition("?")[0]
        if asked == "scope/changes":
            _, version, _, position, through, documents, sections, *ahead = msgpack.unpackb(
                zlib.decompress(data)
            )
            demand(version == self.scope_of(phone.device)["version"], "CFG-01: another's scope")
            self._check_seen(phone, sees, [(kind, identity) for kind, identity, _ in documents])
            if through == position and not any(ahead):
                told = {name: count for name, count, _ in sections if name != "sold"}
                meant = dict(sees.counts())
                demand(told == meant, f"CFG-01: the part of {phone.name} is {told}, not {meant}")
            self.struck["pull"] += 1
        elif asked == "documents":
            found = msgpack.unpackb(data)
            self._check_seen(phone, sees, [(kind, identity) for kind, identity, _ in found])
        elif asked == "reconcile/documents":
            for key in self.views.documents.keys() - sees.seen():
                named = document_hash(key, self.views.documents[key].encode())
                demand(named not in data, f"CFG-01: {phone.name} is told of {key}")

    def _check_seen(self, phone: Phone, sees: Membership, keys: list[Key]) -> None:
        hidden = [key for key in keys if not sees.sees(*key)]
        demand(not hidden, f"CFG-01: {phone.name} is sent {hidden}, which it may not see")

    def _watch_store(self, holding: Holding, change: Change) -> None:
        """What leaves a phone is nothing that its unsent work is about (B10)."""
        if not change.gone:
            return
        self.struck["left"] += 1
        pending = {about_of(*kind_and_body(row.data)) for row in holding.journal.pending()}
        torn = pending & set(change.gone)
        demand(not torn, f"B10: {torn} left before the work about them was sent")

    def _check_nothing_waits(self, device: bytes) -> None:
        """Customers leave a device that said it has nothing to send; all that it had made by then
        is in the log, or was answered that it is not to be."""
        assert self._asking is not None, "B10: customers left a device that was not asked"
        phone, made = self._asking
        rows = phone.journal.rows()[:made]
        demand(phone.device == device, "B10: another device was asked")
        demand(all(state is not None for _, state, *_ in rows), "B10: unsent work was left behind")
        if not (self.restored or device in self.copied):
            there = {row.id for row in read_log(self.log)}
            taken = {sha256(data).digest() for data, state, *_ in rows if state == 1}
            demand(taken <= there, "B10: work of a customer that left is not in the log")

    def unfinished(self) -> str:
        """Customers that still wait to leave a device that is in use."""
        devices = sorted({phone.device for phone in self.phones if not phone.revoked})
        waiting = {f"phone {one[0]}": sorted(self.scope_of(one)["leaving"]) for one in devices}
        return ", ".join(f"{names} of {who}" for who, names in waiting.items() if names)


def about_of(kind: str, body: bytes) -> Key:
    """The document that an event is about, by the names of its kind."""
    said, name = msgpack.unpackb(body), kind.partition(".")[0]
    if name == "note":
        return "note", f"{said['about_type']}:{said['about']}"
    if name == "stock":
        return "stock", said["product"]
    return name, said.get(name, "")


def _wish(dice: Dice, *, office: bool) -> dict[str, Any]:
    """What somebody wants a device to hold; what it does not name stays."""

    def some(of: Sequence[str]) -> Any:
        return dice.pick(("all", [], [dice.pick(of)], sorted({dice.pick(of), dice.pick(of)})))

    wish: dict[str, Any] = {}
    if dice.chance(70):
        wish["customers"] = some(CUSTOMERS)
    if dice.chance(60):
        wish["prospects"] = some(CUSTOMERS)
    if dice.chance(50):
        wish["products"] = some(PRODUCTS)
    if dice.chance(30):
        wish["orders"] = dice.pick(("own", "team"))
    if office and dice.chance(20):
        wish["without"] = [dice.pick(CUSTOMERS)] if dice.chance(60) else []
    if office and dice.chance(30):
        wish["locked"] = dice.chance(70)
    return wish
