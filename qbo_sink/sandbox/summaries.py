"""Reports that add up: sales and expenses by what they are for, what is open by age, tax, stock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal

from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.ledger import Posting, Transaction
from qbo_sink.sandbox.listings import open_balance, open_documents
from qbo_sink.sandbox.report_shape import (
    Ask,
    Cell,
    Column,
    amount_columns,
    buckets,
    data,
    section,
)
from qbo_sink.sandbox.statements import EARNING, Table, added
from qbo_sink.sandbox.totals import HUNDRED
from qbo_sink.sandbox.values import ZERO, Json, cents, number

_SALES_TYPES = frozenset({"Income", "Other Income"})
AGING_DAYS, AGING_PERIODS, AGING_PERIODS_MAX = 30, 4, 30
Key = Callable[[Transaction, Posting], str]


def by(entity: str, key: Key, *, sales: bool) -> Callable[[Ask], Table]:
    """Income (or, without ``sales``, expenses) for each object of a list and each bucket."""

    def report(ask: Ask) -> Table:
        transactions = ask.selected(ask.period)
        found = buckets(ask, transactions)
        names, sums = ask.ledger.names(entity), {"": [ZERO] * len(found)}
        seen = set()
        for each in transactions:
            for posting in each.postings:
                if posting.account.type not in (_SALES_TYPES if sales else EARNING - _SALES_TYPES):
                    continue
                id_ = key(each, posting)
                seen.add(id_)
                value = -posting.amount if sales else posting.amount
                row = [value if bucket.takes(each, posting) else ZERO for bucket in found]
                sums[id_] = added(sums.get(id_, [ZERO] * len(found)), row)
        rows = [
            data(Cell(names.get(id_, "Not Specified"), id_), *sums[id_])
            for id_ in sorted(seen, key=lambda each: (not each, names.get(each, "")))
        ]
        total = [sum(column, ZERO) for column in zip(*sums.values(), strict=True)]
        rows.append(section("TOTAL", (), total, group="GrandTotal"))
        return Table(amount_columns(entity, found), rows, ask.period)

    return report


def item_sales(ask: Ask) -> Table:
    """Quantity, amount, share and average price of every item sold."""
    sold: dict[str, tuple[Decimal, Decimal]] = {}
    for each in ask.selected(ask.period):
        for posting in each.postings:
            if posting.item and posting.account.type in _SALES_TYPES:
                quantity, amount = sold.get(posting.item, (ZERO, ZERO))
                sold[posting.item] = (quantity + posting.quantity, amount - posting.amount)
    total = sum((amount for _, amount in sold.values()), ZERO)
    names = ask.ledger.names("Item")
    rows = [
        data(Cell(names.get(id_, id_), id_), *_item_row(*sold[id_], total))
        for id_ in sorted(sold, key=lambda each: names.get(each, each))
    ]
    every = sum((quantity for quantity, _ in sold.values()), ZERO)
    rows.append(section("TOTAL", (), _item_row(every, total, total), group="GrandTotal"))
    titles = (("Quantity", "quantity"), ("Amount", "amount"), ("% of Sales", "percent"))
    shown = [Column("", "ProductsAndService", "item")]
    shown += [Column(title, "Money", key) for title, key in (*titles, ("Avg Price", "avg"))]
    return Table(shown, rows, ask.period)


def _item_row(quantity: Decimal, amount: Decimal, total: Decimal) -> list[str | Decimal | None]:
    share = f"{cents(amount * HUNDRED / total)} %" if total else ""
    return [quantity, amount, share, cents(amount / quantity) if quantity else None]


def customer_income(ask: Ask) -> Table:
    """What each customer brought, cost and left."""
    sums: dict[str, list[Decimal]] = {}
    for each in ask.selected(ask.period):
        for posting in each.postings:
            if posting.customer and posting.account.type in EARNING:
                row = sums.setdefault(posting.customer, [ZERO, ZERO])
                is_income = posting.account.type in _SALES_TYPES
                row[not is_income] += -posting.amount if is_income else posting.amount
    names = ask.ledger.names("Customer")
    rows = [
        data(Cell(names.get(id_, id_), id_), *sums[id_], sums[id_][0] - sums[id_][1])
        for id_ in sorted(sums, key=lambda each: names.get(each, each))
    ]
    total = [sum((row[side] for row in sums.values()), ZERO) for side in (0, 1)]
    rows.append(section("TOTAL", (), [*total, total[0] - total[1]], group="GrandTotal"))
    shown = [Column("", "Customer", "customer")]
    titles = (("Total Income", "income"), ("Total Expenses", "expenses"))
    shown += [Column(title, "Money", key) for title, key in (*titles, ("Net Income", "net"))]
    return Table(shown, rows, ask.period)


def balances(entity: str) -> Callable[[Ask], Table]:
    """What every customer owes us, or we every vendor."""

    def report(ask: Ask) -> Table:
        shown = [Column("", entity, entity.lower()), Column("Total", "Money", "total")]
        return Table(shown, _open_rows(ask, entity, 1, lambda _: 0), ask.period)

    return report


def aged(entity: str) -> Callable[[Ask], Table]:
    """The same by how long it has been due, in ``num_periods`` of ``aging_period`` days."""

    def report(ask: Ask) -> Table:
        days = _whole(ask, "aging_period", AGING_DAYS, 365)
        count = _whole(ask, "num_periods", AGING_PERIODS, AGING_PERIODS_MAX)
        today = date.fromisoformat(ask.at)
        by_date = ask.params.get("aging_method", "").lower() == "current"

        def column(each: Transaction) -> int:
            due = each.date if by_date else str(each.body.get("DueDate", each.date))
            late = (today - date.fromisoformat(due)).days
            return 0 if late <= 0 else min((late - 1) // days, count - 1) + 1

        bounds = [(index * days + 1, (index + 1) * days) for index in range(count)]
        titles = [f"{low} - {high}" for low, high in bounds[:-1]]
        titles = ["Current", *titles, f"{bounds[-1][0]} and over"]
        shown = [Column("", entity, entity.lower())]
        shown += [Column(title, "Money", str(index)) for index, title in enumerate(titles)]
        rows = _open_rows(ask, entity, len(titles), column)
        return Table([*shown, Column("Total", "Money", "total")], rows, ask.period)

    return report


def _open_rows(
    ask: Ask, entity: str, width: int, column: Callable[[Transaction], int]
) -> list[Json]:
    """A row for each name: what is open by column and, where there are several, in all."""
    sums: dict[tuple[str, str], list[Decimal]] = {}
    for each in open_documents(ask, entity):
        row = sums.setdefault((each.party[2], each.party[1]), [ZERO] * width)
        row[column(each)] += open_balance(each)
    total = [sum(values, ZERO) for values in zip(*sums.values(), strict=True)] or [ZERO] * width

    def shown(row: list[Decimal]) -> list[str | Decimal | None]:
        return [*row, sum(row, ZERO)] if width > 1 else [*row]

    rows = [data(Cell(*name), *shown(sums[name])) for name in sorted(sums)]
    return [*rows, section("TOTAL", (), shown(total), group="GrandTotal")]


def _whole(ask: Ask, name: str, default: int, highest: int) -> int:
    text = ask.params.get(name, "")
    if not text:
        return default
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= highest:
        raise refused(2180, f"{name} must be from 1 to {highest}", name)
    return int(text)


def tax_summary(ask: Ask) -> Table:
    """Tax on sales by rate: what it was computed on and what it came to."""
    names = ask.ledger.names("TaxRate")
    sums: dict[str, list[Decimal]] = {}
    for each in ask.selected(ask.period):
        sign = -1 if each.kind in ("CreditMemo", "RefundReceipt") else 1
        lines = each.body.get("TxnTaxDetail", {}).get("TaxLine", []) if each.postings else []
        for line in lines:
            detail = line.get("TaxLineDetail", {})
            row = sums.setdefault(detail.get("TaxRateRef", {}).get("value", ""), [ZERO, ZERO])
            row[0] += sign * number(detail.get("NetAmountTaxable", 0))
            row[1] += sign * number(line.get("Amount", 0))
    rows = [data(Cell(names.get(id_, id_), id_), *sums[id_]) for id_ in sorted(sums)]
    total = [sum((row[side] for row in sums.values()), ZERO) for side in (0, 1)]
    rows.append(section("TOTAL", (), total, group="GrandTotal"))
    shown = [Column("", "TaxRate", "tax_rate"), Column("Net Amount", "Money", "net")]
    return Table([*shown, Column("Tax", "Money", "tax")], rows, ask.period)


def inventory_valuation(ask: Ask) -> Table:
    """What is on hand of every inventory item, at its purchase cost."""
    rows, total = [], [ZERO, ZERO]
    for item in ask.ledger.rows("Item"):
        if item.get("Type") != "Inventory":
            continue
        quantity, cost = number(item.get("QtyOnHand", 0)), number(item.get("PurchaseCost", 0))
        value = cents(quantity * cost)
        rows.append(data(Cell(item["Name"], item["Id"]), item.get("Sku"), quantity, value, cost))
        total = added(total, [quantity, value])
    rows.append(section("TOTAL", (), ["", *total, None], group="GrandTotal"))
    shown = [Column("", "Inventory", "item"), Column("SKU", "String", "sku")]
    titles = (("Qty", "quantity"), ("Asset Value", "value"), ("Calc. Avg", "average"))
    return Table([*shown, *(Column(a, "Money", b) for a, b in titles)], rows, ask.period)
