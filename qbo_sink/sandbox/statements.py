"""Financial statements: profit and loss, balance sheet, cash flow, trial balance."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple

from qbo_sink.sandbox.ledger import Account, Transaction
from qbo_sink.sandbox.report_shape import (
    Ask,
    Bucket,
    Cell,
    Column,
    Period,
    amount_columns,
    buckets,
    data,
    section,
)
from qbo_sink.sandbox.values import ZERO, Json

_BEGINNING = "1900-01-01"
Amounts = list[Decimal]


class Table(NamedTuple):
    """What a report computes: its columns, its rows, the days it is about."""

    columns: list[Column]
    rows: list[Json]
    period: Period


class _Part(NamedTuple):
    """A section of a statement: accounts of ``types``, or parts of its own."""

    group: str
    title: str
    types: tuple[str, ...] = ()
    parts: tuple[_Part, ...] = ()


INCOME = _Part("Income", "Income", ("Income",))
COST = _Part("COGS", "Cost of Goods Sold", ("Cost of Goods Sold",))
EXPENSES = _Part("Expenses", "Expenses", ("Expense",))
OTHER_INCOME = _Part("OtherIncome", "Other Income", ("Other Income",))
OTHER_EXPENSES = _Part("OtherExpenses", "Other Expenses", ("Other Expense",))
EARNING = frozenset(
    kind for part in (INCOME, COST, EXPENSES, OTHER_INCOME, OTHER_EXPENSES) for kind in part.types
)
_ASSETS = _Part(
    "TotalAssets",
    "ASSETS",
    parts=(
        _Part(
            "CurrentAssets",
            "Current Assets",
            parts=(
                _Part("BankAccounts", "Bank Accounts", ("Bank",)),
                _Part("AR", "Accounts Receivable", ("Accounts Receivable",)),
                _Part("OtherCurrentAssets", "Other Current Assets", ("Other Current Asset",)),
            ),
        ),
        _Part("FixedAssets", "Fixed Assets", ("Fixed Asset",)),
        _Part("OtherAssets", "Other Assets", ("Other Asset",)),
    ),
)
_LIABILITIES = _Part(
    "Liabilities",
    "Liabilities",
    parts=(
        _Part(
            "CurrentLiabilities",
            "Current Liabilities",
            parts=(
                _Part("AP", "Accounts Payable", ("Accounts Payable",)),
                _Part("CreditCards", "Credit Cards", ("Credit Card",)),
                _Part(
                    "OtherCurrentLiabilities",
                    "Other Current Liabilities",
                    ("Other Current Liability",),
                ),
            ),
        ),
        _Part("LongTermLiabilities", "Long-Term Liabilities", ("Long Term Liability",)),
    ),
)
_EQUITY = _Part("Equity", "Equity", ("Equity",))
_OPERATING = frozenset(
    {
        "Accounts Receivable",
        "Other Current Asset",
        "Accounts Payable",
        "Credit Card",
        "Other Current Liability",
    }
)
_INVESTING = frozenset({"Fixed Asset", "Other Asset"})
_FINANCING = frozenset({"Long Term Liability", "Equity"})


class _Sums:
    """Amounts by account and bucket, debits positive."""

    def __init__(self, transactions: Iterable[Transaction], found: Sequence[Bucket]) -> None:
        self.width = len(found)
        self.by_account: dict[Account, Amounts] = {}
        for each in transactions:
            for posting in each.postings:
                row = self.by_account.setdefault(posting.account, [ZERO] * self.width)
                for index, bucket in enumerate(found):
                    if bucket.takes(each, posting):
                        row[index] += posting.amount

    def of(self, types: Iterable[str], sign: int) -> Amounts:
        """Total of the accounts of ``types``."""
        wanted = frozenset(types)
        rows = [row for account, row in self.by_account.items() if account.type in wanted]
        return [sign * sum(column, ZERO) for column in zip(*rows, strict=True)] or self.zero

    @property
    def zero(self) -> Amounts:
        """Nothing in every bucket."""
        return [ZERO] * self.width

    def part(
        self, part: _Part, sign: int, extra: Sequence[Json] = ()
    ) -> tuple[list[Json], Amounts]:
        """The section of ``part``, as a list that is empty where there is nothing to show."""
        rows, total = list(extra), self.zero
        for account in sorted(self.by_account, key=lambda each: each.name):
            if account.type in part.types and any(self.by_account[account]):
                amounts = [sign * amount for amount in self.by_account[account]]
                rows.append(data(Cell(account.name, account.id), *amounts))
                total = added(total, amounts)
        for inner in part.parts:
            made, amounts = self.part(inner, sign)
            rows += made
            total = added(total, amounts)
        if not rows:
            return [], total
        name = f"TOTAL {part.title}" if part.title.isupper() else ""
        return [section(part.title, rows, total, group=part.group, total=name)], total


def added(one: Amounts, other: Sequence[Decimal], sign: int = 1) -> Amounts:
    """Column by column."""
    return [a + sign * b for a, b in zip(one, other, strict=True)]


def profit_and_loss(ask: Ask) -> Table:
    """Income and expenses of the period, with the five nets in between."""
    transactions = ask.selected(ask.period)
    found = buckets(ask, transactions)
    sums = _Sums(transactions, found)
    rows, income = sums.part(INCOME, -1)
    cost_rows, cost = sums.part(COST, 1)
    gross = added(income, cost, -1)
    rows += [*cost_rows, section("Gross Profit", (), gross, group="GrossProfit")]
    spent_rows, spent = sums.part(EXPENSES, 1)
    operating = added(gross, spent, -1)
    net = section("Net Operating Income", (), operating, group="NetOperatingIncome")
    rows += [*spent_rows, net]
    more_rows, more = sums.part(OTHER_INCOME, -1)
    less_rows, less = sums.part(OTHER_EXPENSES, 1)
    other = added(more, less, -1)
    if more_rows or less_rows:
        beside = section("Net Other Income", (), other, group="NetOtherIncome")
        rows += [*more_rows, *less_rows, beside]
    rows.append(section("Net Income", (), added(operating, other), group="NetIncome"))
    return Table(amount_columns("Account", found), rows, ask.period)


def balance_sheet(ask: Ask) -> Table:
    """What is owned and owed at the end of each column, earnings of the fiscal year apart."""
    before = ask.selected(Period(_BEGINNING, ask.period.end))
    found = [bucket._replace(takes=_until(bucket)) for bucket in buckets(ask, before)]
    sums = _Sums(before, found)
    rows, _ = sums.part(_ASSETS, 1)
    starts = [_fiscal_start(bucket.period.end, ask.fiscal_month) for bucket in found]
    this_year = _Sums(
        before,
        [
            bucket._replace(takes=_within(bucket, start))
            for bucket, start in zip(found, starts, strict=True)
        ],
    ).of(EARNING, -1)
    earlier = added(sums.of(EARNING, -1), this_year, -1)
    earnings = [data("Retained Earnings", *earlier)] if any(earlier) else []
    earnings.append(data("Net Income", *this_year))
    owed_rows, owed = sums.part(_LIABILITIES, -1)
    equity_rows, equity = sums.part(_EQUITY, -1, earnings)
    equity = added(added(equity, this_year), earlier)
    equity_rows[0]["Summary"] = section("Equity", earnings, equity)["Summary"]
    name = "LIABILITIES AND EQUITY"
    both = section(
        name,
        owed_rows + equity_rows,
        added(owed, equity),
        group="TotalLiabilitiesAndEquity",
        total=f"TOTAL {name}",
    )
    return Table(amount_columns("Account", found), [*rows, both], ask.period)


def _until(bucket: Bucket) -> Callable[..., bool]:
    return lambda each, posting: (
        each.date <= bucket.period.end and (bucket.by_time or bucket.takes(each, posting))
    )


def _within(bucket: Bucket, start: str) -> Callable[..., bool]:
    return lambda each, posting: each.date >= start and bucket.takes(each, posting)


def _fiscal_start(day: str, fiscal_month: int) -> str:
    end = date.fromisoformat(day)
    year = end.year - (end.month < fiscal_month)
    return date(year, fiscal_month, 1).isoformat()


def trial_balance(ask: Ask) -> Table:
    """Every account with what it holds at the end of the period, on its side."""
    sums = _Sums(ask.selected(Period(_BEGINNING, ask.period.end)), [_total(ask)])
    rows, debit, credit = [], ZERO, ZERO
    for account in sorted(sums.by_account, key=lambda each: each.name):
        (amount,) = sums.by_account[account]
        if amount:
            sides = (amount, None) if amount > 0 else (None, -amount)
            rows.append(data(Cell(account.name, account.id), *sides))
            debit, credit = debit + max(amount, ZERO), credit + max(-amount, ZERO)
    rows.append(section("TOTAL", (), [debit, credit], group="GrandTotal"))
    shown = [Column("", "Account", "account"), Column("Debit", "Money", "debt_amt")]
    return Table([*shown, Column("Credit", "Money", "credit_amt")], rows, ask.period)


def cash_flow(ask: Ask) -> Table:
    """Where the change of the bank accounts came from: net income, and every other account."""
    total = [_total(ask)]
    sums = _Sums(ask.selected(ask.period), total)
    before = (date.fromisoformat(ask.period.start) - timedelta(days=1)).isoformat()
    earlier = _Sums(ask.selected(Period(_BEGINNING, before)), total)
    net = sums.of(EARNING, -1)
    income = data("Net Income", *net)
    rows, change = [], ZERO
    for group, title, types, first, base in (
        ("OperatingActivities", "OPERATING ACTIVITIES", _OPERATING, [income], net),
        ("InvestingActivities", "INVESTING ACTIVITIES", _INVESTING, [], [ZERO]),
        ("FinancingActivities", "FINANCING ACTIVITIES", _FINANCING, [], [ZERO]),
    ):
        made, amount = sums.part(_Part(group, title, tuple(types)), -1, first)
        subtotal = added(amount, base)
        change += subtotal[0]
        for each in made:
            name = f"Net cash provided by {title.lower()}"
            rows.append(each | {"Summary": section(name, (), subtotal)["Summary"]})
    rows.append(section("Net cash increase for period", (), [change], group="CashIncrease"))
    held = earlier.of(("Bank",), 1)
    if held[0]:
        rows.append(section("Cash at beginning of period", (), held, group="BeginningCash"))
    ending = added(held, [change])
    rows.append(section("Cash at end of period", (), ending, group="EndingCash"))
    return Table(amount_columns("Account", total), rows, ask.period)


def _total(ask: Ask) -> Bucket:
    simple = replace(ask, params={})
    return buckets(simple, ())[-1]
