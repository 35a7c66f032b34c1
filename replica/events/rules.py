"""Rules between the values of a payload; rules of one value are in its type (``payloads``).

Each function raises ``Malformed`` with the field and what was expected, for the author to read.
They run at the door, before anything is stored, and again in the fold for events that were stored
while their kind was still unknown here.
"""

from __future__ import annotations

from datetime import date
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

# What may stand in the ids of all lines of one content, joined by line breaks: one pass over
# 2,000 lines instead of 4,000 matches.
_ID_CHARS = (ascii_letters + digits + "._:-\n").encode()


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
    content = payload.content
    _check_content(content)
    if min(line.qty_e3 for line in content.lines) <= 0:
        raise Malformed("content.lines: a quantity is above zero")


def check_return(payload: ReturnCommitted) -> None:
    """Goods that come back: every quantity is below zero and nothing is left to pay."""
    content = payload.content
    _check_content(content)
    if max(line.qty_e3 for line in content.lines) >= 0:
        raise Malformed("content.lines: a returned quantity is below zero")
    if content.total_minor > 0:
        raise Malformed("content.total_minor: the total of a return is negative or zero")


def check_payment(payload: PaymentRecorded) -> None:
    if not payload.order and not payload.customer:
        raise Malformed("order, customer: a payment belongs to one of them")


def check_run(payload: SyncFinished) -> None:
    if payload.finished_ms < payload.started_ms:
        raise Malformed("finished_ms: a run ends after it started")


def _check_dates(values: Content | OrderFields) -> None:
    for name in ("date", "delivery_date"):
        value = getattr(values, name)
        if not value or value is UNSET:
            continue
        try:
            date.fromisoformat(value)
        except ValueError as error:
            raise Malformed(f"{name}: {value} is not a day of the calendar") from error


def _check_content(content: Content) -> None:
    _check_dates(content)
    lines = content.lines
    line_ids = {line.id for line in lines}
    if len(line_ids) != len(lines):
        raise Malformed("content.lines: two lines have the same id")
    joined = "\n".join([*line_ids, *[line.product for line in lines]])
    if joined.count("\n") != 2 * len(lines) - 1 or joined.encode().translate(None, _ID_CHARS):
        raise Malformed("content.lines: an id has a character outside A-Z a-z 0-9 . _ : -")
    if any("\0" in line.text for line in lines):
        raise Malformed("content.lines: a text holds NUL")
    total_minor = content_total_minor(content)
    if content.total_minor != total_minor:
        raise Malformed(f"content.total_minor: the lines give {total_minor} (reliability I-27)")
