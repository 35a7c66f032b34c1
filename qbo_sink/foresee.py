"""What can be said about a row before anything is sent: faults to expect, and what changes. Pure.

A prediction names the rule that makes it, in the words of the catalogue; the row is sent all the
same, because the company may have changed since its preferences were read (quickbooks.md §2.3).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from qbo_sink import compare, faults
from qbo_sink.answers import net_total
from qbo_sink.estimate import check, meant_total
from qbo_sink.faults import Refused
from qbo_sink.model import JsonObject, Op, Party, Preferences, Sale, Settings, Wanted
from qbo_sink.party import customer_fields
from qbo_sink.rows import Mapping
from qbo_sink.wire import Fault, plain

NUMBER_CHARS = 21
_CLOSED, _TOO_LONG, _INACTIVE, _CHARACTERS = 6200, 2050, 6250, 2040


def foresee(
    wanted: Wanted,
    op: Op,
    *,
    customer: Party | None,
    customer_there: Mapping | None,
    preferences: Preferences | None,
    settings: Settings,
) -> list[str]:
    """Sentences about the faults that this row would meet as things stand; none for most rows.

    ``preferences`` are those of the last run, None before the first.
    """
    if op is Op.REJECT:
        return []
    if isinstance(wanted, Sale):
        found = list(_of_sale(wanted, customer, customer_there, preferences, settings))
    else:
        named = bool(wanted.name.strip())
        found = [] if named else [faults.preflight("no_name")]
    return [f"{refused.cause} {refused.fix}" for refused in found]


def _of_sale(
    sale: Sale,
    customer: Party | None,
    customer_there: Mapping | None,
    preferences: Preferences | None,
    settings: Settings,
) -> Iterable[Refused]:
    content = sale.content
    if customer is None:
        yield faults.preflight("no_customer", content.customer)
    elif preferences is not None:
        refused = check(sale, customer, preferences, settings)
        if refused is not None:
            yield refused
    if customer_there is not None and customer_there.drift == "inactive":
        yield _known(_INACTIVE)
    if preferences is None:
        return
    if preferences.book_close_date and content.date <= preferences.book_close_date:
        yield _known(_CLOSED)
    if preferences.custom_numbers and len(content.number) > NUMBER_CHARS:
        yield _known(_TOO_LONG)
    texts = (content.note, content.memo, *(line.text for line in content.lines))
    if preferences.is_us and any(ord(character) > 255 for text in texts for character in text):
        yield _known(_CHARACTERS)


def _known(code: int) -> Refused:
    entry, _ = faults.describe(Fault(code, ""))
    return Refused(entry.kind, str(code), entry.cause, entry.fix)


def changes(wanted: Wanted, mapping: Mapping | None) -> list[str]:
    """What an update changes against what was acknowledged, in words."""
    if mapping is None or not mapping.snapshot:
        return []
    if isinstance(wanted, Party):
        return [_words(name) for name in compare.holds(mapping.row, customer_fields(wanted))]
    return list(_of_document(wanted, mapping.row)) if isinstance(wanted, Sale) else []


def _of_document(sale: Sale, snapshot: JsonObject) -> Iterable[str]:
    content = sale.content
    was, now = net_total(snapshot), meant_total(sale)
    if was != now:
        yield f"total {_number(was)} → {_number(now)}"
    for name, value in (("TxnDate", content.date), ("ShipDate", content.delivery_date or "")):
        before = str(snapshot.get(name) or "")
        if value and before != value:
            yield f"{_words(name)} {before or 'none'} → {value}"
    lines = len(compare.lines_of(snapshot))
    if lines != len(content.lines) and was == now:
        yield "lines"


_NAMES = {
    "TxnDate": "date",
    "ShipDate": "delivery date",
    "DisplayName": "name",
    "CompanyName": "company",
    "GivenName": "contact person",
    "FamilyName": "contact person",
}


def _words(name: str) -> str:
    return _NAMES.get(name, name)


def _number(value: Decimal) -> str:
    return f"{plain(value):f}"
