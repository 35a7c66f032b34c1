"""What replicas compare: the events of two logs, or the documents of a device and its server.

- Two logs hold *events*. An item is the event's id under the second of its author's raw stamp:
  equal wherever the event is, whatever a door decided about its time, and below 2**31 so that
  implementations with 32-bit numbers can be the other side.
- A device keeps documents and not the events they were folded from, so with its server it compares
  *documents*. An item is the document's hash (wire-protocol.md §7) under time 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from replica.events.clock import Stamp, stamp_ms
from replica.events.event import decode_events, event_id
from replica.events.record import Segment, raw_records
from replica.sync.reconcile.items import Item

EVENT_TIME_MAX = 2**31 - 2
DOCUMENT_TIME = 0


def event_items(segments: Iterable[Segment]) -> Iterator[Item]:
    """The items of every event of ``segments``. Raises as :func:`raw_records` for damaged ones."""
    for segment in segments:
        data = [row[0] for row in raw_records(segment)]
        for one, event in zip(data, decode_events(data), strict=True):
            second = stamp_ms(Stamp(event.stamp)) // 1_000
            yield Item(min(second, EVENT_TIME_MAX), event_id(one))


def document_items(hashes: Iterable[bytes]) -> Iterator[Item]:
    """The items of documents with these hashes."""
    return (Item(DOCUMENT_TIME, one) for one in hashes)
