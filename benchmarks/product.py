"""The product's driver: ``replica serve`` with everything on, spoken to as a device speaks.

Devices are enrolled by code, connect with a token, measure their clock, push, take in what the
others pushed and confirm it. Once everything is acknowledged the driver asks how far the read
models are, waits for them, and compares their digest with a fold of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import msgspec
from pysqlite3 import dbapi2 as sqlite
from websockets.asyncio.client import ClientConnection

from benchmarks.drivers import Session, open_socket
from benchmarks.orders import order_events
from replica.crdt.digest import SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.device import Device
from replica.device.asking import OK, connected
from replica.device.chain import Author, Head, Made
from replica.device.enrolment import enrol, sync_url
from replica.device.journal import Identity
from replica.errors import PeerGone
from replica.events.clock import Stamp
from replica.events.record import Origin, Record
from replica.limits import CONFIRM_BYTES, CONFIRM_INTERVAL_MS, MANIFEST_BYTES_MAX
from replica.server.auth import ACCOUNT_HEADER
from replica.sync import messages as m
from replica.sync.chunks import ChunkInfo, decode_manifest, inflate_chunk, open_chunk

EPOCH = 1
SOFTWARE = "benchmark"
START_TIMEOUT_S = 60.0
FOLLOW_TIMEOUT_S = 300.0
POLL_S = 0.02


class ProductDriver:
    """One ``replica serve`` and the devices that were enrolled with it: all in one account when
    they work ``together``, else each in an account of its own."""

    def __init__(self, together: bool) -> None:
        self._together = together
        self._url = ""
        self._token = ""
        self._sessions: list[ProductSession] = []
        self.pid = 0

    @contextmanager
    def serve(self, directory: Path) -> Iterator[str]:
        environ = {**os.environ, "REPLICA_DATA": str(directory), "REPLICA_PORT": "0"}
        with (
            (directory / "server.log").open("wb") as log,
            subprocess.Popen(
                [sys.executable, "-m", "replica", "serve"],
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=log,
            ) as process,
        ):
            try:
                told = _wait_told(directory / "operator.json", process)
                self._url, self._token, self.pid = told["url"], told["token"], process.pid
                yield self._url
            finally:
                ended = process.poll()
                process.terminate()
                if ended is not None:
                    last = (directory / "server.log").read_text().splitlines()[-1:]
                    raise PeerGone(f"the server ended by itself with {ended}: {last}")

    async def connect(self, address: str, writer: int) -> Session:
        account = ""
        if writer and not self._together:
            account = f"shop-{writer}"
            owner = {"name": account, "login": account, "password": secrets.token_urlsafe()}
            await self._ask("/accounts", owner)
        code = (await self._ask("/devices/codes", {"name": f"till {writer}"}, account))["code"]
        identity = await asyncio.to_thread(enrol, address, code, "", software=SOFTWARE)
        session = ProductSession(identity, random.Random(writer), self._sessions)
        await session.rejoin(address)
        self._sessions.append(session)
        return session

    async def follow(self) -> Mapping[str, float]:
        """How far the read models were behind at the last acknowledgement, and how fast they came
        after. Asserts that they end where a fold of the pushed events ends."""
        accounts: dict[str, list[ProductSession]] = {}
        for session in self._sessions:
            accounts.setdefault(session.account, []).append(session)
        started_s = time.perf_counter()
        behind = sum([await self._behind(*one) for one in accounts.items()])
        for one in accounts.items():
            while await self._behind(*one):
                late = time.perf_counter() - started_s > FOLLOW_TIMEOUT_S
                assert not late, "the read models stand still"
                await asyncio.sleep(POLL_S)
        seconds = time.perf_counter() - started_s
        for account, sessions in accounts.items():
            told = await self._ask("/sections", account=account)
            orders = next(line for line in told["sections"] if line["section"] == "order")
            made = [one for session in sessions for one in session.made]
            assert (orders["count"], bytes.fromhex(orders["digest"])) == _folded(made)
        rate = round(behind / seconds) if behind else None
        return {"behind": behind, **({"follow_per_s": rate} if rate else {})}

    async def _behind(self, account: str, sessions: Sequence[ProductSession]) -> int:
        """Events the read models of an account lack."""
        # The log also says of each device that it was enrolled.
        end = sum(len(session.made) + 1 for session in sessions)
        told = await self._ask("/sections", account=account)
        return end - int(told["position"])

    async def newcomer(self, address: str, events: int) -> float:
        """Documents in bulk: seconds until every chunk is here, proved by its hash, inflated."""
        return await asyncio.to_thread(_fetch, await self._newcomer(address), events, inflate_chunk)

    async def opened(self, address: str, events: int) -> float:
        """The same, and every document made from its chunk, byte for byte."""
        return await asyncio.to_thread(_fetch, await self._newcomer(address), events, open_chunk)

    async def device(self, address: str, directory: Path, events: int) -> float:
        """The same by a device: seconds until everything is on its disk and proved equal to the
        server."""
        identity = await self._newcomer(address)
        return await asyncio.to_thread(_sync, identity, directory / "device.db", events)

    async def _newcomer(self, address: str) -> Identity:
        code = (await self._ask("/devices/codes", {"name": "newcomer"}))["code"]
        return await asyncio.to_thread(enrol, address, code, "newcomer", software=SOFTWARE)

    def stored(self, directory: Path) -> int:
        with closing(sqlite.connect(directory / "log.db")) as database:
            statement = "SELECT coalesce(sum(count), 0) FROM segments WHERE origin = ?"
            count: int = database.execute(statement, (Origin.DEVICE,)).fetchone()[0]
        return count

    async def _ask(self, path: str, body: Any = None, account: str = "") -> Any:
        """The API, as the operator of the machine; the first account unless one is named."""
        request = Request(  # noqa: S310 - the address is the server's own, on the loopback
            f"{self._url}/api/v1{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "authorization": f"Bearer {self._token}",
                "content-type": "application/json",
                **({ACCOUNT_HEADER: account} if account else {}),
            },
        )

        def ask() -> Any:
            with urlopen(request) as response:  # noqa: S310 - as above
                return json.load(response)

        return await asyncio.to_thread(ask)


class ProductSession:
    """A device without a journal: it keeps nothing of what it is sent, but confirms it."""

    _socket: ClientConnection

    def __init__(
        self, who: Identity, chance: random.Random, everybody: Sequence[ProductSession]
    ) -> None:
        self._who = who
        self._chance = chance
        self._everybody = everybody
        self._through = 0
        self._confirming: asyncio.Task[None] | None = None
        self._waiting_bytes = 0
        self.made: list[Made] = []

    @property
    def account(self) -> str:
        return self._who.account.hex()

    @property
    def delivered(self) -> int:
        """Positions passed since everybody was enrolled: each enrolment has one, too."""
        return self._through - len(self._everybody)

    async def meet(self) -> None:
        """HELLO, WELCOME and the first reading of the clock."""
        await self._say(
            m.Hello(
                version_min=m.PROTOCOL_VERSION_MIN,
                version_max=m.PROTOCOL_VERSION,
                token=self._who.token,
                account=self._who.account,
                device=self._who.device,
                epoch=EPOCH,
                head_seq=0,
                log_id=b"",
                generation=0,
                cursor=0,
                chain=b"",
                sent_ms=_now_ms(),
                software=SOFTWARE,
            )
        )
        welcome = m.decode_frame(await self._socket.recv(decode=False))
        assert isinstance(welcome, m.Welcome), welcome
        await self._reply(welcome.probe_sent_ms)

    def prepare(self, events: int, batch: int) -> Sequence[bytes]:
        author = Author(self._who.account, self._who.device)
        self.made = order_events(author, Head(EPOCH), events, _now_ms(), self._chance)
        data = [one.data for one in self.made]
        return [
            m.encode_frame(m.Push(number, first + 1, tuple(data[first : first + batch])))
            for number, first in enumerate(range(0, events, batch), 1)
        ]

    async def send(self, frame: bytes) -> None:
        await self._socket.send(frame)

    async def hear(self) -> int:
        data = await self._socket.recv(decode=False)
        if _number(data) == _EVENTS:
            self._through = _decode_through(data).through
            await self._confirm(len(data))
            return 0
        frame = m.decode_frame(data)
        if isinstance(frame, m.Probe):
            await self._reply(frame.probe_sent_ms)
            return 0
        if isinstance(frame, m.Result):
            assert {verdict.outcome for verdict in frame.verdicts} == {m.Outcome.ACCEPTED}
            return sum(verdict.count for verdict in frame.verdicts)
        raise PeerGone(f"the server said {frame}")

    async def _confirm(self, size: int) -> None:
        """As the device does: in a stream of small frames one CURSOR speaks for many."""
        self._waiting_bytes += size
        if self._waiting_bytes >= CONFIRM_BYTES:
            await self._say_cursor()
        elif self._confirming is None:
            self._confirming = asyncio.create_task(self._confirm_soon())

    async def _confirm_soon(self) -> None:
        await asyncio.sleep(CONFIRM_INTERVAL_MS / 1_000)
        self._confirming = None
        if self._waiting_bytes:
            await self._say_cursor()

    async def _say_cursor(self) -> None:
        self._waiting_bytes = 0
        await self._say(m.Cursor(self._through))

    async def close(self) -> None:
        if self._confirming is not None:
            self._confirming.cancel()
            self._confirming = None
        self._waiting_bytes = 0
        await self._socket.close()

    async def leave(self) -> None:
        await self.close()

    async def rejoin(self, address: str) -> None:
        self._socket = await open_socket(sync_url(address), m.SUBPROTOCOL)
        self._through = 0
        await self.meet()

    async def _reply(self, probe_sent_ms: int) -> None:
        now_ms = _now_ms()
        await self._say(m.ProbeReply(probe_sent_ms, now_ms, now_ms))

    async def _say(self, frame: m.Frame) -> None:
        await self._socket.send(m.encode_frame(frame))


def _fetch(
    identity: Identity, events: int, taken_in: Callable[[ChunkInfo, bytes], object]
) -> float:
    start, taken = time.perf_counter(), 0
    with connected(identity) as server:
        answer = server.ask("snapshot?cursor=0", MANIFEST_BYTES_MAX)
        assert answer.status == OK, "so many events are in bulk"
        for chunk in decode_manifest(answer.data).chunks():
            taken_in(chunk, server.ask(f"chunks/{chunk.sha256}", chunk.bytes).data)
            taken += chunk.count
    assert taken >= events, (taken, events)
    return time.perf_counter() - start


def _sync(identity: Identity, path: Path, events: int) -> float:
    with Device.open(path) as device:
        device._holding.enrol(identity)  # noqa: SLF001 - enrolling is not what is measured
        start = time.perf_counter()
        assert device.sync(timeout_s=FOLLOW_TIMEOUT_S).equal
        seconds = time.perf_counter() - start
        assert sum(one.count for one in device.digest()) >= events
    return seconds


_EVENTS = 20


class _Through(msgspec.Struct, array_like=True, tag=_EVENTS):
    """What a confirmation needs of EVENTS; the segments are skipped."""

    through: int


_decode_through = msgspec.msgpack.Decoder(_Through).decode


def _number(data: bytes) -> int:
    """The number of a frame: the first element of its array."""
    return data[1]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _wait_told(path: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """What the server says of itself once it listens."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        if process.poll() is not None:
            raise PeerGone(f"the server ended at once; see {path.with_name('server.log')}")
        if path.exists():
            told: dict[str, str] = json.loads(path.read_text())
            return told
        time.sleep(POLL_S)
    raise PeerGone("the server did not start")


def _folded(made: Sequence[Made]) -> tuple[int, bytes]:
    """Count and digest of the orders in ``made``: all times stand, as the clocks agree."""
    documents: dict[DocKey, Document] = {}
    for one in made:
        fold(documents, Record(one.id, one.event, Stamp(one.event.stamp), 0, Origin.DEVICE, 0))
    totals = SectionTotals()
    for key, document in documents.items():
        totals.replace(key, None, document.encode())
    (orders,) = totals.sections()
    return orders.count, orders.digest
