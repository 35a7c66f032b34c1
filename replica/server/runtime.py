"""The parts of one server process, put together, started and stopped in order.

Nothing else knows all parts. Routes get the runtime and use what they need; parts get values and
each other, never the runtime or the configuration (architecture.md §11).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from replica.errors import StoreFailed, WorldError
from replica.events.event import AccountId, Position
from replica.events.payloads import Payload
from replica.fanout.local import LocalHub, poll
from replica.limits import READ_OWN_WRITE_WAIT_S, SHUTDOWN_GRACE_S, TOUCH_INTERVAL_S
from replica.projections.check import check
from replica.server import aside
from replica.server.auth import Auth
from replica.server.children import Children
from replica.server.chunks import Chunks
from replica.server.config import Config
from replica.server.connections import Connections
from replica.server.deciding import Deciding
from replica.server.devices import Devices
from replica.server.door import SINK_PREFIX, WEB, Door, judge_here, local_device
from replica.server.giving import Giving
from replica.server.live import Live
from replica.server.logs import Logger, get_logger
from replica.server.metrics import Metrics
from replica.server.planning import Planner
from replica.server.projecting import Projecting
from replica.server.read_models import ReadModels, Writing, in_threads
from replica.server.scoped import granted
from replica.server.scopes import Scopes
from replica.server.sinks import Sinks
from replica.server.stores import Stores
from replica.server.sync_endpoint import SyncEndpoint
from replica.server.sync_now import SyncNow
from replica.sink import SinkContext, SinkPlugin
from replica.store.access import TOKEN_BYTES, make_token
from replica.store.lives import histories
from replica.store.runs import OpenRuns
from replica.store.writer import GroupCommitter

CHUNKS_DIRECTORY = "chunks"
T = TypeVar("T")


def wall_clock_ms() -> int:
    """The wall clock in milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


class Runtime:
    """One server. ``on_failed`` is told of a store that failed: end the process (D4). Without
    ``children`` all is done in this process."""

    def __init__(
        self,
        config: Config,
        stores: Stores,
        *,
        children: Children | None = None,
        plugins: Sequence[SinkPlugin] = (),
        environ: Mapping[str, str] | None = None,
        now_ms: Callable[[], int] = wall_clock_ms,
        on_failed: Callable[[StoreFailed], None] = lambda _: None,
        logger: Logger | None = None,
    ) -> None:
        self.config = config
        self.stores = stores
        self.now_ms = now_ms
        self.logger = logger or get_logger()
        self.metrics = Metrics()
        self.live = Live()
        self.hub = LocalHub()
        self.operator_token = make_token(secrets.token_bytes(TOKEN_BYTES))
        self.failed: StoreFailed | None = None
        self._on_failed = on_failed
        self._tasks: list[asyncio.Task[None]] = []
        # Whoever meets an I/O error first, be it a login: nobody goes on with this disk (D4).
        stores.on_failed = self._fail
        self._children = children
        self.commits = GroupCommitter(
            stores.log, on_committed=self.hub.publish, on_failed=self._fail
        )
        self.door = Door(
            stores.log,
            self.commits,
            quarantined=partial(aside.quarantined, stores.database),
            now_ms=now_ms,
            metrics=self.metrics,
            logger=self.logger,
            judges=children.judge.judge if children else judge_here,
        )
        self.connections = Connections(self.hub, self.metrics, self.logger)
        self.read_models = self._read_models()
        self.projecting = self._projecting()
        self.deciding = self._deciding()
        self.sinks = self._host(plugins, environ or {})
        self.devices = self._devices()
        self.scopes = self._scopes()
        self.sync_endpoint = self._sync_endpoint()
        self.planner = Planner(
            devices=self.devices,
            connections=self.connections,
            sinks=self.sinks,
            views=stores.views,
            head=self.head,
            now_ms=now_ms,
        )
        self.sync_now = self._sync_now()
        self.auth = Auth(
            stores.control,
            now_ms=now_ms,
            secure_cookies=config.secure_cookies,
            operator_token=self.operator_token,
            origins=config.browser_origins,
        )
        self.chunks = Chunks(config.data / CHUNKS_DIRECTORY, stores.views, stores.log, self.logger)

    def head(self, account: AccountId) -> Position:
        """The position of an account's log. Blocking."""
        return self.stores.log.head(account).position

    async def read(self, query: Callable[..., T], *arguments: Any, **filters: Any) -> T:
        """What ``query`` finds in the read models, from one snapshot of them."""

        def read() -> T:
            with self.stores.views.reading() as connection:
                return query(connection, *arguments, **filters)

        return await asyncio.to_thread(read)

    async def write(self, account: AccountId, *payloads: Payload) -> None:
        """Write as the office: durable when it returns, and visible to who reads next. Raises what
        :meth:`Door.submit_local` raises."""
        admitted = await self.door.submit_local(account, WEB, payloads)
        assert admitted.segment is not None, "all were accepted"
        await self.projecting.wait(account, admitted.segment.last, READ_OWN_WRITE_WAIT_S)

    def local_names(self, account: AccountId) -> dict[str, str]:
        """Names of the writers inside the server by device id in hex."""
        names = {local_device(account, WEB).hex(): "the office"}
        for sink in self.sinks.names:
            names[local_device(account, SINK_PREFIX + sink).hex()] = sink
        return names

    async def start(self) -> None:
        """Begin to write, to project and to run sinks. Inside the event loop."""
        self.commits.start()
        if self._children is not None:
            await self._children.judge.start(self.logger)
        self.projecting.start()
        await self.sinks.start()
        accounts = await asyncio.to_thread(self.stores.control.accounts)
        self.deciding.start(account.id for account in accounts)
        self._tasks.append(asyncio.create_task(self._touch_for_ever()))
        if not self.stores.database.exclusive:
            self._tasks.append(asyncio.create_task(poll(self.hub, self.stores.log.positions)))
            self._tasks.append(asyncio.create_task(self._learn_revocations()))
        self.logger.info("started", sinks=self.sinks.names)

    async def drain(self) -> None:
        """Send devices and pages away, so that the listening socket can close."""
        self.live.close()
        await self.connections.drain(SHUTDOWN_GRACE_S)

    async def stop(self) -> None:
        """End everything in the reverse order. What was acknowledged is on disk already."""
        await self.drain()
        await self.sync_now.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.sinks.stop()
        await self.deciding.stop()
        await self.projecting.stop()
        await self._touch()
        if self._children is not None:
            self._children.judge.stop()
        await self.commits.stop()
        self.logger.info("stopped")

    def _read_models(self) -> ReadModels:
        views, log = self.stores.views, self.stores.log
        if self._children is not None:
            self._children.models.on_failed = self._fail
            return ReadModels(views, log, self._children.models.run)
        writing = Writing(views, log, pause=lambda: Giving(self.door))
        return ReadModels(views, log, in_threads(writing))

    def _projecting(self) -> Projecting:
        control = self.stores.control
        return Projecting(
            self.read_models,
            self.stores.log,
            self.hub,
            accounts=lambda: [account.id for account in control.accounts()],
            door=self.door,
            reached=self._projected,
            on_failed=self._fail,
            metrics=self.metrics,
            logger=self.logger,
        )

    def _deciding(self) -> Deciding:
        return Deciding(
            self.read_models,
            self.door,
            self.projecting,
            now_ms=self.now_ms,
            decided=self._decided,
            on_failed=self._fail,
            logger=self.logger,
        )

    def _devices(self) -> Devices:
        return Devices(
            self.stores.control,
            self.door,
            self.connections,
            head=self.head,
            histories=partial(histories, self.stores.database),
            now_ms=self.now_ms,
        )

    def _scopes(self) -> Scopes:
        stores = self.stores
        return Scopes(stores.control, self.door, self.connections, stores.views, now_ms=self.now_ms)

    def _sync_now(self) -> SyncNow:
        return SyncNow(
            connections=self.connections,
            devices=self.devices,
            planner=self.planner,
            projecting=self.projecting,
            digest=self.sync_endpoint.digest,
            sinks=self.sinks,
            door=self.door,
            live=self.live,
            open_runs=OpenRuns(self.stores.database),
            head=self.head,
            check=partial(check, self.stores.views, self.stores.log),
            now_ms=self.now_ms,
            metrics=self.metrics,
            logger=self.logger,
        )

    def _sync_endpoint(self) -> SyncEndpoint:
        return SyncEndpoint(
            door=self.door,
            log=self.stores.log,
            control=self.stores.control,
            projecting=self.projecting,
            connections=self.connections,
            scopes=self.scopes,
            settle=self.deciding.settle,
            origins=self.config.browser_origins,
            shared=not self.stores.database.exclusive,
            now_ms=self.now_ms,
            metrics=self.metrics,
            logger=self.logger,
        )

    def _host(self, plugins: Sequence[SinkPlugin], environ: Mapping[str, str]) -> Sinks:
        hosted = []
        for plugin in plugins:
            context = SinkContext(
                views=self.stores.views.read,
                ledger=self.stores.ledger(plugin.name),
                submit=self.door.submit_sink,
                now_ms=self.now_ms,
                environ=environ,
            )
            hosted.append(plugin.from_context(context))
        settle = self.deciding.settle
        return Sinks(plugins, hosted, self.logger, self.metrics, settle=settle)

    def _decided(self, account: AccountId, position: Position) -> None:
        self.sinks.hint(account, position)

    def _projected(self, account: AccountId, position: Position) -> None:
        self.deciding.hint(account)
        self.live.tell(account, "position", str(position))

    def _fail(self, error: StoreFailed) -> None:
        if self.failed is None:
            self.failed = error
            self.logger.critical("store failed", error=str(error), code=error.code)
            self._on_failed(error)

    async def _touch_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TOUCH_INTERVAL_S)
            await self._touch()

    async def _touch(self) -> None:
        touches = self.sync_endpoint.touches()
        try:
            await asyncio.to_thread(self.stores.control.touch, touches)
        except WorldError as error:
            self.logger.warning("last seen not written", code=error.code)
        except StoreFailed as error:
            self._fail(error)
        else:
            self.connections.written(touches)

    async def _learn_revocations(self) -> None:
        """Another server process may have revoked a device that is connected here (I-18), or
        granted it another scope."""
        since_ms = self.now_ms()
        while True:
            await asyncio.sleep(1.0)
            now_ms = self.now_ms()
            try:
                found = await asyncio.to_thread(self.stores.control.revoked_since, since_ms)
                scoped = await asyncio.to_thread(self.stores.control.scoped_since, since_ms)
            except WorldError:
                continue
            for account, device in found:
                self.connections.revoke(account, device)
            for one in scoped:
                self.scopes.told(one.account, granted(one))
            since_ms = now_ms - 5_000  # clocks of two machines are never quite equal
