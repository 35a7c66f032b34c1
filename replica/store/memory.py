"""The log in memory: the contract of :class:`replica.events.ports.Log` in its shortest words.

The model that the other adapters are compared with, and the log of simulations and unit tests.
Nothing here survives the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from threading import Lock

from replica.errors import MisuseError
from replica.events.clock import STAMP_BYTES
from replica.events.event import GENESIS, UUID_BYTES, AccountId, DeviceId, Position
from replica.events.ports import (
    Appended,
    AppendRequest,
    AppendResult,
    Aside,
    DeviceHead,
    HeadMoved,
    LogHead,
)
from replica.events.record import Segment, extend_chain
from replica.limits import READ_SEGMENTS_MAX


def empty_head(epoch: int) -> DeviceHead:
    """What a log knows of an epoch in which the device never wrote."""
    return DeviceHead(epoch, 0, GENESIS, bytes(STAMP_BYTES))


def same_end(one: DeviceHead, other: DeviceHead) -> bool:
    """Whether two heads name the same end of a chain. The stamp follows from the hash."""
    return (one.epoch, one.seq, one.hash) == (other.epoch, other.seq, other.hash)


def mint_log_id() -> bytes:
    """Sixteen random bytes, the name of a new log."""
    return os.urandom(UUID_BYTES)


@dataclass
class _Account:
    log_id: bytes
    chain: bytes = GENESIS
    segments: list[tuple[int, int, Segment]] = field(default_factory=list)  # first, last seq
    heads: dict[tuple[bytes, int], DeviceHead] = field(default_factory=dict)
    asides: dict[tuple[bytes, int, int, bytes], Aside] = field(default_factory=dict)

    @property
    def position(self) -> Position:
        return self.segments[-1][2].last if self.segments else Position(0)


class MemoryLog:
    """A :class:`replica.events.ports.Log`. Safe to call from several threads."""

    def __init__(self, *, mint: Callable[[], bytes] = mint_log_id) -> None:
        self._mint = mint
        self._accounts: dict[bytes, _Account] = {}
        self._lock = Lock()

    def append(self, requests: Sequence[AppendRequest]) -> list[AppendResult]:
        with self._lock:
            return [self._append(request) for request in requests]

    def _append(self, request: AppendRequest) -> AppendResult:
        account = self._account(request.account)
        key = (request.device, request.epoch)
        actual = account.heads.get(key) or empty_head(request.epoch)
        if not same_end(actual, request.before):
            return HeadMoved(actual)
        account.heads[key] = request.after
        for aside in request.asides:
            account.asides.setdefault((*key, aside.seq, aside.id), aside)
        if not request.ids:
            return Appended(None)
        account.chain = extend_chain(account.chain, request.ids)
        segment = Segment(
            first=account.position + 1,
            count=len(request.ids),
            chain=account.chain,
            device=request.device,
            epoch=request.epoch,
            origin=request.origin,
            received_ms=request.received_ms,
            records=request.records,
        )
        account.segments.append((request.first_seq, request.last_seq, segment))
        return Appended(segment)

    def read(self, account: AccountId, after: Position, limit_bytes: int) -> list[Segment]:
        with self._lock:
            stored = [segment for _, _, segment in self._account(account).segments]
        page: list[Segment] = []
        size = 0
        for segment in stored:
            if segment.last <= after:
                continue
            if not page and segment.first <= after:
                raise MisuseError(f"position {after} is inside a segment")
            size += len(segment.records)
            if page and (size > limit_bytes or len(page) == READ_SEGMENTS_MAX):
                break
            page.append(segment)
        return page

    def head(self, account: AccountId) -> LogHead:
        with self._lock:
            found = self._account(account)
            return LogHead(found.log_id, 1, found.position, found.chain)

    def chain_at(self, account: AccountId, position: Position) -> bytes | None:
        if position == 0:
            return GENESIS
        with self._lock:
            segments = self._account(account).segments
            return next((s.chain for _, _, s in segments if s.last == position), None)

    def device_heads(self, account: AccountId, device: DeviceId) -> list[DeviceHead]:
        with self._lock:
            heads = self._account(account).heads
            return sorted(head for (owner, _), head in heads.items() if owner == device)

    def find(
        self, account: AccountId, device: DeviceId, epoch: int, first_seq: int, last_seq: int
    ) -> tuple[list[Segment], list[Aside]]:
        with self._lock:
            found = self._account(account)
            segments = [
                segment
                for first, last, segment in found.segments
                if (segment.device, segment.epoch) == (device, epoch)
                and first <= last_seq
                and last >= first_seq
            ]
            asides = [
                aside
                for (owner, life, seq, _), aside in sorted(found.asides.items())
                if (owner, life) == (device, epoch) and first_seq <= seq <= last_seq
            ]
            return segments, asides

    def _account(self, account: bytes) -> _Account:
        if account not in self._accounts:
            self._accounts[account] = _Account(self._mint())
        return self._accounts[account]
