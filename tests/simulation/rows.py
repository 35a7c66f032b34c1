"""Read models that know where each document changed last, as the ones in SQL do.

What the product asks its tables about scopes is answered here from memory; the seeds that run over
SQL ask the tables themselves. Both in one order where the product leaves it open, so that a page is
the same either way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from replica.crdt.digest import SectionTotal, document_hash
from replica.crdt.documents import DocKey
from replica.crdt.scope import Facet, facet
from replica.crdt.stock import SOLD, Sold
from replica.crdt.view import view
from replica.events.kinds import catalogue_fingerprint, decode_payload
from replica.events.payloads import StockCounted
from replica.events.record import Record
from replica.projections import scoping
from replica.projections.layers import Standing
from replica.projections.rows import Sale, sale_of, seal_of
from replica.projections.scoping import Row
from tests.simulation.server import Views


class PlacedViews(Views):
    """Views that also stand for the database of the product's questions about them."""

    path = Path("views")

    def drop(self) -> None:
        super().drop()
        self._at: dict[DocKey, int] = {}
        self._sales: dict[DocKey, Sale | None] = {}
        self._sold_at: dict[str, int] = {}
        self._rows: dict[DocKey, Row] = {}

    def note(self, position: int, record: Record, changed: Sequence[DocKey]) -> None:
        for key in changed:
            self._at[key] = position
            if key.type in ("order", "return"):
                document = self.documents[key]
                self._sell(key, sale_of(document, seal_of(document)), position)
        payload = decode_payload(record.event) if record.event.kind == "stock.counted" else None
        if isinstance(payload, StockCounted) and payload.product in self._sold_at:
            self._sold_at[payload.product] = position

    def _sell(self, key: DocKey, after: Sale | None, position: int) -> None:
        before = self._sales.get(key)
        self._sales[key] = after
        if before != after:
            lines = [line for one in (before, after) if one for line in one.lines]
            self._sold_at.update((product, position) for product, _ in lines)

    # As the product asks its tables ---------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[PlacedViews]:
        yield self

    def execution_options(self) -> PlacedViews:
        return self

    def standing(self) -> Standing | None:
        if not self.position:
            return None
        sections = tuple(SectionTotal(*one) for one in self.sections() if one.count)
        return Standing(self.position, self.chain, catalogue_fingerprint(), sections)

    def gone(self) -> set[DocKey]:
        kept = (key for key in self.documents if key.type in ("customer", "product"))
        return {key for key in kept if not view(self.documents[key])["exists"]}

    def changed_after(self, position: int) -> list[Row]:
        found = [self._row(key, at) for key, at in self._at.items() if at > position]
        for product, at in self._sold_at.items():
            if at > position:
                key, state = DocKey(SOLD, product), self._sold(product)
                about = Facet(f"product:{product}")
                found.append(Row(key, document_hash(key, state), at, about, len(state)))
        return in_order(found)

    def _row(self, key: DocKey, at: int) -> Row:
        row = self._rows.get(key)
        if row is None or row.position != at:
            document = self.documents[key]
            state = document.encode()
            row = Row(key, document_hash(key, state), at, facet(document), len(state))
            self._rows[key] = row
        return row

    def states(self, keys: Sequence[DocKey]) -> dict[DocKey, bytes]:
        return {
            key: self._sold(key.id) if key.type == SOLD else self.documents[key].encode()
            for key in keys
        }

    def _sold(self, product: str) -> bytes:
        stock = self.documents.get(DocKey("stock", product))
        counted = stock.newest("stock.counted") if stock else None
        since = counted.tag if counted else b""
        sales = [sale for sale in self._sales.values() if sale is not None and sale.tag > since]
        lines = [line for sale in sales for line in sale.lines]
        return Sold(since, sum(qty_e3 for name, qty_e3 in lines if name == product)).encode()


def in_order(rows: Any) -> list[Row]:
    return sorted(rows, key=lambda row: (row.position, row.key))


PLAIN_SCOPING = SimpleNamespace(
    changed_after=lambda views, account, position: views.changed_after(position),
    states=lambda views, account, keys: views.states(keys),
)
PLAIN_LAYERS = SimpleNamespace(
    standing=lambda views, account: views.standing(),
    gone=lambda views, account: views.gone(),
)
SQL_SCOPING = SimpleNamespace(
    changed_after=lambda *asked: in_order(scoping.changed_after(*asked)),
    states=scoping.states,
)
