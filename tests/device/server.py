"""A small server for device tests: the server's peer and the door over a log in memory.

Speaks real websockets on a loopback port from a thread of its own. It has what a test needs to be
unkind: cut connections at chosen moments, forget what it had promised, refuse devices.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeVar

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from replica.crdt.digest import SectionTotal, SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.device import Device, Identity
from replica.errors import Forbidden, ReplicaError, Revoked
from replica.events.event import AccountId, DeviceId, Position
from replica.events.kinds import encode_payload
from replica.events.payloads import Payload
from replica.events.ports import LogHead
from replica.events.record import Origin, Record, records
from replica.ingest import Context, Fact, admit, through, write
from replica.limits import FRAME_BYTES_MAX
from replica.store.memory import MemoryLog
from replica.sync import effects as e
from replica.sync.heads import head_in, next_epoch
from replica.sync.messages import SUBPROTOCOL, Hello, SectionDigest
from replica.sync.server_peer import ServerPeer

ACCOUNT = AccountId(bytes(range(16)))
T = TypeVar("T")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Log(MemoryLog):
    """A log whose generation an operator can raise."""

    generation = 1

    def head(self, account: AccountId) -> LogHead:
        return super().head(account)._replace(generation=self.generation)

    def backup(self) -> Log:
        with self._lock:
            copy = Log(mint=self._mint)
            copy._accounts = deepcopy(self._accounts)
            copy.generation = self.generation
            return copy


@dataclass(eq=False)
class _Connection:
    socket: ServerConnection
    peer: ServerPeer = field(default_factory=ServerPeer)
    timer: asyncio.TimerHandle | None = None
    outgoing: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)


class FakeServer:
    """Use as a context manager. ``refusals`` maps a device to the error it gets, ``append_error``
    is what everybody's pushes get."""

    def __init__(self) -> None:
        self.log = Log(mint=lambda: os.urandom(16))
        self.now_ms: Callable[[], int] = wall_ms
        self.refusals: dict[bytes, ReplicaError] = {}
        self.append_error: ReplicaError | None = None
        self.quarantined: set[bytes] = set()
        self.cut_before_answer = 0  # appends that are committed and never answered
        self.pages_before_cut: int | None = None  # EVENTS frames until the connection breaks
        self.hellos = 0
        self._connections: set[_Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server: Server = self._call(self._serve())
        self.port: int = next(iter(self._server.sockets)).getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> FakeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def _serve(self) -> Server:
        return await serve(
            self._talk,
            "127.0.0.1",
            0,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
            compression=None,
            max_size=FRAME_BYTES_MAX,
            close_timeout=1,
        )

    async def _stop(self) -> None:
        self._cut()
        self._server.close()
        await self._server.wait_closed()

    # What tests do -------------------------------------------------------------------------------

    def identity(self, number: int) -> Identity:
        """An enrolled device."""
        device = bytes([number] * 16)
        return Identity(ACCOUNT, device, f"token-{number}", f"device {number}", self.url)

    def cut(self) -> None:
        """Reset every connection."""

        async def cut() -> None:
            self._cut()

        self._call(cut())

    def write(self, *payloads: Payload, origin: Origin = Origin.WEB) -> int:
        """Write as the office (or a sink); every connected device is told. The new position."""

        async def work() -> int:
            device = DeviceId(bytes([0xF0 | origin]) * 16)
            heads = self.log.device_heads(ACCOUNT, device)
            context = Context(ACCOUNT, device, 1, origin, 2, 0, self.now_ms())
            facts = [Fact(*encode_payload(payload)) for payload in payloads]
            through(self.log, write(context, head_in(heads, 1), facts))
            self._hint()
            return self.log.head(ACCOUNT).position

        return self._call(work())

    def restore(self, backup: Log) -> None:
        """Bring back a backup, as an operator does who tells the truth about it."""

        async def work() -> None:
            self._cut()
            backup.generation = self.log.generation + 1
            self.log = backup

        self._call(work())

    def records(self) -> list[Record]:
        """The whole log."""
        segments = self.log.read(ACCOUNT, Position(0), 1 << 40)
        return [record for segment in segments for _, record in records(segment)]

    def documents(self) -> dict[DocKey, Document]:
        """The fold of the whole log, by nothing but the fold."""
        documents: dict[DocKey, Document] = {}
        for record in self.records():
            fold(documents, record)
        return documents

    def sections(self) -> tuple[SectionTotal, ...]:
        totals = SectionTotals()
        for key, document in self.documents().items():
            totals.add(key, document.encode())
        return totals.sections()

    def ask_sync(self, run: str) -> None:
        """Sync Now was pressed."""

        async def work() -> None:
            for connection in self._connections:
                self._perform(connection, connection.peer.ask_sync(run, self.now_ms()))

        self._call(work())

    # The connection ------------------------------------------------------------------------------

    async def _talk(self, socket: ServerConnection) -> None:
        connection = _Connection(socket)
        self._connections.add(connection)
        writer = asyncio.create_task(self._write(connection))
        try:
            self._perform(connection, connection.peer.opened(self.now_ms()))
            async for message in socket:
                assert isinstance(message, bytes)
                self._perform(connection, connection.peer.receive(message, self.now_ms()))
        except ConnectionClosed:
            pass
        finally:
            self._connections.discard(connection)
            connection.peer.lost()
            if connection.timer is not None:
                connection.timer.cancel()
            connection.outgoing.put_nowait(None)
            await writer

    async def _write(self, connection: _Connection) -> None:
        try:
            while (data := await connection.outgoing.get()) is not None:
                await connection.socket.send(data)
            await connection.socket.close()
        except ConnectionClosed:
            pass

    def _cut(self) -> None:
        for connection in self._connections:
            connection.socket.transport.abort()

    def _hint(self) -> None:
        position = self.log.head(ACCOUNT).position
        for connection in list(self._connections):
            if connection.peer.state in {"probing", "live"}:
                self._perform(connection, connection.peer.hint(position, self.now_ms()))

    def _perform(self, connection: _Connection, effects: list[e.Effect]) -> None:
        for effect in effects:
            try:
                self._one(connection, effect)
            except ReplicaError as error:
                self._perform(connection, connection.peer.failed(error))
        if connection.timer is not None:
            connection.timer.cancel()
        if (due_ms := connection.peer.deadline_ms) is not None:
            delay_s = max(0, due_ms - self.now_ms()) / 1000
            connection.timer = self._loop.call_later(delay_s, self._tick, connection)

    def _tick(self, connection: _Connection) -> None:
        self._perform(connection, connection.peer.tick(self.now_ms()))

    def _one(self, connection: _Connection, effect: e.Effect) -> None:
        peer = connection.peer
        match effect:
            case e.Send(data):
                self._send(connection, data)
            case e.Close():
                connection.outgoing.put_nowait(None)
            case e.Authenticate(hello):
                self._perform(connection, peer.authenticated(self._standing(hello), self.now_ms()))
            case e.Pushed():
                if append := peer.take():
                    self._append(connection, append)
            case e.Read(after, limit_bytes):
                page = self.log.read(ACCOUNT, Position(after), limit_bytes)
                self._perform(connection, peer.loaded(page, self.now_ms()))
            case e.TakeDigest():
                sections = tuple(SectionDigest(*one) for one in self.sections())
                position = self.log.head(ACCOUNT).position
                effects = peer.digested(position, sections, 0, self.now_ms())
                self._perform(connection, effects)

    def _send(self, connection: _Connection, data: bytes) -> None:
        if data[1] == 20 and self.pages_before_cut is not None:  # an EVENTS frame
            self.pages_before_cut -= 1
            if self.pages_before_cut < 0:
                self.pages_before_cut = None
                connection.socket.transport.abort()
                return
        connection.outgoing.put_nowait(data)

    def _standing(self, hello: Hello) -> e.Standing:
        self.hellos += 1
        if hello.device in self.refusals:
            raise self.refusals[hello.device]
        if hello.token != f"token-{hello.device[0]}":
            raise Forbidden("unknown token")
        return e.Standing(
            self.log.head(ACCOUNT),
            self.log.chain_at(ACCOUNT, Position(hello.cursor)),
            self.log.device_heads(ACCOUNT, DeviceId(hello.device)),
            bytes(8),
        )

    def _append(self, connection: _Connection, effect: e.Append) -> None:
        if self.append_error is not None:
            raise self.append_error
        hello = connection.peer.hello
        assert hello is not None
        heads = self.log.device_heads(ACCOUNT, DeviceId(hello.device))
        context = Context(
            ACCOUNT,
            DeviceId(hello.device),
            hello.epoch,
            Origin.DEVICE,
            next_epoch(heads, hello.epoch),
            effect.offset_ms,
            effect.received_ms,
            self.quarantined,
        )
        routine = admit(context, head_in(heads, hello.epoch), effect.first_seq, effect.events)
        admitted = through(self.log, routine)
        self.quarantined.update(aside.id for aside in admitted.asides if aside.event)
        if self.cut_before_answer:
            self.cut_before_answer -= 1
            connection.socket.transport.abort()
            return
        settled = connection.peer.appended(admitted.settlement, self.now_ms())
        self._perform(connection, settled)
        self._hint()


def enrolled(device: Device, identity: Identity) -> Device:
    """``device`` with an identity, without the HTTP call."""
    device._holding.enrol(identity)
    return device


REVOKED = Revoked("the office revoked this device")
