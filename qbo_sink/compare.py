"""Ours against theirs, over the fields we own. Pure.

Numbers compare as decimals, texts without outer blanks, a missing value as an empty one. Addresses
are never compared: QuickBooks folds them into lines (quickbooks.md §1.12, §2.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from qbo_sink.answers import net_total
from qbo_sink.model import JsonObject
from qbo_sink.wire import decimal

CLOSED = ("Closed", "Converted")
"""States of an estimate that QuickBooks counts as settled."""
_TEXTS = ("TxnDate", "DocNumber", "TxnStatus", "ShipDate", "AcceptedBy")
_REFS = ("CustomerRef", "ClassRef", "DepartmentRef")
_CUSTOMER_TEXTS = ("DisplayName", "CompanyName", "GivenName", "FamilyName")


def lines_of(row: JsonObject) -> list[tuple[Any, ...]]:
    """The lines that count, canonical: the server's own subtotal left out."""
    return [_line(line) for line in row.get("Line") or [] if line.get("DetailType") in _DETAILS]


_DETAILS = ("SalesItemLineDetail", "DiscountLineDetail")


def _line(line: JsonObject) -> tuple[Any, ...]:
    detail = line.get(line["DetailType"]) or {}
    return (
        line["DetailType"],
        _ref(detail, "ItemRef"),
        decimal(line.get("Amount")),
        decimal(detail.get("Qty")),
        decimal(detail.get("UnitPrice")),
    )


def _ref(values: JsonObject, name: str) -> str:
    return str((values.get(name) or {}).get("value") or "")


def _text(values: JsonObject, name: str) -> str:
    return str(values.get(name) or "").strip()


def holds(row: JsonObject, body: JsonObject) -> list[str]:
    """Names of the owned fields of ``body`` that ``row`` does not show; empty when all do.

    A body names what was meant, so a property it leaves out is not compared. QuickBooks drops
    properties of features that are off without a word, hence the look after a good answer.
    """
    different = [name for name in (*_TEXTS, *_CUSTOMER_TEXTS) if not _same_text(row, body, name)]
    different += [name for name in _REFS if name in body and _ref(row, name) != _ref(body, name)]
    if "Line" in body and lines_of(row) != lines_of(body):
        different.append("Line")
    return different


def _same_text(row: JsonObject, body: JsonObject, name: str) -> bool:
    return name not in body or _text(row, name) == _text(body, name)


def total_of(body: JsonObject) -> Decimal:
    """What a body adds up to before tax."""
    total = Decimal(0)
    for line in body.get("Line") or []:
        amount = decimal(line.get("Amount"))
        total += -amount if line.get("DetailType") == "DiscountLineDetail" else amount
    return total


def drift(row: JsonObject | None, snapshot: JsonObject, meant: Decimal | None) -> str:
    """What became of an estimate: ``""`` as we left it, ``invoiced``, ``differs`` (the amount),
    ``changed``, ``deleted``.

    ``row`` is None when it is not there any more; ``snapshot`` is the row as acknowledged, empty
    when only the link is known; ``meant`` is our total before tax.
    """
    if row is None or row.get("status") == "Deleted":
        return "deleted"
    if meant is not None and net_total(row) != meant:
        return "differs"
    if _different(row, snapshot):
        return "changed"
    return "invoiced" if _is_invoiced(row) else ""


def invoice_drift(row: JsonObject, snapshot: JsonObject, meant: Decimal | None) -> str:
    """What became of an invoice of ours: "", differs, changed, deleted or voided."""
    if row.get("status") == "Deleted":
        return "deleted"
    if is_voided(row):
        return "voided"
    if meant is not None and net_total(row) != meant:
        return "differs"
    return "changed" if _different(row, snapshot) else ""


def is_voided(row: JsonObject) -> bool:
    """Whether an invoice stands there with nothing in it any more."""
    return _text(row, "PrivateNote").startswith("Voided") and not decimal(row.get("TotalAmt"))


def _is_invoiced(row: JsonObject) -> bool:
    return _text(row, "TxnStatus") in CLOSED or bool(invoice_of(row))


def invoice_of(row: JsonObject) -> str:
    """The id of the invoice that an estimate was converted to, "" without one."""
    return _linked(row, "Invoice")


def estimate_of(row: JsonObject) -> str:
    """The id of the estimate that an invoice was made of, "" without one."""
    return _linked(row, "Estimate")


def _linked(row: JsonObject, kind: str) -> str:
    links = row.get("LinkedTxn") or []
    return next((str(link["TxnId"]) for link in links if link.get("TxnType") == kind), "")


def customer_of(row: JsonObject) -> str:
    """The id of the customer that a document names."""
    return _ref(row, "CustomerRef")


def with_survivors(row: JsonObject, survivors: Mapping[tuple[str, str], str]) -> JsonObject:
    """``row`` as it reads after names were merged there, (entity, id) to the id that is left."""
    if not survivors or not row:
        return row

    def moved(holder: JsonObject, name: str, entity: str) -> JsonObject:
        survivor = survivors.get((entity, _ref(holder, name)))
        return holder if survivor is None else {**holder, name: {"value": survivor}}

    lines = []
    for line in row.get("Line") or []:
        kind = str(line.get("DetailType"))
        detail = moved(line.get(kind) or {}, "ItemRef", "Item")
        lines.append({**line, kind: detail} if detail else line)
    return {**moved(row, "CustomerRef", "Customer"), "Line": lines}


def differences(row: JsonObject, snapshot: JsonObject) -> list[str]:
    """In words what the office changed of an estimate, each with its value before and after."""
    found = []
    for name in _different(row, snapshot):
        title = _TITLES.get(name, name)
        if name in _TEXTS:
            before, after = (_text(each, name) or "nothing" for each in (snapshot, row))
            title = f"{title} {before} is now {after}"
        found.append(title)
    if net_total(row) != net_total(snapshot):
        found.append(f"total {net_total(snapshot):f} is now {net_total(row):f}")
    return found


_TITLES = {
    "TxnDate": "date",
    "DocNumber": "number",
    "TxnStatus": "status",
    "ShipDate": "delivery date",
    "AcceptedBy": "accepted by",
    "CustomerRef": "the customer",
    "ClassRef": "the class",
    "DepartmentRef": "the location",
    "Line": "the lines",
}


def _different(row: JsonObject, snapshot: JsonObject) -> list[str]:
    """Names of the owned fields that are not as acknowledged."""
    invoiced = _is_invoiced(row)
    names = [name for name in _TEXTS if not (invoiced and name == "TxnStatus")]
    owned = {name: snapshot.get(name) for name in (*names, *_REFS, "Line") if name in snapshot}
    return holds(row, owned)
