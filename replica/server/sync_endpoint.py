"""The websocket endpoint of devices: who may open one, and what a connection needs of the process.

Refusals before the handshake are plain HTTP answers; after it every reason is a GOODBYE frame. A
browser's page must be on an allowed origin, and a cookie says nothing here: the token in the first
frame does (reliability D12, decision 0005).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from hmac import compare_digest

from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from replica.errors import Forbidden
from replica.events.event import AccountId, DeviceId, Position
from replica.events.ports import Log
from replica.events.record import Origin, Segment
from replica.limits import DEVICE_CONNECTIONS_MAX, RESTART_RETRY_AFTER_MS
from replica.server.connection import Connection
from replica.server.connections import Connections
from replica.server.door import Author, Door
from replica.server.guard import origin_allowed
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.server.projecting import Projecting
from replica.server.scopes import Scopes
from replica.store.access import Device, Touch
from replica.store.control import Control
from replica.sync.effects import Append, Standing
from replica.sync.messages import SUBPROTOCOL, Hello, SectionDigest
from replica.sync.verdicts import Settlement

SESSION_BYTES = 8
DIGEST_WAIT_S = 5.0


def anchored_clock(now_ms: Callable[[], int]) -> Callable[[], int]:
    """A clock that never goes back: the wall clock now, moved on by the monotonic one."""
    base_ms = now_ms() - time.monotonic_ns() // 1_000_000
    return lambda: base_ms + time.monotonic_ns() // 1_000_000


class SyncEndpoint:
    """The ASGI application at ``/sync``, and the services of its connections."""

    def __init__(
        self,
        *,
        door: Door,
        log: Log,
        control: Control,
        projecting: Projecting,
        connections: Connections,
        scopes: Scopes,
        settle: Callable[[AccountId], Awaitable[None]],
        origins: frozenset[str],
        shared: bool,
        now_ms: Callable[[], int],
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        self._door = door
        self._log = log
        self._control = control
        self._projecting = projecting
        self._connections = connections
        self._scopes = scopes
        self._settle = settle
        self._shared = shared  # other processes write to the same store
        self._origins = origins
        self._now_ms = now_ms
        self._metrics = metrics
        self._logger = logger
        self._authors: dict[Connection, Author] = {}
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One websocket, from handshake to end."""
        await receive()
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and not origin_allowed(
            origin, headers.get("host", ""), self._origins
        ):
            await _refuse(send, 403, "this page may not connect here")
        elif SUBPROTOCOL not in scope["subprotocols"]:
            await _refuse(send, 400, f"offer the websocket subprotocol {SUBPROTOCOL}")
        elif self._open >= DEVICE_CONNECTIONS_MAX:
            await _refuse(send, 503, "too many connections; try again soon")
        else:
            await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL})
            scope["headers"].clear()  # nobody reads them again, and a connection lasts for days
            await self._serve(receive, send)

    async def _serve(self, receive: Receive, send: Send) -> None:
        connection = Connection(
            self,
            send,
            clock_ms=anchored_clock(self._now_ms),
            metrics=self._metrics,
            logger=self._logger,
        )
        self._open += 1
        try:
            await connection.run(receive)
        finally:
            self._open -= 1
            self._authors.pop(connection, None)
            self._note(connection)

    # Services of a connection --------------------------------------------------------------------

    async def check_token(self, hello: Hello) -> None:
        device = await asyncio.to_thread(self._control.check_token, hello.token)
        _check_identity(device, hello)

    def enter(self, connection: Connection) -> None:
        self._connections.enter(connection)

    def leave(self, connection: Connection) -> None:
        self._connections.leave(connection, touch_of(connection, self._now_ms()))

    async def standing(self, connection: Connection) -> Standing:
        if self._shared:
            self._door.look_again(connection.account)
        standing = await asyncio.to_thread(self._read_standing, connection.hello)
        await self._door.prepare(connection.account)
        connection.scoped = standing.scope > 0
        self._authors[connection] = Author(
            connection.account,
            connection.device,
            connection.hello.epoch,
            Origin.DEVICE,
            standing.device_heads,
        )
        return standing

    async def append(self, connection: Connection, append: Append) -> Settlement:
        return await self._door.submit_push(self._authors[connection], append)

    async def read(self, account: AccountId, after: int, limit_bytes: int) -> list[Segment]:
        recent = self._connections.tail.read(account, after, limit_bytes)
        if recent is not None:
            return recent
        return await asyncio.to_thread(self._log.read, account, Position(after), limit_bytes)

    async def digest(
        self, connection: Connection, position: int
    ) -> tuple[int, tuple[SectionDigest, ...]]:
        """Counts and digests of what a device is to hold, and the position they are of:
        ``position`` if the read models can be brought exactly there. What the server has to decide
        about them is said first, so that a proof is about that, too."""
        account = connection.account
        await self._projecting.wait(account, position, DIGEST_WAIT_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(DIGEST_WAIT_S):
                await self._settle(account)
        if not connection.scoped:
            return await self._projecting.digest(account)
        return await asyncio.to_thread(self._scopes.digest, account, connection.device)

    def _read_standing(self, hello: Hello) -> Standing:
        account = AccountId(hello.account)
        scope = self._scopes.of(account, DeviceId(hello.device))
        device_heads = self._log.device_heads(account, DeviceId(hello.device))
        head = self._log.head(account)  # after the heads: see Standing
        cursor = Position(min(hello.cursor, head.position))
        return Standing(
            head=head,
            chain_at_cursor=self._log.chain_at(account, cursor),
            device_heads=device_heads,
            session=secrets.token_bytes(SESSION_BYTES),
            scope=scope,
        )

    def _note(self, connection: Connection) -> None:
        """The canonical line of one connection, and what the office sees of the device later."""
        tally = connection.tally
        self._metrics.connections_ended.labels(tally.reason).inc()
        known = connection.known
        self._logger.info(
            "connection",
            account=connection.account if known else None,
            device=connection.device if known else None,
            epoch=connection.hello.epoch if known else None,
            reason=tally.reason,
            close_code=tally.close_code,
            confirmed_position=connection.confirmed,
            pushed=tally.pushed,
            frames=tally.frames,
            received_bytes=tally.received_bytes,
            sent_bytes=tally.sent_bytes,
            offset_ms=connection.offset_ms,
            ms=self._now_ms() - connection.opened_ms,
        )

    def touches(self) -> list[Touch]:
        """News of the devices that left, as far as it is not written, and of those that are here:
        write it, then say so to ``Connections.written``."""
        now_ms = self._now_ms()
        touches = list(self._connections.left().values())
        for account in self._connections.accounts():
            touches += [touch_of(one, now_ms) for one in self._connections.of(account)]
        return touches


def touch_of(connection: Connection, now_ms: int) -> Touch:
    """What is remembered of a device when it is gone."""
    return Touch(
        connection.account,
        connection.device,
        now_ms,
        connection.offset_ms or 0,
        connection.hello.software,
    )


def _check_identity(device: Device, hello: Hello) -> None:
    """Raise ``Forbidden`` unless the token belongs to the device that the hello names (I-7)."""
    told, known = hello.account + hello.device, device.account + device.device
    if not compare_digest(told, known):
        raise Forbidden("the token belongs to another device")


async def _refuse(send: Send, status: int, text: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    if status == 503:
        headers.append((b"retry-after", str(RESTART_RETRY_AFTER_MS // 1_000).encode()))
    await send({"type": "websocket.http.response.start", "status": status, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": text.encode()})
