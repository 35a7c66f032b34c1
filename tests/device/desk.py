"""A holding and a log without a network between them: each exchange is one call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from replica.device import CustomerCreated, CustomerFields, Identity, saying
from replica.device.holding import Holding
from replica.device.journal import Journal
from replica.events.event import AccountId, DeviceId, Position
from replica.events.kinds import REGISTRY, Said, encode_payload
from replica.events.payloads import Content, OrderCommitted, Payload, SealedLine
from replica.events.ports import Log
from replica.events.record import Origin, Record, records
from replica.ingest import Context, Fact, admit, through, write
from replica.store.memory import MemoryLog
from replica.sync.heads import head_in, next_epoch
from replica.sync.verdicts import answers

ACCOUNT = AccountId(bytes(range(16)))
NOW_MS = 1_700_000_000_000


def identity(number: int = 1) -> Identity:
    device = bytes([number] * 16)
    return Identity(ACCOUNT, device, f"token-{number}", f"device {number}", "http://127.0.0.1:1")


def opened(path: Path, number: int = 1) -> Holding:
    """An enrolled holding on a new or existing journal."""
    holding = Holding(Journal(path))
    holding.enrol(identity(number))
    return holding


def customer(number: int, name: str = "Ana") -> CustomerCreated:
    return CustomerCreated(f"c-{number}", CustomerFields(name=name))


def order(number: int, qty_e3: int = 1_000, product: str = "p-1") -> OrderCommitted:
    total_minor = qty_e3 * 250 // 1_000
    lines = (SealedLine("1", product, qty_e3, 25_000),)
    return OrderCommitted(
        f"o-{number}", Content(f"N-{number}", "c-1", "EUR", "2024-02-29", total_minor, lines)
    )


def _unchecked(payload: Payload) -> Said:
    name, version, body = encode_payload(payload)
    return Said(REGISTRY.kinds[name, version], body, payload)


@contextmanager
def careless() -> Iterator[None]:
    """Inside, a device says what breaks the rules, as a program that does not know them would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(saying, "say", _unchecked)
        yield


class Office:
    """The other side: a log, in memory unless another is given, behind the one door."""

    def __init__(self, log: Log | None = None) -> None:
        self.log: Log = log or MemoryLog()
        self.quarantined: set[bytes] = set()
        self.now_ms = NOW_MS

    def push(self, holding: Holding, count: int = 500, offset_ms: int = 0) -> int:
        """Take up to ``count`` undecided events and settle them; how many there were."""
        place = holding.standing("test")
        page = holding.outbox(place.answered_seq, 1 << 20, count)
        if not page.events:
            return 0
        first_seq = place.answered_seq + 1
        answered = self.admit(holding, first_seq, page.events, offset_ms)
        holding.settled(first_seq, answered)
        return len(answered)

    def admit(
        self, holding: Holding, first_seq: int, events: tuple[bytes, ...], offset_ms: int = 0
    ) -> list:  # type: ignore[type-arg]  # Answer, spelled out by the caller
        device, epoch = DeviceId(holding.author.device), holding.journal.head.epoch
        heads = self.log.device_heads(ACCOUNT, device)
        context = Context(
            ACCOUNT,
            device,
            epoch,
            Origin.DEVICE,
            next_epoch(heads, epoch),
            offset_ms,
            self.now_ms,
            self.quarantined,
        )
        admitted = through(self.log, admit(context, head_in(heads, epoch), first_seq, events))
        self.quarantined.update(aside.id for aside in admitted.asides if aside.event)
        return list(answers(admitted.settlement.verdicts, admitted.settlement.decisions))

    def write(self, *payloads: Payload, origin: Origin = Origin.WEB) -> None:
        device = DeviceId(bytes([0xF0 | origin]) * 16)
        heads = self.log.device_heads(ACCOUNT, device)
        context = Context(ACCOUNT, device, 1, origin, 2, 0, self.now_ms)
        facts = [Fact(*encode_payload(payload)) for payload in payloads]
        through(self.log, write(context, head_in(heads, 1), facts))

    def pull(self, holding: Holding, limit_bytes: int = 1 << 20) -> int:
        """Give one page of what follows the cursor, own segments left out as a server does."""
        cursor = holding.journal.place.cursor
        page = self.log.read(ACCOUNT, Position(cursor), limit_bytes)
        if page:
            own = (holding.author.device, holding.journal.head.epoch)
            others = [one for one in page if (one.device, one.epoch) != own]
            holding.received(others, page[-1].last, page[-1].chain)
        return len(page)

    def level(self, holding: Holding) -> None:
        while self.push(holding):
            pass
        while self.pull(holding):
            pass

    def records(self) -> list[Record]:
        segments = self.log.read(ACCOUNT, Position(0), 1 << 40)
        return [record for segment in segments for _, record in records(segment)]
