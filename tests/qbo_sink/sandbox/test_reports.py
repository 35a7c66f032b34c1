"""Reports: they follow from the books, agree with one another, and have the shape clients read."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox.reports import REPORTS
from tests.qbo_sink.sandbox.desk import Answer, Desk, Json, line, order

YEAR = {"start_date": "2026-01-01", "end_date": "2026-12-31"}


def _report(desk: Desk, name: str, **params: str) -> Json:
    answer = desk.get(f"reports/{name}", **params)
    assert answer.status == 200, answer.content
    found: Json = answer.json
    return found


def _walk(rows: list[Json]) -> Iterator[Json]:
    for row in rows:
        yield row
        yield from _walk(row.get("Rows", {}).get("Row", []))


def _values(row: Json, part: str = "ColData") -> list[str]:
    cells = row["ColData"] if part == "ColData" else row[part]["ColData"]
    return [cell["value"] for cell in cells]


def _group(report: Json, group: str) -> list[str]:
    """The summary of a section, zero where it is left out for want of content."""
    found = [row for row in _walk(report["Rows"]["Row"]) if row.get("group") == group]
    return _values(found[0], "Summary")[1:] if found else ["0.00"]


def _data(report: Json) -> dict[str, list[str]]:
    rows = (row for row in _walk(report["Rows"]["Row"]) if row["type"] == "Data")
    return {values[0]: values[1:] for values in map(_values, rows)}


def _spent(amount: Decimal, account: str = "1") -> Json:
    kind = "AccountBasedExpenseLineDetail"
    return {"Amount": amount, "DetailType": kind, kind: {"AccountRef": {"value": account}}}


def _sale(amount: Decimal) -> list[Json]:
    discount: Json = {"DetailType": "DiscountLineDetail", "DiscountLineDetail": {}}
    discount["DiscountLineDetail"] |= {"PercentBased": True, "DiscountPercent": 10}
    taxed = line(str(amount), "1", str(amount), TaxCodeRef={"value": "TAX"})
    return [taxed, discount]


def _document(kind: str, amount: Decimal, day: str) -> tuple[str, Json]:
    sale = order(*_sale(amount), TxnDate=day)
    vendor = {"VendorRef": {"value": "1"}, "TxnDate": day}
    bodies: dict[str, Json] = {
        "Invoice": sale,
        "CreditMemo": sale,
        "SalesReceipt": sale,
        "RefundReceipt": sale | {"DepositToAccountRef": {"value": "35"}},
        "Estimate": sale,
        "Payment": {"CustomerRef": {"value": "1"}, "TotalAmt": amount, "TxnDate": day},
        "Bill": vendor | {"Line": [_spent(amount)]},
        "VendorCredit": vendor | {"Line": [_spent(amount)]},
        "BillPayment": vendor
        | {"PayType": "Check", "TotalAmt": amount, "Line": [{"Amount": 0, "LinkedTxn": []}]}
        | {"CheckPayment": {"BankAccountRef": {"value": "35"}}},
        "Purchase": {"PaymentType": "Cash", "AccountRef": {"value": "35"}, "TxnDate": day}
        | {"Line": [_spent(amount, "80")], "Credit": amount > 50},
        "Deposit": {"DepositToAccountRef": {"value": "35"}, "TxnDate": day}
        | {"Line": [{"Amount": amount, "DetailType": "DepositLineDetail"}]},
        "Transfer": {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "36"}}
        | {"Amount": amount, "TxnDate": day},
        "CreditCardPayment": {"BankAccountRef": {"value": "35"}, "Amount": amount}
        | {"CreditCardAccountRef": {"value": "42"}, "TxnDate": day},
    }
    return kind, bodies[kind]


_documents = st.lists(
    st.builds(
        _document,
        st.sampled_from(
            [
                "Invoice",
                "CreditMemo",
                "SalesReceipt",
                "RefundReceipt",
                "Estimate",
                "Payment",
                "Bill",
                "VendorCredit",
                "BillPayment",
                "Purchase",
                "Deposit",
                "Transfer",
                "CreditCardPayment",
            ]
        ),
        st.decimals("0.01", "99", places=2),
        st.sampled_from(["2025-06-30", "2026-02-03", "2026-07-01", "2026-11-10"]),
    ),
    max_size=8,
)


@settings(max_examples=25, deadline=None)
@given(_documents)
def test_statements_balance_and_agree(documents: list[tuple[str, Json]]) -> None:
    """Whatever was written, debits equal credits, assets equal the rest, cash equals the banks."""
    desk = Desk()
    try:
        for kind, body in documents:
            desk.save(kind, body)
        debit, credit = _group(_report(desk, "TrialBalance", **YEAR), "GrandTotal")
        assert debit == credit
        earned = _group(_report(desk, "ProfitAndLoss", **YEAR), "NetIncome")
        sheet = _report(desk, "BalanceSheet", **YEAR)
        assert _group(sheet, "TotalAssets") == _group(sheet, "TotalLiabilitiesAndEquity")
        assert _data(sheet)["Net Income"] == earned
        cash = _report(desk, "CashFlow", **YEAR)
        assert _group(cash, "EndingCash") == _group(sheet, "BankAccounts")
        by_month = _report(desk, "ProfitAndLoss", summarize_column_by="Month", **YEAR)
        for entity in ("Customer", "Vendor"):
            owed = _data(_report(desk, f"{entity}Balance", end_date="2026-12-31"))
            every = desk.rows(" ".join(("select * from", entity)), entity)
            named = {row["DisplayName"]: row["Balance"] for row in every if row["Balance"]}
            assert named == {
                name: Decimal(row[0]) for name, row in owed.items() if row[0] != "0.00"
            }
        *months, total = _group(by_month, "NetIncome")
        assert len(months) == 12
        assert sum(map(Decimal, months)) == Decimal(total) == Decimal(earned[0])
    finally:
        desk.close()


def test_profit_and_loss_has_the_documented_shape(desk: Desk) -> None:
    """Header, columns and sections as published clients read them (section 1.1, reports)."""
    desk.save("Invoice", order(line("29", "2", "14.5", TaxCodeRef={"value": "TAX"})))
    ask = {"date_macro": "This Fiscal Year-to-date", "minorversion": "75", "format": "json"}
    report = _report(desk, "profitandloss", **ask)
    assert list(report) == ["Header", "Columns", "Rows"]
    header = report["Header"]
    assert (header["ReportName"], header["ReportBasis"]) == ("ProfitAndLoss", "Accrual")
    assert (header["StartPeriod"], header["EndPeriod"]) == ("2026-01-01", "2026-11-18")
    assert {"Name": "NoReportData", "Value": "false"} in header["Option"]
    assert [each["ColType"] for each in report["Columns"]["Column"]] == ["Account", "Money"]
    income = report["Rows"]["Row"][0]
    assert (income["type"], income["group"]) == ("Section", "Income")
    assert income["Header"]["ColData"] == [{"value": "Income"}, {"value": ""}]
    assert income["Rows"]["Row"] == [
        {
            "ColData": [{"value": "Sales of Product Income", "id": "79"}, {"value": "14.50"}],
            "type": "Data",
        }
    ]
    assert _values(income, "Summary") == ["Total Income", "14.50"]
    groups = [row["group"] for row in report["Rows"]["Row"]]
    assert groups == ["Income", "GrossProfit", "Expenses", "NetOperatingIncome", "NetIncome"]


def test_receivables_age_by_due_date(desk: Desk) -> None:
    """Paid ones are gone, credits count against, periods are the request's."""
    for customer, due in (("2", "2026-11-30"), ("2", "2026-11-01"), ("3", "2026-08-01")):
        desk.save("Invoice", order(customer=customer, TxnDate="2026-07-01", DueDate=due))
    rows = _data(_report(desk, "AgedReceivables", num_periods="2"))
    assert rows["Corner Grocery"] == ["-5.50", "14.50", "0.00", "9.00"]
    assert rows["Hillside School Kitchen"] == ["-30.00", "0.00", "14.50", "-15.50"]
    assert _data(_report(desk, "CustomerBalance"))["Corner Grocery"] == ["9.00"]
    detail = _report(desk, "AgedReceivableDetail", customer="3")
    assert [_values(row, "Summary")[-1] for row in detail["Rows"]["Row"]] == ["-15.50"]


def test_sales_by_what_was_sold(desk: Desk) -> None:
    """By customer and month, by item with quantity, by class, by location."""
    sold = line("29", "2", "14.5", ClassRef={"value": "1"})
    desk.save("Invoice", order(sold, TxnDate="2026-10-05", DepartmentRef={"value": "1"}))
    found = _report(desk, "CustomerSales", summarize_column_by="Month", start_date="2026-10-01")
    assert _data(found)["Harbour Deli"] == ["29.00", "-14.50", "14.50"]
    titles = [each["ColTitle"] for each in found["Columns"]["Column"]]
    assert titles == ["", "Oct 2026", "Nov 2026", "Total"]
    about = [each["MetaData"] for each in found["Columns"]["Column"]]
    assert {"Name": "StartDate", "Value": "2026-11-01"} in about[2]
    assert [each["Name"] for each in about[3]] == ["ColKey"]
    assert _data(_report(desk, "ItemSales", **YEAR))["Cheddar"][:2] == ["1.00", "14.50"]
    assert _data(_report(desk, "ClassSales", **YEAR))["Retail"] == ["29.00"]
    assert _data(_report(desk, "DepartmentSales", **YEAR))["Main Store"] == ["29.00"]
    only = _report(desk, "ProfitAndLoss", **{"class": "1"})
    assert _group(only, "NetIncome") == ["29.00"]


def test_listings_take_columns_and_run_balances(desk: Desk) -> None:
    """Chosen columns in their order, sorting, an account's balance line by line."""
    asked = {"columns": "doc_num,subt_nat_amount,txn_type", "sort_by": "subt_nat_amount"}
    listed = _report(desk, "TransactionList", transaction_type="Bill", **asked)
    keys = [each["MetaData"][0]["Value"] for each in listed["Columns"]["Column"]]
    assert keys == ["doc_num", "subt_nat_amount", "txn_type"]
    assert [_values(row) for row in listed["Rows"]["Row"]] == [["DC-2201", "-84.50", "Bill"]]
    ledger = _report(desk, "GeneralLedger", account="87", columns="subt_nat_amount,rbal_nat_amount")
    (held,) = ledger["Rows"]["Row"]
    assert [_values(row)[1] for row in held["Rows"]["Row"]] == [
        *("10.00", "30.00", "60.00"),
        *("100.00", "150.00"),
    ]


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_every_report_answers_in_both_forms(desk: Desk, name: str) -> None:
    """Rows as wide as the columns; the same document in XML; empty periods say so."""
    report = _report(desk, name, **YEAR)
    width = len(report["Columns"]["Column"])
    for row in _walk(report["Rows"]["Row"]):
        for part in ("ColData", "Header", "Summary"):
            if part in row:
                assert len(_values(row, part)) == width, row
    desk.accept("application/xml")
    assert desk.get(f"reports/{name}").content.startswith(b"<?xml")


@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("NoSuchReport", {}, 500),
        ("ProfitAndLoss", {"start_date": "soon"}, 2060),
        ("ProfitAndLoss", {"start_date": "2026-02-01", "end_date": "2026-01-01"}, 2070),
        ("ProfitAndLoss", {"date_macro": "some day"}, 2170),
        ("ProfitAndLoss", {"summarize_column_by": "Moon"}, 2170),
        ("ProfitAndLoss", {"summarize_column_by": "Days", "start_date": "1950-01-01"}, 2180),
        ("AgedPayables", {"num_periods": "0"}, 2180),
        ("TransactionList", {"columns": "nope"}, 2170),
    ],
)
def test_reports_that_cannot_be(desk: Desk, name: str, params: Any, code: int) -> None:
    """Names, dates, macros and columns that make no sense are typed faults."""
    answer: Answer = desk.get(f"reports/{name}", **params)
    assert answer.codes == [code]


@pytest.mark.parametrize(
    ("macro", "start", "end"),
    [
        ("Today", "2026-11-18", "2026-11-18"),
        ("Last Month", "2026-10-01", "2026-10-31"),
        ("This Calendar Quarter", "2026-10-01", "2026-12-31"),
        ("Last Fiscal Year", "2025-01-01", "2025-12-31"),
        ("Last Month-to-date", "2026-10-01", "2026-10-18"),
        ("This Week", "2026-11-15", "2026-11-21"),
        ("Next Month", "2026-12-01", "2026-12-31"),
        ("All", "1900-01-01", "2099-12-31"),
    ],
)
def test_date_macros(desk: Desk, macro: str, start: str, end: str) -> None:
    """Periods by name, from the company's today."""
    header = _report(desk, "ProfitAndLoss", date_macro=macro)["Header"]
    assert (header["StartPeriod"], header["EndPeriod"]) == (start, end)
