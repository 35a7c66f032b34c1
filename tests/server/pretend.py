"""A sink that pretends: it answers every order with an estimate, and does what a test tells it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from typer import Typer

from replica.events.event import AccountId
from replica.events.kinds import encode_payload
from replica.events.payloads import OrderEstimated
from replica.sink import (
    Comparison,
    Correction,
    Deed,
    Guidance,
    ListAsk,
    ListInfo,
    ListPage,
    Offer,
    Outlook,
    Overruled,
    Progress,
    QueueAsk,
    QueuePage,
    QueueRow,
    Reconciliation,
    Refusal,
    RowDetail,
    RunReport,
    Setup,
    SinkContext,
    SinkStatus,
)


class Books:
    """A sink that answers every order with an estimate, and does what a test tells it to."""

    name = "books"

    def __init__(self, context: SinkContext) -> None:
        self.context = context
        self.runs = 0
        self.hints: list[tuple[bytes, int]] = []
        self.broken: Exception | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.found = Comparison(equal=1)
        self.ahead = Outlook("as the books said", 1)
        self.come: Progress | None = None
        self.waiting = [self.row_()]
        made.append(self)

    @classmethod
    def from_context(cls, context: SinkContext) -> Books:
        return cls(context)

    @staticmethod
    def cli() -> Typer:
        return Typer(name="books")

    @staticmethod
    def routes() -> Sequence[BaseRoute]:
        async def hello(_: Request) -> Response:
            return PlainTextResponse("books")

        return [Route("/hello", hello)]

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def hint(self, account: AccountId, position: int) -> None:
        self.hints.append((account, position))

    async def run(self, account: AccountId, trigger: str) -> RunReport:
        self.runs += 1
        await self.held.wait()
        if self.broken is not None:
            raise self.broken
        kind, _, body = encode_payload(OrderEstimated("o-1", self.name, "77", "1001", 998))
        await self.context.submit(account, self.name, [(kind, body)])
        return RunReport(sent=1, created=1, pulled=2)

    async def progress(self, account: AccountId) -> Progress | None:
        return self.come

    def row_(self) -> QueueRow:
        return QueueRow(
            1, "Estimate", "order", "o-1", "A-0001", "Acme", 998, "USD", "queued", "next", 0, "r-1"
        )

    async def queue(self, account: AccountId, ask: QueueAsk) -> QueuePage:
        counts = Counter(row.state for row in self.waiting)
        return QueuePage(self.waiting, len(self.waiting), counts)

    async def outlook(self, account: AccountId) -> Outlook:
        return self.ahead

    async def row_of(self, account: AccountId, local_type: str, local_id: str) -> QueueRow | None:
        return self.row_() if (local_type, local_id) == ("order", "o-1") else None

    async def offers(self, account: AccountId, local_type: str, local_id: str) -> Sequence[Offer]:
        return ()

    async def row(self, account: AccountId, identity: str) -> RowDetail | None:
        return RowDetail(self.row_()) if identity == "r-1" else None

    async def act(self, account: AccountId, thing: str, action: str, deed: Deed) -> None:
        raise Refusal("Nothing can be done with it.")

    async def corrections(self, account: AccountId) -> Sequence[Correction]:
        return ()

    async def overruled(self, account: AccountId) -> Sequence[Overruled]:
        return ()

    def guidance(self) -> Sequence[Guidance]:
        return ()

    async def setup(self, account: AccountId) -> Setup:
        return Setup(await self.status(account))

    async def connect(self, account: AccountId, callback: str) -> str:
        return callback

    async def reconciliation(self, account: AccountId, kind: str, start: int) -> Reconciliation:
        return Reconciliation()

    async def status(self, account: AccountId) -> SinkStatus:
        return SinkStatus("healthy", "Connected to the books.", 1, 1_000)

    async def lists(self, account: AccountId) -> Sequence[ListInfo]:
        return ()

    async def rows(self, account: AccountId, name: str, ask: ListAsk) -> ListPage | None:
        return None

    async def compare(self, account: AccountId) -> Comparison:
        return self.found


made: list[Books] = []
