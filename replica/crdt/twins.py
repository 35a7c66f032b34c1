"""Twins: names and numbers that were given twice by people who could not know of each other.

Two devices without a network create the same customer, the same product, or orders of one number.
Both stay; nothing is merged by guessing, and no rule of replay forbids it (pitfalls P57). The
server finds them and decides in events of its own (decision 0016). What counts as the same, how a
pair is called and which number comes next is here, so that whoever looks finds the same.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

from replica.crdt.corrected import corrections
from replica.crdt.documents import DocKey, Document
from replica.crdt.order import effective
from replica.crdt.registers import read, registers
from replica.crdt.view import exists
from replica.events import payloads as p
from replica.limits import NUMBER_CHARS_MAX

FIELDS = {"customer": ("name",), "product": ("name", "sku"), "order": ("number",)}
"""What is given once, per type of document, the most telling field first."""

_KEY_CHARS_MAX = 200


class Named(NamedTuple):
    """A name that a document holds. ``key`` is equal where the names are the same."""

    field: str
    key: str


def normalised(text: str) -> str:
    """``text`` as names are compared: without case, without outer and repeated blanks, and
    composed. QuickBooks ignores case and outer blanks; the rest is what people do not see either.
    Of a long name the end is a hash, as an index takes no long keys."""
    name = " ".join(unicodedata.normalize("NFC", text).casefold().split())
    if len(name) <= _KEY_CHARS_MAX:
        return name
    return name[:_KEY_CHARS_MAX] + sha256(name.encode()).hexdigest()


def names(document: Document) -> list[Named]:
    """The names that ``document`` holds now; none when it is deleted, cancelled or not sealed."""
    kind = document.key.type
    if kind == "order":
        return _number(document)
    if kind not in FIELDS or not exists(document):
        return []
    edits = read(document, f"{kind}.created", f"{kind}.changed")
    found = registers((name, fact, edit.fields) for name, fact, edit in edits)
    held = []
    for field in FIELDS[kind]:
        if writes := found.get(field):
            key = normalised(writes[0].value or "")
            if key:
                held.append(Named(field, key))
    return held


def _number(document: Document) -> list[Named]:
    sealed = effective(document)
    if sealed is None or sealed.cancelled:
        return []
    key = normalised(sealed.content.number)
    return [Named("number", key)] if key else []


def clash(one: Document, other: Document) -> str:
    """The field in which two documents of a type hold one name, "" for none. Products of one name
    are told apart by their SKUs where both have one."""
    ours, theirs = dict(names(one)), dict(names(other))
    if "sku" in ours and "sku" in theirs and ours["sku"] != theirs["sku"]:
        return ""
    return next((field for field, key in ours.items() if theirs.get(field) == key), "")


def twin_id(of: str, first: str, second: str) -> str:
    """The id of a pair, whichever of the two comes first."""
    low, high = sorted((first, second))
    return sha256(f"{of}\n{low}\n{high}".encode()).hexdigest()[:32]


def twin_found(of: str, one: str, other: str, field: str) -> p.TwinFound:
    """What the server says of a pair that nobody has told yet."""
    first, second = sorted((one, other))
    return p.TwinFound(twin_id(of, first, second), of, first, second, field)  # type: ignore[arg-type]


def suffixed(number: str, count: int) -> str:
    """``number`` as the ``count``-th order that has it is called."""
    suffix = f"-{count}"
    return number[: NUMBER_CHARS_MAX - len(suffix)] + suffix


def standing(of: str, record: str, stands_for: Mapping[DocKey, str]) -> str:
    """The record that stands for ``record`` in the end; itself when none does."""
    seen = {record}
    while (other := stands_for.get(DocKey(of, record), record)) not in seen:
        seen.add(other)
        record = other
    return record


def moves(document: Document, stands_for: Mapping[DocKey, str]) -> Iterator[p.Payload]:
    """Corrections that a sealed order or quote needs so that it names whom and what counts.

    ``stands_for`` tells of every record that it names, or was corrected from, who stands for it.
    """
    said = _said(document)
    if said is None:
        return
    now = {(one.field, one.was): one.now for one in corrections(document)}
    named = [("customer", said.customer), *(("product", line.product) for line in said.lines)]
    for field, was in dict.fromkeys(named):
        wanted = standing(field, was, stands_for)
        if now.get((field, was), was) != wanted:
            yield correction(document.key, field, was, wanted)


def named_by(document: Document) -> set[DocKey]:
    """The customer and products that a sealed order or quote named when it was sealed."""
    said = _said(document)
    if said is None:
        return set()
    products = {DocKey("product", line.product) for line in said.lines}
    return {DocKey("customer", said.customer), *products}


def correction(key: DocKey, field: Any, was: str, now: str) -> p.OrderCorrected | p.QuoteCorrected:
    """A decision about an order or a quote."""
    struct = p.OrderCorrected if key.type == "order" else p.QuoteCorrected
    return struct(key.id, field, was, now)


def _said(document: Document) -> p.Content | None:
    if document.key.type == "order":
        sealed = effective(document)
        return sealed.said if sealed else None
    offers = list(read(document, "quote.committed"))
    return offers[-1][2].content if offers else None
