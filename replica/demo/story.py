"""The story itself: what happens, in order, with real processes.

A company opens, three reps enrol and lose the network. They sell, meet a new customer, change the
same records; the office deletes one. The network returns, and in the middle of the rush the server
is killed. It comes back, everybody catches up, QuickBooks gets one estimate for each order.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from replica.demo.by_hand import carry
from replica.demo.company import catalogue, deliveries, northwind
from replica.demo.narrowing import narrow
from replica.demo.network import Network
from replica.demo.office import Books, Office
from replica.demo.plan import NEW_CUSTOMER_NAME, REPS, contested, doomed
from replica.demo.pressing import press
from replica.demo.processes import POLL_S, Process, Rep, free_port
from replica.demo.report import Outcome
from replica.events.payloads import CustomerDeleted

LOGIN = "admin"
Say = Callable[[str], None]


class Story:
    """The cast and their places. ``close`` ends every process, whatever happened before."""

    def __init__(self, folder: Path, *, port: int, password: str, say: Say) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self._folder = folder
        self._say = say
        self.port = port or free_port()
        self._books_port = free_port()
        self._company = northwind()
        self._environ = {
            "REPLICA_DATA": str(folder / "server"),
            "REPLICA_PORT": str(self.port),
            "REPLICA_ACCOUNT": self._company.name,
            "REPLICA_ADMIN": LOGIN,
            "REPLICA_ADMIN_PASSWORD": password,
            "QBO_PROFILE": "local-sandbox",
            "QBO_API_BASE": f"http://127.0.0.1:{self._books_port}",
        }
        self.office = Office(folder / "server")
        self._reps: dict[str, Rep] = {}
        self._network: Network | None = None
        self._sandbox: Process | None = None
        self._server: Process | None = None
        self._started = time.monotonic()

    def run(self) -> Outcome:
        """Everything from the first day to the proof."""
        self._open_company()
        self._enrol()
        written, totals, created = self._work_without_network()
        far, rep = list(self._reps.items())[-1]
        carry(far, rep, self.office, self._folder, self._say)
        self._return_with_a_crash()
        chosen = [customer.id for customer in self._company.customers[:3]]
        narrow(far, rep, chosen, self._say)
        press(self.office, self._say)
        self._ask_all("numbered")
        return self._look(written, totals, created)

    def _open_company(self) -> None:
        books = str(self._folder / "quickbooks.db")
        arguments = ["replica", "qbo", "sandbox", "--books", books, "--port", str(self._books_port)]
        self._sandbox = Process("sandbox", arguments, log=self._log("sandbox"), environ={})
        self._start_server()
        self._sandbox.wait_http(self._books_port, "/sandbox/state")
        entries = [*catalogue(self._company), *deliveries(self._company)]
        self.office.write(entries)
        self.office.sections(len(entries))
        self._say(
            f"{self._company.name}: {len(self._company.customers)} customers, "
            f"{len(self._company.products)} products, a stock-take and a year of deliveries: "
            f"{len(entries):,} events"
        )

    def _start_server(self) -> None:
        arguments = ["replica", "serve"]
        log = self._log("server")
        self._server = Process("server", arguments, log=log, environ=self._environ)
        self._server.wait_http(self.port, "/readyz")

    def _enrol(self) -> None:
        self._network = Network(self.port)
        url = f"http://127.0.0.1:{self._network.port}"
        for index in range(REPS):
            name = f"Rep {index + 1}"
            journal = self._folder / f"rep-{index + 1}.replica"
            log = self._log(f"rep-{index + 1}")
            rep = self._reps[name] = Rep(f"rep {index + 1}", journal=journal, log=log, environ={})
            rep.tell("enrol", url=url, code=self.office.open_code(name), name=name)
        first = next(iter(self._reps.values()))
        for name, rep in self._reps.items():
            taken = rep.answer()
            self._say(
                f"{name} enrolled with a one-time code; its first sync takes {taken['position']:,} "
                f"events as documents: {_counts(taken['sections'].items())}; equal to the server's"
            )
            for line in taken["progress"] if rep is first else ():
                self._say(f"  {_counts((section, f'{n} of {of}') for section, n, of in line)}")

    def _ask_all(self, verb: str, **arguments: Any) -> list[dict[str, Any]]:
        """One command to all of them at once, and their answers."""
        for rep in self._reps.values():
            rep.tell(verb, **arguments)
        return [rep.answer() for rep in self._reps.values()]

    def _work_without_network(self) -> tuple[dict[str, list[str]], dict[str, int], int]:
        assert self._network is not None
        self._network.cut()
        noticed = self._ask_all("wait", mode="offline")
        self._say(f"The network is lost; {len(noticed)} devices have noticed by themselves")
        written: dict[str, list[str]] = {"orders": [], "quotes": []}
        created = 0
        totals: dict[str, int] = {}
        for index, (name, rep) in enumerate(self._reps.items()):
            done = rep.ask("work", rep=index)
            written["orders"] += done["orders"]
            written["quotes"] += done["quotes"]
            created += done["customers_created"]
            totals |= rep.ask("receipts")
            self._say(
                f"{name} takes {len(done['orders'])} orders and {len(done['quotes'])} quote "
                f"offline; {done['pending']} events wait on the device"
            )
        self._say(f"Rep 1 has met {NEW_CUSTOMER_NAME} and sold to them at once")
        self._say(f"Rep 2 and Rep 3 have both changed the phone of {contested(self._company)}")
        self.office.write([CustomerDeleted(customer=doomed(self._company))])
        self._say(f"The office deletes {doomed(self._company)}, which Rep 3 was editing")
        return written, totals, created

    def _return_with_a_crash(self) -> None:
        assert self._network is not None
        assert self._server is not None
        before = self.office.position()
        self._network.restore()
        # The first upload has arrived; the others are on their way or still trying to connect.
        while self.office.position() == before:
            time.sleep(POLL_S)
        self._server.kill()
        self._say("The network is back; in the middle of the rush the server is killed (kill -9)")
        self._start_server()
        self._say("The server is up again and reads on from its disk")
        self._ask_all("settled")
        self._say("Every device has reconnected by itself and has nothing unsent")

    def _look(self, written: dict[str, list[str]], totals: dict[str, int], created: int) -> Outcome:
        proofs = [bool(answer["equal"]) for answer in self._ask_all("prove")]
        sights: dict[str, dict[str, Any]] = {
            name: rep.ask("see") for name, rep in self._reps.items()
        }
        return Outcome(
            reps=sights,
            server_sections=self.office.sections(max(seen["position"] for seen in sights.values())),
            written=written,
            totals=totals,
            estimates=Books(self._environ["QBO_API_BASE"]).estimates(),
            customers_created=created,
            proofs=proofs,
            seconds=time.monotonic() - self._started,
        )

    def _log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def wait(self) -> None:
        """Keep serving until the server ends or the user interrupts."""
        assert self._server is not None
        self._server.child.wait()

    def close(self) -> None:
        """End every process."""
        for process in (*self._reps.values(), self._server, self._sandbox):
            if process is not None:
                process.stop()
        if self._network is not None:
            self._network.close()


def _counts(parts: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{section} {number}" for section, number in parts)
