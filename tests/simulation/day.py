"""A scripted day over the real server: what people do, and the wires of their phones."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any

import msgpack

from replica.device.proof import Proof
from replica.events import payloads as p
from replica.events.kinds import encode_payload
from replica.events.money import content_total_minor
from replica.server.door import WEB
from replica.server.runtime import Runtime
from replica.sync import effects as e
from replica.sync.messages import SUBPROTOCOL
from tests.simulation import auditor
from tests.simulation.auditor import Notebook, demand
from tests.simulation.awaits import Log, Loop
from tests.simulation.phone import Phone
from tests.simulation.server import ID

REST_S = 600


def _sale(note: str, qty_e3: int) -> p.Content:
    lines = (p.SealedLine("l-1", "p-1", qty_e3, 125_000),)
    content = p.Content(
        number="", customer="c-1", currency="USD", date="2026-11-20", total_minor=0, lines=lines,
        note=note,
    )  # fmt: skip
    return p.Content(
        **{name: getattr(content, name) for name in content.__struct_fields__}
        | {"total_minor": content_total_minor(content)}
    )


SCRIPT: Sequence[tuple[str, int, p.Payload | None]] = (
    ("save", 0, p.CustomerCreated("c-1", p.CustomerFields(name="w1", status="prospect"))),
    ("save", 1, p.StockCounted("p-1", 50_000)),
    ("office", 0, p.CustomerChanged("c-1", p.CustomerFields(phone="w2"))),
    ("save", 0, p.OrderCommitted("o-1", _sale("w3", 1_000))),
    ("save", 1, p.OrderCommitted("o-1", _sale("w4", 2_500))),
    ("prove", 0, None),
    ("leave", 1, None),
    ("save", 1, p.StockMoved("p-1", -1_000, "w5")),
    ("office", 0, p.CustomerDeleted("c-1")),
    ("save", 0, p.CustomerChanged("c-1", p.CustomerFields(email="w6"))),
    ("leave", 0, None),
    ("save", 0, p.PaymentRecorded("y-1", "o-1", "", "w7", 1_250, "USD")),
    ("office", 0, p.OrderAmended("o-1", _sale("w8", 4_000))),
)


class Line:
    """One websocket between a phone and the server's ASGI application."""

    def __init__(self) -> None:
        self.up: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.down: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.up.put_nowait({"type": "websocket.connect"})
        self.pushes: dict[int, list[bytes]] = {}

    async def serve(self, runtime: Runtime) -> None:
        scope = {"type": "websocket", "headers": [], "subprotocols": [SUBPROTOCOL]}

        async def send(message: Any) -> None:
            await asyncio.sleep(0)
            self.down.put_nowait(message)

        await runtime.sync_endpoint(scope, self.up.get, send)


class Day:
    """What outlives a process: the log, the phones, how far the script is, what was told."""

    def __init__(self, log: Log | None = None, phones: int = 2) -> None:
        self.log = log or Log()
        self.now: Callable[[], int] = lambda: 0
        self.phones = [
            Phone(f"phone {n + 1}", bytes([n + 1] * 16), self._now_ms) for n in range(phones)
        ]
        self.phones[1].skew_ms = -90_000
        self.notebook = Notebook()
        self.at = 0
        self.lines: dict[Phone, Line] = {}

    def _now_ms(self) -> int:
        return self.now()

    @property
    def tokens(self) -> dict[str, bytes]:
        return {f"token-{phone.device[0]}": phone.device for phone in self.phones}

    # A process lives ------------------------------------------------------------------------------

    async def live(self, runtime: Runtime, loop: Loop) -> None:
        """The rest of the script, and then peace until everybody has proved to be equal."""
        self.now = loop.now_ms
        for phone in self.phones:
            phone.hang_up()
        await runtime.start()
        tasks = [asyncio.create_task(self._carry(phone, runtime)) for phone in self.phones]
        tasks += [asyncio.create_task(self._tick(phone)) for phone in self.phones]
        while self.at < len(SCRIPT):
            await asyncio.sleep(0.02)
            await self._act(runtime, *SCRIPT[self.at])
        await self._settle()
        for task in tasks:
            task.cancel()
        await runtime.stop()

    async def _act(
        self, runtime: Runtime, act: str, number: int, payload: p.Payload | None
    ) -> None:
        phone = self.phones[number]
        self.at += 1
        if act == "leave":
            self._leave(phone)
        elif act == "prove":
            phone.report.proof = Proof()
        elif payload is not None and act == "save":
            kind, _, body = encode_payload(payload)
            self.notebook.note(kind, body, sure=True)
            phone.save(payload)
            if phone.online:
                self._say(phone, phone.tick(rang=True))
        elif payload is not None:
            kind, _, body = encode_payload(payload)
            self.notebook.note(kind, body, sure=False)  # until it is said to be saved
            await runtime.door.submit_local(ID, WEB, [payload])
            self.notebook.perhaps[auditor.said_key(kind, body)] -= 1
            self.notebook.note(kind, body, sure=True)

    async def _settle(self) -> None:
        for _ in range(REST_S):
            await asyncio.sleep(1)
            for phone in self.phones:
                proved = phone.report.proved
                if self._level(phone) and phone.report.proof is None and not _equal(phone):
                    phone.wish_for_proof()
                    self._say(phone, phone.prove())
                assert proved is None or proved.equal, f"I-10: {phone.name} is unequal"
            if all(self._level(phone) and _equal(phone) for phone in self.phones):
                return
        demand(holds=False, text="I-15: the day does not come to rest")

    def _level(self, phone: Phone) -> bool:
        level = phone.holding.level()
        return not level.pending and level.cursor == self.log.head(ID).position

    # Wires ----------------------------------------------------------------------------------------

    async def _carry(self, phone: Phone, runtime: Runtime) -> None:
        """Connect again and again; hand on what comes."""
        while True:
            line = self.lines[phone] = Line()
            served = asyncio.create_task(line.serve(runtime))
            self._say(phone, phone.connect())
            while phone.online:
                message = await line.down.get()
                if message["type"] == "websocket.close":
                    break
                if message["type"] == "websocket.send":
                    self._hear(phone, line, message["bytes"])
            self._leave(phone)
            await served
            await asyncio.sleep(0.5)

    async def _tick(self, phone: Phone) -> None:
        while True:
            await asyncio.sleep(1)
            if phone.online:
                self._say(phone, phone.tick(rang=False))

    def _hear(self, phone: Phone, line: Line, data: bytes) -> None:
        if data[1] == 11:
            _, number, verdicts, *_ = msgpack.unpackb(data)
            self.notebook.acknowledged(line.pushes[number], verdicts)
        self._say(phone, phone.receive(data))

    def _say(self, phone: Phone, items: list[bytes | e.Close]) -> None:
        line = self.lines[phone]
        for item in items:
            if isinstance(item, e.Close):
                self._leave(phone)
                return
            if item[1] == 10:
                _, number, _, events = msgpack.unpackb(item)
                line.pushes[number] = [sha256(event).digest() for event in events]
            line.up.put_nowait({"type": "websocket.receive", "bytes": item})

    def _leave(self, phone: Phone) -> None:
        phone.hang_up()
        if phone in self.lines:
            self.lines[phone].up.put_nowait({"type": "websocket.disconnect", "code": 1006})
            self.lines[phone].down.put_nowait({"type": "websocket.close"})

    # The audit ------------------------------------------------------------------------------------

    def audit(self) -> None:
        rows = auditor.read_log(self.log)
        auditor.check_log(rows, self.log)
        auditor.check_saved(rows, self.log, self.notebook, Counter(), once=True)


def _equal(phone: Phone) -> bool:
    proved = phone.report.proved
    return proved is not None and proved.equal and proved.position == phone.holding.level().cursor
