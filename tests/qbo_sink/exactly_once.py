"""``python -m tests.qbo_sink.exactly_once --faults 5000``: break the sink on purpose, and count.

One seed is one history: a company with every switch of the sandbox drawn anew, and up to thirty
lives of the sink's process. Each life brings work (new customers, products, orders, quotes,
amendments, cancellations), some planned faults of transport, some timeouts, and mostly an end at a
random boundary. Some orders become invoices at once, some are converted and mailed. After the last
life everything heals, and then there must be one document for each local id, with its total to the
penny, one e-mail for each that was asked for, and nothing besides.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, get_args

import httpx2
import msgspec
import structlog

from qbo_sink.conversion import CONVERT, DELIVER, Conversions
from qbo_sink.ledger import Ledger
from qbo_sink.model import ACCEPTED, INVOICE, PENDING
from qbo_sink.sandbox import Switches, paper
from qbo_sink.sandbox.injection import FaultRule
from replica.events.payloads import CustomerChanged, CustomerFields, OrderAmended, OrderCancelled
from replica.events.record import Origin
from tests.qbo_sink.dying import Boundaries, dying, put_work
from tests.qbo_sink.world import ACCOUNT, Crash, World, content

LIVES = 30
HEALING_RUNS = 4
_PATHS = ("/estimate", "/customer", "/item", "/query", "/bearer", "/cdc", "")
_CHOICES: dict[str, tuple[Any, ...]] = {
    "requestid_ttl_s": (0, 86_400),
    "cdc_lag_ms": (0, 60_000),
    "short_pages": (0.0, 0.5),
    "refresh_grace_s": (3_600, 86_400),
}


@dataclass
class History:
    """What one seed did and what was found afterwards."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    boundaries: set[str] = field(default_factory=set)
    switches: dict[str, Any] = field(default_factory=dict)
    documents: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0


def draw_switches(chance: random.Random) -> Switches:
    """Every switch one way or the other."""
    values: dict[str, Any] = {}
    for one in msgspec.structs.fields(Switches):
        choices = _CHOICES.get(one.name) or get_args(one.type) or (False, True)
        values[one.name] = chance.choice(choices)
    return Switches(**values)


def draw_rules(chance: random.Random) -> Iterator[FaultRule]:
    """Some faults of transport, each for some of the next calls of a kind."""
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        kind = chance.choice(("drop_before", "drop_after", "reset_mid_body", "status", "status"))
        yield FaultRule(
            kind=kind,  # type: ignore[arg-type]
            match=chance.choice(_PATHS),
            skip=chance.randrange(4),
            count=chance.randrange(1, 3),
            status=chance.choice((500, 502, 503, 504)),
            format=chance.choice(("html", "xml", "json", "text", "empty")),
            after=chance.random() < 0.5,
        )


class Timeouts(httpx2.AsyncBaseTransport):
    """Some calls end without an answer in time: before they left, on the way, or after they were
    carried out."""

    def __init__(
        self, inner: httpx2.AsyncBaseTransport, chance: random.Random, struck: Counter[str]
    ) -> None:
        self._inner = inner
        self._chance = chance
        self._struck = struck

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        fate = self._chance.random() if "/v3/" in request.url.path else 1.0
        if fate < 0.01:
            self._struck["timeout connecting"] += 1
            raise httpx2.ConnectTimeout("planned", request=request)
        if fate < 0.02:
            self._struck["timeout before"] += 1
            raise httpx2.ReadTimeout("planned", request=request)
        response = await self._inner.handle_async_request(request)
        if fate < 0.05:
            self._struck["timeout after"] += 1
            raise httpx2.ReadTimeout("planned", request=request)
        return response


def run_seed(seed: int) -> History:
    """One history from its seed; problems are told, never raised."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    chance, history, began = random.Random(seed), History(seed), time.perf_counter()
    switches = draw_switches(chance)
    history.switches = msgspec.to_builtins(switches)
    with tempfile.TemporaryDirectory() as folder, counting_mail() as mailed:
        world = World(Path(folder) / "world", switches=switches)
        world.environ["QBO_CONCURRENT_CALLS"] = str(chance.choice((1, 4)))
        world.wrap = lambda inner: Timeouts(inner, chance, history.faults)
        try:
            asyncio.run(world.run())
            for life in range(LIVES):
                live(world, chance, history, f"{seed}-{life}")
            heal(world)
            check(world, history, mailed)
        except Exception as error:  # noqa: BLE001 - a history that breaks is a finding
            history.problems.append(f"{type(error).__name__}: {error}")
        finally:
            history.faults.update(world.sandbox.plan.struck)
            world.close()
    history.seconds = time.perf_counter() - began
    return history


@contextmanager
def counting_mail() -> Iterator[Counter[str]]:
    """How often the sandbox mailed each document; an answer that is repeated is no mail."""
    sent: Counter[str] = Counter()
    send = paper.send

    def counted(call: Any, entity: Any, identity: str) -> Any:
        reply = send(call, entity, identity)
        sent[identity] += 1
        return reply

    paper.send = counted  # type: ignore[assignment]
    try:
        yield sent
    finally:
        paper.send = send


def live(world: World, chance: random.Random, history: History, name: str) -> None:
    """One life: work arrives, faults are planned, the process runs, and mostly dies."""
    world.environ["QBO_ORDER_STATUS"] = chance.choice((ACCEPTED, ACCEPTED, PENDING, INVOICE))
    put_work(world, name)
    change_something(world, chance)
    for rule in draw_rules(chance):
        world.sandbox.plan.add(rule)
    boundaries = Boundaries(chance.randrange(1, 70) if chance.random() < 0.8 else 10**9)
    inner = world.wrap
    assert inner is not None
    with dying(world, boundaries):
        outer = world.wrap
        assert outer is not None
        world.wrap = lambda transport: outer(inner(transport))
        try:
            asyncio.run(world.run())
        except (Crash, BaseExceptionGroup):
            assert boundaries.died_at
    world.wrap = inner
    if boundaries.died_at:
        history.faults["crash"] += 1
        history.boundaries.add(boundaries.died_at)
    world.clock.ms += chance.choice((0, 5_000, 90_000, 7_200_000))


def change_something(world: World, chance: random.Random) -> None:
    """Now and then an order is amended or cancelled, or a customer edited, sent or not."""
    sales = [key for key in world.documents if key.type == "order"]
    key = chance.choice(sales)
    name = key.id.removeprefix("o-")
    match chance.randrange(5):
        case 0:
            lines = [(f"p-{name}", 1_000 * chance.randrange(1, 99), 12_345)]
            amended = content(f"T-{key.id}", f"c-{name}", lines)
            world.put(OrderAmended(key.id, amended), origin=Origin.WEB)
        case 1:
            world.put(OrderCancelled(key.id, "drawn"))
        case 2 if chance.random() < 0.5:
            command(world, key.id, CONVERT, "")
        case 3:
            command(world, key.id, DELIVER, f"{name}@side.example")
        case 2:
            fields = CustomerFields(phone=f"555-{chance.randrange(10_000)}")
            world.put(CustomerChanged(f"c-{name}", fields))
        case _:
            pass


def command(world: World, order: str, action: str, address: str) -> None:
    """What the office asks for on the page of an order; refused where it cannot be yet."""
    store, now_ms = Conversions(world.ledger.write), world.clock.ms
    if action == CONVERT:
        store.convert(ACCOUNT, "order", order, now_ms)
    else:
        store.deliver(ACCOUNT, "order", order, address, now_ms)


def heal(world: World) -> None:
    """The faults are over: whatever waited is due, and a day later nothing waits."""
    world.sandbox.plan.rules.clear()
    world.wrap = None
    for _ in range(HEALING_RUNS):
        world.clock.ms += 3_600_000
        asyncio.run(world.run())


def check(world: World, history: History, mailed: Counter[str]) -> None:
    """One document for each sealed order and quote, its total to the penny, nothing besides. A
    cancelled order that stands as an invoice is the office's to void: its row waits for that."""
    report = asyncio.run(world.run())
    rows = Ledger(world.ledger.write).open_intents(ACCOUNT)
    waiting = [row for row in rows if row.code != "invoice_stands"]
    if waiting or len(report.errors) > len(rows):
        history.problems.append(f"not at rest: {len(waiting)} wait, {list(report.errors)[:3]}")
    estimates, invoices = marked(world, "Estimate"), marked(world, "Invoice")
    for key in [key for key in world.documents if key.type in ("order", "quote")]:
        seen, name = world.seen(key.type, key.id), f"{key.type[0]}:{key.id}"
        stand = (estimates.pop(name, []), invoices.pop(name, []))
        history.documents += sum(map(len, stand))
        if max(map(len, stand)) > 1:
            history.problems.append(f"{key.id}: {max(map(len, stand))} documents")
        elif any(stand):
            check_one(stand, key.id, seen, history)
        elif seen["state"] not in ("cancelled", "withdrawn"):
            history.problems.append(f"{key.id}: lost")
    history.problems += [f"{name}: nobody's" for name in (*estimates, *invoices)]
    history.problems += [f"invoice {name} mailed {n} times" for name, n in mailed.items() if n > 1]
    for entity, column in (("Customer", "DisplayName"), ("Item", "Name")):
        twice = [
            name for name, n in Counter(r[column] for r in world.rows(entity)).items() if n > 1
        ]
        history.problems += [f"{entity} {name} twice" for name in twice]


def marked(world: World, entity: str) -> dict[str, list[dict[str, Any]]]:
    """Rows there by the document that their marker names."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in world.rows(entity):
        note = str(row.get("PrivateNote", ""))
        if "[rp:" in note:
            name = note.rsplit("[rp:", 1)[1].rsplit(":", 1)[0]
            found.setdefault(name, []).append(row)
    return found


def check_one(
    stand: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    name: str,
    seen: dict[str, Any],
    history: History,
) -> None:
    """The estimate and the invoice of an order or quote: known here, tied, and right."""
    answer = seen["answers"].get("quickbooks") or {}
    (first, *_), there = [*stand[0], *stand[1]], answer.get("there") or {}
    if answer.get("external_id") != first["Id"]:
        history.problems.append(f"{name}: stands there unknown")
        return
    if stand[1] and there.get("document") != stand[1][0]["Id"]:
        history.problems.append(f"{name}: invoiced, and nobody was told")
    if all(stand):
        tied = [link["TxnId"] for link in stand[1][0].get("LinkedTxn", [])]
        if tied != [first["Id"]] or first["TxnStatus"] not in ("Closed", "Converted"):
            history.problems.append(f"{name}: converted, and {first['TxnStatus']} {tied}")
    newest = stand[1][0] if stand[1] else first
    if seen["state"] in ("cancelled", "withdrawn"):
        if not stand[1] and newest["TxnStatus"] != "Rejected":
            history.problems.append(f"{name}: cancelled and {newest['TxnStatus']}")
        return
    tax = (newest.get("TxnTaxDetail") or {}).get("TotalTax") or 0
    total = Decimal(str(newest["TotalAmt"])) - Decimal(str(tax))
    if total * 100 != seen["content"]["total_minor"]:
        history.problems.append(f"{name}: {total} there, {seen['content']['total_minor']} here")
    if not all(stand) and answer["total_minor"] != seen["content"]["total_minor"]:
        history.problems.append(f"{name}: {answer['total_minor']} was said")


@dataclass
class Total:
    """All histories together."""

    histories: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    boundaries: set[str] = field(default_factory=set)
    switches: dict[str, set[str]] = field(default_factory=dict)
    documents: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, one: History) -> None:
        self.histories += 1
        self.faults += one.faults
        self.boundaries |= one.boundaries
        self.documents += one.documents
        self.problems += [f"seed {one.seed}: {problem}" for problem in one.problems]
        for name, value in one.switches.items():
            self.switches.setdefault(name, set()).add(str(value))

    def summary(self) -> dict[str, Any]:
        """What is published."""
        one_way = [name for name, values in self.switches.items() if len(values) < 2]
        return {
            "faults": self.faults.total(),
            "by_kind": dict(sorted(self.faults.items())),
            "histories": self.histories,
            "boundaries": len(self.boundaries),
            "documents": self.documents,
            "switches_one_way": one_way,
            "problems": len(self.problems),
        }


def main() -> None:
    """Run seeds until enough faults struck; exit code 1 when anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=5_000)
    parser.add_argument("--seed", type=int, help="one history, told in full")
    parser.add_argument("--first", type=int, default=1, help="where the seeds begin")
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    total = Total()
    if asked.seed is not None:
        total.add(run_seed(asked.seed))
    else:
        spread(total, asked.faults, asked.first, asked.jobs)
    for problem in total.problems:
        print(problem, file=sys.stderr)
    print(json.dumps(total.summary()))
    sys.exit(bool(total.problems))


def spread(total: Total, faults: int, first: int, jobs: int) -> None:
    """Seeds over processes, as long as faults are missing and nothing was found."""
    seeds = count(first)
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {pool.submit(run_seed, next(seeds)) for _ in range(jobs)}
        while waiting:
            done = next(as_completed(waiting))
            waiting.discard(done)
            total.add(done.result())
            print(f"{total.faults.total()} faults, {total.histories} histories", file=sys.stderr)
            if total.faults.total() < faults and not total.problems:
                waiting.add(pool.submit(run_seed, next(seeds)))


if __name__ == "__main__":
    main()
