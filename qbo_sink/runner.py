"""The runner: one cycle at a time per company.

    feed → connection → token, preferences → markers (once) → push → pull → report

A second call joins the cycle that is on (QB-11). Whatever ends a cycle early, the next one begins
by completing what was left open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx2 as httpx
from sqlalchemy import Engine

from qbo_sink.bodies import Bodies
from qbo_sink.choices import effective
from qbo_sink.client import Client
from qbo_sink.config import LOCAL_SANDBOX, Config
from qbo_sink.connections import CONNECTED, DISCONNECTED, Connections, Link
from qbo_sink.feed import read_page
from qbo_sink.ledger import Ledger
from qbo_sink.liststore import ListStore
from qbo_sink.matches import Match, MatchStore, ours_by_name, pairs
from qbo_sink.meeting import Meeting
from qbo_sink.model import Entity, Key, Settings
from qbo_sink.pace import Pace, Sleep
from qbo_sink.pull import Pull
from qbo_sink.push import Push, Tally
from qbo_sink.queue_store import QueueStore
from qbo_sink.reconcile import adopt_marked, compare_all
from qbo_sink.reconcile_store import ReconcileStore
from qbo_sink.saying import Submit, say_pending
from qbo_sink.session import Session, Unanswered
from qbo_sink.tokens import TokenKeeper, TokenUnavailable
from qbo_sink.vault import Vault
from replica.errors import Forbidden
from replica.sink import Comparison, Progress, RunReport


@dataclass(frozen=True)
class Parts:
    """What a runner works with."""

    config: Config
    http: httpx.AsyncClient
    views: Engine
    ledger: Ledger
    lists: ListStore
    connections: Connections
    keeper: TokenKeeper
    vault: Vault
    submit: Submit
    now_ms: Callable[[], int]
    sleep: Sleep
    name: str


class Runner:
    """Cycles of all accounts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._running: dict[bytes, asyncio.Task[RunReport]] = {}
        self._comparing: dict[bytes, asyncio.Task[Comparison]] = {}
        self._tallies: dict[bytes, Tally] = {}  # of the cycles that are on
        self._paces: dict[str, Pace] = {}

    def is_running(self, account: bytes) -> bool:
        return account in self._running

    async def run(self, account: bytes, *, only: frozenset[int] | None = None) -> RunReport:
        """One cycle, or the one that is on. A caller that goes away does not end it."""
        task = self._running.get(account)
        if task is None:
            task = asyncio.create_task(self._cycle(account, only))
            self._running[account] = task
            task.add_done_callback(lambda _: self._ended(account))
        return await asyncio.shield(task)

    def _ended(self, account: bytes) -> None:
        self._running.pop(account, None)
        self._tallies.pop(account, None)

    async def progress(self, account: bytes) -> Progress | None:
        """How far the cycle or the comparison that is on has come."""
        if account in self._running:
            tally = self._tallies.get(account)
            return Progress("Beginning") if tally is None else tally.progress
        if account in self._comparing:
            store = ReconcileStore(self._parts.ledger.engine)
            found = await asyncio.to_thread(store.progress, account)
            return Progress("Reading QuickBooks", found.fetched)
        return None

    async def stop(self) -> None:
        """End the cycles that are on. What is in flight is looked up by the next one."""
        tasks: list[asyncio.Task[Any]] = [*self._running.values(), *self._comparing.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def feed(self, account: bytes) -> None:
        """Take up what was committed since the last time."""
        parts = self._parts
        link = await asyncio.to_thread(parts.connections.get, account)
        realm = "" if link is None else link.realm
        settings = await asyncio.to_thread(self._settings, account)
        while True:
            before = await asyncio.to_thread(parts.ledger.checkpoint, account)
            page = await asyncio.to_thread(read_page, parts.views, account, before)
            if page is None:
                return
            await asyncio.to_thread(
                parts.ledger.take, account, realm, before, page.through, page.items, settings
            )

    def _settings(self, account: bytes) -> Settings:
        """What counts for the account, chosen or configured."""
        chosen = QueueStore(self._parts.ledger.engine).settings(account)
        return effective(self._parts.config, chosen).settings

    def is_comparing(self, account: bytes) -> bool:
        return account in self._comparing

    async def compare(self, account: bytes) -> Comparison:
        """Everything against everything, or the comparison that is on. A caller that goes away
        does not end it. Raises ``TokenUnavailable`` when there is no answer."""
        task = self._comparing.get(account)
        if task is None:
            task = asyncio.create_task(self._compare(account))
            self._comparing[account] = task
            task.add_done_callback(lambda _: self._comparing.pop(account, None))
        return await asyncio.shield(task)

    async def open_session(self, account: bytes) -> Session:
        """The connected company, ready to be asked. Raises ``TokenUnavailable``."""
        session = await self._session(account)
        if session is None or not await session.open():
            reason = "no QuickBooks company is connected" if session is None else session.halted
            raise TokenUnavailable(reason)
        return session

    async def _compare(self, account: bytes) -> Comparison:
        parts = self._parts
        await self.feed(account)
        session = await self.open_session(account)
        try:
            store = ReconcileStore(parts.ledger.engine)
            return await compare_all(session, parts.ledger, store, parts.vault.marker_keys(account))
        except Unanswered as error:
            raise TokenUnavailable(f"the comparison got no answer: {error}") from error
        finally:
            await self._count(session)

    async def remedy(
        self, account: bytes, key: Key, act: Callable[[Session, Key, Ledger], Awaitable[str]]
    ) -> str:
        """Carry out one remedy of :mod:`qbo_sink.remedies`; what is wrong with it, or ""."""
        session = await self._session(account)
        if session is None or not await session.open():
            return "no QuickBooks company is connected" if session is None else session.halted
        try:
            return await act(session, key, self._parts.ledger)
        except Unanswered as error:
            return f"QuickBooks gave no answer: {error}"
        finally:
            await self._count(session)

    async def answer(self, account: bytes) -> str:
        """Say here what the ledger has to say; "" or why something still waits."""
        parts = self._parts
        return await say_pending(parts.ledger, parts.submit, account, parts.name)

    async def _count(self, session: Session) -> None:
        connections = self._parts.connections
        await asyncio.to_thread(
            connections.count_reads, session.account, session.reads, self._parts.now_ms()
        )

    async def _cycle(self, account: bytes, only: frozenset[int] | None) -> RunReport:
        lease = self._parts.ledger.lease(account)
        mine = await asyncio.to_thread(lease.__enter__)
        try:
            if not mine:
                busy = "another server process sends for this account now"
                return await self._left(account, Tally(errors=[busy]))
            return await self._leased(account, only)
        finally:
            await asyncio.to_thread(lease.__exit__, None, None, None)

    async def _leased(self, account: bytes, only: frozenset[int] | None) -> RunReport:
        parts = self._parts
        try:
            session = await self._session(account)
        except (Forbidden, TokenUnavailable) as error:
            await self.feed(account)
            return await self._left(account, Tally(errors=[str(error)]))
        await self.feed(account)
        if session is None:
            return await self._left(account, Tally())
        now_ms = parts.now_ms()
        await asyncio.to_thread(parts.ledger.recover, account, now_ms)
        marker_keys = parts.vault.marker_keys(account)
        push = Push(
            session,
            parts.ledger,
            Bodies(session, parts.ledger, marker_keys),
            parts.submit,
            parts.name,
        )
        tally = self._tallies[account] = push.tally
        await push.answer()
        if await session.open():
            if session.preferences != session.link.preferences:
                # What the company allows has changed: what was parked for it may go now.
                await asyncio.to_thread(parts.ledger.wake, account)
            if only is None:
                await asyncio.to_thread(parts.ledger.begin_cycle, account)
            try:
                await self._adopt(session, marker_keys)
                await push.run(only)
                if not session.halted and only is None:
                    tally.doing = "Fetching what changed"
                    pull = Pull(
                        session,
                        parts.ledger,
                        parts.connections,
                        parts.lists,
                        meeting=Meeting(session, parts.ledger, marker_keys),
                        views=parts.views,
                    )
                    tally.pulled, notes = await pull.run()
                    await push.answer()
                    tally.errors += notes
            except Unanswered as error:
                tally.errors.append(f"QuickBooks gave no answer: {error}")
        if session.halted and session.halted not in tally.errors:
            tally.errors.append(session.halted)
        await asyncio.to_thread(
            parts.connections.update,
            account,
            last_run_ms=now_ms,
            last_failed=int(bool(tally.failed or session.halted)),
        )
        await self._count(session)
        return await self._left(account, tally)

    async def _adopt(self, session: Session, marker_keys: list[bytes]) -> None:
        """Once per connection, before anything is sent: what is ours there already is linked, and
        what shares a name with a record of ours is listed for somebody to say."""
        parts, account = self._parts, session.account
        if session.link.scanned_ms:
            return
        found: list[Match] = []
        mine = (parts.views, parts.ledger, account)
        ours = await asyncio.to_thread(ours_by_name, *mine, Entity.CUSTOMER)
        await adopt_marked(
            session,
            parts.ledger,
            marker_keys,
            lambda page: found.extend(pairs(Entity.CUSTOMER, page, ours)),
        )
        products = await asyncio.to_thread(ours_by_name, *mine, Entity.ITEM)
        if products:
            async for page in session.pages(Entity.ITEM):
                found += pairs(Entity.ITEM, page, products)
        await asyncio.to_thread(MatchStore(parts.ledger.engine).note, account, found)
        await asyncio.to_thread(
            parts.connections.update, session.account, scanned_ms=parts.now_ms()
        )

    async def _session(self, account: bytes) -> Session | None:
        """The connected company of ``account``; None without one.

        With the profile local-sandbox the first account that asks is connected to it.
        """
        parts = self._parts
        link = await asyncio.to_thread(parts.connections.get, account)
        local = parts.config.profile == LOCAL_SANDBOX
        if local and (link is None or link.state not in (CONNECTED, DISCONNECTED)):
            link = await self._connect_local(account, link)
        if link is None or link.state == DISCONNECTED:
            return None
        if link.state != CONNECTED:
            raise Forbidden(link.reason or "the QuickBooks connection has to be made again")
        client = Client(
            parts.http,
            base=parts.config.api_base,
            realm=link.realm,
            minor_version=parts.config.minor_version,
            pace=self._pace(link.realm),
        )
        return Session(
            link,
            client,
            parts.keeper,
            parts.connections,
            settings=await asyncio.to_thread(self._settings, account),
            width=parts.config.concurrent_calls,
            now_ms=parts.now_ms,
            sleep=parts.sleep,
        )

    async def _connect_local(self, account: bytes, link: Link | None) -> Link | None:
        """The sandbox's own company for the first account, one of its own for every other."""
        parts = self._parts
        owner = await asyncio.to_thread(parts.connections.owner, parts.config.realm)
        free = owner is None or owner == account
        realm = parts.config.realm if free else str(int.from_bytes(account) % 10**15 + 10**15)
        realm = realm if link is None else link.realm
        tokens = await parts.keeper.connect_local(realm)
        await asyncio.to_thread(parts.connections.connect, account, realm, tokens)
        parts.keeper.forget(account)
        return await asyncio.to_thread(parts.connections.get, account)

    def _pace(self, realm: str) -> Pace:
        """The allowance of a company outlives a run: two runs in a row share it."""
        config = self._parts.config
        if realm not in self._paces:
            self._paces[realm] = Pace(
                per_s=config.requests_per_s,
                per_min=config.requests_per_min,
                at_once=config.concurrent_calls,
                now_ms=self._parts.now_ms,
                sleep=self._parts.sleep,
            )
        return self._paces[realm]

    async def _left(self, account: bytes, tally: Tally) -> RunReport:
        counts = await asyncio.to_thread(self._parts.ledger.count_open, account)
        return RunReport(
            sent=tally.sent,
            created=tally.created,
            updated=tally.updated,
            failed=tally.failed,
            waiting=sum(counts.values()),
            pulled=tally.pulled,
            errors=tuple(dict.fromkeys(tally.errors)),
        )
