"""Rules of transactions: preferences, customer, lines, numbers, closed books, links."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from qbo_sink.sandbox import tax, totals
from qbo_sink.sandbox.draft import Draft
from qbo_sink.sandbox.entities import CREDITS, NON_POSTING, SALES, SETTLED
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.values import ZERO, Json, cents, today

LINES_MAX = 10_000
TAXABLE_LINES_MAX = 750
FIRST_NUMBER = 1_001
_PAYMENTS = frozenset({"Payment", "BillPayment"})
_UNIQUE_NUMBERS = frozenset({"Invoice", "CreditMemo", "Bill"})


def switched_off(draft: Draft) -> None:
    """Properties of features that are off vanish without a word."""
    body = draft.body
    accounting = "AccountingInfoPrefs"
    if not draft.prefers(accounting, "ClassTrackingPerTxn"):
        body.pop("ClassRef", None)
    if not draft.prefers(accounting, "TrackDepartments"):
        body.pop("DepartmentRef", None)
    per_line = draft.prefers(accounting, "ClassTrackingPerTxnLine")
    lines = body.get("Line", [])
    for line in lines:
        for name, detail in line.items():
            if name.endswith("LineDetail") and isinstance(detail, dict) and not per_line:
                detail.pop("ClassRef", None)
    if draft.entity.name not in SALES:
        return
    if not draft.prefers("SalesFormsPrefs", "AllowDiscount"):
        lines = [line for line in lines if line.get("DetailType") != "DiscountLineDetail"]
    if not draft.prefers("SalesFormsPrefs", "AllowShipping"):
        lines = [
            line for line in lines if not totals.is_shipping(line.get("SalesItemLineDetail", {}))
        ]
    if not draft.prefers("SalesFormsPrefs", "CustomField"):
        body.pop("CustomField", None)
    if "Line" in body:
        body["Line"] = lines


def enabled(draft: Draft) -> None:
    """Estimates can be switched off as a whole."""
    allowed = draft.prefers("SalesFormsPrefs", "AllowEstimates")
    if draft.entity.name == "Estimate" and allowed is False:
        raise refused(5020, "Permission Denied Error : Estimates are not enabled")


def party_matches(draft: Draft) -> None:
    """The customer is active and its currency is the document's."""
    prop = draft.entity.party
    party = draft.get(prop.removesuffix("Ref"), draft.body.get(prop)) if prop else None
    if party is None:
        draft.body.setdefault("CurrencyRef", draft.prefers("CurrencyPrefs", "HomeCurrency"))
        return
    if not party.get("Active", True):
        name = party.get("DisplayName", "")
        raise refused(6250, f"{name} is inactive", prop)
    currency = party.get("CurrencyRef", {}).get("value")
    given = draft.body.get("CurrencyRef", {}).get("value")
    if draft.prefers("CurrencyPrefs", "MultiCurrencyEnabled"):
        if given is None:
            raise refused(2020, "Required parameter CurrencyRef is missing", "CurrencyRef")
        if currency is not None and given != currency:
            detail = (
                f"Business Validation Error: The currency must be {currency} as of the customer"
            )
            raise refused(6000, detail, "CurrencyRef")
        draft.body.setdefault("ExchangeRate", 1)
    else:
        draft.body["CurrencyRef"] = draft.prefers("CurrencyPrefs", "HomeCurrency")
        draft.body.pop("ExchangeRate", None)


def line_form(draft: Draft) -> None:
    """Every line has a type; an item line without item counts as text; amounts are exact."""
    lines: list[Json] = draft.body.get("Line", [])
    if len(lines) > LINES_MAX:
        raise refused(2180, f"A transaction has at most {LINES_MAX} lines", "Line")
    for index, line in enumerate(lines):
        if "DetailType" not in line and draft.entity.name not in _PAYMENTS:
            where = f"Line[{index}].DetailType"
            raise refused(2020, f"Required parameter {where} is missing", where)
    totals.check_line_amounts(lines, tolerance=draft.switches.amount_rounding == "tolerance")
    if draft.entity.name not in SALES:
        return
    for line, detail in totals.items(lines):
        if "ItemRef" not in detail:
            line["DetailType"] = "DescriptionOnly"
            line.pop("SalesItemLineDetail", None)
            line.pop("Amount", None)
            line["DescriptionLineDetail"] = {}
            continue
        item = draft.get("Item", detail["ItemRef"]) or {}
        if item.get("Type") == "Category":
            raise refused(6000, "A category cannot be used on a line", "ItemRef")
        _in_stock_by_then(draft, item)
        line.setdefault("Amount", ZERO)
    if draft.prefers("TaxPrefs", "UsingSalesTax") and len(lines) > TAXABLE_LINES_MAX:
        raise refused(2180, f"A taxable form has at most {TAXABLE_LINES_MAX} lines", "Line")


def _in_stock_by_then(draft: Draft, item: Json) -> None:
    """What posts an inventory item is not dated before the item's own start."""
    day = draft.body.get("TxnDate") or today(draft.books.clock.now_ms(), draft.company.zone)
    starts = item.get("InvStartDate", "") if item.get("Type") == "Inventory" else ""
    if day < starts and draft.entity.name not in NON_POSTING:
        detail = f"Transaction date {day} is prior to the start date {starts} of {item['Name']}"
        raise refused(6270, detail, "TxnDate")


def custom_fields(draft: Draft) -> None:
    """Sales forms have three custom fields, known by number."""
    for index, custom in enumerate(draft.body.get("CustomField", [])):
        if draft.entity.name in SALES and custom.get("DefinitionId") not in ("1", "2", "3"):
            where = f"CustomField[{index}].DefinitionId"
            raise refused(3000, f"{where}: 1, 2 or 3 is expected", "CustomField")


def document_number(draft: Draft) -> None:
    """Custom numbers are the client's; otherwise the server counts on (section 1.12)."""
    if draft.entity.name not in SALES:
        return
    body = draft.body
    if draft.prefers("SalesFormsPrefs", "CustomTxnNumbers"):
        return
    if draft.switches.docnumber_when_auto == "keep" and "DocNumber" in body:
        return
    if draft.old is not None:
        before = draft.old.body.get("DocNumber")
        body.pop("DocNumber", None)
        if before is not None:
            body["DocNumber"] = before
        return
    next_one = FIRST_NUMBER - 1 + draft.books.next_value(draft.company.realm, "DocNumber")
    body["DocNumber"] = str(next_one)


def number_unused(draft: Draft) -> None:
    """Fault 6140 quoting number, type and Id of the document that has it."""
    name, body = draft.entity.name, draft.body
    guarded = name in _UNIQUE_NUMBERS or (
        name == "Estimate" and draft.switches.estimate_dup_docnumber == "6140"
    )
    if not guarded or "DocNumber" not in body or "allowduplicatedocnum" in draft.include:
        return
    for other in draft.books.by_number(draft.company.realm, name, body["DocNumber"]):
        if draft.old is None or other.id != draft.old.id:
            detail = (
                "Duplicate Document Number Error : You must specify a different number. "
                f"This number has already been used. DocNumber={body['DocNumber']} is assigned to "
                f"TxnType={name} with TxnId={other.id}"
            )
            raise refused(6140, detail, "DocNumber")


def dates(draft: Draft) -> None:
    """TxnDate defaults to today in the company's zone; nothing is written into closed books."""
    body = draft.body
    body.setdefault("TxnDate", today(draft.books.clock.now_ms(), draft.company.zone))
    closes = draft.entity.name not in NON_POSTING or draft.switches.closed_books_block_estimates
    closed = draft.prefers("AccountingInfoPrefs", "BookCloseDate")
    if not closes or not closed:
        return
    touched = [body["TxnDate"]]
    if draft.old is not None:
        touched.append(draft.old.body.get("TxnDate", body["TxnDate"]))
    if min(touched) <= closed:
        detail = f"The account period has closed and the account books cannot be updated ({closed})"
        raise refused(6200, detail, "TxnDate")


def sales_defaults(draft: Draft) -> None:
    """What a form takes from its customer and what a new one starts with."""
    if draft.entity.name not in SALES:
        return
    body = draft.body
    customer = draft.get("Customer", body.get("CustomerRef")) or {}
    if draft.old is None:
        for name in ("BillAddr", "ShipAddr"):
            if name in customer and name not in body:
                body[name] = customer[name]
        if "BillEmail" not in body and "PrimaryEmailAddr" in customer:
            body["BillEmail"] = customer["PrimaryEmailAddr"]
    body.setdefault("PrintStatus", "NeedToPrint")
    body.setdefault("EmailStatus", "NotSet")
    if draft.entity.name == "Estimate":
        body.setdefault("TxnStatus", "Pending")
        # Links are made by the invoice; a client that sends whole objects cannot change them.
        body["LinkedTxn"] = draft.old.body.get("LinkedTxn", []) if draft.old else []
    if body["EmailStatus"] == "NeedToSend" and "Address" not in body.get("BillEmail", {}):
        raise refused(6420, "BillEmail is required when EmailStatus is NeedToSend", "BillEmail")
    if draft.entity.name == "Invoice":
        body.setdefault("DueDate", body["TxnDate"])


def sales_totals(draft: Draft) -> None:
    """Tax, totals and what remains to be paid."""
    if draft.entity.name not in SALES:
        return
    tax.settle(draft)
    body = draft.body
    if draft.entity.name == "Invoice":
        paid = (
            draft.old.body.get("TotalAmt", ZERO) - draft.old.body["Balance"] if draft.old else ZERO
        )
        if draft.old is None:
            paid = body.get("Deposit", ZERO)
        body["Balance"] = cents(body["TotalAmt"] - paid)
    elif draft.entity.name == "CreditMemo":
        old = draft.old.body if draft.old else body | {"RemainingCredit": body["TotalAmt"]}
        used = old["TotalAmt"] - old["RemainingCredit"]
        body["RemainingCredit"] = body["Balance"] = cents(body["TotalAmt"] - used)
    elif draft.entity.name in ("SalesReceipt", "RefundReceipt"):
        body["Balance"] = ZERO


def other_totals(draft: Draft) -> None:
    """Totals of bills, purchases, journal entries and payments."""
    name, body = draft.entity.name, draft.body
    if name in SALES:
        return
    lines: list[Json] = body.get("Line", [])
    if name == "JournalEntry":
        _balanced(lines)
        body["TotalAmt"] = ZERO
    elif name in _PAYMENTS:
        body["TotalAmt"] = cents(body["TotalAmt"])
        applied = sum((_applied(line) for line in lines), ZERO)
        if applied > body["TotalAmt"]:
            raise refused(6000, "Payment lines exceed the total of the payment", "Line")
        if name == "Payment":
            body["UnappliedAmt"] = cents(body["TotalAmt"] - applied)
    elif lines:
        body["TotalAmt"] = cents(sum((line.get("Amount", ZERO) for line in lines), ZERO))
        if name in ("Bill", "VendorCredit"):
            old = draft.old.body if draft.old else body | {"Balance": body["TotalAmt"]}
            body["Balance"] = cents(body["TotalAmt"] - (old["TotalAmt"] - old["Balance"]))
        if name == "Bill":
            body.setdefault("DueDate", body["TxnDate"])


def _applied(line: Json) -> Decimal:
    """What a line of a payment takes up; a credit that is used gives instead."""
    gives = any(link.get("TxnType") in CREDITS for link in line.get("LinkedTxn", []))
    amount = Decimal(line.get("Amount", ZERO))
    return -amount if gives else amount


def _balanced(lines: list[Json]) -> None:
    sides = {"Debit": ZERO, "Credit": ZERO}
    for index, line in enumerate(lines):
        detail = line.get("JournalEntryLineDetail", {})
        if line.get("DetailType") != "JournalEntryLineDetail":
            continue
        for name in ("PostingType", "AccountRef"):
            if name not in detail:
                where = f"Line[{index}].JournalEntryLineDetail.{name}"
                raise refused(2020, f"Required parameter {where} is missing", where)
        sides[detail["PostingType"]] += line.get("Amount", ZERO)
    if sides["Debit"] != sides["Credit"]:
        raise refused(2300, "Debits and credits of a journal entry must be equal", "Line")


def transfer_and_time(draft: Draft) -> None:
    """A transfer is between two accounts; time is somebody's."""
    body = draft.body
    if draft.entity.name == "Transfer":
        if body["FromAccountRef"]["value"] == body["ToAccountRef"]["value"]:
            raise refused(6000, "A transfer needs two different accounts", "ToAccountRef")
        body["Amount"] = cents(body["Amount"])
    elif draft.entity.name == "TimeActivity":
        who = "VendorRef" if body["NameOf"] == "Vendor" else "EmployeeRef"
        if who not in body:
            raise refused(2020, f"Required parameter {who} is missing in the request", who)


def line_ids(draft: Draft) -> None:
    """Lines that were there keep their Id, others get the next one; LineNum counts item lines."""
    old = draft.old.body.get("Line", []) if draft.old else []
    known = {line["Id"] for line in old if "Id" in line}
    highest = max((int(id_) for id_ in known), default=0)
    seen: set[str] = set()
    for position, line in enumerate(draft.body.get("Line", []), start=1):
        if line.get("DetailType") == "SubTotalLineDetail":
            continue
        if line.get("Id") not in known or line.get("Id") in seen:
            highest += 1
            line["Id"] = str(highest)
        seen.add(line["Id"])
        if draft.entity.name in SALES:
            line.setdefault("LineNum", position)


def estimate_link(draft: Draft) -> None:
    """An invoice may be made from one estimate of the same customer that has none yet."""
    if draft.entity.name != "Invoice":
        return
    before = draft.old.body.get("LinkedTxn", []) if draft.old else []
    kept = [link for link in before if link.get("TxnType") != "Estimate"]
    wanted: list[Json] = []
    for link in draft.body.get("LinkedTxn", []):
        if link.get("TxnType") == "Estimate":
            _linkable(draft, link)
            wanted.append({"TxnId": link["TxnId"], "TxnType": "Estimate"})
    if len(wanted) > 1:
        raise refused(620, "An invoice can be linked to one estimate only", "LinkedTxn")
    if draft.old is not None and "LinkedTxn" not in draft.sent:
        wanted = [link for link in before if link.get("TxnType") == "Estimate"]
    draft.body["LinkedTxn"] = wanted + kept


def _linkable(draft: Draft, link: Json) -> None:
    estimate: Any = draft.get("Estimate", {"value": link.get("TxnId", "")})
    if estimate is None:
        raise refused(610, f"Estimate {link.get('TxnId')} does not exist", "LinkedTxn")
    if estimate["CustomerRef"]["value"] != draft.body["CustomerRef"]["value"]:
        raise refused(620, "The estimate is of another customer", "LinkedTxn")
    mine = draft.old.id if draft.old else None
    for other in estimate.get("LinkedTxn", []):
        if other["TxnType"] == "Invoice" and other["TxnId"] != mine:
            raise refused(620, f"Estimate {estimate['Id']} is already linked", "LinkedTxn")


def payment_links(draft: Draft) -> None:
    """What a payment pays for, and the credit it uses, exist and are of the same party."""
    name, party = draft.entity.name, draft.entity.party
    for index, line in enumerate(draft.body.get("Line", []) if name in _PAYMENTS else []):
        for link in line.get("LinkedTxn", []):
            kind = link.get("TxnType", "")
            if kind not in SETTLED.get(name, {}):
                continue
            linked = draft.get(kind, {"value": link.get("TxnId", "")})
            where = f"Line[{index}].LinkedTxn"
            if linked is None:
                raise refused(610, f"{kind} {link.get('TxnId')} does not exist", where)
            if linked[party]["value"] != draft.body[party]["value"]:
                raise refused(620, f"The {kind} is of another {party[:-3]}", where)
