"""One step of a projection: a stretch of the log becomes documents and rows, in one transaction.

The documents that a stretch touches are loaded in one query per type, folded in memory and written
back with their rows, section totals and stock. Nothing is kept between steps, so memory is bounded
by the size of a step whatever the size of the account.

A record whose fold raises is *poison*: it is noted in ``view_projection_failures`` with its
position and left out; everything else goes on (reliability §2.3). With ``strict`` the step raises
:class:`Poisoned` instead and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, MutableMapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from replica.crdt.digest import SectionTotal, SectionTotals, document_hash
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import about
from replica.crdt.scope import facet
from replica.crdt.twins import FIELDS
from replica.errors import CorruptionError
from replica.events.event import Position
from replica.events.record import Record, Segment, records
from replica.limits import PROJECTION_ERROR_CHARS_MAX
from replica.projections import tables as t
from replica.projections.pause import Pause, go_on
from replica.projections.rows import (
    MAIN_TABLES,
    Place,
    Rows,
    Sale,
    Seal,
    rows_of,
    sale_of,
    seal_of,
)
from replica.projections.shelves import Shelves
from replica.store.statements import (
    chunked,
    delete_under,
    delete_where,
    insert,
    upsert,
)

_SELLING = frozenset({"order", "return"})
Fold = Callable[[MutableMapping[DocKey, Document], Record], Sequence[DocKey]]


class Poisoned(CorruptionError):
    """A record that the fold cannot take, met where none may be skipped."""

    code = "poisoned"

    def __init__(self, position: int, kind: str, error: str) -> None:
        super().__init__(
            f"{kind} at position {position}: {error}",
            hint="the event stays in the log; repair the fold and rebuild again",
        )
        self.position = position


class Failure(NamedTuple):
    position: int
    kind: str
    error: str


class Step:
    """The work of one transaction. Use once: :meth:`run`."""

    def __init__(
        self,
        connection: Connection,
        account: bytes,
        fold: Fold,
        *,
        strict: bool,
        pause: Pause = go_on,
    ) -> None:
        self._connection = connection
        self._account = account
        self._fold = fold
        self._strict = strict
        self._pause = pause
        self._documents: dict[DocKey, Document] = {}
        self._states: dict[DocKey, bytes] = {}  # as stored before this step
        self._sales: dict[DocKey, Sale | None] = {}  # as they counted before this step
        self._selling: dict[DocKey, Sale | None] = {}  # as they count after the newest record
        self._seals: dict[DocKey, Seal | None] = {}  # of what sells, as after the newest record
        self._changed: dict[DocKey, Place] = {}  # place of the newest record that changed it
        self._places: dict[bytes, Place] = {}  # event id → place, of this step's records
        self._failures: dict[int, Failure] = {}
        self._shelves = Shelves(connection, account, pause)

    def run(self, segments: Iterable[Segment]) -> None:
        """Fold ``segments`` and write what follows from them, checkpoint excepted."""
        stretch: list[tuple[Position, Record]] = []
        for segment in segments:
            self._pause()
            stretch.extend(records(segment))
        self._load({key for _, record in stretch for key in self._touched(record)})
        self._fold_all(stretch)
        self._write_documents()
        self._write_rows()
        self._shelves.write()
        failures = [(self._account, *failure) for failure in self._failures.values()]
        upsert(self._connection, t.failures, failures)

    # Loading -------------------------------------------------------------------------------------

    def _touched(self, record: Record) -> Sequence[DocKey]:
        try:
            key = about(record.event)  # without its rules: a document too many is only loaded
        except Exception:  # noqa: BLE001  folding it will raise too, and there it is dealt with
            return ()
        return () if key is None else (key,)

    def _load(self, keys: set[DocKey]) -> None:
        c = t.documents.c
        for kind in sorted({key.type for key in keys}):
            for ids in chunked(sorted(key.id for key in keys if key.type == kind)):
                query = select(c.id, c.state).where(
                    c.account == self._account, c.type == kind, c.id.in_(ids)
                )
                for identity, state in self._connection.execute(query):
                    self._keep(DocKey(kind, identity), bytes(state))

    def _keep(self, key: DocKey, state: bytes) -> None:
        document = Document.decode(key, state)
        self._documents[key] = document
        self._states[key] = state
        if key.type in _SELLING:
            self._sales[key] = self._selling[key] = sale_of(document, seal_of(document))

    # Folding -------------------------------------------------------------------------------------

    def _fold_all(self, stretch: list[tuple[Any, Record]]) -> None:
        for index, (position, record) in enumerate(stretch):
            self._pause()
            place = Place(position, record.received_ms, record.event.device.hex())
            self._places[record.id] = place
            try:
                changed = self._fold(self._documents, record)
                self._sell(changed, position)
            except Exception as error:  # noqa: BLE001  one record must not stop an account
                self._fail(position, record.event.kind, error)
                self._restore(self._touched(record), stretch[:index])
                continue
            for key in changed:
                self._changed[key] = place
            self._shelves.note(record, place)

    def _sell(self, keys: Sequence[DocKey], position: int) -> None:
        for key in keys:
            if key.type in _SELLING:
                document = self._documents[key]
                seal = self._seals[key] = seal_of(document)
                sale = sale_of(document, seal)
                self._shelves.changed(self._selling.get(key), sale, position)
                self._selling[key] = sale

    def _restore(self, keys: Sequence[DocKey], before: list[tuple[Any, Record]]) -> None:
        """A fold that raised may have left a document half changed: build it again without it."""
        for key in keys:
            self._documents.pop(key, None)
            self._seals.pop(key, None)
            if key in self._states:
                self._documents[key] = Document.decode(key, self._states[key])
        for position, record in before:
            if position not in self._failures and set(keys) & set(self._touched(record)):
                self._fold(self._documents, record)

    def _fail(self, position: int, kind: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"[:PROJECTION_ERROR_CHARS_MAX]
        if self._strict:
            raise Poisoned(position, kind, text) from error
        self._failures[position] = Failure(position, kind, text)

    # Writing -------------------------------------------------------------------------------------

    def _write_documents(self) -> None:
        c = t.section_totals.c
        query = select(c.section, c.count, c.digest).where(c.account == self._account)
        totals = SectionTotals(
            SectionTotal(section, count, bytes(digest))
            for section, count, digest in self._connection.execute(query)
        )
        rows = []
        for key, place in self._changed.items():
            self._pause()
            document = self._documents[key]
            state = document.encode()
            totals.replace(key, self._states.get(key), state)
            known_by = (document_hash(key, state), place.position, *facet(document))
            rows.append((self._account, *key, state, *known_by))
        self._pause()
        upsert(self._connection, t.documents, rows)
        self._pause()
        sections = [(self._account, *total) for total in totals.sections()]
        upsert(self._connection, t.section_totals, sections)

    def _write_rows(self) -> None:
        seals = {key: self._seal(key) for key in self._changed}
        places = self._seal_places(seals)
        made: dict[DocKey, Rows] = {}
        for key, newest in self._changed.items():
            self._pause()
            document, seal = self._documents[key], seals[key]
            place = newest if seal is None else places.get(seal.event, newest)
            try:
                made[key] = rows_of(self._account, document, seal, place)
            except Exception as error:  # noqa: BLE001  as above: this document's rows stay as they were
                self._fail(newest.position, f"rows of {key.type}", error)
                continue
            self._shelves.sold(self._sales.get(key), sale_of(document, seal))
            if key.type == "stock":
                self._shelves.counted(document)
        self._write_main(made)
        self._write_parts(made)

    def _seal(self, key: DocKey) -> Seal | None:
        if key not in self._seals and key.type in t.SEALED:
            self._seals[key] = seal_of(self._documents[key])
        return self._seals.get(key)

    def _seal_places(self, seals: dict[DocKey, Seal | None]) -> dict[bytes, Place]:
        """Places of the seals: of this step's records, else as the rows already have them."""
        places = self._places
        for kind, table in t.SEALED.items():
            known = {
                key.id: seal.event
                for key, seal in seals.items()
                if key.type == kind and seal is not None and seal.event not in places
            }
            for ids in chunked(sorted(known)):
                query = select(
                    table.c.id, table.c.position, table.c.received_ms, table.c.device
                ).where(table.c.account == self._account, table.c.id.in_(ids))
                for identity, *place in self._connection.execute(query):
                    places[known[identity]] = Place(*place)
        return places

    def _write_main(self, made: dict[DocKey, Rows]) -> None:
        for kind, table in MAIN_TABLES.items():
            self._pause()
            rows = [found.main for key, found in made.items() if key.type == kind and found.main]
            upsert(self._connection, table, rows)

    def _write_parts(self, made: dict[DocKey, Rows]) -> None:
        """Lines, conflicts, names: the old ones of a document that was there, then the new ones."""
        old = [(self._account, *key) for key in made if key in self._states]
        for table, rows in (
            (t.order_lines, [row for found in made.values() for row in found.lines]),
            (t.conflicts, [row for found in made.values() for row in found.conflicts]),
        ):
            self._pause()
            delete_under(self._connection, table, old)
            insert(self._connection, table, rows)
        self._pause()
        held = [key for key in old if key[1] in FIELDS]
        delete_where(self._connection, t.names, ("account", "type", "id"), held)
        insert(self._connection, t.names, [row for found in made.values() for row in found.names])
