"""The overlay: the device's own undecided events folded over the base, for reading.

A device reads its own writes at once, online or not (reliability I-29, requirements OFF-13). The
overlay is folded per document when somebody asks for it, and kept until the document changes.

The door will correct the stamps of a device whose clock is wrong. The overlay foretells that
correction from the skew that was last measured, so that a slow clock does not make a new edit
look older than what it replaced; what counts in the end is the stamp the door decides (P18).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.device.base import Base
from replica.events.clock import ZERO_STAMP, Stamp, correct, standing_until
from replica.events.event import Event, EventId
from replica.events.record import Flag, Origin, Record
from replica.limits import DEPS_MAX, STAMP_MS_MAX


class Overlay:
    """Own events that wait for an answer, or were set aside in quarantine, by document."""

    def __init__(self, base: Base, skew_ms: int) -> None:
        self._base = base
        self.measured(skew_ms)
        self._last = ZERO_STAMP
        self._records: dict[DocKey, list[Record]] = {}
        self._keys: dict[EventId, DocKey] = {}
        self._folded: dict[DocKey, Document] = {}

    def measured(self, skew_ms: int) -> None:
        """The device's clock is ``skew_ms`` ahead of the server's. Counts for what is added."""
        self._skew_ms = skew_ms
        self._standing = standing_until(offset_ms=skew_ms, received_ms=STAMP_MS_MAX)

    def add(self, key: DocKey, identity: EventId, event: Event) -> None:
        """Lay an event about ``key`` over the base. Call in the order of the chain."""
        raw, last = Stamp(event.stamp), self._last
        if last < raw <= self._standing:
            self._last = raw
        else:
            self._last = correct(
                raw, offset_ms=self._skew_ms, received_ms=STAMP_MS_MAX, last=last
            ).stamp
        record = Record(identity, event, self._last, Flag.NONE, Origin.DEVICE, 0)
        self._records.setdefault(key, []).append(record)
        self._keys[identity] = key
        self._folded.pop(key, None)

    def settle(self, events: Iterable[EventId]) -> None:
        """The door decided on these: they are in the base now, or refused."""
        for identity in events:
            key = self._keys.pop(identity, None)
            if key is None:
                continue
            left = [one for one in self._records[key] if one.id != identity]
            if left:
                self._records[key] = left
            else:
                del self._records[key]
            self._folded.pop(key, None)

    def key_of(self, event: EventId) -> DocKey | None:
        """The document that an event laid over is about."""
        return self._keys.get(event)

    def forget(self, keys: Iterable[DocKey]) -> None:
        """The base of ``keys`` changed: fold them again when they are asked for."""
        for key in keys:
            self._folded.pop(key, None)

    def document(self, key: DocKey) -> Document | None:
        """Base and overlay of one document. Read it, do not change it."""
        records = self._records.get(key)
        if records is None:
            return self._base.document(key)
        found = self._folded.get(key)
        if found is None:
            base = self._base.document(key)
            documents = {} if base is None else {key: base}
            for record in records:
                fold(documents, record)
            found = self._folded[key] = documents[key]
        return found

    def keys(self, kind: str) -> list[DocKey]:
        """Documents of a type that have something laid over them, by id."""
        return sorted(key for key in self._records if key.type == kind)

    def records(self, key: DocKey) -> tuple[Record, ...]:
        """What is laid over ``key``, in order."""
        return tuple(self._records.get(key, ()))

    def __contains__(self, key: DocKey) -> bool:
        return key in self._records

    def deps(
        self,
        keys: Iterable[DocKey],
        named: Sequence[bytes] = (),
        said: Mapping[DocKey, bytes] = MappingProxyType({}),
    ) -> tuple[bytes, ...]:
        """``named``, then the newest undecided event of each of ``keys``: each once, at most
        ``DEPS_MAX``. ``said`` are events of the same append, newer than what is laid over.

        What the base holds is in the log already and needs no mention.
        """
        found = dict.fromkeys(named)
        for key in keys if self._records or said else ():
            if len(found) >= DEPS_MAX:
                break
            if key in said:
                found[said[key]] = None
            elif records := self._records.get(key):
                found[records[-1].id] = None
        return tuple(found)
