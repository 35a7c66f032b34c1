"""What goes other ways than the wire: files carried by hand, documents in bulk, a user's wish.

The acts are the product's, over the disk and the network of the world: any of them may be broken
off, come late, come twice, or come to the wrong one.
"""

from __future__ import annotations

from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from replica.device import carrying
from replica.device.asking import Answer
from replica.device.chunks import resume
from replica.device.fetch import fetch
from replica.device.mend import mend
from replica.device.session import Report
from replica.errors import Forbidden, MisuseError, ReplicaError, Revoked
from replica.events.event import AccountId, DeviceId
from replica.ingest import Context, admit, through
from replica.limits import CHUNK_FAILURES_MAX
from replica.server.auth import Principal
from replica.server.carry import CarryRoutes
from replica.server.door import Author
from replica.store.access import Device
from replica.sync import carry
from replica.sync import effects as e
from replica.sync.heads import next_epoch
from replica.sync.verdicts import Settlement
from tests.simulation.asked import Answers, asking
from tests.simulation.auditor import demand
from tests.simulation.desk import at_once, in_place
from tests.simulation.dice import Dice
from tests.simulation.disk import ACCOUNT
from tests.simulation.fuse import PowerCut
from tests.simulation.nemesis import Nemesis
from tests.simulation.options import Plan
from tests.simulation.phone import Phone
from tests.simulation.server import ID, Server

_OFFICE = Principal(ID, "account", "office", None, None, "")
_LINE_BREAKS, _WORLD_GOES_ON = 12, 40  # percent of the questions


class Carried(NamedTuple):
    """A file on its way: work, or the receipt for it."""

    device: bytes
    data: bytes


class Errands(Nemesis):
    """A world with faults in which not everything goes over the wire."""

    def __init__(self, plan: Plan, *, tell: bool = False) -> None:
        super().__init__(plan, tell=tell)
        self.files: list[Carried] = []
        self.receipts: list[Carried] = []
        self.carried: set[bytes] = set()  # devices whose work came in by hand
        self.damaged: set[bytes] = set()  # devices that lost what only mending brings back
        self.taken_in: set[bytes] = set()  # sums of files that the log as it is has taken in whole
        self._answers = Answers(self.log, self.views)

    # By hand --------------------------------------------------------------------------------------

    def do_export(self, dice: Dice) -> None:
        phone, written = dice.pick(self.phones), list[bytes]()
        everything = dice.chance(40)
        with patch.object(carrying, "_write", lambda _, data: written.append(data)):
            try:
                carrying.export(
                    phone.holding,
                    Path("work"),
                    everything=everything,
                    now_ms=phone.wall_ms(),
                    software="sim",
                )
            except MisuseError:
                return  # nothing waits
        self.files.append(Carried(phone.device, written[0]))
        what = "everything" if everything else "what waits"
        self.strike("export", f"{phone.name} writes {what} into a file")

    def do_carry(self, dice: Dice) -> None:
        """A file comes in, perhaps again, perhaps late; or its server dies in the middle of it."""
        if not self.files:
            self.do_export(dice)
        up = [server for server in self.servers if server.up]
        if not self.files or not up:
            return
        file = dice.pick(self.files)
        if dice.chance(40):
            self.files.remove(file)
        again = file.data[-32:] in self.taken_in
        parts = len(carry.decode_work(file.data).parts)
        dies_after = dice.below(parts) if dice.chance(15) else None
        name = next(one.name for one in self.phones if one.device == file.device)
        self.tell(f"a file of {name} is carried to {up[0].name}", file.data)
        before = self.log.head(ID).position
        try:
            found = self.take_in(file, up[0], dies_after=dies_after)
        except Revoked:
            self.tell("its device is shut out")
            return
        except PowerCut:
            self.strike("carry_cut", f"{up[0].name} dies after {dies_after} of {parts} parts")
            self._stop(up[0], dice)
            up[0].start()
            return
        counts = f"{found['new']} new, {found['known']} known"
        self.strike("carry_again" if again else "carry", counts)
        if again:
            moved = self.log.head(ID).position - before
            demand(not moved and not found["new"], f"OFF-16: {moved} came in a second time")
        elif found["stopped"] is None:
            self.taken_in.add(file.data[-32:])
        receipt = Carried(file.device, b64decode(found["receipt"]))
        self.receipts.append(receipt)
        self._note_receipt(file, receipt)

    def take_in(
        self, file: Carried, server: Server, *, dies_after: int | None = None
    ) -> dict[str, Any]:
        """What the server's route does with a file, over this log."""
        offset_ms = self.offsets_ms.get(file.device)
        if offset_ms is None:
            self.notebook.timeless_ms[file.device] = self.now_ms
        self.carried.add(file.device)
        edge = _Edge(self, server, file.device, offset_ms or 0, dies_after)
        with in_place():
            take = CarryRoutes.take(edge, _OFFICE, file.data, revoked=edge.revoked_too)  # type: ignore[arg-type]
            found: dict[str, Any] = at_once(take)
            return found

    def _note_receipt(self, file: Carried, receipt: Carried) -> None:
        """From now on its events are acknowledged, as by a RESULT."""
        ids = {
            (part.epoch, part.first_seq): [sha256(data).digest() for data in part.events]
            for part in carry.decode_work(file.data).parts
        }
        for one in carry.decode_receipt(receipt.data).answers:
            verdicts = [(said.outcome, said.count) for said in one.verdicts]
            self.notebook.acknowledged(ids[one.epoch, one.first_seq], verdicts)

    def do_receipt(self, dice: Dice) -> None:
        """A receipt comes to a phone: its own or another's, soon or late, once or twice."""
        if not self.receipts:
            return
        receipt = dice.pick(self.receipts)
        theirs = [phone for phone in self.phones if phone.device == receipt.device]
        phone = dice.pick(theirs) if dice.chance(85) else dice.pick(self.phones)
        if dice.chance(30):
            self.receipts.remove(receipt)
        self._on_phone(phone, lambda: self.take_receipt(phone, receipt))
        self._ring(phone)

    def take_receipt(self, phone: Phone, receipt: Carried) -> None:
        """Settles what waited; where nothing did, nothing changes (OFF-15)."""
        waited, rows = phone.journal.pending_count, phone.journal.rows()
        place = phone.journal.place
        self.tell(f"{phone.name} is given a receipt", receipt.data)
        try:
            settled = carrying.take_receipt(phone.holding, receipt.data)
        except (Forbidden, MisuseError) as error:
            self.strike("receipt_refused", f"and refuses it: {error}")
            demand(phone.journal.rows() == rows, "OFF-15: a refused receipt was believed")
            return
        demand(phone.device == receipt.device, "OFF-15: another's receipt was believed")
        header = carry.read_header(receipt.data)
        same = not place.log_id or place.generation == header.generation
        demand(same, "OFF-15: a receipt of another history was believed")
        count = settled.synced + settled.quarantined + settled.refused
        self.strike("receipt" if count else "receipt_again", f"and it settles {count}")
        demand(phone.journal.pending_count == waited - count, "OFF-15: a receipt miscounts")
        if not count:
            demand(phone.journal.rows() == rows, "OFF-15: a known receipt changed something")

    def come_late(self) -> None:
        """Once all is exchanged, what is still on its way changes nothing wherever it arrives
        (OFF-15, OFF-16): positions and answers stay as they were told."""
        for file in self.files:
            if self._told_everything(file.device):
                before = self.log.head(ID).position
                found = self.take_in(file, self.servers[0])
                moved = self.log.head(ID).position - before
                demand(not moved and not found["new"], f"OFF-16: {moved} came in after the sync")
                self.struck["carry_late"] += 1
        for receipt in self.receipts:
            if self._told_everything(receipt.device):
                phone = next(one for one in self.phones if one.device == receipt.device)
                self.take_receipt(phone, receipt)

    def _told_everything(self, device: bytes) -> bool:
        """Whether there is one phone of that name, whose chain never had a second end."""
        (phone, *others) = [one for one in self.phones if one.device == device]
        alone = not others and device not in self.copied and not phone.revoked
        return alone and len(phone.journal.lives) == 1

    def _restore_server(self, dice: Dice, *, raised: bool) -> None:
        self.taken_in.clear()
        super()._restore_server(dice, raised=raised)

    # Wishes ---------------------------------------------------------------------------------------

    def do_wish(self, dice: Dice) -> None:
        """The user of a phone that holds back the work of others wants to see it."""
        manual = [phone for phone in self.phones if phone.manual]
        if manual:
            phone = dice.pick(manual)
            self.struck["wished"] += phone.held_back
            self.tell(f"{phone.name}: Sync Now")
            phone.wish_for_proof()
            self._ring(phone)

    # Bulk and mending -----------------------------------------------------------------------------

    def do_join(self, dice: Dice) -> None:
        """A phone that has been away for long comes back, or one that is new comes first."""
        offline = [phone for phone in self.phones if not phone.online]
        if offline:
            phone = min(offline, key=lambda one: one.journal.place.cursor)
            for _ in range(4):
                self.do_office(dice)
            self.views.catch_up()
            self.connect(phone, dice)

    def do_rot(self, dice: Dice) -> None:
        """A document is gone from a phone's disk, sums and all."""
        phone = dice.pick(self.phones)
        held = [key for key in sorted(self.views.documents) if phone.journal.document(*key)]
        if not held:
            return
        key, holding = dice.pick(held), phone.holding
        self.damaged.add(phone.device)
        self.strike("rot", f"{phone.name} loses {key.type} {key.id}")
        self._on_phone(
            phone, lambda: holding.store(holding.base.leave([key]), holding.journal.place)
        )

    def _ready(self, phone: Phone, dice: Dice) -> bool:
        """As the link does it: what differs is mended, and who is far behind fetches in bulk."""
        report = phone.report
        if report.unmended is not None:
            if not self._on_phone(phone, lambda: self._mend(phone, dice)):
                return False
            report = phone.report
        if "bulk" not in self.plan.options.errands or not report.wants_bulk(phone.holding):
            return True
        self.struck["bulk_resumed"] += resume(phone.holding) is not None
        before = self.struck["cut_phone"]
        if not self.peace and dice.chance(15):
            phone.fuse.left = 1 + dice.below(5)
        goes_on: list[bool] = []
        self._on_phone(phone, lambda: goes_on.append(self._fetch(phone, dice)))
        self.struck["bulk_cut"] += self.struck["cut_phone"] > before
        return goes_on == [True]

    def _fetch(self, phone: Phone, dice: Dice) -> bool:
        """True when it is time to connect."""
        report = phone.report
        self.tell(f"{phone.name} asks for documents in bulk")
        with asking(lambda path, body: self._ask(phone, dice, path, body)):
            try:
                moved = fetch(phone.holding, stopping=lambda: False, progress=lambda _: None)
            except ReplicaError as error:
                phone.fetches_lost += 1
                report.log_serves = phone.fetches_lost >= CHUNK_FAILURES_MAX
                self.strike("bulk_broken", f"{phone.name} gets no more: {error}")
                return False
        if moved:
            self.strike("bulk", f"{phone.name} has documents up to {phone.journal.place.cursor}")
        report.log_serves = not moved
        return True

    def _mend(self, phone: Phone, dice: Dice) -> None:
        report: Report = phone.report
        unequal = report.unmended
        with asking(lambda path, body: self._ask(phone, dice, path, body)):
            try:
                mended = mend(phone.holding)
            except ReplicaError:
                mended, report.unequal = None, 0
        self.strike("mend_documents", f"{phone.name} mends {mended}")
        report.unmended = None
        if mended is None:
            report.proof, report.proved = None, unequal

    def _ask(self, phone: Phone, dice: Dice, path: str, body: bytes | None) -> Answer:
        """A question on its way; meanwhile the world goes on."""
        if not self.peace and dice.chance(_WORLD_GOES_ON):
            self._meanwhile(phone, dice)
        up = [server for server in self.servers if server.up]
        if not up or self.partitioned or (not self.peace and dice.chance(_LINE_BREAKS)):
            raise ConnectionResetError
        return self._answered(phone, dice, path, body)

    def _answered(self, phone: Phone, dice: Dice, path: str, body: bytes | None) -> Answer:
        return self._answers.answer(path, body)

    def _meanwhile(self, phone: Phone, dice: Dice) -> None:
        what = dice.below(10)
        if what < 3:
            self.save(phone, dice)
        elif what < 6:
            self.do_office(dice)
            self.views.catch_up()
        elif self.backup is not None:
            self.struck["bulk_restored"] += 1
            self._restore_server(dice, raised=dice.chance(50))


class _Edge:
    """What the route for carried files needs of a server, over a world's."""

    def __init__(
        self,
        world: Errands,
        server: Server,
        device: bytes,
        offset_ms: int,
        dies_after: int | None,
    ) -> None:
        self._world, self._server, self._dies_after = world, server, dies_after
        revoked = any(phone.revoked for phone in world.phones if phone.device == device)
        self.revoked_too = bool(device[0] & 1)
        self._device = Device(
            ID,
            DeviceId(device),
            f"phone {device[0]}",
            None,
            0,
            0 if revoked else None,
            None,
            offset_ms,
            "sim",
        )
        stores = SimpleNamespace(log=world.log, control=SimpleNamespace(device=self._find))
        quiet = SimpleNamespace(info=lambda *_, **__: None)
        self._runtime = SimpleNamespace(stores=stores, door=self, logger=quiet, now_ms=self._now_ms)
        self._parts = 0

    def _now_ms(self) -> int:
        return self._world.now_ms + self._server.skew_ms

    def _find(self, account: AccountId, device: DeviceId) -> tuple[Device, bytes] | None:
        if (account, device) != (ACCOUNT, self._device.device):
            return None
        return self._device, carry.file_key(f"token-{device[0]}")

    _open, _submit, _receipt = CarryRoutes._open, CarryRoutes._submit, CarryRoutes._receipt

    async def submit_push(self, author: Author, push: e.Append) -> Settlement:
        """What the door does with a push, but for the company it has there."""
        if self._parts == self._dies_after:
            raise PowerCut
        self._parts += 1
        world = self._world
        epoch = next_epoch(author.heads, author.epoch)
        quarantined = world.log.quarantined
        context = Context(
            ID, author.device, author.epoch, author.origin, epoch, *push[2:], quarantined
        )
        admitted = through(world.log, admit(context, author.head, push.first_seq, push.events))
        author.head = admitted.head
        world._announce(admitted.segment)
        return admitted.settlement
