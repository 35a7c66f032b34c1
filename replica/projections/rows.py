"""Rows from documents. Pure: the same document gives the same rows, whatever came before.

One function per type of document; each returns everything the read models say of that document, so
a runner replaces what was there. The columns and their units are in
:mod:`replica.projections.tables`; tuples here are in the order of the columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from replica.crdt.corrected import corrected, corrections
from replica.crdt.documents import Document, Fact, tag_ms
from replica.crdt.order import content_of, effective
from replica.crdt.twins import Named, names, normalised
from replica.crdt.view import View, view
from replica.events.clock import STAMP_BYTES
from replica.events.kinds import REGISTRY
from replica.events.money import line_total_minor
from replica.events.payloads import Content, StockCounted, StockMoved
from replica.projections.tables import (
    SEALED,
    customers,
    devices,
    labels,
    payments,
    products,
    sync_runs,
    twins,
)

Row = tuple[Any, ...]

MAIN_TABLES = {
    **SEALED,
    "customer": customers,
    "class": labels,
    "department": labels,
    "product": products,
    "payment": payments,
    "device": devices,
    "sync": sync_runs,
    "twin": twins,
}
"""The table with one row per document; ``stock`` and ``note`` documents have none."""


class Place(NamedTuple):
    """Where the log holds a seal. Not part of a document: positions never enter a merge."""

    position: int
    received_ms: int
    device: str  # hex


class Rows(NamedTuple):
    """What the read models say of one document."""

    main: Row | None
    lines: list[Row]
    conflicts: list[Row]
    names: list[Row]


class Sale(NamedTuple):
    """What a sealed order or a return does to the stock: the tag of its seal, (product, qty)."""

    tag: bytes
    lines: list[tuple[str, int]]


class Shelf(NamedTuple):
    """A stock document: the newest stock-take (tag None before the first) and movements since."""

    counted_e3: int
    counted_tag: bytes | None
    moved_e3: int


class Seal(NamedTuple):
    """The content of an order, quote or return that counts, and the fact that sealed it.

    ``state`` is what the document says before any sink has answered.
    """

    content: Content
    fact: Fact
    state: str

    @property
    def event(self) -> bytes:
        """Id of the event whose place in the log belongs in the row."""
        return self.fact.tag[STAMP_BYTES:]


def rows_of(account: bytes, document: Document, seal: Seal | None, place: Place) -> Rows:
    """Everything the read models say of ``document``, whose :func:`seal_of` is ``seal``.

    ``place`` is that of the seal's event, or of the newest record while there is no seal.
    """
    kind = document.key.type
    if seal is not None:
        return _sealed_rows(account, document, seal, place)
    if kind in SEALED:
        return _draft_rows(account, document, place)
    seen = view(document)
    main = _MAIN[kind](account, document.key.id, seen) if kind in _MAIN else None
    conflicts = _conflict_rows(account, document, seen)
    return Rows(main, [], conflicts, _name_rows(account, document, names(document)))


def seal_of(document: Document) -> Seal | None:
    """The seal of an order, quote or return; None without one and for other types."""
    kind = document.key.type
    if kind == "order":
        sealed = effective(document)
        if sealed is None:
            return None
        return Seal(sealed.content, sealed.seal, "cancelled" if sealed.cancelled else "on_server")
    committed = document.facts.get(f"{kind}.committed")
    if not committed:
        return None
    fact = committed[-1] if kind == "quote" else committed[0]
    withdrawn = "quote.withdrawn" in document.facts
    content = content_of(f"{kind}.committed", fact)
    if kind == "quote":
        content = corrected(content, corrections(document))
    return Seal(content, fact, "withdrawn" if withdrawn else "on_server")


def sale_of(document: Document, seal: Seal | None) -> Sale | None:
    """What ``document`` takes off the shelf; None for what moves no stock (decision 0004)."""
    if seal is None or seal.state == "cancelled" or document.key.type == "quote":
        return None
    return Sale(seal.fact.tag, [(line.product, line.qty_e3) for line in seal.content.lines])


def shelf(document: Document) -> Shelf:
    """What a stock document says before any sale."""
    counted = document.newest("stock.counted")
    since = b"" if counted is None else counted.tag
    moved_e3 = sum(
        cast("StockMoved", REGISTRY.read(kind, fact.body)).qty_e3
        for kind, fact in document.of("stock.moved")
        if fact.tag > since
    )
    if counted is None:
        return Shelf(0, None, moved_e3)
    taken = cast("StockCounted", REGISTRY.read("stock.counted", counted.body))
    return Shelf(taken.qty_e3, counted.tag, moved_e3)


def _sealed_rows(account: bytes, document: Document, seal: Seal, place: Place) -> Rows:
    key = document.key
    content = seal.content
    lines = [
        (
            account,
            key.type,
            key.id,
            ordinal,
            line.id,
            line.product,
            line.qty_e3,
            line.price_e4,
            line_total_minor(line.qty_e3, line.price_e4, content.currency),
            line.text,
        )
        for ordinal, line in enumerate(content.lines)
    ]
    # One fact is the common case by far: nobody else said anything, so there is nothing to weigh.
    alone = len(document.facts) == 1 and len(document.facts[f"{key.type}.committed"]) == 1
    seen: View = {} if alone else view(document)
    state, answer = _answered(seal.state, seen)
    main = (
        account,
        key.id,
        content.number,
        content.customer,
        content.currency,
        content.date,
        content.delivery_date,
        content.rep,
        content.memo,
        content.note,
        content.total_minor,
        len(lines),
        int(content.offline),
        state,
        len(seen.get("amendments", ())),
        seal.fact.tag,
        tag_ms(seal.fact.tag),
        place.device,
        place.received_ms,
        place.position,
        *answer,
    )
    held: list[Named] = []
    number = normalised(content.number)
    if key.type == "order" and seal.state != "cancelled" and number:
        held.append(Named("number", number))
    conflicts = _conflict_rows(account, document, seen)
    return Rows(main, lines, conflicts, _name_rows(account, document, held))


def _draft_rows(account: bytes, document: Document, place: Place) -> Rows:
    """An order without a seal: a draft, a cancelled draft, or one only a sink has answered for."""
    key = document.key
    seen = view(document)
    fields: View = seen.get("fields", {})
    currency = fields.get("currency") or ""
    lines = [
        (
            account,
            key.type,
            key.id,
            ordinal,
            line["id"],
            line["product"] or "",
            line["qty_e3"] or 0,
            line["price_e4"] or 0,
            line_total_minor(line["qty_e3"] or 0, line["price_e4"] or 0, currency),
            line["text"] or "",
        )
        for ordinal, line in enumerate(seen.get("lines", ()))
    ]
    adjusted_minor = (
        (fields.get("shipping_minor") or 0)
        + (fields.get("fees_minor") or 0)
        - (fields.get("discount_minor") or 0)
    )
    texts = ("number", "customer", "currency", "date", "delivery_date", "rep", "memo", "note")
    main = (
        account,
        key.id,
        *(fields.get(name) or "" for name in texts),
        sum(line[8] for line in lines) + adjusted_minor,
        len(lines),
        0,
        seen["state"],
        0,
        None,
        0,
        "",
        place.received_ms,
        place.position,
        *_answered("", seen)[1],
    )
    return Rows(main, lines, _conflict_rows(account, document, seen), [])


_NO_ANSWER: Row = ("", "", "", None, "", "", "")


def _answered(state: str, seen: View) -> tuple[str, Row]:
    """``state`` as the newest answer of a sink moves it, and the columns of that answer."""
    answers: dict[str, View] = seen.get("answers", {})
    if not answers:
        return state, _NO_ANSWER
    system, answer = max(answers.items(), key=lambda item: item[1]["tag"])
    parked = answer["state"] == "parked"
    there = answer.get("there", {})
    became = "standing" if parked else there.get("state", "standing")
    if state == "on_server":
        state = "needs_you" if parked else _BECAME.get(became, "needs_you")
    said = answer if became == "standing" else {**there, "code": f"{became}_there"}
    columns = (
        system,
        answer.get("external_id", ""),
        answer.get("number", ""),
        answer.get("total_minor"),
        said.get("code", ""),
        said.get("cause", ""),
        said.get("fix", ""),
    )
    return state, columns


_BECAME = {"standing": "in_qbo", "invoiced": "invoiced"}
"""What became of an estimate there, where nobody has to do anything about it."""


def _conflict_rows(account: bytes, document: Document, seen: View) -> list[Row]:
    waiting = [(1, item) for item in seen.get("amendments", ())]
    lost = [(0, item) for item in seen.get("losers", ())]
    return [
        (
            account,
            *document.key,
            ordinal,
            review,
            item["field"],
            item["line"],
            _json(item["value"]),
            item["rule"],
            item["by"],
            item["stamp_ms"],
            _json(item["kept"]),
            item["kept_by"] or "",
        )
        for ordinal, (review, item) in enumerate(waiting + lost)
    ]


def _name_rows(account: bytes, document: Document, held: list[Named]) -> list[Row]:
    key = document.key
    return [(account, key.type, one.field, one.key, key.id) for one in held]


def _twin(account: bytes, identity: str, seen: View) -> Row:
    found, decided = seen["found"], seen["decided"]
    return (
        account,
        identity,
        *(seen[name] for name in ("of", "first", "second", "field", "choice", "stays", "gone")),
        found["ms"] if found else 0,
        decided["ms"] if decided else 0,
    )


def _customer(account: bytes, identity: str, seen: View) -> Row:
    fields = seen["fields"]
    address = fields["address"] or {}
    names = ("name", "status", "company", "contact", "email", "phone")
    return (
        account,
        identity,
        *(fields[name] or "" for name in names),
        address.get("country", ""),
        fields["currency"] or "",
        fields["segment"] or "",
        fields["rep"] or "",
        *_standing(seen),
    )


def _label(kind: str) -> Callable[[bytes, str, View], Row]:
    def row(account: bytes, identity: str, seen: View) -> Row:
        names = (seen["fields"][name] or "" for name in ("name", "parent"))
        return (account, kind, identity, *names, *_standing(seen))

    return row


def _product(account: bytes, identity: str, seen: View) -> Row:
    fields = seen["fields"]
    names = ("name", "sku", "barcode", "description", "category", "unit")
    taxable = fields["taxable"]
    return (
        account,
        identity,
        *(fields[name] or "" for name in names),
        fields["price_e4"],
        fields["currency"] or "",
        None if taxable is None else int(taxable),
        *_standing(seen),
    )


def _standing(seen: View) -> Row:
    return (
        int(seen["exists"]),
        seen["deleted_by"] or "",
        seen["changed_ms"],
        _json(seen["links"]),
        _json(seen["there"]) if seen["there"] else "",
    )


def _payment(account: bytes, identity: str, seen: View) -> Row:
    names = ("order", "customer", "method", "amount_minor", "currency")
    return (account, identity, *(seen[name] for name in names), seen["recorded"]["ms"])


def _device(account: bytes, identity: str, seen: View) -> Row:
    enrolled, revoked = seen["enrolled"], seen["revoked"]
    return (
        account,
        identity,
        seen["name"] or "",
        seen["user"] or "",
        int(seen["active"]),
        enrolled["ms"] if enrolled else 0,
        revoked["ms"] if revoked else 0,
    )


def _sync(account: bytes, identity: str, seen: View) -> Row:
    names = ("started_ms", "finished_ms", "pushed", "pulled")
    return (
        account,
        identity,
        *(seen[name] for name in names),
        int(seen["equal"]),
        _json(seen["report"]),
    )


def _json(value: Any) -> str:
    """Compact, keys sorted: equal values are equal text."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


_MAIN: dict[str, Callable[[bytes, str, View], Row]] = {
    "customer": _customer,
    "class": _label("class"),
    "department": _label("department"),
    "product": _product,
    "payment": _payment,
    "device": _device,
    "sync": _sync,
    "twin": _twin,
}
