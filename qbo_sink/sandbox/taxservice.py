"""The tax service: creates a tax code together with its rates, which no other call can."""

from __future__ import annotations

from typing import Any

from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.values import Json, number

RATES_MAX = 10


def create(books: Books, company: Company, raw: Any) -> Json:
    """The answer to a request ``{TaxCode, TaxRateDetails}``; inside ``books.atomic()``.

    Raises ``Refused``: 2020 without name or rates, 6240 when the name is taken.
    """
    name = str(raw.get("TaxCode", "")).strip() if isinstance(raw, dict) else ""
    details = raw.get("TaxRateDetails") if isinstance(raw, dict) else None
    if not name or not isinstance(details, list) or not 0 < len(details) <= RATES_MAX:
        raise refused(2020, "Required parameter TaxCode or TaxRateDetails is missing", "TaxCode")
    taken = books.by_name(company.realm, "TaxCode", name)
    if taken:
        raise refused(6240, f"The name supplied already exists. : Id={taken[0].id}", "TaxCode")
    answered = [_rate(books, company, detail) for detail in details]
    listed: dict[str, list[Json]] = {"Sales": [], "Purchase": []}
    for order, detail in enumerate(answered):
        row = {"TaxRateRef": {"value": detail["TaxRateId"], "name": detail["TaxRateName"]}}
        side = "Purchase" if detail["TaxApplicableOn"] == "Purchase" else "Sales"
        listed[side].append(row | {"TaxTypeApplicable": "TaxOnAmount", "TaxOrder": order})
    code = books.put(
        company,
        ENTITIES["TaxCode"],
        {
            "Name": name,
            "Description": name,
            "Active": True,
            "Hidden": False,
            "Taxable": True,
            "TaxGroup": True,
            "SalesTaxRateList": {"TaxRateDetail": listed["Sales"]},
            "PurchaseTaxRateList": {"TaxRateDetail": listed["Purchase"]},
        },
    )
    return {"TaxCode": name, "TaxCodeId": code["Id"], "TaxRateDetails": answered}


def _rate(books: Books, company: Company, detail: Any) -> Json:
    """One entry of the answer: an existing rate by Id, or a new one."""
    if not isinstance(detail, dict):
        raise refused(2110, "an object is expected", "TaxRateDetails")
    known = books.live(company.realm, "TaxRate", str(detail.get("TaxRateId") or ""))
    if known is None:
        name = str(detail.get("TaxRateName") or "").strip()
        if not name or books.by_name(company.realm, "TaxRate", name):
            raise refused(6240, f"The rate name {name!r} is missing or taken", "TaxRateName")
        try:
            percent = number(detail.get("RateValue"))
        except ValueError as problem:
            raise refused(2090, f"RateValue: {problem}", "RateValue") from problem
        agency = str(detail.get("TaxAgencyId") or "1")
        body = {"Name": name, "Description": name, "Active": True, "RateValue": percent}
        rate = books.put(company, ENTITIES["TaxRate"], body | {"AgencyRef": {"value": agency}})
    else:
        rate = known.body
    return {
        "TaxRateName": rate["Name"],
        "TaxRateId": rate["Id"],
        "RateValue": rate["RateValue"],
        "TaxAgencyId": rate["AgencyRef"]["value"],
        "TaxApplicableOn": str(detail.get("TaxApplicableOn") or "Sales"),
    }
