"""Sales tax in the United States, tax codes everywhere else."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from tests.qbo_sink.sandbox.desk import Desk, line, order

TAX = {"TaxCodeRef": {"value": "TAX"}}


def test_us_lines_take_tax_or_non_only(desk: Desk) -> None:
    """Any other line code is 6100; none means not taxed (section 1.13)."""
    assert desk.post("estimate", order(line(TaxCodeRef={"value": "2"}))).codes == [6100]
    assert desk.save("Estimate", order())["TxnTaxDetail"]["TotalTax"] == 0


def test_automated_tax_follows_delivery_and_exemption(desk: Desk) -> None:
    """Tax at home, none elsewhere, none for exempt customers (section 1.13)."""
    body = order(line("100", "10", "10", **TAX))
    assert desk.save("Estimate", body)["TxnTaxDetail"]["TotalTax"] == 8
    away = body | {"ShipAddr": {"CountrySubDivisionCode": "NV"}}
    assert desk.save("Estimate", away)["TxnTaxDetail"]["TotalTax"] == 0
    desk.save("Customer", {"Id": "1", "SyncToken": "0", "sparse": True, "Taxable": False})
    assert desk.save("Estimate", body)["TxnTaxDetail"]["TotalTax"] == 0


def test_total_tax_of_the_client_overrides_the_engine(desk: Desk) -> None:
    """A TotalTax that was sent is kept; saving the same object again does not freeze it."""
    body = order(line("100", "10", "10", **TAX), TxnTaxDetail={"TotalTax": 5})
    made = desk.save("Estimate", body)
    assert made["TotalAmt"] == 105
    plain = desk.save("Estimate", order(line("100", "10", "10", **TAX)))
    more = plain | {"Line": [line("200", "20", "10", **TAX)]}
    assert desk.save("Estimate", more)["TotalAmt"] == 216


def test_tax_off_means_no_tax_fields(desk: Desk) -> None:
    """Without UsingSalesTax every tax field is ignored (section 1.13)."""
    desk.prefer("TaxPrefs", UsingSalesTax=False)
    body = order(line("100", "10", "10", **TAX), TxnTaxDetail={"TotalTax": 5})
    made = desk.save("Estimate", body)
    assert "TxnTaxDetail" not in made
    assert "TaxCodeRef" not in made["Line"][0]["SalesItemLineDetail"]
    assert made["TotalAmt"] == 100


def test_tax_is_computed_per_rate_on_the_summed_net(open_desk: Callable[..., Desk]) -> None:
    """Three lines of 0.33 at 20 % are taxed 0.20, not 3 x 0.07 (section 1.13)."""
    desk = open_desk(country="GB")
    small = line("0.33", "1", "0.33", TaxCodeRef={"value": "2"})
    made = desk.save("Estimate", order(small, small, small, GlobalTaxCalculation="TaxExcluded"))
    assert made["TxnTaxDetail"]["TotalTax"] == Decimal("0.20")
    detail = made["TxnTaxDetail"]["TaxLine"][0]
    assert detail["DetailType"] == "TaxLineDetail"
    assert detail["TaxLineDetail"]["NetAmountTaxable"] == Decimal("0.99")


def test_global_companies_need_mode_and_code(open_desk: Callable[..., Desk]) -> None:
    """GlobalTaxCalculation is required (2020), a code on every line too (6000 with its text)."""
    desk = open_desk(country="GB")
    assert desk.post("estimate", order()).codes == [2020]
    bare = desk.post("estimate", order(GlobalTaxCalculation="TaxExcluded"))
    assert bare.codes == [6000]
    assert "sales tax rate" in bare.error["Detail"]
    none = desk.save("Estimate", order(GlobalTaxCalculation="NotApplicable"))
    assert none["TotalAmt"] == Decimal("14.5")


def test_tax_inclusive_lines_show_the_gross(open_desk: Callable[..., Desk]) -> None:
    """Amount stays net, TaxInclusiveAmt is gross (section 1.13)."""
    desk = open_desk(country="GB")
    row = line("100", "10", "10", TaxCodeRef={"value": "2"})
    made = desk.save("Estimate", order(row, GlobalTaxCalculation="TaxInclusive"))
    assert made["Line"][0]["SalesItemLineDetail"]["TaxInclusiveAmt"] == 120
    assert made["TotalAmt"] == 120


@pytest.mark.parametrize(("after", "total"), [(True, "108"), (False, "110")])
def test_discount_before_or_after_tax(
    open_desk: Callable[..., Desk], after: bool, total: str
) -> None:
    """ApplyTaxAfterDiscount spreads the discount over what is taxed (section 1.13)."""
    desk = open_desk(country="GB")
    row = line("100", "10", "10", TaxCodeRef={"value": "2"})
    discount = {"Amount": 10, "DetailType": "DiscountLineDetail", "DiscountLineDetail": {}}
    body = order(row, discount, GlobalTaxCalculation="TaxExcluded", ApplyTaxAfterDiscount=after)
    assert desk.save("Estimate", body)["TotalAmt"] == Decimal(total)


def test_tax_service_creates_code_and_rates(desk: Desk) -> None:
    """TaxCode is read-only; the tax service makes one (section 1.1)."""
    rate = {"TaxRateName": "R9", "RateValue": 9, "TaxAgencyId": "1", "TaxApplicableOn": "Sales"}
    body = {"TaxCode": "C9", "TaxRateDetails": [rate]}
    made = desk.post("taxservice/taxcode", body).json
    code = desk.read("TaxCode", made["TaxCodeId"])
    listed = code["SalesTaxRateList"]["TaxRateDetail"][0]["TaxRateRef"]["value"]
    assert listed == made["TaxRateDetails"][0]["TaxRateId"]
    assert desk.post("taxservice/taxcode", body).codes == [6240]
    assert desk.post("taxcode", {"Name": "x"}).codes == [500]


def test_currency_of_document_and_customer_must_match(desk: Desk) -> None:
    """With multicurrency CurrencyRef is required and must be the customer's (section 1.12)."""
    desk.prefer("CurrencyPrefs", MultiCurrencyEnabled=True)
    assert desk.post("estimate", order()).codes == [2020]
    assert desk.post("estimate", order(CurrencyRef={"value": "EUR"})).codes == [6000]
    made = desk.save("Estimate", order(CurrencyRef={"value": "USD"}))
    assert made["HomeTotalAmt"] == made["TotalAmt"]


def test_exchange_rates_are_read_and_set_by_currency(desk: Desk) -> None:
    """A rate is addressed by its currency (section 1.1)."""
    rate = desk.get("exchangerate", sourcecurrencycode="EUR").json["ExchangeRate"]
    assert (rate["SourceCurrencyCode"], rate["TargetCurrencyCode"]) == ("EUR", "USD")
    desk.save("ExchangeRate", {"SourceCurrencyCode": "EUR", "Rate": "1.5"})
    again = desk.get("exchangerate", sourcecurrencycode="EUR").json["ExchangeRate"]
    assert again["Rate"] == Decimal("1.5")
    assert desk.get("exchangerate", sourcecurrencycode="XXX").codes == [2220]
