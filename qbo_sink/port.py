"""The sink as ``replica`` hosts it (:mod:`replica.sink`): found by entry point, never imported.

One sink serves all accounts. Without a QuickBooks in the environment it starts, queues nothing and
says that nothing is connected, so a server without accounting loses no feature.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx2 as httpx

from qbo_sink import config as configuration
from qbo_sink import remedies, schedule, viewing, web
from qbo_sink.choices import effective
from qbo_sink.client import http_client
from qbo_sink.company import NOT_CONNECTED, Company
from qbo_sink.config import Config
from qbo_sink.connections import CONNECTED, Connections
from qbo_sink.differences import Differences
from qbo_sink.invoicing import Invoicing
from qbo_sink.ledger import Ledger
from qbo_sink.liststore import ListStore
from qbo_sink.matching import Matching
from qbo_sink.meeting import Meeting
from qbo_sink.meeting_store import MeetingStore
from qbo_sink.model import Entity, Key
from qbo_sink.opening import open_ledger, tidy
from qbo_sink.outlook import look
from qbo_sink.overruling import Overruling
from qbo_sink.pace import Sleep
from qbo_sink.plan import Step
from qbo_sink.queue import Queue, guidance
from qbo_sink.runner import Parts, Runner
from qbo_sink.saying import Submit
from qbo_sink.session import Session, Unanswered
from qbo_sink.tokens import TokenKeeper, TokenUnavailable
from qbo_sink.vault import load_vault
from qbo_sink.webhooks import merges_of, realms_of
from replica.errors import MisuseError, ReplicaError
from replica.events.event import AccountId
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

if TYPE_CHECKING:
    from starlette.routing import BaseRoute
    from typer import Typer

NAME = "quickbooks"
_IDLE_MS = 60_000
EVERYTHING = QueueAsk()


class QuickBooksSink:
    """QuickBooks Online for every account of a server."""

    name = NAME

    def __init__(
        self,
        context: SinkContext,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Sleep = asyncio.sleep,
        config: Config | None = None,
    ) -> None:
        self._context = context
        self._config = config
        self._transport = transport
        self._sleep = sleep
        self._http: httpx.AsyncClient | None = None
        self._parts: Parts | None = None
        self._runner: Runner | None = None
        self._queue: Queue | None = None
        self._differences: Differences | None = None
        self._invoicing: Invoicing | None = None
        self._overruling: Overruling | None = None
        self._matching: Matching | None = None
        if config is not None:
            effective(config, {})  # a wrong schedule or zone is said before anything starts
        self._company: Company | None = None
        self._clock: asyncio.Task[None] | None = None
        self._hinted: set[bytes] = set()

    @classmethod
    def from_context(cls, context: SinkContext) -> QuickBooksSink:
        """The sink that the environment asks for. Raises ``MisuseError`` for a wrong setting."""
        return cls(context, config=configuration.from_env(context.environ))

    @staticmethod
    def cli() -> Typer:
        from qbo_sink.cli import verbs  # noqa: PLC0415 - typer only where verbs are wanted

        return verbs()

    @staticmethod
    def routes() -> Sequence[BaseRoute]:
        return web.routes()

    @property
    def config(self) -> Config | None:
        return self._config

    @property
    def parts(self) -> Parts:
        """What the sink works with. Raises ``MisuseError`` before ``start`` or without a config."""
        if self._parts is None:
            raise MisuseError(
                "no QuickBooks is configured", hint="set QBO_API_BASE or QBO_CLIENT_ID"
            )
        return self._parts

    async def start(self) -> None:
        """Open the ledger and the HTTP client, and begin to keep the schedule."""
        await asyncio.to_thread(open_ledger, self._context.ledger)
        if self._config is None:
            return
        vault = load_vault(self._context.environ, _ledger_file(self._context))
        self._http = http_client(self._transport)
        connections = Connections(self._context.ledger, vault)
        keeper = TokenKeeper(self._http, connections, self._config, self._context.now_ms)
        self._parts = Parts(
            config=self._config,
            http=self._http,
            views=self._context.views,
            ledger=Ledger(self._context.ledger, self._context.now_ms),
            lists=ListStore(self._context.ledger),
            connections=connections,
            keeper=keeper,
            vault=vault,
            submit=_submit(self._context),
            now_ms=self._context.now_ms,
            sleep=self._sleep,
            name=self.name,
        )
        self._runner = Runner(self._parts)
        self._queue = Queue(self._parts, self._runner)
        self._differences = Differences(self._parts, self._runner)
        self._invoicing = Invoicing(self._parts, self._runner)
        self._overruling = Overruling(self._parts)
        self._matching = Matching(self._parts, self._runner)
        self._company = Company(self._parts, self._runner)
        await self._wind()

    async def _wind(self) -> None:
        """Keep a clock only while somebody wants one: an idle sink does nothing at all."""
        wanted = self._company is not None and await self._company.is_scheduled()
        if wanted and self._clock is None:
            self._clock = asyncio.create_task(self._keep_schedule())
        elif not wanted and self._clock is not None:
            self._clock.cancel()
            self._clock = None

    async def stop(self) -> None:
        """End what is on; the next start goes on from the ledger."""
        if self._clock is not None:
            self._clock.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._clock
        if self._runner is not None:
            await self._runner.stop()
        if self._http is not None:
            await self._http.aclose()
        await asyncio.to_thread(tidy, self._context.ledger)

    def hint(self, account: AccountId, position: int) -> None:
        """Nothing to do: a queue is read, and a run begins, by catching up with the projections."""

    async def run(self, account: AccountId, trigger: str) -> RunReport:
        """Push and pull; ``trigger`` is only for the log of who asked."""
        if self._runner is None:
            return RunReport()
        try:
            report = await self._runner.run(account)
        except ReplicaError as error:
            return RunReport(errors=(str(error),))
        await asyncio.to_thread(tidy, self._context.ledger)
        return report

    async def progress(self, account: AccountId) -> Progress | None:
        """How far the run or the comparison that is on has come."""
        return None if self._runner is None else await self._runner.progress(account)

    async def run_only(self, account: AccountId, intents: frozenset[int]) -> RunReport:
        """Send these rows and nothing else; what they wait for is not sent for them."""
        return (
            RunReport() if self._runner is None else await self._runner.run(account, only=intents)
        )

    @property
    def _desk(self) -> Queue:
        if self._queue is None:
            raise Refusal(NOT_CONNECTED)
        return self._queue

    async def queue(self, account: AccountId, ask: QueueAsk = EVERYTHING) -> QueuePage:
        """What will be sent next time, in sending order, with the reason of what waits (QB-15)."""
        return QueuePage() if self._queue is None else await self._queue.page(account, ask)

    async def outlook(self, account: AccountId) -> Outlook:
        """What a pull would bring. Raises ``TokenUnavailable`` when there is no answer."""
        if self._runner is None:
            return Outlook(NOT_CONNECTED)
        await self._runner.feed(account)
        session = await self._runner.open_session(account)
        try:
            keys = self.parts.vault.marker_keys(account)
            ledger = self.parts.ledger
            return await look(session, ledger, Meeting(session, ledger, keys))
        except Unanswered as error:
            return Outlook(f"QuickBooks gave no answer: {error}")
        finally:
            reads, now_ms = session.reads, self._context.now_ms()
            await asyncio.to_thread(self.parts.connections.count_reads, account, reads, now_ms)

    async def row_of(self, account: AccountId, local_type: str, local_id: str) -> QueueRow | None:
        """The row of one document, None when nothing waits for it."""
        if self._queue is None:
            return None
        return await self._queue.row_of(account, local_type, local_id)

    async def offers(self, account: AccountId, local_type: str, local_id: str) -> Sequence[Offer]:
        """What may be done there about one document: its invoice, and sending that (QB-05)."""
        if self._invoicing is None:
            return []
        return await self._invoicing.offers(account, local_type, local_id)

    async def row(self, account: AccountId, identity: str) -> RowDetail | None:
        """Everything about one row (QB-18, QB-26)."""
        return None if self._queue is None else await self._queue.row(account, identity)

    async def act(self, account: AccountId, thing: str, action: str, deed: Deed) -> None:
        """Carry out an offer. Raises ``Refusal`` saying why not."""
        queue, differences = self._desk, self._differences
        kind, _, number = thing.partition(":")
        if differences is not None and thing == "comparison" and action == "start":
            await differences.start(account)
        elif self._company is not None and kind in ("company", "setting"):
            await self._company.act(account, thing, action, deed)
            await self._wind()
        elif self._matching is not None and kind == "match":
            await self._matching.act(account, number, action, deed)
        elif self._overruling is not None and kind == "overruled":
            await self._overruling.act(account, _number(number), action, deed)
        elif self._invoicing is not None and kind in ("order", "quote"):
            await self._invoicing.act(account, kind, number, action, deed)
        elif differences is not None and kind == "difference":
            await differences.act(account, _number(number), action, deed)
        else:
            await queue.act(account, thing, action, deed)

    async def feed(self, account: AccountId) -> None:
        """Take up what was committed since the last time."""
        if self._runner is not None:
            await self._runner.feed(account)

    async def open_session(self, account: AccountId) -> Session:
        """The connected company, ready to be asked. Raises ``TokenUnavailable``."""
        if self._runner is None:
            raise TokenUnavailable("no QuickBooks is configured")
        return await self._runner.open_session(account)

    async def reconciliation(self, account: AccountId, kind: str, start: int) -> Reconciliation:
        """Where the comparison stands, with differences of ``kind`` from ``start`` on."""
        if self._differences is None:
            return Reconciliation(text=NOT_CONNECTED)
        return await self._differences.page(account, kind, start)

    async def corrections(self, account: AccountId) -> list[Correction]:
        """The newest automatic corrections (QB-24)."""
        return [] if self._queue is None else await self._queue.corrections(account)

    async def overruled(self, account: AccountId) -> list[Overruled]:
        """The newest values that gave way between both sides."""
        return [] if self._overruling is None else await self._overruling.rows(account)

    def guidance(self) -> list[Guidance]:
        """Every fault with cause and fix (QB-28)."""
        return guidance()

    async def preview(self, account: AccountId) -> list[Step]:
        """The queue as the plan sees it."""
        return await self._desk.steps(account)

    async def status(self, account: AccountId) -> SinkStatus:
        """The connection in one word and one sentence."""
        if self._company is None:
            return SinkStatus("not_connected", NOT_CONNECTED, 0)
        return await self._company.status(account)

    async def setup(self, account: AccountId) -> Setup:
        """The connection, its deadlines, what it costs, and what may be chosen (QB-14)."""
        if self._company is None:
            return Setup(await self.status(account))
        found = await self._company.setup(account)
        if self._matching is None:
            return found
        return replace(found, namesakes=await self._matching.rows(account))

    async def connect(self, account: AccountId, callback: str) -> str:
        """Where to send the browser of somebody who may connect ``account``."""
        if self._company is None:
            raise Refusal(NOT_CONNECTED)
        return await self._company.connect(account, callback)

    async def compare(self, account: AccountId) -> Comparison:
        """Every committed order and quote against what it became. Raises ``TokenUnavailable``."""
        if self._runner is None:
            raise TokenUnavailable("no QuickBooks is configured")
        return await self._runner.compare(account)

    # Differences that a comparison showed ---------------------------------------------------------

    async def send_again(self, account: AccountId, local_type: str, local_id: str) -> str:
        """Create anew an estimate that was deleted there. Returns "" or why it was not done."""
        return await self._remedy(account, local_type, local_id, remedies.send_again)

    async def accept_theirs(self, account: AccountId, local_type: str, local_id: str) -> str:
        """Take an estimate as the office left it. Returns "" or why it was not done."""
        return await self._remedy(account, local_type, local_id, remedies.accept_theirs)

    async def send_ours(self, account: AccountId, local_type: str, local_id: str) -> str:
        """Put our version over the office's at the next run. Returns "" or why it was not done."""
        return await self._remedy(account, local_type, local_id, remedies.send_ours)

    async def _remedy(
        self,
        account: AccountId,
        local_type: str,
        local_id: str,
        act: Callable[[Session, Key, Ledger], Awaitable[str]],
    ) -> str:
        if self._runner is None:
            return "no QuickBooks is configured"
        key = Key(Entity.ESTIMATE, local_type, local_id)
        return await self._runner.remedy(account, key, act)

    # The accounting lists, for viewing (ACC-01) --------------------------------------------------

    async def lists(self, account: AccountId) -> Sequence[ListInfo]:
        """Every list as it was last pulled; none without a configuration."""
        if self._parts is None:
            return []
        parts = self._parts
        return await asyncio.to_thread(viewing.infos, parts.lists, parts.config, account)

    async def rows(self, account: AccountId, name: str, ask: ListAsk) -> ListPage | None:
        """Some rows of one list."""
        if self._parts is None:
            return None
        parts = self._parts
        return await asyncio.to_thread(viewing.page, parts.lists, parts.config, account, name, ask)

    async def finish_connect(self, state: str, code: str, realm: str) -> None:
        """The callback of Intuit. Raises ``Forbidden`` for a state that was not begun here."""
        if self._company is not None:
            await self._company.finish_connect(state, code, realm)

    async def hinted(self, body: bytes) -> None:
        """A webhook with a good signature: its companies are due for a run of the schedule."""
        store = MeetingStore(self.parts.ledger.engine)
        for merge in merges_of(body):
            await asyncio.to_thread(store.note_merge, *merge, self._context.now_ms())
        for realm in realms_of(body):
            account = await asyncio.to_thread(self.parts.connections.owner, realm)
            if account is not None:
                self._hinted.add(account)

    async def _keep_schedule(self) -> None:
        """One automatic run per account when it is due; missed ones collapse into one (QB-12).

        A webhook makes an account due at once; several within a turn of this loop are one run.
        """
        started_ms = self._context.now_ms()
        parts, company = self.parts, self._company
        while company is not None:
            for account in await asyncio.to_thread(parts.connections.accounts):
                link = await asyncio.to_thread(parts.connections.get, account)
                if link is None or link.state != CONNECTED:
                    continue
                now_ms = self._context.now_ms()
                last_ms = link.last_run_ms or started_ms
                chosen = await company.choices(account)
                due_ms = schedule.next_due(chosen.schedule, chosen.zone, last_ms, now_ms)
                if due_ms is None:  # by hand only, whatever is hinted (QB-13)
                    continue
                due = due_ms + schedule.jitter_ms(link.realm) <= now_ms
                if due or account in self._hinted:
                    self._hinted.discard(account)
                    await self.run(AccountId(account), "schedule")
            await self._sleep(_IDLE_MS / 1000)


def _number(text: str) -> int | None:
    """The row that a name ends in; None for what is none."""
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _submit(context: SinkContext) -> Submit:
    async def submit(account: bytes, writer: str, events: Sequence[tuple[str, bytes]]) -> None:
        await context.submit(AccountId(account), writer, events)

    return submit


def _ledger_file(context: SinkContext) -> Path | None:
    database = context.ledger.url.database
    is_file = context.ledger.dialect.name == "sqlite" and database and database != ":memory:"
    return Path(database) if is_file and database else None
