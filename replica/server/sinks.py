"""The sinks of this process: hosted here, never imported by name (see ``plugins``).

A sink that fails takes nothing with it: each call is guarded, the failure is logged and shown as a
state, and the log and the pages go on without it (architecture.md §6).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from starlette.routing import Mount

from replica.errors import ReplicaError
from replica.events.event import AccountId
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.sink import (
    Comparison,
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
    Refusal,
    RunReport,
    Sink,
    SinkPlugin,
    SinkStatus,
)

NOT_INSTALLED = SinkStatus("not_connected", "No accounting program is connected.", 0)

T = TypeVar("T")


class Sinks:
    """The sinks hosted by this process."""

    def __init__(
        self,
        plugins: Sequence[SinkPlugin],
        sinks: Sequence[Sink],
        logger: Logger,
        metrics: Metrics,
        *,
        settle: Callable[[AccountId], Awaitable[None]],
    ) -> None:
        """``settle`` decides what a sink would wait for (:mod:`replica.server.deciding`)."""
        self._settle = settle
        self._plugins = plugins
        self._sinks = list(sinks)
        self._started: list[Sink] = []
        self._logger = logger
        self._metrics = metrics

    async def start(self) -> None:
        """Start each; one that cannot is left out and said so, the others go on."""
        for sink in self._sinks:
            if await self._guarded(sink, "start", _then(sink.start(), result=True), failed=False):
                self._started.append(sink)

    async def stop(self) -> None:
        """Stop each, in the reverse order."""
        while self._started:
            sink = self._started.pop()
            await self._guarded(sink, "stop", sink.stop(), failed=None)

    @property
    def names(self) -> list[str]:
        return [sink.name for sink in self._started]

    @property
    def by_name(self) -> dict[str, Sink]:
        """Every hosted sink by its name."""
        return {sink.name: sink for sink in self._sinks}

    @property
    def all_started(self) -> bool:
        """Whether every installed sink is running."""
        return len(self._started) == len(self._sinks)

    def routes(self) -> list[Mount]:
        """Each sink's own routes under ``/sinks/<name>/``."""
        return [
            Mount(f"/sinks/{plugin.name}", routes=list(plugin.routes()))
            for plugin in self._plugins
            if plugin.routes()
        ]

    def hint(self, account: AccountId, position: int) -> None:
        """The read models of ``account`` reached ``position``."""
        for sink in self._started:
            sink.hint(account, position)

    async def run(self, account: AccountId, trigger: str) -> dict[str, RunReport]:
        """Push and pull with every sink; a failure becomes the error of its report."""
        reports = {}
        if self._started:
            await self._settle(account)
        for sink in self._started:
            failed = RunReport(errors=(f"{sink.name} could not run; see the log of the server",))
            report = await self._guarded(
                sink, "run", sink.run(account, trigger), failed=failed, account=account
            )
            self._metrics.sink_runs.labels("failed" if report.errors else "done").inc()
            self._logger.info(
                "sink run",
                sink=sink.name,
                account=account,
                trigger=trigger,
                sent=report.sent,
                pulled=report.pulled,
                failed=report.failed,
                waiting=report.waiting,
                errors=list(report.errors),
            )
            reports[sink.name] = report
        return reports

    async def progress(self, account: AccountId) -> Progress | None:
        """How far the run or the comparison of the sink that has one on has come."""
        for sink in self._started:
            call = sink.progress(account)
            found = await self._guarded(sink, "progress", call, failed=None, account=account)
            if found is not None:
                return found
        return None

    async def queue(self, account: AccountId, ask: QueueAsk) -> QueuePage:
        """A part of the queue of the first sink, which is the one that pages show."""
        empty = QueuePage()
        for sink in self._started:
            call = sink.queue(account, ask)
            return await self._guarded(sink, "queue", call, failed=empty, account=account)
        return empty

    async def outlook(self, account: AccountId) -> Outlook:
        """What a pull of the first sink would bring."""
        for sink in self._started:
            failed = Outlook(f"{sink.name} did not say what changed there")
            call = sink.outlook(account)
            return await self._guarded(sink, "outlook", call, failed=failed, account=account)
        return Outlook(NOT_INSTALLED.text)

    async def row_of(self, account: AccountId, local_type: str, local_id: str) -> QueueRow | None:
        """What waits for one document."""
        for sink in self._started:
            call = sink.row_of(account, local_type, local_id)
            return await self._guarded(sink, "row", call, failed=None, account=account)
        return None

    async def offers(self, account: AccountId, local_type: str, local_id: str) -> Sequence[Offer]:
        """What may be done there about one document."""
        for sink in self._started:
            call = sink.offers(account, local_type, local_id)
            return await self._guarded(sink, "offers", call, failed=(), account=account)
        return ()

    async def overruled(self, account: AccountId) -> Sequence[Overruled]:
        """The newest values that gave way between here and there."""
        for sink in self._started:
            call = sink.overruled(account)
            return await self._guarded(sink, "overruled", call, failed=(), account=account)
        return ()

    @property
    def desk(self) -> Sink:
        """The sink whose rows people handle. Raises ``Refusal`` without one."""
        if not self._started:
            raise Refusal(NOT_INSTALLED.text)
        return self._started[0]

    async def status(self, account: AccountId) -> SinkStatus:
        """The state of the first sink, which is the one that pages show."""
        for sink in self._started:
            failed = SinkStatus("failing", f"{sink.name} does not answer.", 0)
            return await self._guarded(
                sink, "status", sink.status(account), failed=failed, account=account
            )
        return NOT_INSTALLED

    async def lists(self, account: AccountId) -> Sequence[ListInfo]:
        """The lists of the first sink, which is the one that pages show."""
        for sink in self._started:
            call = sink.lists(account)
            return await self._guarded(sink, "lists", call, failed=(), account=account)
        return ()

    async def rows(self, account: AccountId, name: str, ask: ListAsk) -> ListPage | None:
        """Some rows of one of these lists; None when there is no such list."""
        for sink in self._started:
            call = sink.rows(account, name, ask)
            return await self._guarded(sink, "rows", call, failed=None, account=account)
        return None

    async def compare(self, account: AccountId) -> dict[str, Comparison]:
        """Every committed document against its counterpart, per sink that can be reached."""
        found = {}
        for sink in self._started:
            comparison = await self._guarded(
                sink, "compare", sink.compare(account), failed=None, account=account
            )
            if comparison is not None:
                found[sink.name] = comparison
        return found

    async def _guarded(
        self,
        sink: Sink,
        step: str,
        call: Awaitable[T],
        *,
        failed: T,
        account: bytes | None = None,
    ) -> T:
        try:
            return await call
        except ReplicaError as error:
            self._logger.warning(
                "sink step failed", sink=sink.name, step=step, account=account, error=str(error)
            )
            return failed
        except Exception:
            self._logger.exception("sink step broke", sink=sink.name, step=step, account=account)
            return failed


async def _then(call: Awaitable[None], *, result: T) -> T:
    await call
    return result
