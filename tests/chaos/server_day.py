"""A scripted day of the server, watched call by call.

A new directory, its first account, a device that is enrolled and pushes, a write-ahead log that is
emptied, more pushes, a write of the office, a proof, the end. The day is the same each time, so
that the n-th call of one run is the n-th of the next. After a fault it goes on as far as the
process lets it; then the server starts again without faults, the day is brought to its end, and
what anybody was ever told has to be true.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from replica.device import Device, StockMoved
from replica.device.journal import State
from replica.errors import PeerGone, ReplicaError
from replica.events.event import event_id
from tests.chaos.auditor import Ledger, demand
from tests.chaos.company import Answered, Company
from tests.chaos.roles import impatient, order
from tests.chaos.watch import Call, Fault, Watch
from tests.chaos.zygote import PATIENCE_S, Child

ROUNDS = 3
TRIES = 5
# What a server may answer while its disk is full or failing.
PASSING = {"storage_full", "store_unavailable", "store_failed", "overloaded", "peer_gone"}
GOING_S = 10.0


class ServerDay:
    """One day at a server, and the one device that works there. ``ledger`` is what was told."""

    def __init__(self, root: Path) -> None:
        self.company = Company(root)
        self.ledger = Ledger()
        self.watch: Watch | None = None
        self._emptied = threading.Event()
        self._customers = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing stays open between runs."""

    # The day -------------------------------------------------------------------------------------

    def run(self, fault: Fault | None = None, *, keep: bool = False, careless: bool = False) -> int:
        """The day, watched; the exit status of the server."""
        self._emptied.clear()
        with self.company.server(watched=True, careless=careless) as server:
            self.watch = Watch(
                server.channel, self.company.data, fault=fault, keep=keep, see=self._seen
            )
            serves = self._said(server) == "serves"
            if serves:
                self._work(self._proceeding, ROUNDS)
            status = server.end() if serves and not self.watch.ended else server.ended()
            self.watch.join()
        return status

    def finish(self) -> None:
        """Start again without faults, bring the day to its end, and hold everything against what
        was told."""
        with self.company.server() as server:
            demand(self._said(server) == "serves", "I-1: the server does not start any more")
            self._audit()
            self.watch = None
            self._work(lambda step: step(), 1)
            self._audit()
            status = server.end()
            demand(status == 0, f"a server that was asked to end ends with {status}")
        self.company.check_rest(self.ledger)

    def _said(self, server: Child) -> str:
        """How the start went: "serves", "failed" with a typed error, or "gone"."""
        try:
            what = server.hear()
        except EOFError:
            return "gone"
        return str(what[0])

    def _work(self, proceed: Callable[[Callable[[], None]], None], rounds: int) -> None:
        proceed(self._enrol)
        if not self.company.journal(0).exists():
            return
        with Device.open(self.company.journal(0), random_bytes=impatient) as device:
            if device.identity is None:
                return
            self._hear(device)
            device.start()
            for number in range(rounds):
                proceed(lambda: self._take(device))
                if number == 0:
                    proceed(self._wait_for_checkpoint)
            proceed(self._write)
            proceed(lambda: self._prove(device))
            self._hear(device)

    def _proceeding(self, step: Callable[[], None]) -> None:
        """A step while things may go wrong: tried again after a typed refusal, given up only when
        the server is gone."""
        assert self.watch is not None
        for _ in range(TRIES):
            if self._over():
                return
            try:
                step()
            except Answered as refusal:
                demand(refusal.code in PASSING, f"an answer that does not fit: {refusal}")
                if refusal.code == "store_failed":
                    self.watch.wait(GOING_S)
            except ReplicaError as refusal:
                demand(refusal.code in PASSING, f"an error that does not fit: {refusal!r}")
                if isinstance(refusal, PeerGone):
                    self.watch.wait(GOING_S)
            except (OSError, http.client.HTTPException):
                self.watch.wait(GOING_S)  # the server went away in the middle, or is about to
            else:
                return
        demand(self._over(), f"a server neither works nor ends: {step}")

    def _over(self) -> bool:
        return self.watch is not None and self.watch.ended

    def _seen(self, call: Call) -> None:
        if (call.name, call.path, call.offset) == ("ftruncate", "log.db-wal", 0):
            self._emptied.set()

    # Steps ---------------------------------------------------------------------------------------

    def _enrol(self) -> None:
        journal = self.company.journal(0)
        if journal.exists():
            with Device.open(journal) as device:
                if device.identity is not None:
                    return
        self.company.enrol(0)

    def _take(self, device: Device) -> None:
        """Two orders in two appends, and all of it answered."""
        for _ in range(2):
            if device.status().pending >= 2 * ROUNDS:
                break
            number = device._holding.journal.last_n + 1
            moved = StockMoved("p-1", -number * 1_000, "sample")
            self.ledger.hear(("saved", device.append(order("rep", number), moved)))
        device._wait(lambda: device.status().pending == 0 or self._over(), PATIENCE_S)
        self._hear(device)
        demand(device.status().pending == 0 or self._over(), "I-15: no answer and no end")

    def _hear(self, device: Device) -> None:
        """Everything that the device knows to be accepted, by its own journal."""
        journal = device._holding.journal
        rows = list(journal.answered(1, journal.answered_n))
        said = [
            (event_id(row.data), row.answer.position, State(row.state).name)
            for row in rows
            if row.answer is not None
        ]
        self.tell(("answered", [row for row in said if row[0] not in self.ledger.answered]))

    def tell(self, what: tuple[Any, ...]) -> None:
        """The world was told this, at this moment of the trace."""
        self.ledger.hear(what)
        if self.watch is not None:
            self.watch.mark(what)

    def _write(self) -> None:
        """The office adds a customer; saying it twice is the office's own affair."""
        self._customers += 1
        fields: dict[str, Any] = {"name": f"Customer {self._customers}"}
        customer = f"c-{self._customers}"
        payload = {"customer": customer, "fields": fields}
        body = {"events": [{"kind": "customer.created", "payload": payload}]}
        answer = self.company.ask("POST", "/api/v1/events", body)
        self.tell(("written", customer, answer["position"]))

    def _prove(self, device: Device) -> None:
        result = device.sync(PATIENCE_S)
        demand(result.equal, f"I-10: device and server differ at {result.position}")

    def _wait_for_checkpoint(self) -> None:
        """The writer has emptied its log, or something has happened that keeps it from it."""
        if self.watch is None:
            return
        while not (self._emptied.wait(0.01) or self._over() or self.watch.struck):
            pass

    def _audit(self) -> None:
        self.company.auditor.look(whole=True)
        self.company.auditor.check(self.ledger)
