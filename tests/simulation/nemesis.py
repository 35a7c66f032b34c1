"""What goes wrong: one method per fault, and what nobody can be blamed for afterwards."""

from __future__ import annotations

from hashlib import sha256

from replica.events.payloads import DeviceRevoked
from replica.events.record import Origin
from replica.ingest import Fact
from replica.sync import effects as e
from tests.simulation.auditor import Row, demand, kind_and_body, read_log
from tests.simulation.books import SinkCrash
from tests.simulation.dice import Dice
from tests.simulation.fuse import PowerCut
from tests.simulation.options import SKEWS_MS
from tests.simulation.phone import Phone
from tests.simulation.readmodels import SqlViews
from tests.simulation.server import Server, Wire
from tests.simulation.world import World


class Nemesis(World):
    """A world with faults."""

    # Wires ----------------------------------------------------------------------------------------

    def _wire(self, dice: Dice) -> Wire | None:
        return dice.pick(self.wires) if self.wires else None

    def do_drop(self, dice: Dice) -> None:
        wire = self._wire(dice)
        if wire is not None:
            lost = len(wire.up) + len(wire.down)
            self.struck["loss"] += lost > 0
            self.strike("drop", f"the wire of {wire.phone.name} breaks, {lost} frames are lost")
            self.break_wire(wire)

    def break_wire(self, wire: Wire, *, silently: bool = False) -> None:
        """Both ends notice, or, ``silently``, the device does not."""
        if wire.device_open and not silently:
            wire.phone.hang_up()
        wire.peer.lost()
        wire.up.clear()
        wire.down.clear()
        jobs, wire.jobs = wire.jobs, []
        for job in jobs:  # what was given to the disk still happens
            if isinstance(job, e.Append) and wire.server.up:
                self._job(wire, job)

    def do_hang_up(self, dice: Dice) -> None:
        wire = self._wire(dice)
        if wire is not None and wire.device_open:
            self.strike("hang_up", f"{wire.phone.name} leaves, {len(wire.up)} frames on the way")
            wire.phone.hang_up()

    def do_stall(self, dice: Dice) -> None:
        wire = self._wire(dice)
        if wire is not None:
            wire.stalled = dice.pick(({"up"}, {"down"}, {"up", "down"}))
            kind = "one_way" if len(wire.stalled) == 1 else "stall"
            self.strike(kind, f"{wire.phone.name}: {' and '.join(sorted(wire.stalled))} stalls")

    def do_slow(self, dice: Dice) -> None:
        wire = self._wire(dice)
        if wire is not None and not wire.stalled:
            wire.stalled = {"down"}
            self.strike("slow", f"{wire.phone.name} reads nothing while the log grows")
            for _ in range(6):
                self.do_office(dice)
                for _ in range(4):
                    self.move(dice)
            wire.stalled = set()

    def do_partition(self, dice: Dice) -> None:
        self.partitioned = True
        self.strike("partition", "nobody reaches anybody")

    def do_mend(self, dice: Dice) -> None:
        self.partitioned = False
        for wire in self.wires:
            wire.stalled = set()
        self.tell("the network works")

    def do_lose_hint(self, dice: Dice) -> None:
        if self.hints:
            del self.hints[dice.below(len(self.hints))]
            self.strike("lose_hint", "a hint is lost")

    # Processes ------------------------------------------------------------------------------------

    def do_crash_phone(self, dice: Dice) -> None:
        phone = dice.pick(self.phones)
        self.strike("crash_phone", f"{phone.name} crashes and starts again")
        phone.start_from(phone.image())

    def do_cut_phone(self, dice: Dice) -> None:
        dice.pick(self.phones).fuse.left = 1 + dice.below(6)

    def do_crash_server(self, dice: Dice) -> None:
        server = dice.pick(self.servers)
        if not server.up:
            return
        if dice.chance(50):
            self._await_append(server, dice)
        self.strike("crash_server", f"{server.name} crashes")
        self._stop(server, dice)
        if dice.chance(70) or len(self.servers) == 1:
            server.start()

    def _await_append(self, server: Server, dice: Dice) -> None:
        """Go on until something is about to be written: the moment at which a crash matters."""
        for _ in range(30):
            jobs = [job for wire in self.wires if wire.server is server for job in wire.jobs]
            waiting = any(isinstance(job, e.Pushed | e.Append) for job in jobs)
            if waiting or not self.move(dice):
                return

    def _stop(self, server: Server, dice: Dice) -> None:
        """Whatever was given to the disk is written whole, or not at all; nobody is told."""
        for wire in [wire for wire in self.wires if wire.server is server]:
            jobs = [wire.peer.take() if isinstance(job, e.Pushed) else job for job in wire.jobs]
            written = [job for job in jobs if isinstance(job, e.Append) and dice.chance(50)]
            wire.jobs = []
            for job in written:
                self.struck["written_untold"] += 1
                wire.server.admit(wire, job)
            self.break_wire(wire, silently=dice.chance(30))
        server.up = False

    def do_hand_over(self, dice: Dice) -> None:
        """Another server takes over; the old one comes back later as the other."""
        if len(self.servers) < 2:
            return
        leaving, coming = self.servers if dice.chance(50) else self.servers[::-1]
        self.strike("hand_over", f"{leaving.name} hands over to {coming.name}")
        if leaving.up:
            self._stop(leaving, dice)
        coming.start()

    def do_project(self, dice: Dice) -> None:
        self.views.check()
        if isinstance(self.views, SqlViews):
            self.cut_views(self.views, 1 + dice.below(6))
        self.views.catch_up()
        self.tell(f"read models reach {self.views.position}")

    def cut_views(self, views: SqlViews, after: int) -> None:
        """The process dies inside a transaction of the projector; another one goes on."""
        views.cut_in = after
        try:
            views.catch_up()
        except PowerCut:
            self.struck["cut_views"] += 1
        views.cut_in = 0
        views.check()

    def do_lose_views(self, dice: Dice) -> None:
        """The unsynced tail of the read models is gone: they stand as they stood earlier."""
        ends = [0, *(segment.last for _, _, segment in self.log.state.segments)]
        at = min(dice.pick(ends), self.views.position)
        self.strike("lose_views", f"read models fall back to {at}")
        self.views.drop()
        self.views.catch_up(at)

    # Clocks ---------------------------------------------------------------------------------------

    def do_clock_phone(self, dice: Dice) -> None:
        phone = dice.pick(self.phones)
        before_ms, phone.skew_ms = phone.skew_ms, dice.pick(SKEWS_MS)
        kind = "clock_back" if phone.skew_ms < before_ms else "clock_forward"
        self.strike(kind, f"the clock of {phone.name} is set {phone.skew_ms:+} ms off")

    def do_clock_server(self, dice: Dice) -> None:
        server = dice.pick(self.servers)
        server.skew_ms = dice.pick((0, 300, -4_000, 60_000, -3_600_000))
        self.strike("clock_server", f"the clock of {server.name} is set {server.skew_ms:+} ms off")

    # Copies and backups ---------------------------------------------------------------------------

    def do_clone(self, dice: Dice) -> None:
        phone = dice.pick(self.phones)
        if len(self.phones) >= 5 or phone.device in self.copied:
            return  # one copy too many is promised to be found, not that nothing is told twice
        self._copied(phone)
        clone = Phone(f"{phone.name} copy", phone.device, lambda: self.now_ms, phone.image())
        clone.skew_ms, clone.revoked = phone.skew_ms, phone.revoked
        clone.be_manual(phone.manual)
        self.phones.append(clone)
        self.strike("clone", f"{phone.name} is copied whole")

    def do_backup_phone(self, dice: Dice) -> None:
        phone = dice.pick(self.phones)
        self.images[phone.name] = phone.image()
        self.tell(f"{phone.name} is backed up")

    def do_restore_phone(self, dice: Dice) -> None:
        phone = dice.pick(self.phones)
        image = self.images.pop(phone.name, None)
        if image is None or phone.device in self.copied:
            return
        self._copied(phone)
        self.strike("restore_phone", f"{phone.name} is restored from its backup")
        before = outbox(phone)
        phone.start_from(image)
        safe = self._ids_anywhere()
        for identity, (kind, body) in before.items():
            if identity not in safe:
                self.notebook.excuse(kind, body)

    def _ids_anywhere(self) -> set[bytes]:
        """Ids that the log or some phone holds. What a revoked phone holds stays there."""
        held = {row.id for row in read_log(self.log)} | {one.id for _, _, one in self.log.asides}
        for phone in self.phones:
            held |= outbox(phone).keys()
        return held

    def do_backup_server(self, dice: Dice) -> None:
        self.backup = self.log.backup()
        self.tell(f"the log is backed up at {self.backup.position}")

    def do_restore_raised(self, dice: Dice) -> None:
        self._restore_server(dice, raised=True)

    def do_restore_silent(self, dice: Dice) -> None:
        self._restore_server(dice, raised=False)

    def _restore_server(self, dice: Dice, *, raised: bool) -> None:
        if self.backup is None:
            return
        self.images.clear()
        kept, self.backup = self.backup, None
        fault = "restore_raised" if raised else "restore_silent"
        for server in self.servers:
            if server.up:
                self._stop(server, dice)
        gone = read_log(self.log)[kept.position :]
        apart = [one.event for _, _, one in self.log.asides if one.event]
        self.strike(fault, f"the log goes back to {kept.position}, {len(gone)} events are gone")
        if not raised:
            ends = [segment for _, _, segment in self.log.state.segments]
            self.lost_chains |= {one.chain for one in ends if one.last > kept.position}
        self.log.restore(kept, raised=raised)
        self._head = (kept.position, kept.chain)
        self.restored = True
        self._excuse_gone(gone, apart)
        for server in self.servers:
            server.start()

    def _excuse_gone(self, gone: list[Row], apart: list[bytes]) -> None:
        """What no living device holds cannot come back (I-1: one restore with devices alive), be it
        of the log or of what was kept ``apart`` from it."""
        held: set[bytes] = set()
        for phone in self.phones:
            if not phone.revoked:
                held |= outbox(phone).keys()
        held |= self.log.quarantined
        for data in apart:
            if sha256(data).digest() not in held:
                self.notebook.excuse(*kind_and_body(data))
        for row in gone:
            if row.id not in held:
                self.notebook.excuse(row.kind, row.body)
            if row.id not in held or row.device in self.copied:
                self.notebook.acked.discard(row.id)  # it may come back, under another id

    def _copied(self, phone: Phone) -> None:
        """From now on there are, or were, two of it; what a restored log forgot of it may be said
        again under another id."""
        self.copied.add(phone.device)
        if self.restored:
            self.notebook.acked &= {row.id for row in read_log(self.log)}

    def do_revoke(self, dice: Dice) -> None:
        phone = dice.pick(self.phones)
        up = [server for server in self.servers if server.up]
        if len([one for one in self.phones if not one.revoked]) < 3 or not up:
            return
        self.strike("revoke", f"{phone.name} is revoked, online or not")
        for one in self.phones:
            if one.device == phone.device:
                one.revoked = True
        now_ms = self.now_ms + up[0].skew_ms
        payload = DeviceRevoked(phone.device.hex())
        admitted = up[0].write("web", Origin.WEB, [payload], now_ms)
        self.notebook.perhaps["device.revoked device=" + phone.device.hex()] += 1
        self._announce(admitted.segment)
        for wire in self.wires:
            if wire.phone.device == phone.device and wire.server_open:
                self._server_says(wire, wire.peer.close("revoked", "taken out by the office"))

    # The sink -------------------------------------------------------------------------------------

    def do_books(self, dice: Dice) -> None:
        weather = dice.pick(("fair", "fair", "lost before", "lost after", "late"))
        self.sink.books.weather = weather
        self.strike(f"books_{weather.replace(' ', '_')}", f"the sink runs, weather {weather}")
        self.run_sink(dice)

    def do_crash_sink(self, dice: Dice) -> None:
        self.sink.crash_in = 1 + dice.below(8)

    def run_sink(self, dice: Dice) -> bool:
        """One round; a crash leaves the ledger as it stood. False when nothing is left to do."""
        self.views.check()
        self.views.catch_up()
        try:
            self.sink.feed(self.views.documents)
            return self.sink.run(dice, self.now_ms, self._answer)
        except SinkCrash:
            self.strike("crash_sink", "the sink crashes between two arrows")
            return True

    def _answer(self, facts: list[Fact]) -> None:
        server = self.servers[0]
        now_ms = self.now_ms + server.skew_ms
        admitted = server.write_facts("sink:quickbooks", Origin.SINK, facts, now_ms)
        self._announce(admitted.segment)


def outbox(phone: Phone) -> dict[bytes, tuple[str, bytes]]:
    """Everything a phone ever made and did not say again under a new life: id → what it says."""
    found = {}
    rows = [row[:2] for row in phone.journal.rows()]
    for data, state in rows:
        if state != 4:
            found[sha256(data).digest()] = kind_and_body(data)
    demand(len(found) == sum(state != 4 for _, state in rows), "I-2: an outbox holds one twice")
    return found
