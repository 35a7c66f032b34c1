"""A small world for the sink's tests: real documents, the real sandbox, a clock that is told.

``World`` folds payloads into the projections' document table as the server would, and its
``submit`` folds the sink's answers back in. The sandbox runs in this process behind the sink's own
HTTP client.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx2
import msgspec

from qbo_sink.config import Config, from_env
from qbo_sink.port import QuickBooksSink
from qbo_sink.sandbox import InProcessTransport, Settings, Switches, create_sandbox
from qbo_sink.wire import select
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold, touched
from replica.crdt.view import view
from replica.events.clock import Stamp, make_stamp
from replica.events.event import GENESIS, AccountId, decode_event, event_id
from replica.events.kinds import REGISTRY, build_event, encode_payload
from replica.events.money import content_total_minor
from replica.events.payloads import (
    Content,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    Payload,
    ProductCreated,
    ProductFields,
    QuoteCommitted,
    SealedLine,
)
from replica.events.record import Origin, Record
from replica.projections import tables
from replica.sink import SinkContext
from replica.store.engine import open_postgres, open_sqlite

ACCOUNT = AccountId(b"account-0123456\0"[:16])
START_MS = 1_795_000_000_000
BASE = "http://127.0.0.1:8850"
KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
ENVIRON = {"QBO_API_BASE": BASE, "QBO_SECRET_KEY": KEY}


@cache
def _seeded_books(country: str) -> bytes:
    """The books of a new sandbox, made once: seeding is most of what a small test would cost."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "books.db"
        settings = Settings(country=country)  # type: ignore[arg-type]
        create_sandbox(str(path), settings, clock=lambda: START_MS).state.sandbox.close()
        return path.read_bytes()


class Crash(BaseException):
    """The process died here."""


@dataclass
class Clock:
    """Time that moves when somebody sleeps."""

    ms: int = START_MS

    def now_ms(self) -> int:
        return self.ms

    async def sleep(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
        await asyncio.sleep(0)


@dataclass
class World:
    """One account's documents, the sandbox, and the sink over a ledger on disk."""

    path: Path
    switches: Switches = field(default_factory=lambda: Switches(throttle=False))
    environ: dict[str, str] = field(default_factory=lambda: dict(ENVIRON))
    clock: Clock = field(default_factory=Clock)
    wrap: Callable[[httpx2.AsyncBaseTransport], httpx2.AsyncBaseTransport] | None = None
    country: str = "US"
    ledger_url: str = ""  # a PostgreSQL database instead of a file
    app: Any = None  # another world's sandbox, to share it

    def __post_init__(self) -> None:
        self.path.mkdir(exist_ok=True)
        self.views = open_sqlite(self.path / "views.db", profile="rebuildable")
        tables.open_views(self.views.write)
        # What is tested is the order of commits; how the disk keeps them is the store's test.
        if self.ledger_url:
            self.ledger = open_postgres(self.ledger_url)
        else:
            self.ledger = open_sqlite(self.path / "ledger.db", profile="rebuildable")
        self.documents: dict[DocKey, Document] = {}
        self.positions: dict[DocKey, int] = {}
        self.position = 0
        self.stamp_ms = 0
        self.answers: list[tuple[str, Payload]] = []
        self.submit_hook: Callable[[str], Awaitable[None]] | None = None
        self.shared = self.app is not None
        if self.app is None:
            self._open_sandbox()
        self.sandbox = self.app.state.sandbox

    def _open_sandbox(self) -> None:
        books = self.path / "sandbox.db"
        if not books.exists():
            books.write_bytes(_seeded_books(self.country))
        self.app = create_sandbox(
            str(books),
            Settings(switches=self.switches, country=self.country),  # type: ignore[arg-type]
            clock=self.clock.now_ms,
        )
        self.sandbox = self.app.state.sandbox
        # The books' durability is the sandbox's own test.
        self.sandbox.books.connection.commit()
        raw = self.sandbox.books.connection.connection.dbapi_connection
        raw.execute("PRAGMA synchronous=OFF")
        self.sandbox.flip(msgspec.to_builtins(self.switches))

    def close(self) -> None:
        if not self.shared:
            self.sandbox.close()
        self.views.close()
        self.ledger.close()

    # Documents -----------------------------------------------------------------------------------

    def put(self, *payloads: Payload, origin: Origin = Origin.DEVICE) -> None:
        """Fold ``payloads`` as the log would have them and move the projections' checkpoint."""
        changed: set[DocKey] = set()
        for payload in payloads:
            self.position += 1
            device = bytes(15) + bytes([origin])
            self.stamp_ms = max(self.stamp_ms + 1, self.clock.ms)
            stamp = make_stamp(self.stamp_ms, 0, device[8:])
            data = build_event(ACCOUNT, device, 0, self.position, GENESIS, stamp, payload)
            event = decode_event(data)
            record = Record(event_id(data), event, Stamp(event.stamp), 0, origin, START_MS)
            touched(event)
            for key in fold(self.documents, record):
                changed.add(key)
                self.positions[key] = self.position
        self.save(changed)

    def save(self, changed: set[DocKey]) -> None:
        rows = [
            {
                "account": ACCOUNT,
                "type": key.type,
                "id": key.id,
                "state": self.documents[key].encode(),
                "hash": bytes(32),
                "position": self.positions[key],
                "authors": b"",
            }
            for key in changed
        ]
        with self.views.writing() as connection:
            for row in rows:
                connection.execute(
                    self.views.insert(tables.documents)
                    .values(row)
                    .on_conflict_do_update(
                        index_elements=["account", "type", "id"],
                        set_={name: row[name] for name in ("state", "hash", "position")},
                    )
                )
            checkpoint: dict[str, Any] = {
                "account": ACCOUNT,
                "position": self.position,
                "chain": bytes(32),
                "fingerprint": bytes(32),
            }
            connection.execute(
                self.views.insert(tables.checkpoints)
                .values(checkpoint)
                .on_conflict_do_update(index_elements=["account"], set_={"position": self.position})
            )

    def seen(self, document_type: str, identity: str) -> dict[str, Any]:
        return view(self.documents[DocKey(document_type, identity)])

    async def submit(
        self, account: AccountId, writer: str, events: Sequence[tuple[str, bytes]]
    ) -> None:
        assert writer == "quickbooks"
        if account != ACCOUNT:  # this world holds the documents of one account
            return
        if self.submit_hook:
            await self.submit_hook("before")
        payloads = [REGISTRY.read(kind, body) for kind, body in events]
        assert [encode_payload(payload)[0] for payload in payloads] == [kind for kind, _ in events]
        self.answers += [(kind, p) for (kind, _), p in zip(events, payloads, strict=True)]
        self.put(*payloads, origin=Origin.SINK)
        if self.submit_hook:
            await self.submit_hook("after")

    # The sink ------------------------------------------------------------------------------------

    def make_sink(self) -> QuickBooksSink:
        transport: httpx2.AsyncBaseTransport = InProcessTransport(self.app)
        if self.wrap:
            transport = self.wrap(transport)
        config: Config | None = from_env(self.environ)
        context = SinkContext(
            self.views.read, self.ledger.write, self.submit, self.clock.now_ms, self.environ
        )
        return QuickBooksSink(context, transport=transport, sleep=self.clock.sleep, config=config)

    async def run(self, times: int = 1) -> Any:
        """Start a sink, run it, stop it: each time like a process of its own."""
        report = None
        for _ in range(times):
            sink = self.make_sink()
            await sink.start()
            try:
                report = await sink.run(ACCOUNT, "test")
            finally:
                await sink.stop()
        return report

    # What stands there ---------------------------------------------------------------------------

    def rows(self, entity: str) -> list[dict[str, Any]]:
        """Every live object of the sandbox's first company, read past the API."""
        company = self.sandbox.books.company(self.sandbox.settings.realm)
        found: list[dict[str, Any]] = []

        self.sandbox.throttle.forget()

        async def fetch() -> None:
            transport = InProcessTransport(self.app)
            async with httpx2.AsyncClient(transport=transport, base_url=BASE) as http:
                tokens = (await http.post("/sandbox/connect", json={})).json()
                root = f"/v3/company/{company.realm}/query"
                token = tokens["access_token"]
                headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
                start = 1
                while True:
                    statement = select(entity, start=start)
                    answer = await http.get(root, params={"query": statement}, headers=headers)
                    page = answer.json()["QueryResponse"].get(entity, [])
                    if not page:
                        return
                    found.extend(page)
                    start += len(page)

        asyncio.run(fetch())
        return found

    def per_marker(self) -> Counter[str]:
        """How many estimates carry the marker of each local document."""
        notes = [str(row.get("PrivateNote", "")) for row in self.rows("Estimate")]
        return Counter(
            note.rsplit("[rp:", 1)[1].rsplit(":", 1)[0] for note in notes if "[rp:" in note
        )


# Payloads ----------------------------------------------------------------------------------------


def customer(identity: str, name: str = "", **values: Any) -> CustomerCreated:
    fields = CustomerFields(name=name or f"Customer {identity}", **values)
    return CustomerCreated(identity, fields)


def product(identity: str, name: str = "", **values: Any) -> ProductCreated:
    values.setdefault("price_e4", 25_000)
    return ProductCreated(identity, ProductFields(name=name or f"Product {identity}", **values))


def content(
    number: str,
    customer_id: str,
    lines: Sequence[tuple[str, int, int]],
    **values: Any,
) -> Content:
    values.setdefault("currency", "USD")
    sealed = tuple(
        SealedLine(f"l{at}", product_id, qty_e3, price_e4)
        for at, (product_id, qty_e3, price_e4) in enumerate(lines, start=1)
    )
    made = Content(
        number=number,
        customer=customer_id,
        date="2026-11-20",
        total_minor=0,
        lines=sealed,
        **values,
    )
    total = content_total_minor(made)
    return Content(
        **{name: getattr(made, name) for name in made.__struct_fields__ if name != "total_minor"},
        total_minor=total,
    )


def order(identity: str, customer_id: str = "c-1", **values: Any) -> OrderCommitted:
    lines = values.pop("lines", [("p-1", 2_000, 25_000)])
    number = values.pop("number", f"T-{identity}")
    return OrderCommitted(identity, content(number, customer_id, lines, **values))


def quote(identity: str, customer_id: str = "c-1", **values: Any) -> QuoteCommitted:
    lines = values.pop("lines", [("p-1", 1_000, 25_000)])
    return QuoteCommitted(identity, content(f"Q-{identity}", customer_id, lines, **values))
