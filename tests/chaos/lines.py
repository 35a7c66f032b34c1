"""Real devices and a real server over bad lines, until everybody has had enough of them."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.auditor import demand
from tests.chaos.company import Company
from tests.chaos.kills import DEVICES, Fleet
from tests.chaos.wires import AILMENTS, Wires
from tests.chaos.zygote import PATIENCE_S

ORDERS = 2
NEWS_S = 0.05


@dataclass
class Tally:
    """The figures of a report."""

    connections: int = 0
    acknowledged: int = 0
    struck: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def run(root: Path, *, seed: int, connections: int) -> Tally:
    """Work until ``connections`` were made and each ailment has struck; then heal and prove."""
    started_s = time.monotonic()
    company = Company(root)
    wires = Wires(company.port, seed)
    try:
        with company.server() as server:
            server.hear()
            for number in range(DEVICES):
                company.enrol(number)
                _reroute(company.journal(number), f"http://127.0.0.1:{wires.port}")
            fleet = Fleet(company)
            try:
                _work(fleet, wires, connections)
                wires.heal()
                fleet.tell("meet")
                fleet.prove()  # a device that has proved may still get what another pushes then
                proofs = fleet.prove()
            finally:
                fleet.close()
            demand(len(proofs) == 1, f"I-10: the replicas prove different things: {proofs}")
            company.auditor.look(whole=True)
            company.auditor.check(fleet.ledger, settled=True)
            status = server.end()
            demand(status == 0, f"a server that was asked to end ends with {status}")
        company.check_rest(fleet.ledger)
    finally:
        wires.close()
    return Tally(
        wires.struck.total(),
        len(fleet.ledger.answered),
        wires.struck,
        time.monotonic() - started_s,
    )


def _reroute(journal: Path, url: str) -> None:
    """The device goes to its server by another way."""
    with closing(sqlite3.connect(journal)) as connection, connection:
        connection.execute("UPDATE identity SET url = ?", (url,))


def _work(fleet: Fleet, wires: Wires, connections: int) -> None:
    until_s = time.monotonic() + PATIENCE_S * (1 + connections / 20)
    while wires.struck.total() < connections or len(wires.struck) < len(AILMENTS):
        assert time.monotonic() < until_s, f"the lines stand still: {wires.struck}"
        fleet.tell("meet")
        fleet.tell("take", ORDERS)
        fleet.listen(None, NEWS_S)
