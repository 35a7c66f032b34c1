"""The report routes: which reports there are, and the document around each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from qbo_sink.sandbox import listings, statements, summaries
from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.ledger import Ledger
from qbo_sink.sandbox.report_shape import MONTHS, Ask, columns, period_of, read_day
from qbo_sink.sandbox.statements import Table
from qbo_sink.sandbox.values import Json, stamp, today

REPORTS: dict[str, Callable[[Ask], Table]] = {
    "ProfitAndLoss": statements.profit_and_loss,
    "ProfitAndLossDetail": listings.profit_and_loss_detail,
    "BalanceSheet": statements.balance_sheet,
    "BalanceSheetDetail": listings.balance_sheet_detail,
    "CashFlow": statements.cash_flow,
    "TrialBalance": statements.trial_balance,
    "GeneralLedger": listings.general_ledger,
    "JournalReport": listings.journal,
    "AccountList": listings.account_list,
    "TransactionList": listings.transaction_list,
    "TransactionListWithSplits": listings.with_splits,
    "TransactionListByCustomer": listings.transactions_by("Customer"),
    "TransactionListByVendor": listings.transactions_by("Vendor"),
    "CustomerSales": summaries.by("Customer", lambda _, each: each.customer, sales=True),
    "ItemSales": summaries.item_sales,
    "ClassSales": summaries.by("Class", lambda _, each: each.class_, sales=True),
    "DepartmentSales": summaries.by("Department", lambda each, _: each.department, sales=True),
    "CustomerIncome": summaries.customer_income,
    "VendorExpenses": summaries.by(
        "Vendor", lambda each, _: each.party[1] if each.party[0] == "Vendor" else "", sales=False
    ),
    "CustomerBalance": summaries.balances("Customer"),
    "CustomerBalanceDetail": listings.open_by("Customer"),
    "VendorBalance": summaries.balances("Vendor"),
    "VendorBalanceDetail": listings.open_by("Vendor"),
    "AgedReceivables": summaries.aged("Customer"),
    "AgedReceivableDetail": listings.open_by("Customer"),
    "AgedPayables": summaries.aged("Vendor"),
    "AgedPayableDetail": listings.open_by("Vendor"),
    "TaxSummary": summaries.tax_summary,
    "InventoryValuationSummary": summaries.inventory_valuation,
}
_ALIASES = {
    "trialbalancefr": "TrialBalance",
    "generalledgerfr": "GeneralLedger",
    "generalledgerdetail": "GeneralLedger",
    "accountlistdetail": "AccountList",
    "salesbycustomer": "CustomerSales",
    "salesbyproduct": "ItemSales",
    "salesbyclasssummary": "ClassSales",
    "salesbydepartment": "DepartmentSales",
    "incomebycustomersummary": "CustomerIncome",
    "expensesbyvendorsummary": "VendorExpenses",
}
_BY_PATH = {name.lower(): name for name in REPORTS} | _ALIASES


def run(books: Books, company: Company, name: str, params: dict[str, str]) -> Json:
    """The report ``name``, written as in its path. Raises ``Refused``."""
    known = _BY_PATH.get(name.lower())
    if known is None:
        raise refused(500, f"Unsupported Operation : there is no report {name}")
    now = books.clock.now_ms()
    day = date.fromisoformat(today(now, company.zone))
    info = books.single(company.realm, "CompanyInfo")
    fiscal = info.get("FiscalYearStartMonth", "January")
    month = MONTHS.index(fiscal) + 1 if fiscal in MONTHS else 1
    period = period_of(params, day, month)
    end = period.end if "end_date" in params else day.isoformat()
    ask = Ask(
        params, Ledger(books, company), day, month, period, read_day(params, "report_date", end)
    )
    table = REPORTS[known](ask)
    home = books.single(company.realm, "Preferences").get("CurrencyPrefs", {})
    option = {"Name": "NoReportData", "Value": str(not _has_data(table.rows)).lower()}
    header: Json = {
        "Time": stamp(now, company.zone),
        "ReportName": known,
        "ReportBasis": "Accrual",
        "StartPeriod": table.period.start,
        "EndPeriod": table.period.end,
        "SummarizeColumnsBy": params.get("summarize_column_by", "Total"),
        "Currency": home.get("HomeCurrency", {}).get("value", "USD"),
        "Option": [{"Name": "AccountingStandard", "Value": "GAAP"}, option],
    }
    if params.get("date_macro"):
        header["DateMacro"] = params["date_macro"].lower()
    return {"Header": header, "Columns": columns(table.columns), "Rows": {"Row": table.rows}}


def _has_data(rows: list[Json]) -> bool:
    return any(row["type"] == "Data" or "Rows" in row for row in rows)
