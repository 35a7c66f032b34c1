"""A full comparison of every committed order with its estimate, against the sandbox in process.

    python -m benchmarks.reconcile [--orders 20000]

The sink sends the first order; the others are put beside it as copies, into the sandbox's books
and the sink's ledger alike, each with its own lines, total, date and signed marker. What is timed
is the comparison: asking page by page, judging every document, writing down what differs. The
floor is the same statements asked of the same sandbox, their rows decoded and nothing done with
them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import structlog

from qbo_sink import marker
from qbo_sink.config import from_env
from qbo_sink.estimate import meant_total
from qbo_sink.model import Entity, Key, Sale, decode_wanted
from qbo_sink.port import QuickBooksSink
from qbo_sink.reconcile import linked
from qbo_sink.sandbox import InProcessTransport, Settings, Switches, create_sandbox
from qbo_sink.sandbox.entities import BY_PATH
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.wire import decimal, decode_body
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.events.clock import Stamp, make_stamp
from replica.events.event import GENESIS, AccountId, decode_event, event_id
from replica.events.kinds import build_event
from replica.events.money import content_total_minor, line_total_minor
from replica.events.payloads import (
    Content,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    Payload,
    ProductCreated,
    ProductFields,
    SealedLine,
)
from replica.events.record import Origin, Record
from replica.projections import tables
from replica.sink import SinkContext
from replica.store.engine import Database, open_sqlite

ORDERS = 20_000
CUSTOMERS, PRODUCTS = 200, 100
CHUNK = 500
_OWN = ("Id", "SyncToken", "MetaData")
LIMIT_S = 60.0
ACCOUNT = AccountId(b"benchmark-accoun")
BASE = "http://127.0.0.1:8850"
ENVIRON = {
    "QBO_API_BASE": BASE,
    "QBO_SECRET_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    "QBO_REQUESTS_PER_S": "1000000",
    "QBO_REQUESTS_PER_MIN": "60000000",
    "QBO_CONCURRENT_CALLS": "1",
}


def payloads(orders: int, *, customers: int = CUSTOMERS, products: int = PRODUCTS) -> list[Payload]:
    """Customers, products, and orders of two lines over two years."""
    made: list[Payload] = [
        CustomerCreated(f"c-{at}", CustomerFields(name=f"Customer {at}")) for at in range(customers)
    ]
    made += [
        ProductCreated(f"p-{at}", ProductFields(name=f"Product {at}", price_e4=12_300 + at))
        for at in range(products)
    ]
    for at in range(orders):
        lines = tuple(
            SealedLine(str(n), f"p-{(at + n) % products}", 1_000 * (at % 9 + n), 12_300 + at % 500)
            for n in (1, 2)
        )
        date = f"{2025 + at % 2}-{at % 12 + 1:02}-15"
        draft = Content(f"B-{at:06}", f"c-{at % customers}", "USD", date, 0, lines)
        values = {name: getattr(draft, name) for name in draft.__struct_fields__}
        made.append(
            OrderCommitted(
                f"o-{at}", Content(**values | {"total_minor": content_total_minor(draft)})
            )
        )
    return made


def project(views: Database, made: Sequence[Payload], first: int) -> None:
    """What the read models would hold of these payloads, the first of them at ``first``."""
    rows = []
    device = b"benchmark-device"
    for position, payload in enumerate(made, start=first):
        stamp = make_stamp(1_795_000_000_000 + position, 0, device[8:])
        data = build_event(ACCOUNT, device, 0, position, GENESIS, stamp, payload)
        event = decode_event(data)
        record = Record(event_id(data), event, Stamp(event.stamp), 0, Origin.DEVICE, 0)
        documents: dict[DocKey, Document] = {}
        for key in fold(documents, record):
            state = documents[key].encode()
            rows.append((ACCOUNT, key.type, key.id, state, bytes(32), position, b""))
    names = ("account", "type", "id", "state", "hash", "position", "authors")
    last = first + len(made) - 1
    head = {"position": last, "chain": bytes(32), "fingerprint": bytes(32)}
    with views.writing() as connection:
        connection.execute(
            views.insert(tables.documents),
            [dict(zip(names, row, strict=True)) for row in rows],
        )
        connection.execute(
            views.insert(tables.checkpoints)
            .values(account=ACCOUNT, **head)
            .on_conflict_do_update(index_elements=["account"], set_=head)
        )


def copy_there(sink: QuickBooksSink, sandbox: Sandbox, orders: Sequence[OrderCommitted]) -> None:
    """Copies of the first order's estimate for all others, in the books and in the ledger."""
    parts = sink.parts
    link = parts.connections.get(ACCOUNT)
    company = sandbox.books.company(link.realm if link else "")
    assert company is not None
    first, *others = [Key(Entity.ESTIMATE, "order", one.order) for one in orders]
    template = decode_body(parts.ledger.mappings(ACCOUNT, [first])[first].snapshot.encode())
    sign_key = parts.vault.marker_keys(ACCOUNT)[0]
    for at in range(0, len(others), CHUNK):
        keys = others[at : at + CHUNK]
        contents = parts.ledger.wanted(ACCOUNT, keys)
        links = []
        with sandbox.books.atomic():
            for key in keys:
                sale = decode_wanted(key.entity, contents[key])
                assert isinstance(sale, Sale)
                mark = marker.sign(sign_key, "order", key.local_id)
                stored = sandbox.books.put(
                    company, BY_PATH["estimate"], _copy(template, sale, mark)
                )
                links.append((linked(company.realm, key, stored, contents[key]), ()))
        assert parts.ledger.adopt(ACCOUNT, links) == len(keys)


def _copy(template: dict[str, Any], sale: Sale, mark: str) -> dict[str, Any]:
    body = deepcopy({name: template[name] for name in template if name not in _OWN})
    total = meant_total(sale)
    body |= {"DocNumber": sale.content.number, "TxnDate": sale.content.date, "PrivateNote": mark}
    for line, ours in zip(body["Line"], sale.content.lines, strict=False):
        amount = Decimal(line_total_minor(ours.qty_e3, ours.price_e4, "USD")) / 100
        detail = line["SalesItemLineDetail"]
        detail["Qty"], detail["UnitPrice"] = ours.qty_e3 // 1000, Decimal(ours.price_e4) / 10_000
        line["Amount"] = amount
    body["Line"][-1]["Amount"] = total
    return body | {"TotalAmt": total + decimal((body.get("TxnTaxDetail") or {}).get("TotalTax"))}


async def silent(_: AccountId, __: str, ___: Sequence[tuple[str, bytes]]) -> None:
    """Answers are not what is measured."""


async def measure(folder: Path, orders: int) -> dict[str, Any]:
    """Send everything, then time the comparison and its floor."""
    app = create_sandbox(str(folder / "books.db"), Settings(switches=Switches(throttle=False)))
    views = open_sqlite(folder / "views.db", profile="rebuildable")
    ledger = open_sqlite(folder / "ledger.db")
    tables.open_views(views.write)
    made = payloads(orders)
    documents = [one for one in made if isinstance(one, OrderCommitted)]
    head = len(made) - len(documents) + 1
    project(views, made[:head], 1)
    now_ms = lambda: time.time_ns() // 1_000_000  # noqa: E731 - a clock
    context = SinkContext(views.read, ledger.write, silent, now_ms, ENVIRON)
    sink = QuickBooksSink(context, transport=InProcessTransport(app), config=from_env(ENVIRON))
    await sink.start()
    try:
        report = await sink.run(ACCOUNT, "benchmark")
        assert (report.failed, report.waiting) == (0, 0), report
        project(views, made[head:], head + 1)
        await sink.feed(ACCOUNT)
        copy_there(sink, app.state.sandbox, documents)
        floor_s = await _floor(sink)
        began = time.perf_counter()
        found = await sink.compare(ACCOUNT)
        took_s = time.perf_counter() - began
        assert found.equal == orders, found
        reads = (await sink.reconciliation(ACCOUNT, "", 0)).cost
    finally:
        await sink.stop()
        views.close()
        ledger.close()
        app.state.sandbox.close()
    return {
        "orders": orders,
        "floor_s": round(floor_s, 2),
        "compare_s": round(took_s, 2),
        "orders_per_s": round(orders / took_s),
        "ratio": round(took_s / floor_s, 2),
        "cost": reads,
        "met": took_s < LIMIT_S * orders / ORDERS,
    }


async def _floor(sink: QuickBooksSink) -> float:
    """The same pages, asked for and decoded, and nothing else."""
    session = await sink.open_session(ACCOUNT)
    began = time.perf_counter()
    async for _ in session.pages("Estimate"):
        pass
    return time.perf_counter() - began


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    orders = parser.parse_args().orders
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    with TemporaryDirectory() as folder:
        found = asyncio.run(measure(Path(folder), orders))
    line = "{orders:,} orders compared in {compare_s} s ({orders_per_s:,}/s), {ratio} x the floor"
    print(line.format(**found), file=sys.stderr)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
