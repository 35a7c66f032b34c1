"""One row of a retail history, read strictly: a line with exact numbers, or a reason why not.

Pure. Nothing is guessed: a value that does not say exactly one thing keeps the row aside, with the
reason and what the row held, so that a person can repair it and load it again.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, NamedTuple

from replica.limits import NAME_CHARS_MAX, NUMBER_CHARS_MAX, SAFE_INTEGER_MAX, TEXT_CHARS_MAX

QUANTITY_SCALE = 1_000
PRICE_SCALE = 10_000
UNSPECIFIED = "Unspecified"
# Names become "Customer …" and "Walk-in …"; the longest still is a name.
_NAMED_CHARS_MAX = NAME_CHARS_MAX - 20
_control = re.compile(r"[\x00-\x1f\x7f]").search
# A quantity times a price is a product of two integers; together they stay below this many e7.
_E7_MAX = SAFE_INTEGER_MAX * 1_000


class RawRow(NamedTuple):
    """A row as the file gives it. ``number`` counts the rows of the file from 1."""

    number: int
    invoice: Any
    stock_code: Any
    description: Any
    quantity: Any
    date: Any
    price: Any
    customer: Any
    country: Any


class Line(NamedTuple):
    """A good row. ``customer`` is None for an unnamed one."""

    row: int
    invoice: str
    stock_code: str
    description: str
    qty_e3: int
    day: str  # YYYY-MM-DD
    moment: str  # date and time as the file says it, ISO 8601 without a zone
    price_e4: int
    customer: str | None
    country: str


class KeptAside(NamedTuple):
    """A row that cannot become a line, and why, in words."""

    row: RawRow
    reason: str


# Every cell repeats (a few thousand codes over half a million rows), so each way of reading one
# remembers; the bounds keep the memory of a file that repeats nothing.


class _Unreadable(Exception):
    """A cell that does not say one thing. The message is the reason."""


def read(raw: RawRow) -> Line | KeptAside:
    """The line that ``raw`` states, or the first reason why it states none."""
    try:
        return _line(raw)
    except _Unreadable as unreadable:
        return KeptAside(raw, str(unreadable))


def _line(raw: RawRow) -> Line:
    qty_e3 = _scaled(raw.quantity, "quantity", QUANTITY_SCALE)
    price_e4 = _scaled(raw.price, "price", PRICE_SCALE)
    if qty_e3 == 0:
        raise _Unreadable("quantity is zero")
    if qty_e3 < 0 and price_e4 < 0:
        raise _Unreadable("goods came back at a negative price")
    if abs(qty_e3 * price_e4) > _E7_MAX:
        raise _Unreadable("quantity times price is out of range")
    moment = _moment(raw.date)
    return Line(
        raw.number,
        _identifier(raw.invoice, "invoice number", NUMBER_CHARS_MAX),
        _identifier(raw.stock_code, "stock code", NAME_CHARS_MAX),
        _description(raw.description),
        qty_e3,
        moment[:10],
        moment,
        price_e4,
        _name(raw.customer, "customer") or None,
        _name(raw.country, "country") or UNSPECIFIED,
    )


def _absent(value: Any) -> bool:
    return value is None or value != value  # noqa: PLR0124  NaN is how a float column says nothing


def _plain(value: Any) -> str:
    """A cell as text; a whole number in a float column without its ``.0``."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


@lru_cache(maxsize=65_536, typed=True)
def _identifier(value: Any, what: str, limit: int) -> str:
    """Kept as written, case and blanks included: merging two codes is a person's choice."""
    text = "" if _absent(value) else _plain(value)
    if not text.strip():
        raise _Unreadable(f"{what} is missing")
    return _checked(text, what, limit)


@lru_cache(maxsize=65_536, typed=True)
def _name(value: Any, what: str) -> str:
    text = "" if _absent(value) else _plain(value).strip()
    return _checked(text, what, _NAMED_CHARS_MAX)


@lru_cache(maxsize=8_192, typed=True)
def _description(value: Any) -> str:
    text = "" if _absent(value) else str(value).strip()
    if "\0" in text:
        raise _Unreadable("description holds NUL")
    if len(text) > TEXT_CHARS_MAX:
        raise _Unreadable(f"description is longer than {TEXT_CHARS_MAX} characters")
    return text


def _checked(text: str, what: str, limit: int) -> str:
    if len(text) > limit:
        raise _Unreadable(f"{what} is longer than {limit} characters")
    if _control(text):
        raise _Unreadable(f"{what} holds a control character")
    return text


@lru_cache(maxsize=65_536, typed=True)
def _scaled(value: Any, what: str, scale: int) -> int:
    """``value`` times ``scale``, exactly, from the shortest decimal that means the cell."""
    if _absent(value):
        raise _Unreadable(f"{what} is missing")
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise _Unreadable(f"{what} is not a number") from None
    if not number.is_finite():
        raise _Unreadable(f"{what} is not finite")
    if abs(number) > SAFE_INTEGER_MAX // scale:
        raise _Unreadable(f"{what} is out of range")
    scaled = number * scale
    if scaled != scaled.to_integral_value():
        places = len(str(scale)) - 1
        raise _Unreadable(f"{what} has more than {places} decimals")
    return int(scaled)


@lru_cache(maxsize=4_096, typed=True)
def _moment(value: Any) -> str:
    if _absent(value) or value == "":
        raise _Unreadable("date is missing")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    try:
        return datetime.fromisoformat(str(value).strip()).isoformat(sep=" ")
    except ValueError:
        raise _Unreadable("date cannot be read") from None
