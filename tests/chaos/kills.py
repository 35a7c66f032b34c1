"""kill -9, again and again: the real server, and sometimes a device, at a random moment.

Each cycle starts the server, audits the log it found, lets the devices take orders, and kills it:
while it opens its files, after so many acknowledgements, or some milliseconds later. At the end
nobody is killed, and every replica has to prove that it holds the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random

from tests.chaos.auditor import Ledger, demand
from tests.chaos.company import Company
from tests.chaos.zygote import PATIENCE_S

DEVICES = 3
ORDERS_MAX = 4
EARLY_S = 0.12  # a server that is killed before this may not have opened its files yet
LINGER_S = 0.02


@dataclass
class Tally:
    """What was done: the figures of the report."""

    server_kills: int = 0
    kills_while_starting: int = 0
    device_kills: int = 0
    acknowledged: int = 0
    saved: int = 0
    acknowledged_unheard: int = 0
    seconds: float = 0.0


class Fleet:
    """The devices of a company, and what they said."""

    def __init__(self, company: Company) -> None:
        self._company = company
        self.ledger = Ledger()
        self.children = [company.device(number) for number in range(DEVICES)]

    def tell(self, *what: object) -> None:
        for child in self.children:
            child.tell(what)

    def listen(self, enough: int | None, within_s: float) -> None:
        """Hear the devices until ``enough`` events were answered in all, or the time is over."""
        until_s = time.monotonic() + within_s
        while enough is None or len(self.ledger.answered) < enough:
            left_s = until_s - time.monotonic()
            ready = wait([child.channel for child in self.children], max(left_s, 0))
            if not ready and left_s <= 0:
                assert enough is None, f"no answers in {within_s} s; {self.lines()}"
                return
            for channel in ready:
                assert isinstance(channel, Connection)
                self.ledger.hear(channel.recv())

    def kill(self, number: int) -> None:
        """Kill a device and start it again on its journal."""
        for what in self.children[number].kill():
            self.ledger.hear(what)
        with self.children[number]:
            self.children[number] = self._company.device(number)

    def prove(self) -> set[object]:
        """The answers to a last round of everybody."""
        self.tell("prove")
        found: set[object] = set()
        for child in self.children:
            while (what := child.hear())[0] in ("opened", "saved", "answered"):
                self.ledger.hear(what)
            demand(what[0] == "proved", f"I-15: {what}")
            demand(what[1], f"I-10: a device and the server differ at {what[2]}")
            found.add(what[2:])
        return found

    def lines(self) -> str:
        return f"see {self._company.root}"

    def close(self) -> None:
        for child in self.children:
            child.__exit__()


def run(root: Path, *, seed: int, cycles: int) -> Tally:
    """Kill the server ``cycles`` times. Raises ``Broken`` when a promise is not kept."""
    started_s = time.monotonic()
    dice, company, tally = Random(seed), Company(root), Tally()
    with company.server() as server:
        server.hear()
        for number in range(DEVICES):
            company.enrol(number)
        server.kill()
    fleet = Fleet(company)
    try:
        for _ in range(cycles):
            _cycle(company, fleet, dice, tally)
        _peace(company, fleet)
    finally:
        fleet.close()
    tally.saved, tally.acknowledged = len(fleet.ledger.saved), len(fleet.ledger.answered)
    tally.seconds = time.monotonic() - started_s
    return tally


def _cycle(company: Company, fleet: Fleet, dice: Random, tally: Tally) -> None:
    tally.server_kills += 1
    with company.server() as server:
        if dice.random() < 0.2:
            tally.kills_while_starting += 1
            fleet.tell("take", 1)
            fleet.listen(None, dice.random() * EARLY_S)
            server.kill()
            return
        said = server.hear()
        demand(said[0] == "serves", f"I-1: the server cannot start: {said}")
        heard = len(fleet.ledger.answered)
        company.auditor.look()
        company.auditor.check(fleet.ledger)
        tally.acknowledged_unheard += company.auditor.position - heard
        orders = dice.randint(1, ORDERS_MAX)
        fleet.tell("meet")
        fleet.tell("take", orders)
        fleet.listen(heard + dice.randint(1, 2 * DEVICES * orders), PATIENCE_S)
        if dice.random() < 0.5:
            fleet.listen(None, dice.random() * LINGER_S)
        server.kill()
    if dice.random() < 0.3:
        tally.device_kills += 1
        fleet.kill(dice.randrange(DEVICES))


def _peace(company: Company, fleet: Fleet) -> None:
    with company.server() as server:
        server.hear()
        fleet.tell("meet")
        fleet.prove()  # a device that has proved may still get what another pushes after that
        proofs = fleet.prove()
        demand(len(proofs) == 1, f"I-10: the replicas prove different things: {proofs}")
        company.auditor.look(whole=True)
        company.auditor.check(fleet.ledger, settled=True)
        status = server.end()
        demand(status == 0, f"a server that was asked to end ends with {status}")
    company.check_rest(fleet.ledger)
