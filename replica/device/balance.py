"""Stock on hand where only a part of the sales is held (wire-protocol.md §14.5).

The server says how much all sales took of a product. What the documents here do not account for
is the *rest*: it stands among the sold quantities as one more sale, just after the stock-take that
the server's sum begins at, so that a newer one ends it like any other, and named by the position
that the sum is of. Sales of this device's own then add up by themselves until the server has them;
then it says another sum, unless they do not count, for instance because the order was cancelled
before. When documents come and go for another reason than that something was sold, the rest takes
up what they held, and the sum stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from replica.crdt import stock
from replica.crdt.documents import DocKey, Document, tag_event
from replica.crdt.stock import SOLD, Sold, decode_sold
from replica.device.base import Change
from replica.device.journal import Journal
from replica.device.overlay import Overlay
from replica.device.sales import NO_SALE, SALE_TYPES, Sale, sale
from replica.events.record import Record

Line = tuple[bytes, int]
"""The tag that a sale counts from, and a quantity in thousandths."""
Behind = Callable[[int], Mapping[DocKey, Sequence[Record]]]
"""The records of this device that the log holds behind a position, by document."""
_AFTER = b"\0"
"""What makes of a tag the least one that is greater."""


class Told(NamedTuple):
    """Documents as the server read them at ``position``."""

    documents: Mapping[DocKey, bytes]
    position: int


_NOTHING_TOLD = Told(MappingProxyType({}), 0)


def on_hand_e3(journal: Journal, overlay: Overlay, product: str) -> int:
    """Thousandths on the shelf, own undecided sales counted (OFF-13)."""
    sales = {
        DocKey(kind, identity): (tag, qty_e3)
        for kind, identity, tag, qty_e3 in journal.sold(product)
    }
    for kind in SALE_TYPES:
        for key in overlay.keys(kind):
            document = overlay.document(key)
            sold = NO_SALE if document is None else sale(document)
            sales[key] = (sold.tag, sold.quantities_e3.get(product, 0))
    return stock.on_hand_e3(overlay.document(DocKey("stock", product)), sales.values())


def balance(
    journal: Journal,
    change: Change,
    behind: Behind,
    at: int,
    told: Told = _NOTHING_TOLD,
) -> None:
    """Add to ``change``, which is not stored yet, the rests of the products it concerns.

    The documents are as of the position ``at`` with ``change``, and as of that of the journal
    before it. ``told`` is what the server said. Raises ``Malformed`` for a sum that is none.
    """
    sums = {key.id: decode_sold(state) for key, state in told.documents.items() if key.type == SOLD}
    gone = {key.id for key in change.gone if key.type == SOLD}
    moved = _moved(change)
    unheard: dict[int, dict[DocKey, Sale]] = {}
    for product in moved.keys() | sums.keys() | gone | _arrived(journal, change, behind):
        held = {(kind, name): (tag, qty_e3) for kind, name, tag, qty_e3 in journal.sold(product)}
        rests = [key for key in held if key[0] == SOLD]
        change.sales_gone.extend((product, *key) for key in rests)
        total = sums.get(product) or _kept(journal, product)
        if total is None or product in gone:
            continue  # nobody has said how much there is: it goes by what is here
        position = told.position if product in sums else max([at, *map(_position, rests)])
        if position not in unheard:
            unheard[position] = _without(journal, change, behind(position))
        for key in rests:
            del held[key]
        held |= moved.get(product, {})
        for name, one in unheard[position].items():
            held[name] = (one.tag, one.quantities_e3.get(product, 0))
        rest_e3 = total.qty_e3 - _sold_e3(held.values(), total.since)
        change.sales.append((product, SOLD, str(position), total.since + _AFTER, rest_e3))


def _kept(journal: Journal, product: str) -> Sold | None:
    """What the server said last of a product."""
    state = journal.document(SOLD, product)
    return None if state is None else decode_sold(state)


def _position(rest: tuple[str, str]) -> int:
    """The position that the sum behind a rest is of, at least."""
    return int(rest[1] or 0)


def _arrived(journal: Journal, change: Change, behind: Behind) -> set[str]:
    """The products of sales that this device has said something about which the server may have
    heard by now: it may count as it does here, or not at all."""
    records = behind(journal.place.scope_at)
    as_they_are = _without(journal, change, dict.fromkeys(records, ()))
    as_they_were = _without(journal, change, records)
    sales = (*as_they_are.values(), *as_they_were.values())
    return {product for one in sales for product in one.quantities_e3}


def _moved(change: Change) -> dict[str, dict[tuple[str, str], Line]]:
    """The sales that ``change`` replaces, by product; nothing counts for what it takes away."""
    moved: defaultdict[str, dict[tuple[str, str], Line]] = defaultdict(dict)
    for product, kind, identity in change.sales_gone:
        moved[product][kind, identity] = (b"", 0)
    for product, kind, identity, tag, qty_e3 in change.sales:
        moved[product][kind, identity] = (tag, qty_e3)
    return moved


def _without(
    journal: Journal, change: Change, records: Mapping[DocKey, Sequence[Record]]
) -> dict[DocKey, Sale]:
    """What the sales that ``records`` are about would take from stock if these had not been."""
    found = {}
    for key, unheard in records.items():
        state = change.states.get(key) or journal.document(*key)
        if key.type not in SALE_TYPES or key in change.gone or state is None:
            continue
        document = Document.decode(key, state)
        ids = {record.id for record in unheard}
        for kind, facts in list(document.facts.items()):
            kept = [(kind, fact) for fact in facts if tag_event(fact.tag) not in ids]
            document.replace((kind,), kept)
        found[key] = sale(document)
    return found


def _sold_e3(lines: Iterable[Line], since: bytes) -> int:
    return sum(qty_e3 for tag, qty_e3 in lines if tag > since)
