"""The port of the log: what the pure side asks of storage. Adapters live in ``replica.store``.

The log is content-blind: it keeps segments and device heads, gives out positions, and knows
nothing about kinds. All calls are synchronous and blocking; edges run them off the event loop.
Every adapter passes ``tests/store/test_conformance.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from replica.events.event import AccountId, DeviceId, Position
from replica.events.record import Segment
from replica.limits import EVENTS_BYTES_TARGET


class LogHead(NamedTuple):
    """Where an account's log stands. ``log_id`` and ``generation`` change when history does."""

    log_id: bytes  # 16 bytes, minted when the account's log was created
    generation: int  # raised by the operator after a restore (reliability D5)
    position: Position  # 0 when empty
    chain: bytes  # 32 bytes, zero when empty


class DeviceHead(NamedTuple):
    """The end of one device's chain in one epoch, as the log knows it."""

    epoch: int
    seq: int  # 0 when nothing is known
    hash: bytes  # id of the event at ``seq``; refused bytes count (wire-protocol.md §5)
    stamp: bytes  # the last merge stamp given to this device and epoch


class Aside(NamedTuple):
    """An event kept out of the log with a reason: quarantined whole, or refused as a hash."""

    seq: int
    id: bytes
    code: str
    detail: str
    event: bytes  # the canonical bytes; empty when refused


class AppendRequest(NamedTuple):
    """One device's next run, as decided by ``ingest``.

    ``before`` is the head the decision was based on: when the log's head of (device, epoch) is
    another by now, nothing is written and the answer is ``HeadMoved`` (compare-and-set).
    """

    account: AccountId
    device: DeviceId
    epoch: int
    origin: int
    received_ms: int
    before: DeviceHead
    after: DeviceHead
    ids: tuple[bytes, ...]  # ids of the accepted events, in order, for the chain
    first_seq: int  # seq of the first accepted event; 0 when none was accepted
    last_seq: int
    records: bytes  # the accepted events as encoded records
    asides: tuple[Aside, ...] = ()


class Appended(NamedTuple):
    """Committed and durable. ``segment`` is None when the request held only asides."""

    segment: Segment | None


class HeadMoved(NamedTuple):
    """Somebody else appended for this device first. Read the head again, then ask ``ingest``."""

    actual: DeviceHead


AppendResult = Appended | HeadMoved


class Log(Protocol):
    """A grow-only set of events per account, in commit order."""

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        """Write all requests in one durable transaction and give each its positions.

        Returns only after the commit is durable. Raises ``StorageFull`` or ``StoreUnavailable``
        when nothing was written and the caller may retry, ``StoreFailed`` when an I/O error makes
        the outcome unknown: then end the process without acknowledging.
        """
        ...

    def read(self, account: AccountId, after: Position, limit_bytes: int) -> list[Segment]:
        """Whole segments after ``after`` in order: at least one if there is any, then as many as
        fit into ``limit_bytes`` of records. ``after`` must be 0 or the end of a segment."""
        ...

    def head(self, account: AccountId) -> LogHead:
        """The account's head; creates the account's log on first use."""
        ...

    def chain_at(self, account: AccountId, position: Position) -> bytes | None:
        """The chain hash at the end of the segment that ends at ``position``, None when no segment
        ends there. Zero hash for position 0."""
        ...

    def device_heads(self, account: AccountId, device: DeviceId) -> list[DeviceHead]:
        """Every epoch's head of one device, oldest first; empty when it never wrote."""
        ...

    def find(
        self, account: AccountId, device: DeviceId, epoch: int, first_seq: int, last_seq: int
    ) -> tuple[list[Segment], list[Aside]]:
        """Segments and asides that hold any seq of the given range, in order."""
        ...


def walk(log: Log, account: AccountId, after: Position) -> Iterator[Segment]:
    """The segments behind ``after``, which ends one, in order, a page of the log in memory at a
    time. The end is where the log ends when the walk gets there. Raises what :meth:`Log.read`
    raises."""
    while page := log.read(account, after, EVENTS_BYTES_TARGET):
        yield from page
        after = page[-1].last
