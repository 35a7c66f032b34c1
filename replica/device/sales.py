"""What sealed sales take from the shelf, and what an event's author built on. Pure."""

from __future__ import annotations

from typing import NamedTuple

from msgspec import UNSET

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import document_key
from replica.crdt.order import content_of, effective
from replica.events.payloads import Content, Payload

SALE_TYPES = frozenset({"order", "return"})


class Sale(NamedTuple):
    """Quantities per product that count from ``tag`` on; negative where goods came back."""

    tag: bytes
    quantities_e3: dict[str, int]


NO_SALE = Sale(b"", {})


def sale(document: Document) -> Sale:
    """What ``document`` takes from stock: sealed, not cancelled (docs/decisions/0004)."""
    if document.key.type == "order":
        sealed = effective(document)
        if sealed is None or sealed.cancelled:
            return NO_SALE
        return _sale(sealed.seal.tag, sealed.content)
    if document.key.type == "return" and (seals := document.facts.get("return.committed")):
        return _sale(seals[0].tag, content_of("return.committed", seals[0]))
    return NO_SALE


def _sale(tag: bytes, content: Content) -> Sale:
    quantities: dict[str, int] = {}
    for line in content.lines:
        quantities[line.product] = quantities.get(line.product, 0) + line.qty_e3
    return Sale(tag, quantities)


def builds_on(payload: Payload) -> list[DocKey]:
    """The document that ``payload`` concerns, then those it mentions, the most important first.

    An order mentions its customer and products: when the customer's own event is quarantined, the
    order waits with it instead of arriving without a customer (pitfalls P27).
    """
    keys = [document_key(payload)]
    content: Content | None = getattr(payload, "content", None)
    if content is not None:
        keys.append(DocKey("customer", content.customer))
        keys += [DocKey("product", line.product) for line in content.lines]
        return keys
    for said in (payload, getattr(payload, "fields", None)):
        for name in ("customer", "order", "product"):
            mentioned = getattr(said, name, None)
            if mentioned and mentioned is not UNSET:
                keys.append(DocKey(name, mentioned))
    return keys
