"""Rules between the values of a payload; rules of one value are in its type (``payloads``).

Each function takes payloads of one kind and raises ``Malformed`` with the field and what was
expected, for the author to read; whose it is shows when they are asked one by one.
They run at the door, before anything is stored, and again in the fold for events that were stored
while their kind was still unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from itertools import pairwise
from operator import attrgetter

from msgspec import UNSET

from replica.errors import Malformed
from replica.events.money import content_total_minor
from replica.events.payloads import (
    CustomerChanged,
    DeviceScoped,
    OrderAmended,
    OrderChanged,
    OrderCommitted,
    OrderCorrected,
    OrderDrafted,
    Payload,
    PaymentRecorded,
    ProductChanged,
    QuoteCommitted,
    QuoteCorrected,
    ReturnCommitted,
    SyncFinished,
    TwinDecided,
    TwinFound,
)
from replica.limits import DAYS_REMEMBERED_MAX, ID_CHARS_MAX, NUMBER_CHARS_MAX

# What may stand in ids that are joined by line breaks: one pass instead of thousands of matches.
_ID_CHARS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:-\n"
_NAMES = ("number", "contact", "rep", "payment_method", "po_number", "department", "class_")
_names_of = attrgetter(*_NAMES)
_control = re.compile(r"[\x00-\x1f\x7f]").search


_Sealed = OrderCommitted | OrderAmended | QuoteCommitted | ReturnCommitted


def no_rule(payloads: Sequence[Payload]) -> None:
    """The types say everything about this kind."""


def check_changed(payloads: Sequence[CustomerChanged | ProductChanged]) -> None:
    """An edit names what it edits; an empty one would move existence without saying anything."""
    for payload in payloads:
        fields = payload.fields
        if all(getattr(fields, name) is UNSET for name in fields.__struct_fields__):
            raise Malformed("fields: an edit changes at least one field")


def check_order_fields(payloads: Sequence[OrderDrafted | OrderChanged]) -> None:
    for payload in payloads:
        fields = payload.fields
        for name, day in (("date", fields.date), ("delivery_date", fields.delivery_date)):
            if isinstance(day, str) and day:
                _check_days(name, (day,))


def check_sale(payloads: Sequence[_Sealed]) -> None:
    """Goods that go out: every quantity is above zero."""
    if min(_check_sealed(payloads)) <= 0:
        raise Malformed("content.lines: a quantity is above zero")


def check_return(payloads: Sequence[ReturnCommitted]) -> None:
    """Goods that come back: every quantity is below zero and nothing is left to pay."""
    if max(_check_sealed(payloads)) >= 0:
        raise Malformed("content.lines: a returned quantity is below zero")
    if any(payload.content.total_minor > 0 for payload in payloads):
        raise Malformed("content.total_minor: the total of a return is negative or zero")


def check_payment(payloads: Sequence[PaymentRecorded]) -> None:
    if any(not payload.order and not payload.customer for payload in payloads):
        raise Malformed("order, customer: a payment belongs to one of them")


def check_run(payloads: Sequence[SyncFinished]) -> None:
    if any(payload.finished_ms < payload.started_ms for payload in payloads):
        raise Malformed("finished_ms: a run ends after it started")


def check_corrected(payloads: Sequence[OrderCorrected | QuoteCorrected]) -> None:
    """A number stays one that an order may have, and an id an id."""
    for payload in payloads:
        limit = NUMBER_CHARS_MAX if payload.field == "number" else ID_CHARS_MAX
        for name, value in (("was", payload.was), ("now", payload.now)):
            if not 1 <= len(value) <= limit:
                raise Malformed(f"{name}: 1 to {limit} characters")
            if payload.field != "number" and value.encode().translate(None, _ID_CHARS[:-1]):
                raise Malformed(f"{name}: an id has a character outside A-Z a-z 0-9 . _ : -")


def check_twin(payloads: Sequence[TwinFound]) -> None:
    for payload in payloads:
        if payload.first >= payload.second:
            raise Malformed("first, second: two ids, the smaller one first")
        if payload.of == "customer" and payload.field != "name":
            raise Malformed("field: customers have a name in common")


def check_decided(payloads: Sequence[TwinDecided]) -> None:
    if any((payload.choice == "same") != bool(payload.stays) for payload in payloads):
        raise Malformed("stays: the one that stands for both, where they are the same")


def check_scope(payloads: Sequence[DeviceScoped]) -> None:
    for payload in payloads:
        if not payload.version:
            raise Malformed("version: the first scope of a device is 1")
        for name in ("customers", "prospects", "products", "without"):
            ids = getattr(payload, name) or ()
            if any(first >= second for first, second in pairwise(ids)):
                raise Malformed(f"{name}: ids ascend, each once")


def _check_days(name: str, days: Iterable[str]) -> None:
    for day in days:
        if not day:
            raise Malformed(f"{name}: a sealed document has a date")
        if not _is_day(day):
            raise Malformed(f"{name}: {day} is not a day of the calendar")


@lru_cache(DAYS_REMEMBERED_MAX)
def _is_day(text: str) -> bool:
    """``YYYY-MM-DD`` in the calendar. Remembered, since many orders have the same few days."""
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _check_sealed(payloads: Sequence[_Sealed]) -> list[int]:
    """What holds for every sealed document; gives the quantities of all lines in thousandths.

    Values of one sort are gathered from all lines of all documents and checked in one go.
    """
    contents = [payload.content for payload in payloads]
    name = payloads[0].__struct_fields__[0]  # what is sealed; all are of one kind
    ids: list[str] = list(map(attrgetter(name), payloads))
    names: list[str] = []
    texts: list[str] = []
    quantities_e3: list[int] = []
    for content in contents:
        ids.append(content.customer)
        names += _names_of(content)
        texts += (content.memo, content.note)
        line_ids = set()
        for line in content.lines:
            line_ids.add(line.id)
            ids += (line.id, line.product)
            texts.append(line.text)
            quantities_e3.append(line.qty_e3)
        if len(line_ids) != len(content.lines):
            raise Malformed("content.lines: two lines have the same id")
    _check_days("content.date", {content.date for content in contents})
    _check_days("content.delivery_date", {content.delivery_date for content in contents} - {""})
    _check_currencies({content.currency for content in contents})
    _check_ids(name, ids)
    _check_names(names)
    if "\0" in "".join(texts):
        raise Malformed("content.memo, content.note, content.lines: a text holds NUL")
    for content in contents:
        total_minor = content_total_minor(content)
        if content.total_minor != total_minor:
            raise Malformed(f"content.total_minor: the lines give {total_minor} (reliability I-27)")
    return quantities_e3


def _check_currencies(currencies: Iterable[str]) -> None:
    for currency in currencies:
        if not (currency.isascii() and currency.isalpha() and currency.isupper()):
            raise Malformed("content.currency: three letters A-Z")


def _check_ids(sealed: str, ids: Sequence[str]) -> None:
    """What the pattern of an id says."""
    joined = "\n".join(ids)
    if joined.count("\n") != len(ids) - 1 or joined.encode().translate(None, _ID_CHARS):
        raise Malformed(
            f"{sealed.rstrip('_')}, content.customer, content.lines: an id has a character outside "
            "A-Z a-z 0-9 . _ : -"
        )


def _check_names(names: Sequence[str]) -> None:
    """What the pattern of a name says. ``names`` are those of one content after the other.

    Printable text holds no control character, so only other text is worth a closer look.
    """
    if "".join(names).isprintable():
        return
    for index, value in enumerate(names):
        if _control(value):
            name = _NAMES[index % len(_NAMES)].rstrip("_")
            raise Malformed(f"content.{name}: no line breaks or control characters")
