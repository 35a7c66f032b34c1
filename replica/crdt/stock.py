"""Stock on hand: the newest stock-take plus everything that happened after it (CON-09, OFF-13).

Sales are not movements: a sealed order says already what left the shelf. Readers take its
quantities from the sealed orders and returns, so no event is counted twice and a cancelled order
gives its goods back by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from replica.crdt.documents import Document
from replica.crdt.registers import read
from replica.errors import Malformed
from replica.events.kinds import REGISTRY

SOLD = "sold"
"""What a device with a scope holds beside its documents: of every product, how much all sales took,
whoever made them (wire-protocol.md §14.5). Compared and moved as a document, made by no event."""


class Sold(msgspec.Struct, frozen=True, array_like=True):
    """The quantity of a product in all sales after the stock-take with the tag ``since``, which is
    the newest one; empty for none."""

    since: bytes
    qty_e3: int

    def encode(self) -> bytes:
        """Its state, as it is stored, sent and hashed."""
        return _encode_sold(self)


_encode_sold = msgspec.msgpack.Encoder().encode
_decode_sold = msgspec.msgpack.Decoder(Sold).decode


def decode_sold(state: bytes) -> Sold:
    """Raises ``Malformed`` for anything else."""
    try:
        return _decode_sold(state)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not what was sold of a product: {error}") from error


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
