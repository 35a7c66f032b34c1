"""One account's company during one run: its calls, its token, and whether the run goes on.

A run halts as a whole for what concerns the company: no token, throttled, unreachable, suspended.
The rows keep their places; an outage uses up nobody's tries (QB-22).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from qbo_sink.client import Client, entity_of
from qbo_sink.connections import Connections, Link
from qbo_sink.faults import Expired, Throttled, classify
from qbo_sink.model import JsonObject, Preferences, Settings, read_preferences
from qbo_sink.pace import Sleep
from qbo_sink.tokens import Disconnected, TokenKeeper, TokenUnavailable
from qbo_sink.wire import Lost, Reply, rows, select
from replica.errors import Forbidden
from replica.limits import QBO_PAGE_ROWS, QBO_PAGES_MAX, QBO_PREFERENCES_AGE_MS


class Unanswered(Exception):
    """A read got no usable answer. Nothing was changed by it."""


class Session:
    """Calls to the company of ``link`` on behalf of its account."""

    def __init__(
        self,
        link: Link,
        client: Client,
        keeper: TokenKeeper,
        connections: Connections,
        *,
        settings: Settings,
        width: int,
        now_ms: Callable[[], int],
        sleep: Sleep,
    ) -> None:
        self.account = link.account
        self.realm = link.realm
        self.link = link
        self.preferences = link.preferences or Preferences()
        self.settings = settings
        self.width = width
        self.now_ms = now_ms
        self.sleep = sleep
        self.halted = ""
        self.reads = 0
        self._client = client
        self._keeper = keeper
        self._connections = connections

    async def open(self) -> bool:
        """A token, and preferences that are not older than a day. False when halted."""
        if self.link.paused_until_ms > self.now_ms():
            self.halted = "QuickBooks asked for a pause; it ends within a minute or so."
            return False
        if not await self.ready():
            return False
        if self.link.preferences is None or self._preferences_are_old():
            await self._read_preferences()
        return not self.halted

    async def ready(self) -> bool:
        """Whether a call may be made now: not halted, and an access token at hand."""
        if self.halted:
            return False
        try:
            await self._keeper.access(self.account)
        except (Disconnected, TokenUnavailable, Forbidden) as error:
            self.halted = str(error)
        return not self.halted

    async def write(self, path: str, body: bytes, requestid: str) -> Reply:
        """One write. A token that is not taken is renewed once; then nothing was written."""
        return await self._with_token(
            lambda token: self._client.write(token, path, body, requestid)
        )

    async def deliver(self, path: str, address: str, requestid: str) -> Reply:
        """One e-mail with a document."""
        return await self._with_token(
            lambda token: self._client.deliver(token, path, address, requestid)
        )

    async def read(self, path: str) -> Reply:
        """One object. Metered."""
        self.reads += 1
        return await self._with_token(lambda token: self._client.read(token, path))

    async def changes(self, entities: str, since: str) -> Reply:
        """Change data capture. Metered."""
        self.reads += 1
        return await self._with_token(lambda token: self._client.changes(token, entities, since))

    async def query(self, statement: str, entity: str) -> list[JsonObject]:
        """The rows of one statement. Raises ``Unanswered``."""
        self.reads += 1
        reply = await self._with_token(lambda token: self._client.query(token, statement))
        if isinstance(reply, Lost):
            raise Unanswered(reply.reason)
        outcome = classify(reply, "")
        if isinstance(outcome, Throttled):
            await self.pause(self.now_ms() + outcome.wait_ms, outcome.reason)
        if reply.faults or reply.status != 200 or "QueryResponse" not in (reply.body or {}):
            raise Unanswered(_reason(reply))
        return rows(reply.body, entity)

    async def pages(self, entity: str, *conditions: str) -> AsyncIterator[list[JsonObject]]:
        """Every row, page by page. A short page does not end it; only an empty one does."""
        start = 1
        for _ in range(QBO_PAGES_MAX):
            statement = select(entity, *conditions, start=start, limit=QBO_PAGE_ROWS)
            page = await self.query(statement, entity)
            if not page:
                return
            yield page
            start += len(page)

    async def pause(self, until_ms: int, reason: str) -> None:
        """The company waits until then; the run ends."""
        self.halted = self.halted or reason
        if until_ms > self.now_ms():
            await asyncio.to_thread(
                self._connections.update, self.account, paused_until_ms=until_ms
            )

    async def stop(self, state: str, reason: str) -> None:
        """The connection needs somebody; the run ends."""
        self.halted = reason
        await asyncio.to_thread(self._connections.update, self.account, state=state, reason=reason)

    async def _with_token(self, call: Callable[[str], Awaitable[Reply]]) -> Reply:
        try:
            token = await self._keeper.access(self.account)
            reply = await call(token)
            if isinstance(classify(reply, ""), Expired):
                reply = await call(await self._keeper.access(self.account, rejected=token))
        except (Forbidden, TokenUnavailable) as error:
            self.halted = str(error)
            # Either no call was made, or the token was not taken: nothing happened there.
            return Lost(str(error), sent=False)
        return reply

    def _preferences_are_old(self) -> bool:
        return self.now_ms() - self.link.preferences_ms > QBO_PREFERENCES_AGE_MS

    async def renew_preferences(self) -> None:
        """Read what the company allows now, whatever is known. Two metered reads."""
        await self._read_preferences()

    async def _read_preferences(self) -> None:
        replies = [await self.read("preferences"), await self.read(f"companyinfo/{self.realm}")]
        preferences = entity_of(replies[0], "Preferences")
        company = entity_of(replies[1], "CompanyInfo")
        if preferences is None or company is None:
            self.halted = self.halted or "QuickBooks did not tell the company's preferences: " + (
                next((_reason(reply) for reply in replies if _reason(reply)), "no answer")
            )
            return
        self.preferences = read_preferences(preferences, company)
        await asyncio.to_thread(
            self._connections.save_preferences, self.account, self.preferences, self.now_ms()
        )


def _reason(reply: Reply) -> str:
    if isinstance(reply, Lost):
        return reply.reason
    if reply.faults:
        fault = reply.faults[0]
        return f"{fault.message} {fault.detail}".strip() or f"code {fault.code}"
    return "" if reply.status == 200 else f"HTTP {reply.status} {reply.excerpt}".strip()
