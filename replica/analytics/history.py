"""One account's log as an analyst reads it: its events in order, and its state as of a moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from replica.analytics.moment import NOW, Moment
from replica.crdt.digest import SectionTotal, SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.view import view
from replica.errors import Malformed
from replica.events.clock import stamp_ms
from replica.events.event import AccountId, Position, event_stamp
from replica.events.kinds import decode_payload
from replica.events.payloads import Payload
from replica.events.ports import Log, walk
from replica.events.record import Flag, Origin, Record, records


class Entry(NamedTuple):
    """One event with everything that was decided about it. Times are milliseconds since the Unix
    epoch: ``author_ms`` by the device's own clock, ``event_ms`` as merged, ``received_ms`` by the
    server's."""

    position: int
    id: bytes
    kind: str
    version: int
    payload: Payload | None  # upcast to the newest version; None for what is unknown here
    body: bytes  # the payload as it was said, MessagePack
    origin: Origin
    device: bytes
    epoch: int
    seq: int
    author_ms: int
    event_ms: int
    received_ms: int
    disputed: bool  # the device's time could not be true


class Snapshot(NamedTuple):
    """State as of a moment. ``position`` is the last event that counted, ``events`` how many did,
    ``unread`` how many of those are of a kind that is unknown here, or broken by its rules."""

    documents: dict[DocKey, Document]
    position: int
    events: int
    unread: int

    def rows(self, section: str) -> list[dict[str, Any]]:
        """The documents of one section as :func:`replica.crdt.view.view` shows them, by id."""
        keys = sorted(key for key in self.documents if key.type == section)
        return [view(self.documents[key]) for key in keys]

    def sections(self) -> tuple[SectionTotal, ...]:
        """Counts and digests. As of now they are those that replicas compare (§7)."""
        totals = SectionTotals()
        for key, document in self.documents.items():
            totals.add(key, document.encode())
        return totals.sections()


class History:
    """The log of ``account``, read page by page and never written. Blocking."""

    def __init__(self, log: Log, account: AccountId) -> None:
        self._log = log
        self.account = account

    def records(self, until: Moment = NOW, *, after: int = 0) -> Iterator[tuple[Position, Record]]:
        """Positions and records behind ``after`` that count at ``until``, in the order of the log.

        The end is where the log ends when the reading gets there. Raises ``CorruptionError`` for a
        log with a hole, and what the store raises.
        """
        for segment in walk(self._log, self.account, Position(after)):
            if until.position is not None and segment.first > until.position:
                return
            for position, record in records(segment):
                if position > after and until.includes(position, record):
                    yield position, record

    def entries(self, until: Moment = NOW) -> Iterator[Entry]:
        """The same, decoded. An event that was stored unread keeps its ``body``."""
        for position, record in self.records(until):
            yield _entry(position, record)

    def snapshot(self, until: Moment = NOW) -> Snapshot:
        """Fold what counts at ``until``. Costs a pass over the log and the state in memory."""
        documents: dict[DocKey, Document] = {}
        last = events = unread = 0
        for position, record in self.records(until):
            unread += not fold(documents, record) and _payload(record) is None
            last, events = position, events + 1
        return Snapshot(documents, last, events, unread)


def _entry(position: Position, record: Record) -> Entry:
    event = record.event
    return Entry(
        position=int(position),
        id=record.id,
        kind=event.kind,
        version=event.version,
        payload=_payload(record),
        body=event.payload,
        origin=Origin(record.origin),
        device=event.device,
        epoch=event.epoch,
        seq=event.seq,
        author_ms=stamp_ms(event_stamp(event)),
        event_ms=stamp_ms(record.stamp),
        received_ms=record.received_ms,
        disputed=bool(record.flags & Flag.DISPUTED),
    )


def _payload(record: Record) -> Payload | None:
    try:
        return decode_payload(record.event)
    except Malformed:
        return None


def plain_body(body: bytes) -> Any:
    """``body`` as plain values, bytes in hexadecimal: what JSON can say."""
    return msgspec.to_builtins(_hex(msgspec.msgpack.decode(body)), str_keys=True)


def _hex(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: _hex(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hex(item) for item in value]
    return value
