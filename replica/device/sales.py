"""What sealed sales take from the shelf, and what an event's author built on. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec import UNSET

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import document_key
from replica.crdt.order import effective
from replica.events.payloads import Content, Payload, SealedLine

SALE_TYPES = frozenset({"order", "return"})


class _Line(msgspec.Struct, array_like=True, gc=False):
    id: str
    product: str
    qty_e3: int


class _Lines(msgspec.Struct, gc=False):
    lines: tuple[_Line, ...]


class _Sold(msgspec.Struct, gc=False):
    """As much of a seal as a shelf is interested in: a first sync reads thousands of them."""

    content: _Lines


_decode = msgspec.msgpack.Decoder(_Sold).decode


class Sale(NamedTuple):
    """Quantities per product that count from ``tag`` on; negative where goods came back."""

    tag: bytes
    quantities_e3: dict[str, int]


NO_SALE = Sale(b"", {})


def sale(document: Document) -> Sale:
    """What ``document`` takes from stock: sealed, not cancelled (docs/decisions/0004)."""
    if document.key.type == "return" and (seals := document.facts.get("return.committed")):
        return _sale(seals[0].tag, _decode(seals[0].body).content.lines)
    if document.key.type != "order" or "order.cancelled" in document.facts:
        return NO_SALE
    if "order.corrected" in document.facts:
        sealed = effective(document)
        return NO_SALE if sealed is None else _sale(sealed.seal.tag, sealed.content.lines)
    if seals := document.facts.get("order.committed"):
        counts = document.newest("order.amended") or seals[0]
        return _sale(seals[0].tag, _decode(counts.body).content.lines)
    return NO_SALE


def _sale(tag: bytes, lines: Iterable[_Line | SealedLine]) -> Sale:
    quantities: dict[str, int] = {}
    for line in lines:
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
