"""A server with the QuickBooks sink, over a sandbox in this process: no sockets between the two."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import httpx2
import pytest
from starlette.routing import BaseRoute
from typer import Typer

from qbo_sink.config import from_env
from qbo_sink.port import QuickBooksSink
from qbo_sink.sandbox import InProcessTransport, Settings, Switches, create_sandbox
from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.events.money import content_total_minor
from replica.events.payloads import (
    Content,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    ProductCreated,
    ProductFields,
    SealedLine,
)
from replica.projections import queries
from replica.sink import SinkContext, SinkPlugin
from tests.server.world import Company, World

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
CLASH = "Harbour Deli"
"""A customer of the sandbox's company has this name: a customer of it is refused."""


class Books:
    """The sandbox, and the plugin that a server hosts to talk to it."""

    name = "quickbooks"

    def __init__(self, folder: Path, base: str = "http://127.0.0.1:8850", **environ: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        settings = Settings(switches=Switches(throttle=False))
        self.app = create_sandbox(str(folder / "sandbox.db"), settings)
        self.sandbox = self.app.state.sandbox
        self.environ = {
            "QBO_API_BASE": base,
            "QBO_SECRET_KEY": KEY,
            "QBO_REQUESTS_PER_S": "1000",
            "QBO_REQUESTS_PER_MIN": "60000",
            **environ,
        }
        self.sink: QuickBooksSink | None = None

    def from_context(self, context: SinkContext) -> QuickBooksSink:
        self.sink = QuickBooksSink(
            context,
            transport=InProcessTransport(self.app),
            config=from_env(self.environ),
        )
        return self.sink

    @property
    def plugin(self) -> SinkPlugin:
        """What a server hosts. An instance stands for the class that an entry point would name."""
        return cast("SinkPlugin", self)

    @staticmethod
    def cli() -> Typer:
        return QuickBooksSink.cli()

    @staticmethod
    def routes() -> Sequence[BaseRoute]:
        return QuickBooksSink.routes()

    def do(self, path: str, body: Any) -> Any:
        """Something that another user of the company does, or its administrator."""

        async def post() -> Any:
            transport = InProcessTransport(self.app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://sandbox") as http:
                answer = await http.post(f"/sandbox/{path}", json=body)
                assert answer.status_code == 200, answer.text
                return answer.json()

        return asyncio.run(post())

    def close(self) -> None:
        self.sandbox.close()


Scope = Literal["function", "module"]


def booked(scope: Scope) -> tuple[Any, Any]:
    """The fixtures ``books`` and ``world`` of a module: a server with the sink, new for each test
    or one for all of them. The first account of a server has the sandbox's sample company."""

    @pytest.fixture(scope=scope)
    def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
        made = Books(tmp_path_factory.mktemp("books"))
        yield made
        made.close()

    @pytest.fixture(scope=scope)
    def world(tmp_path_factory: pytest.TempPathFactory, books: Books) -> Iterator[World]:
        made = World(tmp_path_factory.mktemp("data"), plugins=[books.plugin])
        yield made
        made.stop()

    return books, world


def order(identity: str, number: str, customer: str = "c-1", **values: Any) -> OrderCommitted:
    values.setdefault("currency", "USD")
    line = SealedLine("1", "p-1", 2_000, 25_000, "Tea")
    draft = Content(number, customer, values.pop("currency"), "2026-11-21", 0, (line,), **values)
    content = Content(
        **{name: getattr(draft, name) for name in draft.__struct_fields__ if name != "total_minor"},
        total_minor=content_total_minor(draft),
    )
    return OrderCommitted(order=identity, content=content)


def stock(world: World, company: Company) -> None:
    """A customer that is fine, one whose name is taken there, a product, and an order of each."""
    world.write(
        company,
        CustomerCreated(customer="c-1", fields=CustomerFields(name="Corner Cafe")),
        CustomerCreated(customer="c-2", fields=CustomerFields(name=CLASH)),
        ProductCreated(product="p-1", fields=ProductFields(name="Earl Grey", price_e4=25_000)),
        order("o-1", "A-0001", "c-2"),
        order("o-2", "A-0002", "c-1"),
        order("o-3", "A-0003", "c-1"),
    )


def sync(world: World, company: Company) -> None:
    """One run of Sync Now, to its end."""

    async def press() -> None:
        world.runtime.sync_now.press(company.account, "test")
        await world.runtime.sync_now.finish(company.account)

    world.on_loop(press)


def external(world: World, company: Company, identity: str, kind: str = "order") -> str:
    """The id there of an order, or of a record of another ``kind``."""
    with world.stores.views.reading() as connection:
        found = queries.document(connection, company.account, DocKey(kind, identity))
    assert found is not None
    seen = view(found)
    return str(
        seen["answers"]["quickbooks"]["external_id"]
        if kind == "order"
        else seen["links"]["quickbooks"]
    )
