"""Which tax applies to a sales form: US sales tax, or tax codes per line everywhere else."""

from __future__ import annotations

from decimal import Decimal

from qbo_sink.sandbox.draft import Draft
from qbo_sink.sandbox.entities import US_TAX_CODES
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.totals import (
    HUNDRED,
    Rate,
    Taxed,
    after_discount,
    items,
    settle_discount,
    subtotal,
    tax_lines,
    with_subtotal,
)
from qbo_sink.sandbox.values import ZERO, Json, cents, number


def settle(draft: Draft) -> None:
    """Complete Line, TxnTaxDetail and the totals of ``draft``; refuse what cannot be taxed."""
    body = draft.body
    lines: list[Json] = body["Line"]
    base = subtotal(lines)
    discount = settle_discount(lines, base)
    parts = _us_parts(draft, lines) if draft.company.is_us else _global_parts(draft, lines)
    if body.get("ApplyTaxAfterDiscount", not draft.company.is_us):
        parts = after_discount(parts, base, discount)
    tax = _tax_detail(draft, tax_lines(parts))
    body["Line"] = with_subtotal(lines, base)
    shipping = sum((line["Amount"] for line, _ in items(lines)), ZERO) - base
    body["TotalAmt"] = total = cents(base + shipping - discount + tax)
    if total < 0:
        raise refused(6000, "The total of a form must be zero or greater", "TotalAmt")
    if draft.prefers("CurrencyPrefs", "MultiCurrencyEnabled"):
        body["HomeTotalAmt"] = cents(total * body.get("ExchangeRate", Decimal(1)))


def _tax_detail(draft: Draft, computed: list[Json]) -> Decimal:
    """Set TxnTaxDetail and return its TotalTax. A TotalTax the client changed is an override."""
    body = draft.body
    given = body.pop("TxnTaxDetail", {})
    if not _is_taxed(draft):
        return ZERO
    total = sum((line["Amount"] for line in computed), ZERO)
    before = draft.old.body.get("TxnTaxDetail", {}).get("TotalTax") if draft.old else None
    sent = given.get("TotalTax")
    if sent is not None and "TxnTaxDetail" in draft.sent and (before is None or sent != before):
        total = cents(sent)
    detail: Json = {}
    if "TxnTaxCodeRef" in given:
        detail["TxnTaxCodeRef"] = given["TxnTaxCodeRef"]
    body["TxnTaxDetail"] = detail | {"TotalTax": cents(total), "TaxLine": computed}
    return cents(total)


def _is_taxed(draft: Draft) -> bool:
    if draft.company.is_us:
        return bool(draft.prefers("TaxPrefs", "UsingSalesTax"))
    return draft.body.get("GlobalTaxCalculation") != "NotApplicable"


def rates_of(draft: Draft, code_id: str) -> tuple[Rate, ...]:
    """The sales rates of a tax code."""
    code = draft.get("TaxCode", {"value": code_id}) or {}
    found = []
    for row in code.get("SalesTaxRateList", {}).get("TaxRateDetail", []):
        rate = draft.get("TaxRate", row["TaxRateRef"])
        if rate is not None:
            found.append(Rate(rate["Id"], number(rate["RateValue"])))
    return tuple(found)


def _us_parts(draft: Draft, lines: list[Json]) -> list[Taxed]:
    draft.body.pop("GlobalTaxCalculation", None)
    if not _is_taxed(draft):
        for _, detail in items(lines):
            detail.pop("TaxCodeRef", None)
        return []
    customer = draft.get("Customer", draft.body.get("CustomerRef")) or {}
    rates = _us_rates(draft, taxable=customer.get("Taxable", True))
    parts = []
    for line, detail in items(lines):
        code = detail.get("TaxCodeRef", {}).get("value") or "NON"
        if code not in US_TAX_CODES:
            detail_text = "The line tax code of a US company must be TAX or NON"
            raise refused(6100, f"{detail_text}, {code} was supplied", "TaxCodeRef")
        detail["TaxCodeRef"] = {"value": code}
        if code != "NON":
            parts.append(Taxed(line["Amount"], rates))
    return parts


def _us_rates(draft: Draft, *, taxable: bool) -> tuple[Rate, ...]:
    """The form's own code; automated sales tax takes the home region's for deliveries there."""
    code = draft.body.get("TxnTaxDetail", {}).get("TxnTaxCodeRef", {}).get("value")
    if code is None and taxable and draft.prefers("TaxPrefs", "PartnerTaxEnabled"):
        home = draft.books.single(draft.company.realm, "CompanyInfo").get("CompanyAddr", {})
        ship = draft.body.get("ShipAddr") or draft.body.get("BillAddr") or {}
        region = "CountrySubDivisionCode"
        if ship.get(region, home.get(region)) == home.get(region):
            code = (draft.prefers("TaxPrefs", "TaxGroupCodeRef") or {}).get("value")
    return rates_of(draft, code) if code else ()


def _global_parts(draft: Draft, lines: list[Json]) -> list[Taxed]:
    mode = draft.body.get("GlobalTaxCalculation")
    if mode is None:
        raise refused(
            2020, "Required parameter GlobalTaxCalculation is missing", "GlobalTaxCalculation"
        )
    if mode == "NotApplicable":
        if draft.body.get("TxnTaxDetail", {}).get("TotalTax") and "TxnTaxDetail" in draft.sent:
            raise refused(6160, "TxnTaxDetail cannot be given with NotApplicable", "TxnTaxDetail")
        return []
    parts = []
    for index, (line, detail) in enumerate(items(lines)):
        code = detail.get("TaxCodeRef", {}).get("value")
        if code is None or draft.get("TaxCode", {"value": code}) is None:
            text = (
                "Business Validation Error: Make sure all your transactions have a sales tax rate"
            )
            raise refused(6000, text, f"Line[{index}].SalesItemLineDetail.TaxCodeRef")
        rates = rates_of(draft, code)
        if mode == "TaxInclusive":
            percent = sum((rate.percent for rate in rates), ZERO)
            detail["TaxInclusiveAmt"] = cents(line["Amount"] * (HUNDRED + percent) / HUNDRED)
        parts.append(Taxed(line["Amount"], rates))
    return parts
