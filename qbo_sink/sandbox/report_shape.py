"""The shape of a report: columns, rows of cells, sections with a summary; and its period."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.ledger import Ledger, Posting, Transaction
from qbo_sink.sandbox.values import Json

MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_FIRST, _LAST = "1900-01-01", "2099-12-31"
BUCKETS_MAX = 400


class Period(NamedTuple):
    """Both days included."""

    start: str
    end: str


class Column(NamedTuple):
    """``type`` is Account, Money, Date … as clients know them; ``key`` what ``columns`` names.

    A column of amounts for some days says which: that is how clients tell it from the total.
    """

    title: str
    type: str
    key: str
    days: Period | None = None


@dataclass(frozen=True)
class Ask:
    """A report that was asked for. ``params`` have lower-case names."""

    params: dict[str, str]
    ledger: Ledger
    today: date
    fiscal_month: int
    period: Period
    at: str  # ``report_date``: for what is open on a day

    def selected(self, period: Period) -> list[Transaction]:
        """Transactions of ``period`` that pass the request's filters."""
        found = self.ledger.transactions(*period)
        for param, keep in _FILTERS.items():
            wanted = frozenset(filter(None, self.params.get(param, "").split(",")))
            if wanted:
                found = [each for each in found if keep(each) & wanted]
            if wanted and param in ("class", "item"):
                found = [_narrowed(each, param, wanted) for each in found]
        return found


_FILTERS: dict[str, Callable[[Transaction], frozenset[str]]] = {
    "customer": lambda each: _own(each, "Customer"),
    "vendor": lambda each: _own(each, "Vendor"),
    "department": lambda each: frozenset({each.department}),
    "item": lambda each: frozenset(posting.item for posting in each.postings),
    "class": lambda each: frozenset(posting.class_ for posting in each.postings),
    "account": lambda each: frozenset(posting.account.id for posting in each.postings),
    "transaction_type": lambda each: frozenset({each.kind}),
}


def _narrowed(each: Transaction, param: str, wanted: frozenset[str]) -> Transaction:
    """Only what was for the item or class in question."""
    kept = tuple(
        posting
        for posting in each.postings
        if (posting.item if param == "item" else posting.class_) in wanted
    )
    return replace(each, postings=kept)


def _own(transaction: Transaction, entity: str) -> frozenset[str]:
    kind, id_, _ = transaction.party
    found = {id_} if kind == entity else set()
    if entity == "Customer":
        found |= {posting.customer for posting in transaction.postings}
    return frozenset(found - {""})


# Periods ----------------------------------------------------------------------------------------


def period_of(params: dict[str, str], today: date, fiscal_month: int) -> Period:
    """From ``start_date`` and ``end_date``, or ``date_macro``; else this year to date.

    Raises ``Refused``: 2060 for what is no date, 2070 for an end before the start.
    """
    macro = params.get("date_macro", "").lower().strip()
    default = _macro(macro or "this fiscal year-to-date", today, fiscal_month)
    if macro and "start_date" not in params and "end_date" not in params:
        return default
    period = Period(
        read_day(params, "start_date", default.start), read_day(params, "end_date", default.end)
    )
    if period.end < period.start:
        raise refused(2070, f"end_date {period.end} is before start_date {period.start}")
    return period


def read_day(params: dict[str, str], name: str, default: str) -> str:
    """The day in parameter ``name``. Raises ``Refused`` (2060)."""
    text = params.get(name, "").strip()
    if not text:
        return default
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as problem:
        raise refused(2060, f"{name} {text!r} is not a date, yyyy-mm-dd is expected") from problem


def _macro(macro: str, today: date, fiscal_month: int) -> Period:
    if macro in ("all", "all dates"):
        return Period(_FIRST, _LAST)
    if macro in ("today", "yesterday"):
        day = (today - timedelta(days=macro == "yesterday")).isoformat()
        return Period(day, day)
    which, _, unit = macro.removesuffix("-to-date").partition(" ")
    if which not in ("this", "last", "next") or unit not in _UNITS:
        raise refused(2170, f"date_macro {macro!r} is not known", "date_macro")
    start = _start_of(unit, today, fiscal_month)
    if which == "last":
        start = _start_of(unit, start - timedelta(days=1), fiscal_month)
    elif which == "next":
        start = _next(unit, start)
    end = _next(unit, start) - timedelta(days=1)
    if macro.endswith("-to-date"):
        back = (today - _start_of(unit, today, fiscal_month)).days
        end = min(end, start + timedelta(days=back))
    return Period(start.isoformat(), end.isoformat())


_UNITS = {
    "week": 0,
    "month": 1,
    "quarter": 3,
    "calendar quarter": 3,
    "fiscal quarter": 3,
    "year": 12,
    "calendar year": 12,
    "fiscal year": 12,
}


def _start_of(unit: str, day: date, fiscal_month: int) -> date:
    months = _UNITS[unit]
    if not months:
        return day - timedelta(days=(day.weekday() + 1) % 7)
    first = fiscal_month if "fiscal" in unit else 1
    back = (day.month - first) % 12 % months
    return _shifted(day.replace(day=1), -back)


def _next(unit: str, start: date) -> date:
    return _shifted(start, _UNITS[unit]) if _UNITS[unit] else start + timedelta(days=7)


def _shifted(first: date, months: int) -> date:
    """The first of the month that is ``months`` later."""
    count = first.year * 12 + first.month - 1 + months
    return date(count // 12, count % 12 + 1, 1)


# Columns of amounts -----------------------------------------------------------------------------


class Bucket(NamedTuple):
    """A column of amounts: which postings count in it, and the days it covers."""

    title: str
    key: str
    takes: Callable[[Transaction, Posting], bool]
    period: Period
    by_time: bool = False


def buckets(ask: Ask, transactions: Iterable[Transaction]) -> list[Bucket]:
    """The columns that ``summarize_column_by`` asks for; always a total at the end."""
    by = ask.params.get("summarize_column_by", "total").lower().removesuffix("s")
    found: list[Bucket] = []
    if by in ("month", "quarter", "year", "week", "day"):
        found = _by_time(by, ask)
    elif by in _DIMENSIONS:
        entity, of = _DIMENSIONS[by]
        names = ask.ledger.names(entity)
        seen = {of(each, posting) for each in transactions for posting in each.postings}
        found = [_same(names.get(id_, ""), id_, of, ask) for id_ in sorted(seen - {""}, key=int)]
        if "" in seen and found:
            found.append(_same("Not Specified", "", of, ask))
    elif by != "total":
        raise refused(2170, f"summarize_column_by {by!r} is not known", "summarize_column_by")
    return [*found, Bucket("Total", "total", lambda _, __: True, ask.period)]


Dimension = Callable[[Transaction, Posting], str]

_DIMENSIONS: dict[str, tuple[str, Dimension]] = {
    "customer": ("Customer", lambda _, posting: posting.customer),
    "vendor": ("Vendor", lambda each, _: each.party[1] if each.party[0] == "Vendor" else ""),
    "classe": ("Class", lambda _, posting: posting.class_),
    "class": ("Class", lambda _, posting: posting.class_),
    "department": ("Department", lambda each, _: each.department),
    "productsandservice": (
        "Item",
        lambda _, posting: posting.item if posting.item.isdigit() else "",
    ),
}


def _same(name: str, id_: str, of: Dimension, ask: Ask) -> Bucket:
    return Bucket(name, id_, lambda each, posting: of(each, posting) == id_, ask.period)


def _by_time(by: str, ask: Ask) -> list[Bucket]:
    start, end = (date.fromisoformat(day) for day in ask.period)
    found: list[Bucket] = []
    while start <= end:
        if len(found) >= BUCKETS_MAX:
            raise refused(2180, f"A report has at most {BUCKETS_MAX} columns")
        if by == "day":
            following = start + timedelta(days=1)
        else:
            unit = f"fiscal {by}" if by in ("quarter", "year") else by
            following = _next(unit, _start_of(unit, start, ask.fiscal_month))
        last = min(end, following - timedelta(days=1))
        found.append(_between(by, start, last))
        start = following
    return found


def _between(by: str, start: date, end: date) -> Bucket:
    period = Period(start.isoformat(), end.isoformat())
    title = f"{MONTHS[start.month - 1][:3]} {start.year}"
    if by != "month":
        title = period.start if start == end else f"{period.start} - {period.end}"
    return Bucket(
        title,
        period.start,
        lambda each, _: period.start <= each.date <= period.end,
        period,
        by_time=True,
    )


# Rows -------------------------------------------------------------------------------------------


class Cell(NamedTuple):
    """A cell with the Id of what it names."""

    value: str
    id: str


def money(amount: Decimal) -> str:
    """Two places, never a sign on zero."""
    return f"{amount + 0:.2f}" if amount else "0.00"


def cells(values: Iterable[str | Decimal | Cell | None]) -> Json:
    """``ColData`` of one row; None is an empty cell."""
    return {"ColData": [_cell(value) for value in values]}


def _cell(value: str | Decimal | Cell | None) -> Json:
    if isinstance(value, Cell):
        return {"value": value.value, "id": value.id} if value.id else {"value": value.value}
    return {"value": money(value) if isinstance(value, Decimal) else value or ""}


def data(*values: str | Decimal | Cell | None) -> Json:
    """A row of data."""
    return cells(values) | {"type": "Data"}


def section(
    title: str | Cell,
    rows: Sequence[Json],
    totals: Sequence[str | Decimal | None],
    *,
    group: str = "",
    total: str = "",
) -> Json:
    """Rows under a header with a summary; without rows only the summary, as for a net amount."""
    name = title.value if isinstance(title, Cell) else title
    made: Json = {}
    if rows:
        made["Header"] = cells([title, *[""] * len(totals)])
        made["Rows"] = {"Row": list(rows)}
    made["Summary"] = cells([total or (f"Total {name}" if rows else name), *totals])
    return made | {"type": "Section"} | ({"group": group} if group else {})


def columns(found: Iterable[Column]) -> Json:
    """``Columns`` of a report."""
    return {"Column": [_column(each) for each in found]}


def _column(each: Column) -> Json:
    about = {"ColKey": each.key}
    if each.days is not None:
        about = {"StartDate": each.days.start, "EndDate": each.days.end, **about}
    return {
        "ColTitle": each.title,
        "ColType": each.type,
        "MetaData": [{"Name": name, "Value": value} for name, value in about.items()],
    }


def amount_columns(first: str, found: Iterable[Bucket]) -> list[Column]:
    """A column of names and one for each bucket."""
    amounts = (Column(b.title, "Money", b.key, b.period if b.by_time else None) for b in found)
    return [Column("", first, first.lower()), *amounts]
