"""A day of one device, watched call by call: its journal on a real disk, its server over a socket.

The server is the small one of the device's own tests, in this process: it remembers what it
accepted while the device is killed and comes back.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Self

from replica.device import CustomerCreated, CustomerFields
from tests.chaos import roles
from tests.chaos.auditor import Ledger, check_pages, demand
from tests.chaos.watch import Fault, Watch
from tests.chaos.zygote import Child
from tests.device.server import FakeServer

ROUNDS = 3
PASSING = {"storage_full", "store_failed", "store_unavailable", "peer_gone"}


class DeviceDay:
    """Open and enrol; take orders, hear of others, prove, some times over; close."""

    def __init__(self, root: Path) -> None:
        self.disk = root / "disk"
        self.disk.mkdir(parents=True)
        self.ledger = Ledger()
        self.watch: Watch | None = None
        self.server = FakeServer()
        self.journal = self.disk / "journal.db"
        self._lines = root / "device.lines"
        self._customers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.__exit__()

    def run(self, fault: Fault | None = None, *, keep: bool = False, careless: bool = False) -> int:
        """The day, watched; the exit status of the device's program."""
        with self._child(watched=True, careless=careless) as child:
            self.watch = Watch(child.channel, self.disk, fault=fault, keep=keep)
            self._work(child, ROUNDS)
            status = child.ended()
            self.watch.join()
        return status

    def finish(self) -> None:
        """Start again without faults, bring the day to its end, and hold everything against what
        was told."""
        with self._child() as child:
            worked = self._work(child, 1)
            demand(worked, "I-1: the device does not work any more")
            demand(child.ended() == 0, "a device that was told to end does not end well")
        self.check_server()
        check_pages(self.journal)

    def check_server(self) -> None:
        """Everything saved stands in the server's log once, and where it was said to stand."""
        there = [record.id for record in self.server.records()]
        twice = [identity for identity, count in Counter(there).items() if count > 1]
        demand(not twice, f"I-2: {len(twice)} events stand in the log twice")
        lost = self.ledger.saved - set(there)
        demand(not lost, f"I-1: {len(lost)} of {len(self.ledger.saved)} saved events are lost")
        places = {bytes(identity): position for position, identity in enumerate(there, 1)}
        for identity, position in self.ledger.answered.items():
            demand(places[identity] == position, f"I-4: told {position}, is {places[identity]}")

    def _child(self, *, watched: bool = False, careless: bool = False) -> Child:
        identity = self.server.identity(1)
        return Child(
            roles.device,
            journal=self.journal,
            lines=self._lines,
            identity=identity,
            watched=watched,
            careless=careless,
        )

    def _work(self, child: Child, rounds: int) -> bool:
        """Whether it could be done to the end."""
        done = self._hear(child, 1)
        for _ in range(rounds):
            done = done and self._ask(child, 2, "take", 2)
            self._customers += 1
            self.server.write(CustomerCreated(f"c-{self._customers}", CustomerFields(name="Ana")))
            done = done and self._ask(child, 1, "prove")
        child.tell(("end",))
        return done

    def _ask(self, child: Child, replies: int, *what: Any) -> bool:
        child.tell(what)
        return self._hear(child, replies)

    def _hear(self, child: Child, replies: int) -> bool:
        """Hear ``replies`` answers and everything before; False when the program is of no use any
        more: it died, or its journal failed."""
        while replies:
            try:
                what = child.hear()
            except (EOFError, ConnectionResetError):
                return False
            self.ledger.hear(what)
            if self.watch is not None and what[0] in ("saved", "answered"):
                self.watch.mark(what)
            replies -= what[0] != "answered"
            if what[0] == "failed":
                demand(what[1] in PASSING, f"an error that does not fit: {what}")
                if what[1] != "storage_full":
                    return False
            demand(what[0] != "proved" or what[1], "I-10: device and server differ")
        return True
