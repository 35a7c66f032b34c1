"""A device made of frames: says exactly what a test wants, right or wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from replica.events.clock import ZERO_STAMP, Stamp, tick
from replica.events.event import GENESIS, device_node, event_id
from replica.events.kinds import build_event
from replica.events.payloads import CustomerCreated, CustomerFields, Payload
from replica.sync import messages as m
from replica.sync.messages import Frame, decode_frame, encode_frame
from tests.server.world import Company, World

WAIT_S = 10.0
F = TypeVar("F")


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def customer(number: int, name: str = "") -> CustomerCreated:
    return CustomerCreated(
        customer=f"c-{number}", fields=CustomerFields(name=name or f"Customer {number}")
    )


@dataclass
class RawDevice:
    """One enrolled device with a chain and, between ``meet`` and ``close``, a socket."""

    world: World
    account: bytes
    device: bytes
    token: str
    clock_ms: Callable[[], int] = wall_ms
    epoch: int = 1
    seq: int = 0
    prev: bytes = GENESIS
    stamp: Stamp = ZERO_STAMP
    pushes: int = 0
    cursor: int = 0
    chain: bytes = b""
    log_id: bytes = b""
    generation: int = 0
    knows: tuple[str, ...] = (m.KNOWS_SCOPE,)
    inbox: list[Frame] = field(default_factory=list)
    socket: ClientConnection | None = None
    _stack: ExitStack = field(default_factory=ExitStack)

    @classmethod
    def enrol(cls, world: World, company: Company, name: str = "Phone") -> RawDevice:
        body = {"code": world.code(company, name), "name": name, "software": "raw"}
        answer = httpx2.post(f"{world.url}/api/v1/enrol", json=body)
        assert answer.status_code == 200, answer.text
        said = answer.json()
        return cls(
            world, bytes.fromhex(said["account"]), bytes.fromhex(said["device"]), said["token"]
        )

    # The chain -----------------------------------------------------------------------------------

    def make(self, *payloads: Payload) -> list[bytes]:
        """The next events of the chain."""
        events = []
        for payload in payloads:
            self.seq += 1
            self.stamp = tick(self.stamp, self.clock_ms(), device_node(self.device))
            data = build_event(
                self.account, self.device, self.epoch, self.seq, self.prev, self.stamp, payload
            )
            self.prev = event_id(data)
            events.append(data)
        return events

    def follow(self, data: bytes) -> bytes:
        """Let the chain go on after bytes that a test has made itself."""
        self.seq += 1
        self.prev = event_id(data)
        return data

    # The socket ----------------------------------------------------------------------------------

    def open(self, **options: Any) -> None:
        """Open the websocket and say nothing."""
        self.close()
        self.pushes = 0
        self.inbox.clear()
        options = {"subprotocols": [m.SUBPROTOCOL], "compression": None, **options}
        opening = connect(f"ws://127.0.0.1:{self.world.port}/sync", max_size=None, **options)
        self.socket = self._stack.enter_context(opening)

    def hello(self, **changed: object) -> m.Hello:
        values = {
            "version_min": 1,
            "version_max": 1,
            "token": self.token,
            "account": self.account,
            "device": self.device,
            "epoch": self.epoch,
            "head_seq": self.seq,
            "log_id": self.log_id,
            "generation": self.generation,
            "cursor": self.cursor,
            "chain": self.chain,
            "sent_ms": self.clock_ms(),
            "software": "raw",
            "knows": self.knows,
        }
        return m.Hello(**{**values, **changed})  # type: ignore[arg-type]

    def meet(self) -> m.Welcome:
        """Open, say hello, answer the probes until the connection is live."""
        self.open()
        self.say(self.hello())
        welcome = self.expect(m.Welcome)
        self.log_id, self.generation = welcome.log_id, welcome.generation
        self._answer_probe(welcome.probe_sent_ms)
        return welcome

    def say(self, frame: Frame) -> None:
        self.send(encode_frame(frame))

    def send(self, data: bytes | str) -> None:
        assert self.socket is not None
        self.socket.send(data)

    def push(self, events: Sequence[bytes], first_seq: int = 0) -> None:
        """Send a push without waiting for the answer."""
        self.pushes += 1
        first = first_seq or self.seq - len(events) + 1
        self.say(m.Push(self.pushes, first, tuple(events)))

    def settle(self, events: Sequence[bytes], first_seq: int = 0) -> m.Result:
        """Push and wait for the result."""
        self.push(events, first_seq)
        return self.expect(m.Result)

    def write(self, *payloads: Payload) -> m.Result:
        """Make events, push them, wait for the result."""
        return self.settle(self.make(*payloads))

    def expect(self, kind: type[F]) -> F:
        """The next frame of ``kind``; probes are answered, other frames go to the inbox."""
        while True:
            frame = self.receive()
            if isinstance(frame, kind):
                return frame
            if isinstance(frame, m.Probe):
                self._answer_probe(frame.probe_sent_ms)
            else:
                self.inbox.append(frame)

    def receive(self) -> Frame:
        assert self.socket is not None
        data = self.socket.recv(timeout=WAIT_S)
        assert isinstance(data, bytes)
        return decode_frame(data)

    def events_until(self, position: int) -> list[m.Events]:
        """Read EVENTS frames, confirming each, until the cursor is at ``position``."""
        frames = [frame for frame in self.inbox if isinstance(frame, m.Events)]
        while not frames or frames[-1].through < position:
            frames.append(self.expect(m.Events))
            self.cursor, self.chain = frames[-1].through, frames[-1].chain
            self.say(m.Cursor(self.cursor))
        return frames

    def farewell(self) -> tuple[m.Goodbye | None, int]:
        """Read on until the socket closes; the goodbye, if one came, and the close code."""
        goodbye = None
        assert self.socket is not None
        try:
            while True:
                data = self.socket.recv(timeout=WAIT_S)
                assert isinstance(data, bytes)
                frame = decode_frame(data)
                if isinstance(frame, m.Goodbye):
                    goodbye = frame
        except ConnectionClosed as closed:
            received = closed.rcvd
            return goodbye, received.code if received else 1006

    def close(self) -> None:
        """Close the socket, if one is open."""
        self._stack.close()
        self.socket = None

    def _answer_probe(self, sent_ms: int) -> None:
        now_ms = self.clock_ms()
        self.say(m.ProbeReply(sent_ms, now_ms, now_ms))
