"""Stock on hand: the newest stock-take plus everything that happened after it (CON-09, OFF-13).

Sales are not movements: a sealed order says already what left the shelf. Readers take its
quantities from the sealed orders and returns, so no event is counted twice and a cancelled order
gives its goods back by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from replica.crdt.documents import Document
from replica.crdt.registers import read
from replica.events.kinds import REGISTRY


def on_hand_e3(stock: Document | None, sales: Iterable[tuple[bytes, int]]) -> int:
    """Thousandths on the shelf, below zero when more was sold than was there (pitfalls P28).

    ``sales`` are (tag of the seal, quantity) of the product's lines in every sealed order that is
    not cancelled and in every return, whose quantities are negative and so add. Sales sealed
    before the newest stock-take are in its count already.
    """
    counted = stock.newest("stock.counted") if stock is not None else None
    since = counted.tag if counted is not None else b""
    on_shelf_e3 = REGISTRY.read("stock.counted", counted.body).qty_e3 if counted is not None else 0
    moved = read(stock, "stock.moved") if stock is not None else ()
    moved_e3 = sum(payload.qty_e3 for _, _, payload in moved)
    sold_e3 = sum(qty_e3 for tag, qty_e3 in sales if tag > since)
    return int(on_shelf_e3 + moved_e3 - sold_e3)
