"""Rules between the values of a payload; rules of one value are in its type (``payloads``).

Each function raises ``Malformed`` with the field and what was expected, for the author to read.
They run at the door, before anything is stored, and again in the fold for events that were stored
while their kind was still unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from operator import attrgetter
from string import ascii_letters, digits

from msgspec import UNSET

from replica.errors import Malformed
from replica.events.money import content_total_minor
from replica.events.payloads import (
    Content,
    CustomerChanged,
    OrderAmended,
    OrderChanged,
    OrderCommitted,
    OrderDrafted,
    OrderFields,
    Payload,
    PaymentRecorded,
    ProductChanged,
    QuoteCommitted,
    ReturnCommitted,
    SyncFinished,
)
from replica.limits import DAYS_REMEMBERED_MAX

# What may stand in the ids of one content, joined by line breaks: one pass over 2,000 lines instead
# of 4,000 matches.
_ID_CHARS = (ascii_letters + digits + "._:-\n").encode()
_NAMES = ("number", "contact", "rep", "payment_method", "po_number", "department", "class_")
_names_of = attrgetter(*_NAMES)
_control = re.compile(r"[\x00-\x1f\x7f]").search


def no_rule(payload: Payload) -> None:
    """The types say everything about this kind."""


def check_changed(payload: CustomerChanged | ProductChanged) -> None:
    """An edit names what it edits; an empty one would move existence without saying anything."""
    if all(getattr(payload.fields, name) is UNSET for name in payload.fields.__struct_fields__):
        raise Malformed("fields: an edit changes at least one field")


def check_order_fields(payload: OrderDrafted | OrderChanged) -> None:
    _check_dates(payload.fields)


def check_sale(payload: OrderCommitted | OrderAmended | QuoteCommitted) -> None:
    """Goods that go out: every quantity is above zero."""
    if min(_check_content(payload.content)) <= 0:
        raise Malformed("content.lines: a quantity is above zero")


def check_return(payload: ReturnCommitted) -> None:
    """Goods that come back: every quantity is below zero and nothing is left to pay."""
    if max(_check_content(payload.content)) >= 0:
        raise Malformed("content.lines: a returned quantity is below zero")
    if payload.content.total_minor > 0:
        raise Malformed("content.total_minor: the total of a return is negative or zero")


def check_payment(payload: PaymentRecorded) -> None:
    if not payload.order and not payload.customer:
        raise Malformed("order, customer: a payment belongs to one of them")


def check_run(payload: SyncFinished) -> None:
    if payload.finished_ms < payload.started_ms:
        raise Malformed("finished_ms: a run ends after it started")


def _check_dates(fields: OrderFields) -> None:
    for name in ("date", "delivery_date"):
        value = getattr(fields, name)
        if value and not _is_day(value):
            raise Malformed(f"{name}: {value} is not a day of the calendar")


@lru_cache(DAYS_REMEMBERED_MAX)
def _is_day(text: str) -> bool:
    """``YYYY-MM-DD`` in the calendar. Remembered, since many orders have the same few days."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_content(content: Content) -> list[int]:
    """What holds for every sealed document; gives the quantities of its lines in thousandths."""
    if not _is_day(content.date):
        raise Malformed(f"content.date: {content.date} is not a day of the calendar")
    if content.delivery_date and not _is_day(content.delivery_date):
        raise Malformed(f"content.delivery_date: {content.delivery_date} is not a day")
    currency = content.currency
    if not (currency.isascii() and currency.isalpha() and currency.isupper()):
        raise Malformed("content.currency: three letters A-Z")
    ids, texts = [content.customer], [content.memo, content.note]
    line_ids: set[str] = set()
    quantities_e3: list[int] = []
    for line in content.lines:
        line_ids.add(line.id)
        ids += (line.id, line.product)
        texts.append(line.text)
        quantities_e3.append(line.qty_e3)
    if len(line_ids) != len(content.lines):
        raise Malformed("content.lines: two lines have the same id")
    _check_ids(ids)
    _check_names(content)
    if "\0" in "".join(texts):
        raise Malformed("content.memo, content.note, content.lines: a text holds NUL")
    total_minor = content_total_minor(content)
    if content.total_minor != total_minor:
        raise Malformed(f"content.total_minor: the lines give {total_minor} (reliability I-27)")
    return quantities_e3


def _check_ids(ids: Sequence[str]) -> None:
    """What the pattern of an id says, for the customer and all lines at once."""
    joined = "\n".join(ids)
    if joined.count("\n") != len(ids) - 1 or joined.encode().translate(None, _ID_CHARS):
        raise Malformed(
            "content.customer, content.lines: an id has a character outside A-Z a-z 0-9 . _ : -"
        )


def _check_names(content: Content) -> None:
    """What the pattern of a name says. Printable text holds no control character, so only other
    text is worth a closer look."""
    names = _names_of(content)
    if "".join(names).isprintable():
        return
    for name, value in zip(_NAMES, names, strict=True):
        if _control(value):
            raise Malformed(f"content.{name.rstrip('_')}: no line breaks or control characters")
