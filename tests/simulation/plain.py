"""The journal of a phone as plain tables: what SQLite gives it, without SQLite's price.

Most seeds run over this one, so that more of them can be run; the rest, and a test that compares
the two byte by byte, run over the product's own journal (:mod:`tests.simulation.disk`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from replica.device.chain import Head, Made, head_after
from replica.device.journal import Answer, Identity, Journal, Life, OutboxRow, Place, State
from replica.device.notices import Notice, Notices, Said
from replica.events.clock import Stamp
from replica.events.event import decode_event, event_id
from replica.limits import JOURNAL_READ_ROWS, NOTICES_KEPT_MAX
from tests.simulation.fuse import Fuse


class Tables:
    """Everything a journal stores. Rows are immutable, so a copy is what a disk would keep."""

    __slots__ = (
        "answers",
        "documents",
        "identity",
        "imports",
        "lives",
        "notices",
        "outbox",
        "place",
        "resaid",
        "sales",
        "totals",
    )

    def __init__(self) -> None:
        self.identity: Identity | None = None
        self.imports: tuple[bytes, int] | None = None
        self.place = Place()
        self.lives: dict[int, Life] = {}
        self.outbox: dict[int, tuple[int, bytes]] = {}
        self.answers: dict[int, Answer] = {}
        self.resaid: dict[int, int] = {}
        self.documents: dict[tuple[str, str], bytes] = {}
        self.sales: dict[tuple[str, str, str], tuple[bytes, int]] = {}
        self.totals: dict[str, tuple[int, bytes]] = {}
        self.notices: dict[str, Notice] = {}

    def copy(self) -> Tables:
        copied = Tables.__new__(Tables)
        copied.identity, copied.place, copied.imports = self.identity, self.place, self.imports
        for name in _COPIED:
            setattr(copied, name, getattr(self, name).copy())
        return copied


_COPIED = ("lives", "outbox", "answers", "resaid", "documents", "sales", "totals", "notices")


class PlainNotices(Notices):
    """What :class:`replica.device.notices.Notices` promises. Nobody puts one away here."""

    def __init__(self, journal: PlainJournal) -> None:
        self._journal = journal
        self.open = self._read()

    def _read(self) -> tuple[Notice, ...]:
        return tuple(reversed(self._journal._tables.notices.values()))

    def keep(self, said: Said, at_ms: int) -> None:
        with self._journal.commit():
            kept = self._journal._tables.notices
            newest = max((one.id for one in kept.values()), default=0)
            kept.setdefault(said.key, Notice(newest + 1, at_ms, said.code, said.text))
            newest = max(one.id for one in kept.values())
            for key in [key for key, one in kept.items() if one.id <= newest - NOTICES_KEPT_MAX]:
                del kept[key]
            found = self._read()
        self.open = found


class PlainJournal(Journal):
    """What :class:`replica.device.journal.Journal` promises, over dictionaries."""

    def __init__(self, image: Tables, fuse: Fuse | None = None) -> None:
        self.path = Path("journal")
        self._failure = None
        self._fuse = fuse or Fuse()
        self._kept: Tables | None = None  # what a rollback goes back to
        self._tables = image.copy()
        self._load()

    def _load(self) -> None:
        tables = self._tables
        self.identity, self.place = tables.identity, tables.place
        self.lives = [life for _, life in sorted(tables.lives.items())]
        self.last_n = len(tables.outbox)
        self.numbers, last_event = tables.outbox.get(self.last_n, (0, b""))
        self.resaid = dict(tables.resaid)
        self.notices = PlainNotices(self)
        self.answered_n = max(tables.answers, default=0)
        self.head = Head(epoch=0)
        if not self.lives:
            return
        life = self.lives[-1]
        self.head = Head(life.epoch)
        if self.last_n < life.first_n:
            self.numbers = 0
        if last_event:
            event = decode_event(last_event)
            self.head = self.head._replace(stamp=Stamp(event.stamp))
            if self.last_n >= life.first_n:
                self.head = Head(event.epoch, event.seq, event_id(last_event), Stamp(event.stamp))

    def close(self) -> None:
        """Nothing is open."""

    def image(self) -> Tables:
        """Everything committed, as a power cut would leave it."""
        return self._tables.copy()

    def rows(self) -> list[tuple[bytes, int | None, int, bytes, str]]:
        """(event, state, position, stamp, code) of every own event, as the tables hold them."""
        found: list[tuple[bytes, int | None, int, bytes, str]] = []
        for n, (_, data) in self._tables.outbox.items():
            said = self._tables.answers.get(n)
            if said is None:
                found.append((data, None, 0, b"", ""))
            else:
                found.append((data, said.state, said.position, said.stamp, said.code))
        return found

    # Writing --------------------------------------------------------------------------------------

    @contextmanager
    def commit(self) -> Iterator[None]:
        kept = self._tables.copy()
        try:
            yield
            self._fuse.burn()
        except BaseException:
            self._tables = kept
            raise
        self._fuse.burn()

    def catch_up(self, behind: bool) -> None:
        """There is no file to be quick with."""

    def append(self, made: Sequence[Made], numbers: int, again: Sequence[int] = ()) -> None:
        first = self.last_n + 1
        said_again = {n: first + index for index, n in enumerate(again)}
        with self.commit():
            for index, one in enumerate(made):
                self._tables.outbox[first + index] = (numbers, one.data)
            self._tables.resaid.update(said_again)
        self.resaid.update(said_again)
        self.last_n, self.numbers = self.last_n + len(made), numbers
        self.head = head_after(self.head, made)

    def append_one(self, row: tuple[int, int, bytes]) -> None:
        with self.commit():
            self._tables.outbox[row[0]] = row[1:]

    def begin(
        self,
        life: Life,
        *,
        identity: Identity,
        place: Place,
        old: Sequence[int] = (),
        made: Sequence[Made] = (),
        afresh: bool = False,
    ) -> None:
        with self.commit():
            self.put_identity(identity)
            self.put_place(place)
            self._tables.lives[life.first_n] = life
            self.put_answers(Answer(n, State.REMADE, 0, b"", 0, 0) for n in old)
            if not place.cursor:
                self.forget_places(life.first_n)
            if afresh:
                self.drop_base()
            for index, one in enumerate(made):
                self._tables.outbox[life.first_n + index] = (0, one.data)
        self.identity, self.place = identity, place
        self.lives = [before for before in self.lives if before.first_n != life.first_n] + [life]
        self.answered_n = max([self.answered_n, *old])
        self.head = head_after(Head(life.epoch, stamp=self.head.stamp), made)
        self.last_n += len(made)
        self.numbers = 0

    def put_identity(self, identity: Identity) -> None:
        self._tables.identity = identity

    def put_answers(self, answers: Iterable[Answer]) -> None:
        self._tables.answers.update((said.n, said) for said in answers)

    def forget_answers(self, after_n: int) -> None:
        for n in [n for n in self._tables.answers if n > after_n]:
            del self._tables.answers[n]

    def forget_places(self, before_n: int) -> None:
        for n, said in self._tables.answers.items():
            if n < before_n and said.state == State.ACKNOWLEDGED:
                self._tables.answers[n] = said._replace(position=0)

    def put_documents(self, rows: Iterable[tuple[str, str, bytes]]) -> None:
        self._tables.documents.update(((kind, identity), data) for kind, identity, data in rows)

    def drop_documents(self, keys: Iterable[tuple[str, str]]) -> None:
        for key in keys:
            self._tables.documents.pop(key, None)

    def put_sales(
        self,
        gone: Iterable[tuple[str, str, str]],
        rows: Iterable[tuple[str, str, str, bytes, int]],
    ) -> None:
        for key in gone:
            self._tables.sales.pop(key, None)
        for product, kind, identity, tag, qty_e3 in rows:
            self._tables.sales[product, kind, identity] = (tag, qty_e3)

    def put_totals(self, rows: Iterable[tuple[str, int, bytes]]) -> None:
        self._tables.totals.update((section, (count, digest)) for section, count, digest in rows)

    def put_place(self, place: Place) -> None:
        self._tables.place = place

    def put_import(self, manifest: bytes, done: int) -> None:
        self._tables.imports = (manifest, done)

    def end_import(self) -> None:
        self._tables.imports = None

    def drop_base(self) -> None:
        self._tables.documents, self._tables.sales, self._tables.totals = {}, {}, {}
        self._tables.imports = None

    # Reading --------------------------------------------------------------------------------------

    def own(self, first_n: int, last_n: int) -> list[OutboxRow]:
        outbox = self._tables.outbox
        last_n = min(last_n, len(outbox), first_n + JOURNAL_READ_ROWS - 1)
        return [self._row(n) for n in range(max(first_n, 1), last_n + 1)]

    def _row(self, n: int) -> OutboxRow:
        return OutboxRow(n, self._tables.outbox[n][1], self._tables.answers.get(n))

    def unheard(self, before_n: int) -> list[OutboxRow]:
        return [
            self._row(n)
            for n, said in sorted(self._tables.answers.items())
            if said.state == State.ACKNOWLEDGED and not said.position and n < before_n
        ]

    def reach(self, first_n: int) -> int:
        answers = self._tables.answers
        return max((said.position for n, said in answers.items() if n >= first_n), default=0)

    def answered_about(self, document: str) -> list[OutboxRow]:
        answers = sorted(self._tables.answers.items())
        return [self._row(n) for n, said in answers if said.document == document]

    def aside(self) -> list[OutboxRow]:
        return [
            self._row(n)
            for n, said in sorted(self._tables.answers.items(), reverse=True)
            if said.state in {State.QUARANTINED, State.REFUSED} and n not in self._tables.resaid
        ]

    def importing(self) -> tuple[bytes, int] | None:
        return self._tables.imports

    def acknowledged_after(self, position: int) -> list[OutboxRow]:
        return [
            self._row(n)
            for n, said in sorted(self._tables.answers.items())
            if said.state == State.ACKNOWLEDGED and said.position > position
        ]

    def states(self, kind: str, identities: Sequence[str]) -> dict[str, bytes]:
        documents = self._tables.documents
        return {one: documents[kind, one] for one in identities if (kind, one) in documents}

    def document(self, kind: str, identity: str) -> bytes | None:
        return self._tables.documents.get((kind, identity))

    def documents(self, kind: str, after: str) -> list[tuple[str, bytes]]:
        found = sorted(self._tables.documents.items())
        page = [(one, data) for (type_, one), data in found if type_ == kind and one > after]
        return page[:JOURNAL_READ_ROWS]

    def sold(self, product: str) -> list[tuple[str, str, bytes, int]]:
        return [
            (kind, identity, tag, qty_e3)
            for (sold, kind, identity), (tag, qty_e3) in self._tables.sales.items()
            if sold == product
        ]

    def totals(self) -> list[tuple[str, int, bytes]]:
        return [(name, count, digest) for name, (count, digest) in self._tables.totals.items()]

    def _read(self, statement: str, arguments: tuple[object, ...]) -> list[Any]:
        raise NotImplementedError(f"a statement that no plain table answers: {statement}")
