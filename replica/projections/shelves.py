"""Stock, kept in step with sales: on hand = newest count + movements since - sold since.

A sale is a difference of two effective orders (before and after a step), so a cancelled order
gives its goods back and an amended one only moves what changed (decision 0004). A new stock-take
moves the point from which sales count; then, and only then, the sales since are added up anew.
The sum is the same either way (tested against recomputation), and no order of arrival matters
because sums have none (CON-09).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import cast

from sqlalchemy import Connection, func, select

from replica.crdt.digest import document_hash
from replica.crdt.documents import DocKey, Document
from replica.crdt.stock import SOLD, Sold
from replica.events.kinds import decode_payload
from replica.events.payloads import StockCounted, StockMoved
from replica.events.record import Record
from replica.projections import tables as t
from replica.projections.pause import Pause
from replica.projections.rows import Place, Row, Sale, Shelf, shelf
from replica.store.statements import chunked, delete_under, insert_missing, upsert

_STOCK_KINDS = {"stock.counted": "counted", "stock.moved": "moved"}


class Shelves:
    """The stock rows that one step changes, and the ledger of counts and movements."""

    def __init__(self, connection: Connection, account: bytes, pause: Pause) -> None:
        self._connection = connection
        self._account = account
        self._pause = pause
        self._sold: defaultdict[str, list[tuple[bytes, int]]] = defaultdict(list)
        self._counted: dict[str, Shelf] = {}
        self._ledger: list[Row] = []
        self._moved_at: dict[str, int] = {}  # newest record that changed a sale, or counted
        self._sold_now: set[str] = set()

    def note(self, record: Record, place: Place) -> None:
        """Enter a folded record into the ledger if it is a count or a movement."""
        name = _STOCK_KINDS.get(record.event.kind)
        payload = decode_payload(record.event) if name else None
        if name is None or not isinstance(payload, StockCounted | StockMoved):
            return
        if isinstance(payload, StockCounted):
            self._moved_at[payload.product] = place.position
        reason = payload.reason if isinstance(payload, StockMoved) else ""
        at_ms = int.from_bytes(record.stamp[:6], "big")
        self._ledger.append(
            (
                self._account,
                payload.product,
                record.id,
                record.tag,
                name,
                payload.qty_e3,
                reason,
                place.device,
                at_ms,
                place.position,
            )
        )

    def sold(self, before: Sale | None, after: Sale | None) -> None:
        """A document took ``before`` off the shelf until now and takes ``after`` from here on."""
        if before == after:
            return
        for sale, sign in ((before, -1), (after, 1)):
            if sale is not None:
                for product, qty_e3 in sale.lines:
                    self._sold[product].append((sale.tag, sign * qty_e3))

    def changed(self, before: Sale | None, after: Sale | None, position: int) -> None:
        """The record at ``position`` made ``after`` of the sale ``before``. Tell each such record:
        where a product changed last must not depend on how the log is cut into steps."""
        if before != after:
            products = {product for one in (before, after) if one for product, _ in one.lines}
            self._sold_now |= products
            self._moved_at.update(dict.fromkeys(products, position))

    def counted(self, document: Document) -> None:
        """A stock document changed."""
        self._counted[document.key.id] = shelf(document)

    def write(self) -> None:
        """Write the ledger and every changed stock row. The step's order lines stand already."""
        insert_missing(self._connection, t.stock_movements, self._ledger)
        c = t.stock.c
        rows: list[Row] = []
        gone: list[Row] = []
        sold: dict[str, Sold] = {}
        moved = self._sold.keys() | self._counted.keys() | self._moved_at.keys()
        for products in chunked(sorted(moved)):
            query = select(c.product, c.counted_e3, c.counted_tag, c.moved_e3, c.sold_e3).where(
                c.account == self._account, c.product.in_(products)
            )
            stored = {row.product: row for row in self._connection.execute(query)}
            for product in products:
                self._pause()
                row = stored.get(product)
                known = Shelf(row.counted_e3, row.counted_tag, row.moved_e3) if row else _EMPTY
                now, sold_e3 = self._now(product, known, row.sold_e3 if row else 0)
                sold[product] = Sold(now.counted_tag or b"", sold_e3)
                if now == _EMPTY and sold_e3 == 0:
                    # No row says the same, and whether there was one depends on the way here.
                    gone.append((self._account, product))
                    continue
                on_hand_e3 = now.counted_e3 + now.moved_e3 - sold_e3
                rows.append((self._account, product, on_hand_e3, *now, sold_e3))
        self._pause()
        delete_under(self._connection, t.stock, gone)
        upsert(self._connection, t.stock, rows)
        self._write_sold(sold)

    def _write_sold(self, sold: Mapping[str, Sold]) -> None:
        """What sales took of every product that was ever in one."""
        c = t.sold.c
        rows: list[Row] = []
        for products in chunked(sorted(self._moved_at)):
            query = select(c.product).where(c.account == self._account, c.product.in_(products))
            known = {product for (product,) in self._connection.execute(query)}
            for product in products:
                self._pause()
                if product in known or product in self._sold_now:
                    state = sold[product].encode()
                    value = document_hash(DocKey(SOLD, product), state)
                    rows.append((self._account, product, state, value, self._moved_at[product]))
        upsert(self._connection, t.sold, rows)

    def _now(self, product: str, known: Shelf, sold_e3: int) -> tuple[Shelf, int]:
        """The shelf and the sales since its newest count, as they are after this step."""
        now = self._counted.get(product, known)
        if now.counted_tag != known.counted_tag and now.counted_tag is not None:
            return now, self._sold_since(product, now.counted_tag)
        since = known.counted_tag or b""
        return now, sold_e3 + sum(qty_e3 for tag, qty_e3 in self._sold[product] if tag > since)

    def _sold_since(self, product: str, tag: bytes) -> int:
        lines = t.order_lines.c
        total = 0
        for kind, parent in (("order", t.orders.c), ("return", t.returns.c)):
            query = select(func.sum(lines.qty_e3)).where(
                lines.account == self._account,
                lines.product == product,
                lines.type == kind,
                parent.account == lines.account,
                parent.id == lines.id,
                parent.sealed_tag > tag,
                parent.state != "cancelled",
            )
            total += int(cast("int | None", self._connection.execute(query).scalar()) or 0)
        return total


_EMPTY = Shelf(0, None, 0)
