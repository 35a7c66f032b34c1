"""A device written from docs/wire-protocol.md alone, with msgpack and websockets and no code of
this project: it shows that the page is complete. Sections named below are sections of that page.

A `Notebook` is what a device must keep on durable storage; here it lives as long as the test. A
`Wire` is one connection that works on a notebook; after an end of any kind make another one.
`exchange` is the whole round: connect, push, receive, and go on after a fork.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from socket import SHUT_RDWR
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.acceptance.wire_format import (
    ACCEPTED,
    DEVICE_ORIGIN,
    DUPLICATE,
    NO_HASH,
    Record,
    chain_after,
    decode_event,
    decode_frame,
    encode_frame,
    in_order,
    next_stamp,
    pack,
    sections,
    states,
    unpack_records,
)

PUSH_FILL_BYTES = 131_072  # §9
PUSH_EVENTS_MAX = 500
PUSHES_IN_FLIGHT_MAX = 8
ANSWER_SECONDS = 60  # §4.4: what a device waits for RESULT


class Goodbye(Exception):
    """The server ended the connection and said why (§8)."""

    def __init__(self, said: dict[str, Any], closed_with: int) -> None:
        self.code: str = said["code"]
        self.retry_after_ms: int = said["retry_after_ms"]
        self.next_epoch: int = said["next_epoch"]
        self.close_code: int = said["close_code"]
        self.closed_with = closed_with
        super().__init__(f"{self.code}: {said['message']}")


class NotEnrolled(Exception):
    """The server did not take the code (§1.1)."""


# --- what a device keeps -----------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What the server said about one own event (§5); `stamp` is None where the raw one stands."""

    outcome: int
    position: int
    received_ms: int
    code: str
    detail: str
    stamp: bytes | None = None
    flags: int = 0


@dataclass
class Notebook:
    """Everything that has to be durable on a device."""

    account: bytes
    device: bytes
    token: str
    epoch: int = 1
    events: list[bytes] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    stamp: bytes = bytes(16)
    log_id: bytes = b""
    generation: int = 0
    cursor: int = 0
    chain: bytes = b""
    records: dict[bytes, Record] = field(default_factory=dict)
    evidence: list[bytes] = field(default_factory=list)

    def write(
        self, now_ms: int, kind: str, payload: dict[str, Any], deps: tuple[bytes, ...] = ()
    ) -> bytes:
        """Adds an event to the own chain and returns its id (§2)."""
        stamp = next_stamp(self.stamp, now_ms, self.device[8:])
        return self.add(kind, pack(in_order(payload)), stamp, deps)

    def add(
        self,
        kind: str,
        payload: bytes,
        stamp: bytes,
        deps: tuple[bytes, ...] = (),
        version: int = 1,
    ) -> bytes:
        self.stamp = stamp
        prev = sha256(self.events[-1]).digest() if self.events else NO_HASH
        seq = len(self.events) + 1
        fields = (self.account, self.device, self.epoch, seq, prev, stamp, kind, version)
        self.events.append(pack([1, *fields, list(deps), payload]))
        return sha256(self.events[-1]).digest()

    def answer(self, first_seq: int, answers: list[Answer]) -> None:
        """Keeps outcomes; an event that stands in the log becomes a record."""
        self.answers[first_seq - 1 :] = answers
        for event, one in zip(self.events[first_seq - 1 :], answers, strict=False):
            if one.outcome in (ACCEPTED, DUPLICATE):
                stamp = one.stamp or decode_event(event)["stamp"]
                self.records[sha256(event).digest()] = Record(event, stamp, DEVICE_ORIGIN)

    def take(self, through: int, chain: bytes, segments: list[dict[str, Any]]) -> None:
        """Stores segments and moves the cursor (§4.3)."""
        for segment in segments:
            ids = []
            for event, merge, _flags in unpack_records(segment["records"]):
                stamp = merge or decode_event(event)["stamp"]
                ids.append(sha256(event).digest())
                self.records[ids[-1]] = Record(event, stamp, segment["origin"])
            assert len(ids) == segment["count"]
            if segment["first"] == self.cursor + 1:  # nothing of this device in between
                assert chain_after(self.chain or NO_HASH, ids) == segment["chain"]
        self.cursor, self.chain = through, chain

    def digest(self) -> list[dict[str, Any]]:
        """The sections of the own documents (§7)."""
        return sections(states(self.records.values()))

    def start_over(self, welcome: dict[str, Any]) -> None:
        """Another history (§6.2)."""
        self.records.clear()
        self.cursor, self.chain = 0, b""
        self.log_id, self.generation = welcome["log_id"], welcome["generation"]
        del self.answers[welcome["device_seq"] :]

    def fork(self, next_epoch: int) -> None:
        """Says what has no outcome again under the next epoch (§6.1)."""
        again = self.events[len(self.answers) :]
        self.evidence += self.events
        self.epoch, self.events, self.answers = next_epoch, [], []
        self.cursor, self.chain = 0, b""
        new: dict[bytes, bytes] = {}
        for data in again:
            event = decode_event(data)
            deps = tuple(new.get(dep, dep) for dep in event["deps"])
            old = sha256(data).digest()
            new[old] = self.add(
                event["kind"], event["payload"], event["stamp"], deps, event["version"]
            )


def enrol(url: str, code: str, name: str) -> Notebook:
    """A new device (§1.1). Raises NotEnrolled when the code is not taken."""
    where = urlsplit(url)
    http_connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        body = json.dumps({"code": code, "name": name, "software": "wire-client/1"})
        headers = {"content-type": "application/json"}
        http_connection.request("POST", "/api/v1/enrol", body, headers)
        response = http_connection.getresponse()
        answer = json.loads(response.read())
    finally:
        http_connection.close()
    if response.status != 200:
        raise NotEnrolled(f"{response.status} {answer['code']}: {answer['message']}")
    account, device = bytes.fromhex(answer["account"]), bytes.fromhex(answer["device"])
    return Notebook(account, device, answer["token"])


# --- one connection ----------------------------------------------------------------------------


class Wire:
    """One connection of a device; `with Wire(…) as wire` meets the server.

    `welcome` is what it said, `results` every RESULT of this connection, `clock` the device's
    own. Every method raises Goodbye when the server ends it.
    """

    def __init__(self, url: str, book: Notebook, clock: Callable[[], int]) -> None:
        self.book, self.clock = book, clock
        self.results: list[list[Answer]] = []
        self.offset_ms: int | None = None
        self._flying: list[tuple[int, int, int]] = []  # number, first seq, events
        self._number, self._sent_seq = 0, 0
        self._digests: list[dict[str, Any]] = []
        self._owed_at: int | None = None
        self._owed_after_sync = False
        self._opening = connect(
            url.replace("http", "ws", 1) + "/api/v1/sync",
            subprotocols=[Subprotocol("replica.v1")],
            compression=None,
            max_size=262_144,
            proxy=None,
        )

    def __enter__(self) -> Wire:
        with ExitStack() as stack:
            self.socket: ClientConnection = stack.enter_context(self._opening)
            self._meet()
            self._closing = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.close()

    def send(self, name: str, **values: Any) -> None:
        with suppress(ConnectionClosed):  # what is still to be read says why
            self.socket.send(encode_frame(name, **values))

    def receive(self) -> tuple[str, dict[str, Any]]:
        """The next frame. Raises Goodbye, or ConnectionClosed when there was none."""
        data = self.socket.recv(timeout=ANSWER_SECONDS)
        assert isinstance(data, bytes)
        name, frame = decode_frame(data)
        if name != "GOODBYE":
            return name, frame
        try:
            self.socket.recv(timeout=ANSWER_SECONDS)
        except ConnectionClosed as end:
            raise Goodbye(frame, end.rcvd.code if end.rcvd else 0) from None
        raise AssertionError("a frame after GOODBYE")

    def hello(self) -> None:
        book = self.book
        self.send(
            "HELLO",
            version_min=1,
            version_max=1,
            token=book.token,
            account=book.account,
            device=book.device,
            epoch=book.epoch,
            head_seq=len(book.events),
            log_id=book.log_id,
            generation=book.generation,
            cursor=book.cursor,
            chain=book.chain,
            sent_ms=self.clock(),
            software="wire-client/1",
            knows=[],  # it takes the log and nothing else
        )

    def _meet(self) -> None:
        """§4.1: HELLO, WELCOME, PROBE_REPLY, and where both ends go on."""
        self.hello()
        name, self.welcome = self.receive()
        assert name == "WELCOME"
        self._reply(self.welcome["probe_sent_ms"])
        book, welcome = self.book, self.welcome
        mine = (book.log_id, book.generation, book.cursor)
        theirs = (welcome["log_id"], welcome["generation"], welcome["resume_after"])
        if mine != theirs:
            book.start_over(welcome)
        server_end = welcome["device_seq"]
        if 0 < server_end <= len(book.answers):
            self.forked = sha256(book.events[server_end - 1]).digest() != welcome["device_hash"]
        else:
            self.forked = server_end > len(book.events)
        self._sent_seq = min(welcome["device_seq"], len(book.answers))
        self.target = welcome["position"]

    def _reply(self, probe_sent_ms: int) -> None:
        now = self.clock()
        self.send("PROBE_REPLY", probe_sent_ms=probe_sent_ms, received_ms=now, sent_ms=self.clock())

    def push(self) -> bool:
        """Sends one PUSH if there is something to send and room for it (§4.2)."""
        events: list[bytes] = []
        room = PUSH_FILL_BYTES
        for event in self.book.events[self._sent_seq : self._sent_seq + PUSH_EVENTS_MAX]:
            if events and len(event) > room:
                break
            events.append(event)
            room -= len(event)
        if not events or len(self._flying) == PUSHES_IN_FLIGHT_MAX:
            return False
        self._number += 1
        first = self._sent_seq + 1
        self.send("PUSH", number=self._number, first_seq=first, events=events)
        self._flying.append((self._number, first, len(events)))
        self._sent_seq += len(events)
        return True

    def step(self) -> str:
        """Receives one frame, stores what it brings, then answers it; returns its name."""
        name, frame = self.receive()
        if name == "PROBE":
            self.offset_ms = frame["offset_ms"]
            self._reply(frame["probe_sent_ms"])
        elif name == "RESULT":
            self._result(frame)
        elif name == "EVENTS":
            self.book.take(**frame)
            self.send("CURSOR", position=frame["through"])
        elif name == "DIGEST":
            self._digests.append(frame)
        elif name == "DIGEST_REQUEST":
            self._owed_at = frame["position"]
        elif name == "SYNC_REQUEST":
            self._owed_after_sync = True
        else:
            raise AssertionError(f"{name} from a server")
        self._pay_digests()
        return name

    def _result(self, frame: dict[str, Any]) -> None:
        number, first_seq, count = self._flying[0]
        assert frame["number"] == number
        answers: list[Answer] = []
        decided = {one["index"]: (one["stamp"], one["flags"]) for one in frame["decisions"]}
        for verdict in frame["verdicts"]:
            for step in range(verdict["count"]):
                stands = verdict["outcome"] in (ACCEPTED, DUPLICATE)
                position = verdict["first_position"] + step if stands else 0
                said = (verdict["received_ms"], verdict["code"], verdict["detail"])
                decision = decided.get(len(answers), (None, 0))
                answers.append(Answer(verdict["outcome"], position, *said, *decision))
        if len(answers) == count:  # at a fork it covers less, and GOODBYE follows
            del self._flying[0]
        self.results.append(answers)
        self.book.answer(first_seq, answers)
        self.target = max([self.target, *(answer.position for answer in answers)])

    @property
    def settled(self) -> bool:
        """Every own event is answered and everything that is known to exist has come."""
        return len(self.book.answers) == len(self.book.events) and self.book.cursor >= self.target

    def sync(self) -> None:
        """Pushes and receives until `settled`."""
        while True:
            while self.push():
                pass
            if self.settled:
                return
            self.step()

    def until(self, wanted: Callable[[], bool]) -> None:
        """Receives until `wanted`."""
        while not wanted():
            self.step()

    def digest(self) -> list[dict[str, Any]]:
        """The sections of the server's digest at the own cursor (§7)."""
        self.send("DIGEST_REQUEST", position=self.book.cursor)
        self.until(lambda: bool(self._digests))
        told = self._digests.pop()
        assert told["position"] == self.book.cursor
        return list(told["sections"])

    def _pay_digests(self) -> None:
        """Answers what the server asked for, as soon as the own documents can tell (§7)."""
        book = self.book
        if self._owed_after_sync:
            while self.push():
                pass
        whole = book.cursor >= max((one.position for one in book.answers), default=0)
        if self._owed_at is not None and whole and book.cursor >= self._owed_at:
            self._owed_at = None
            self._tell_digest()
        if self._owed_after_sync and self.settled:
            self._owed_after_sync = False
            self._tell_digest()

    def _tell_digest(self) -> None:
        pending = len(self.book.events) - len(self.book.answers)
        self.send("DIGEST", position=self.book.cursor, sections=self.book.digest(), pending=pending)

    def drop(self) -> None:
        """Ends the transport without a word, as a lost network does."""
        self.socket.socket.shutdown(SHUT_RDWR)


def exchange(url: str, book: Notebook, clock: Callable[[], int], rounds: int = 3) -> None:
    """Connects and synchronises, under a new epoch when this device was copied (§6.1)."""
    for _ in range(rounds):
        try:
            with Wire(url, book, clock) as wire:
                if wire.forked and len(book.answers) == len(book.events):
                    book.fork(wire.welcome["next_epoch"])
                    continue
                wire.sync()
                return
        except Goodbye as end:
            if end.code != "forked":
                raise
            book.fork(end.next_epoch)
    raise AssertionError("still forked")
