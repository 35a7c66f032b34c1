"""Dying between any two steps of the sink, and what must hold afterwards: once, to the penny.

Every write of the ledger, every call and every submission is a boundary, before it and after it.
The process dies there; the next ones find the ledger as it was and go on (reliability I-24).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qbo_sink.connections import Connections
from qbo_sink.ledger import Ledger
from qbo_sink.meeting_store import MeetingStore
from qbo_sink.sandbox import Switches
from tests.qbo_sink.world import Crash, World, customer, order, product, quote

LEDGER_STEPS = (
    "take",
    "want",
    "recover",
    "begin",
    "acknowledge",
    "doubt",
    "looked",
    "postpone",
    "refuse",
    "resend",
    "begin_cycle",
    "answered",
    "adopt",
    "become_invoices",
    "settle",
)
MEETING_STEPS = ("met", "arrive", "note_merge")
CONNECTION_STEPS = ("connect", "save_tokens", "save_preferences", "update")


_STEPS: tuple[tuple[type, tuple[str, ...]], ...] = (
    (Ledger, LEDGER_STEPS),
    (MeetingStore, MEETING_STEPS),
    (Connections, CONNECTION_STEPS),
)


class Boundaries:
    """Counts the boundaries of a process and ends it at one of them."""

    def __init__(self, die_at: int) -> None:
        self.count = 0
        self.die_at = die_at
        self.died_at = ""

    def pass_(self, name: str) -> None:
        if self.died_at:
            raise Crash(self.died_at)
        self.count += 1
        if self.count == self.die_at:
            self.died_at = name
            raise Crash(name)


class DyingTransport(httpx2.AsyncBaseTransport):
    """A boundary before and after each call."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, boundaries: Boundaries) -> None:
        self._inner = inner
        self._boundaries = boundaries

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        name = f"{request.method} {request.url.path}"
        self._boundaries.pass_(f"before {name}")
        response = await self._inner.handle_async_request(request)
        self._boundaries.pass_(f"after {name}")
        return response


@contextmanager
def dying(world: World, boundaries: Boundaries) -> Iterator[None]:
    """Every durable step of the sink becomes two boundaries."""

    def wrapped(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            boundaries.pass_(f"before {name}")
            value = method(*args, **kwargs)
            boundaries.pass_(f"after {name}")
            return value

        return step

    async def submitting(moment: str) -> None:
        boundaries.pass_(f"{moment} submit")

    with pytest.MonkeyPatch.context() as patch:
        for owner, names in _STEPS:
            for name in names:
                patch.setattr(owner, name, wrapped(name, getattr(owner, name)))
        world.submit_hook = submitting
        world.wrap = lambda inner: DyingTransport(inner, boundaries)
        try:
            yield
        finally:
            world.submit_hook = None
            world.wrap = None


def live_and_die(world: World, die_at: int) -> Boundaries:
    """One process that dies at its ``die_at``-th boundary, or does not."""
    boundaries = Boundaries(die_at)
    with dying(world, boundaries):
        try:
            asyncio.run(world.run())
        except (Crash, BaseExceptionGroup):
            assert boundaries.died_at
    return boundaries


def open_world(path: Path, switches: Switches) -> World:
    path.mkdir(exist_ok=True)
    world = World(path, switches=switches)
    world.environ["QBO_CONCURRENT_CALLS"] = "1"
    return world


def put_work(world: World, name: str) -> None:
    """A customer made offline, a product, an order of theirs and a quote."""
    world.put(
        customer(f"c-{name}", f"Customer {name}", email=f"{name}@side.example"),
        product(f"p-{name}", f"Product {name}", sku=f"SKU-{name}"),
        order(
            f"o-{name}",
            f"c-{name}",
            lines=[(f"p-{name}", 128_350, 145_000)],
            shipping_minor=500,
            discount_minor=25,
            fees_minor=130,
        ),
        quote(f"q-{name}", f"c-{name}", lines=[(f"p-{name}", 3_000, 99_999)]),
    )


def check_once(world: World) -> None:
    """One document per local id, totals to the penny, and the answer known here."""
    report = asyncio.run(world.run(times=2))
    assert (report.waiting, report.errors) == (0, ())
    estimates = {row["Id"]: row for row in world.rows("Estimate")}
    sales = [key for key in world.documents if key.type in ("order", "quote")]
    assert world.per_marker() == {f"{key.type[0]}:{key.id}": 1 for key in sales}
    for key in sales:
        seen = world.seen(key.type, key.id)
        answer = seen["answers"]["quickbooks"]
        assert answer["state"] == "estimated"
        assert answer["total_minor"] == seen["content"]["total_minor"]
        row = estimates[answer["external_id"]]
        assert Decimal(str(row["TotalAmt"])) * 100 == seen["content"]["total_minor"]
        assert row["TxnStatus"] == ("Accepted" if key.type == "order" else "Pending")
    for entity, column in (("Customer", "DisplayName"), ("Item", "Name")):
        names = Counter(row[column] for row in world.rows(entity))
        assert max(names.values()) == 1
