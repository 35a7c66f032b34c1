"""The base: the fold of everything the door has decided on, kept in the journal.

Folding happens on copies outside the transaction; :meth:`Base.store` then writes documents,
section totals and sold quantities together with whatever else the caller commits, so that the
cursor and what it stands for cannot part (pitfalls P49). Folding twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import NamedTuple

from replica.crdt.digest import SectionTotal, SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold, touched
from replica.device.chain import Made
from replica.device.journal import Answer, Journal, State
from replica.device.sales import NO_SALE, SALE_TYPES, Sale, sale
from replica.events.clock import Stamp
from replica.events.record import Origin, Record


class Change(NamedTuple):
    """A fold that is not stored yet."""

    states: dict[DocKey, bytes]
    totals: SectionTotals
    sales_gone: list[tuple[str, str, str]]
    sales: list[tuple[str, str, str, bytes, int]]
    gone: tuple[DocKey, ...] = ()  # documents that leave (wire-protocol.md §14)


class Base:
    """Documents as of the cursor, plus the device's own answered events."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._totals = SectionTotals(SectionTotal(*row) for row in journal.totals())

    def document(self, key: DocKey) -> Document | None:
        """A fresh copy the caller may fold into."""
        state = self._journal.document(*key)
        return None if state is None else Document.decode(key, state)

    def sections(self) -> tuple[SectionTotal, ...]:
        """Counts and digests per section, as the server computes them (wire-protocol.md §7)."""
        return self._totals.sections()

    def fold(self, records: Iterable[Record]) -> Change:
        """Fold ``records`` over the base, in memory."""
        documents = _Loaded(self._journal)
        changed: set[DocKey] = set()
        for record in records:
            changed.update(fold(documents, record))
        totals = self._totals.copy()
        change = Change({}, totals, [], [])
        for key in changed:
            document = documents[key]
            before = documents.states.get(key)
            after = document.encode()
            if before == after:
                continue
            change.states[key] = after
            totals.replace(key, before, after)
            if key.type in SALE_TYPES:
                _sell(change, key, documents.sales.get(key, NO_SALE), sale(document))
        return change

    def adopt(
        self, documents: Mapping[DocKey, bytes], own: Mapping[DocKey, Sequence[Record]]
    ) -> Change:
        """Put ``documents``, as the server has them, in the place of ours, in memory.

        ``own`` are records that the server's states do not include yet; they are folded in.
        """
        before = self._states(documents)
        change = Change({}, self._totals.copy(), [], [])
        for key, state in documents.items():
            after = _with(key, state, own[key]) if key in own else state
            old = before.get(key)
            if old == after:
                continue
            change.states[key] = after
            change.totals.replace(key, old, after)
            if key.type in SALE_TYPES:
                sold = NO_SALE if old is None else sale(Document.decode(key, old))
                _sell(change, key, sold, sale(Document.decode(key, after)))
        return change

    def _states(self, keys: Iterable[DocKey]) -> dict[DocKey, bytes]:
        ids: dict[str, list[str]] = {}
        for key in keys:
            ids.setdefault(key.type, []).append(key.id)
        return {
            DocKey(kind, identity): state
            for kind, some in ids.items()
            for identity, state in self._journal.states(kind, some).items()
        }

    def leave(self, keys: Iterable[DocKey]) -> Change:
        """Take those of ``keys`` that there are out, in memory."""
        change = Change({}, self._totals.copy(), [], [])
        gone = []
        for key in keys:
            state = self._journal.document(*key)
            if state is not None:
                gone.append(key)
                change.totals.remove(key, state)
                if key.type in SALE_TYPES:
                    _sell(change, key, sale(Document.decode(key, state)), NO_SALE)
        return change._replace(gone=tuple(gone))

    def store(self, change: Change) -> None:
        """Write ``change``. Inside ``journal.commit()``; then :meth:`stored`."""
        journal = self._journal
        journal.drop_documents(change.gone)
        journal.put_documents((key.type, key.id, data) for key, data in change.states.items())
        journal.put_sales(change.sales_gone, change.sales)
        moved = {key.type for key in (*change.states, *change.gone)}
        journal.put_totals(map(change.totals.of, moved))

    def stored(self, change: Change) -> None:
        """The transaction that held ``change`` is durable."""
        self._totals = change.totals


def _with(key: DocKey, state: bytes, records: Iterable[Record]) -> bytes:
    """``state`` with ``records`` folded in; what else they touch is left to their own documents."""
    documents = {key: Document.decode(key, state)}
    for record in records:
        fold(documents, record)
    return documents[key].encode()


def _sell(change: Change, key: DocKey, before: Sale, after: Sale) -> None:
    change.sales_gone.extend(
        (product, *key) for product in before.quantities_e3 if product not in after.quantities_e3
    )
    change.sales.extend(
        (product, *key, after.tag, qty_e3) for product, qty_e3 in after.quantities_e3.items()
    )


def by_document(records: Iterable[Record]) -> dict[DocKey, list[Record]]:
    """``records`` by what they concern."""
    found: dict[DocKey, list[Record]] = {}
    for record in records:
        for key in touched(record.event):
            found.setdefault(key, []).append(record)
    return found


def own_records(answered: Iterable[tuple[Made, Answer | None]]) -> Iterator[Record]:
    """Own events that are in the log, under the time the door decided."""
    for own, answer in answered:
        if answer is not None and answer.state == State.ACKNOWLEDGED:
            stamp = Stamp(answer.stamp or own.event.stamp)
            yield Record(own.id, own.event, stamp, answer.flags, Origin.DEVICE, answer.received_ms)


class _Loaded(MutableMapping[DocKey, Document]):
    """Documents for one fold, read from the journal when the fold asks for them.

    What was stored is remembered as bytes and as sold quantities: the fold changes documents in
    place, and the digest has to count the old state out.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._documents: dict[DocKey, Document | None] = {}
        self.states: dict[DocKey, bytes] = {}
        self.sales: dict[DocKey, Sale] = {}

    def _find(self, key: DocKey) -> Document | None:
        if key in self._documents:
            return self._documents[key]
        state = self._journal.document(*key)
        document = None if state is None else Document.decode(key, state)
        if document is not None and state is not None:
            self.states[key] = state
            if key.type in SALE_TYPES:
                self.sales[key] = sale(document)
        self._documents[key] = document
        return document

    def __getitem__(self, key: DocKey) -> Document:
        document = self._find(key)
        if document is None:
            raise KeyError(key)
        return document

    def __setitem__(self, key: DocKey, document: Document) -> None:
        self._documents[key] = document

    def __delitem__(self, key: DocKey) -> None:
        self._documents[key] = None

    def __iter__(self) -> Iterator[DocKey]:
        return iter([key for key, document in self._documents.items() if document is not None])

    def __len__(self) -> int:
        return len(list(iter(self)))
