"""Stock on hand where only a part of the sales is held (wire-protocol.md §14.5).

The server says how much all sales took of a product. What the documents here do not account for
is the *rest*: it stands among the sold quantities as one more sale, just after the stock-take that
the server's sum begins at, so that a newer one ends it like any other. Sales of this device's own
then add up by themselves. When documents come and go for another reason than that something was
sold, the rest takes up what they held, and the sum stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from replica.crdt.documents import DocKey, Document, tag_event
from replica.crdt.stock import SOLD, decode_sold
from replica.device.base import Change
from replica.device.journal import Journal
from replica.device.sales import NO_SALE, SALE_TYPES, Sale, sale
from replica.events.record import Record

Line = tuple[bytes, int]
"""The tag that a sale counts from, and a quantity in thousandths."""
_REST = (SOLD, "")
_AFTER = b"\0"
"""What makes of a tag the least one that is greater."""
_NOTHING: Mapping[DocKey, Sequence[Record]] = MappingProxyType({})


def balance(
    journal: Journal,
    change: Change,
    documents: Mapping[DocKey, bytes] = MappingProxyType({}),
    own: Mapping[DocKey, Sequence[Record]] = _NOTHING,
) -> None:
    """Add to ``change``, which is not stored yet, the rests of the products it concerns.

    ``documents`` are those taken from the server, ``own`` the records of this device that the log
    holds behind the position at which the server read them. Raises ``Malformed`` for a sum that is
    none.
    """
    sums = {key.id: decode_sold(state) for key, state in documents.items() if key.type == SOLD}
    moved = _moved(change)
    selling = {key: some for key, some in own.items() if sums and key.type in SALE_TYPES}
    unheard = {key: _without(journal, change, key, some) for key, some in selling.items()}
    for product in moved.keys() | sums.keys():
        held = {(kind, name): (tag, qty_e3) for kind, name, tag, qty_e3 in journal.sold(product)}
        rest = held.pop(_REST, None)
        after = held | moved.get(product, {})
        if product in sums:
            since, total_e3 = sums[product].since, sums[product].qty_e3
            for key, one in unheard.items():  # the sum is about what the server had heard
                after[key] = (one.tag, one.quantities_e3.get(product, 0))
        elif rest is not None:
            since = rest[0].removesuffix(_AFTER)
            total_e3 = rest[1] + _sold_e3(held.values(), since)
        else:
            continue  # nobody has said how much there is: it goes by what is here
        rest_e3 = total_e3 - _sold_e3(after.values(), since)
        change.sales.append((product, *_REST, since + _AFTER, rest_e3))
    gone = [key.id for key in change.gone if key.type == SOLD]
    change.sales_gone.extend((product, *_REST) for product in gone)


def _moved(change: Change) -> dict[str, dict[tuple[str, str], Line]]:
    """The sales that ``change`` replaces, by product; nothing counts for what it takes away."""
    moved: defaultdict[str, dict[tuple[str, str], Line]] = defaultdict(dict)
    for product, kind, identity in change.sales_gone:
        moved[product][kind, identity] = (b"", 0)
    for product, kind, identity, tag, qty_e3 in change.sales:
        moved[product][kind, identity] = (tag, qty_e3)
    return moved


def _without(journal: Journal, change: Change, key: DocKey, records: Iterable[Record]) -> Sale:
    """What the document of ``key`` would take from stock if ``records`` had not been."""
    state = change.states.get(key) or journal.document(*key)
    if state is None:
        return NO_SALE
    document = Document.decode(key, state)
    unheard = {record.id for record in records}
    for kind, facts in list(document.facts.items()):
        kept = [(kind, fact) for fact in facts if tag_event(fact.tag) not in unheard]
        document.replace((kind,), kept)
    return sale(document)


def _sold_e3(lines: Iterable[Line], since: bytes) -> int:
    return sum(qty_e3 for tag, qty_e3 in lines if tag > since)
