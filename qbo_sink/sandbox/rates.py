"""Exchange rates: kept like other objects, but addressed by currency instead of Id."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.faults import Refused, refused
from qbo_sink.sandbox.shape import shape
from qbo_sink.sandbox.values import Json, today, write_json

_IN_DOLLARS = {"EUR": "1.08", "GBP": "1.27", "CAD": "0.73", "JPY": "0.0067", "USD": "1"}
_STEP = Decimal("0.000001")


def seed(books: Books, company: Company, home: str) -> None:
    """Today's rates of the sample company; inside ``books.atomic()``."""
    day = today(books.clock.now_ms(), company.zone)
    for code, dollars in _IN_DOLLARS.items():
        rate = (Decimal(dollars) / Decimal(_IN_DOLLARS[home])).quantize(_STEP)
        body = {"SourceCurrencyCode": code, "TargetCurrencyCode": home, "Rate": rate}
        books.put(company, ENTITIES["ExchangeRate"], body | {"AsOfDate": day})


def read(books: Books, company: Company, code: str) -> Json:
    """The rate of ``code`` against the home currency. Raises ``Refused`` (2220)."""
    found = books.by_name(company.realm, "ExchangeRate", code)
    if not found:
        raise refused(2220, f"{code} is not a currency of this company", "SourceCurrencyCode")
    return found[0].body


def write(books: Books, company: Company, raw: Any, source: bytes) -> Json:
    """Replace the rate of a currency; inside ``books.atomic()``. Raises ``Refused``."""
    if not isinstance(raw, dict):
        raise refused(2000, "The request body must be one JSON object")
    shaped = shape("ExchangeRate", raw, source)
    if shaped.problems:
        raise Refused(*shaped.problems)
    if "Rate" not in shaped.body:
        raise refused(2020, "Required parameter Rate is missing in the request", "Rate")
    if shaped.body["Rate"] <= 0:
        raise refused(2180, "Rate must be above zero", "Rate")
    old = read(books, company, shaped.body.get("SourceCurrencyCode", ""))
    day = today(books.clock.now_ms(), company.zone)
    changed = {"Rate": shaped.body["Rate"], "AsOfDate": shaped.body.get("AsOfDate", day)}
    return books.put(company, ENTITIES["ExchangeRate"], old | changed)


def as_json(body: Json, code_date: str = "") -> bytes:
    """The answer's value: no Id and no token, these belong to the books only."""
    shown = {name: value for name, value in body.items() if name not in ("Id", "SyncToken")}
    return write_json(shown | ({"AsOfDate": code_date} if code_date else {}))
