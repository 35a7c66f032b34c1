"""The accounting lists that are viewed here and changed in QuickBooks alone (ACC-01, ACC-02). Pure.

Of every row only what a column shows is kept, so what QuickBooks says beyond that (numbers of
social security, dates of birth) never reaches the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from qbo_sink.model import JsonObject
from qbo_sink.party import folded, shorten
from qbo_sink.taxes import Rate, words_of
from qbo_sink.wire import decimal
from replica.limits import SAFE_INTEGER_MAX

TEXT, DATE, MONEY = "text", "date", "money"
VALUE_CHARS = 500
LINES_SUMMED_MAX = 10_000
ACTIVE, INACTIVE, DELETED = "", "inactive", "deleted"

Read = Callable[[JsonObject], str]


class Column(NamedTuple):
    """One column of a list: its title, what it holds, and where a row there says it."""

    name: str
    title: str
    kind: str
    read: Read


@dataclass(frozen=True)
class ListSpec:
    """One list. ``label`` names a row; ``there`` is its page in QuickBooks."""

    name: str
    title: str
    entity: str
    columns: tuple[Column, ...]
    label: Read
    number: Read
    date: Read
    amount: Read
    there: str
    polled: bool = False  # change data capture is silent about it (quickbooks.md §1.9)
    names: bool = True  # rows become inactive; documents are deleted


@dataclass(frozen=True)
class ListRow:
    """One row as it is kept. ``text`` is what a filter looks in; ``amount_e4`` what sorts."""

    external_id: str
    label: str
    number: str
    date: str
    amount_e4: int
    state: str
    text: str
    values: Mapping[str, str]


def to_row(spec: ListSpec, row: JsonObject) -> ListRow:
    """A row there as the list ``spec`` keeps it."""
    values = {column.name: shorten(column.read(row), VALUE_CHARS) for column in spec.columns}
    amount = spec.amount(row)
    return ListRow(
        external_id=str(row["Id"]),
        label=shorten(spec.label(row), VALUE_CHARS),
        number=spec.number(row),
        date=spec.date(row),
        amount_e4=_sortable(amount),
        state=ACTIVE if row.get("Active", True) else INACTIVE,
        text=folded(" ".join(value for value in values.values() if value)),
        values=values,
    )


def _sortable(amount: str) -> int:
    value = int(decimal(amount) * 10_000)
    return max(-SAFE_INTEGER_MAX, min(value, SAFE_INTEGER_MAX))


def is_deleted(row: JsonObject) -> bool:
    """Whether change data capture says that the document is gone."""
    return bool(row.get("status") == "Deleted")


def with_rates(codes: Iterable[JsonObject], rates: Iterable[JsonObject]) -> list[JsonObject]:
    """Tax codes with their sales rates and the sum of those in percent; "" without any."""
    known_rates = {
        str(rate.get("Id")): Rate(str(rate.get("Name") or "tax"), decimal(rate.get("RateValue")))
        for rate in rates
    }
    found = []
    for code in codes:
        details = (code.get("SalesTaxRateList") or {}).get("TaxRateDetail") or []
        ids = [str((detail.get("TaxRateRef") or {}).get("value")) for detail in details]
        known = [known_rates[name] for name in ids if name in known_rates]
        percent = f"{sum((one.percent for one in known), Decimal(0)):f}" if known else ""
        found.append({**code, "Percent": percent, "Rates": words_of(known)})
    return found


def _at(*path: str) -> Read:
    def read(row: JsonObject) -> str:
        value: Any = row
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, bool):
            return "yes" if value else "no"
        return "" if value is None else str(value)

    return read


def _ref(name: str) -> Read:
    """The name of what is referred to; its id where no name is given."""

    def read(row: JsonObject) -> str:
        value = row.get(name)
        return str(value.get("name") or value.get("value") or "") if isinstance(value, dict) else ""

    return read


def _nothing(_: JsonObject) -> str:
    return ""


def _person(row: JsonObject) -> str:
    parts = [row.get("GivenName"), row.get("FamilyName")]
    return str(row.get("DisplayName") or " ".join(str(part) for part in parts if part))


def _debits(row: JsonObject) -> str:
    """What a journal entry moves; its own total is zero there."""
    total = Decimal(0)
    for line in (row.get("Line") or [])[:LINES_SUMMED_MAX]:
        detail = line.get("JournalEntryLineDetail") or {}
        if detail.get("PostingType") == "Debit":
            total += decimal(line.get("Amount"))
    return f"{total:f}"


def _accounts_named(row: JsonObject) -> str:
    details = (line.get("JournalEntryLineDetail") or {} for line in row.get("Line") or [])
    names = [_ref("AccountRef")(detail) for detail in details]
    return ", ".join(dict.fromkeys(name for name in names if name))


def _column(name: str, title: str, read: Read, kind: str = TEXT) -> Column:
    return Column(name, title, kind, read)


_number, _date, _total = _at("DocNumber"), _at("TxnDate"), _at("TotalAmt")
_balance, _due, _currency = _at("Balance"), _at("DueDate"), _ref("CurrencyRef")


def _document(
    name: str, title: str, entity: str, columns: Iterable[Column], *, label: Read, there: str
) -> ListSpec:
    amount = _debits if entity == "JournalEntry" else _total
    first = (
        _column("date", "Date", _date, DATE),
        _column("number", "Number", _number),
        *columns,
        _column("total", "Total", amount, MONEY),
    )
    return ListSpec(name, title, entity, first, label, _number, _date, amount, there, names=False)


_SPECS = (
    ListSpec(
        "accounts",
        "Accounts",
        "Account",
        (
            _column("name", "Name", _at("FullyQualifiedName")),
            _column("number", "Number", _at("AcctNum")),
            _column("type", "Type", _at("AccountType")),
            _column("detail", "Detail type", _at("AccountSubType")),
            _column("class", "Classification", _at("Classification")),
            _column("balance", "Balance", _at("CurrentBalance"), MONEY),
        ),
        _at("FullyQualifiedName"),
        _at("AcctNum"),
        _nothing,
        _at("CurrentBalance"),
        "chartofaccounts",
    ),
    _document(
        "bills",
        "Bills",
        "Bill",
        (
            _column("vendor", "Vendor", _ref("VendorRef")),
            _column("due", "Due", _due, DATE),
            _column("balance", "Open", _balance, MONEY),
            _column("currency", "Currency", _currency),
        ),
        label=_ref("VendorRef"),
        there="expenses",
    ),
    _document(
        "credit-memos",
        "Credit memos",
        "CreditMemo",
        (
            _column("customer", "Customer", _ref("CustomerRef")),
            _column("remaining", "Left", _at("RemainingCredit"), MONEY),
            _column("currency", "Currency", _currency),
        ),
        label=_ref("CustomerRef"),
        there="sales",
    ),
    ListSpec(
        "employees",
        "Employees",
        "Employee",
        (
            _column("name", "Name", _person),
            _column("phone", "Phone", _at("PrimaryPhone", "FreeFormNumber")),
            _column("city", "City", _at("PrimaryAddr", "City")),
            _column("hired", "Hired", _at("HiredDate"), DATE),
        ),
        _person,
        _nothing,
        _at("HiredDate"),
        _nothing,
        "employees",
    ),
    _document(
        "journal-entries",
        "Journal entries",
        "JournalEntry",
        (
            _column("accounts", "Accounts", _accounts_named),
            _column("note", "Note", _at("PrivateNote")),
            _column("currency", "Currency", _currency),
        ),
        label=_accounts_named,
        there="journal",
    ),
    _document(
        "purchases",
        "Purchases",
        "Purchase",
        (
            _column("payee", "Payee", _ref("EntityRef")),
            _column("account", "Account", _ref("AccountRef")),
            _column("type", "Paid by", _at("PaymentType")),
            _column("currency", "Currency", _currency),
        ),
        label=_ref("EntityRef"),
        there="expenses",
    ),
    ListSpec(
        "tax-codes",
        "Tax codes",
        "TaxCode",
        (
            _column("name", "Name", _at("Name")),
            _column("description", "Description", _at("Description")),
            _column("percent", "Percent", _at("Percent")),
            _column("rates", "Rates", _at("Rates")),
            _column("taxable", "Taxable", _at("Taxable")),
        ),
        _at("Name"),
        _nothing,
        _nothing,
        _nothing,
        "salestax",
        polled=True,
    ),
)
LISTS: Mapping[str, ListSpec] = {spec.name: spec for spec in _SPECS}
"""The lists by name, in the order in which they are offered."""

BY_ENTITY: Mapping[str, ListSpec] = {spec.entity: spec for spec in _SPECS}
