"""The tax that is predicted is the tax that QuickBooks adds, or is said to be unknown."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_sink.model import Party, Preferences, Product, Sale, Settings
from qbo_sink.taxes import NONE, NOT_YET, UNKNOWN, Rate, predicted, rates_of, words_of
from tests.qbo_sink.test_push import queue_of
from tests.qbo_sink.world import World, content, customer, order, product

HERE = Preferences(country="GB", home_currency="GBP", sales_tax=True)
CODES = Settings(tax_code="5", exempt_code="6")
PRODUCTS = {"p-1": Product("p-1", "Chai", taxable=True), "p-2": Product("p-2", "Mug")}
STANDARD = [Rate("Standard", Decimal(20)), Rate("City", Decimal("1.5"))]


def sale(**values: int) -> Sale:
    lines = [("p-1", 3_000, 33_333), ("p-2", 1_000, 100_000)]
    return Sale("order", "o-1", content("T-1", "c-1", lines, currency="GBP", **values))


def tax(preferences: Preferences = HERE, one: Sale | None = None, **codes: list[Rate]) -> str:
    rates = {"5": STANDARD, "6": []} | codes
    party = Party("c-1", "Blauer See")
    return predicted(one or sale(), party, PRODUCTS, rates, preferences=preferences, settings=CODES)


def test_each_rate_is_said_with_its_net_and_amount() -> None:
    """Per rate on the summed net, half up to the cent; charges carry none (§1.13)."""
    assert tax(one=sale(fees_minor=500)) == (
        "Tax to come: Standard 20 % of 10.00 is 2.00; City 1.5 % of 10.00 is 0.15."
    )


def test_what_cannot_be_known_is_not_guessed() -> None:
    """In the US, with the form's own discount, and without the rates nothing is computed."""
    us = Preferences(sales_tax=True)
    assert tax(us) == UNKNOWN
    assert predicted(sale(), Party("c", "C", tax_exempt=True), PRODUCTS, {}, preferences=us,
                     settings=CODES) == NONE  # fmt: skip
    discounting = Preferences(country="GB", sales_tax=True, allow_discount=True)
    assert tax(discounting, sale(discount_minor=100)) == UNKNOWN
    party = Party("c-1", "Blauer See")
    assert predicted(sale(), party, PRODUCTS, {}, preferences=HERE, settings=CODES) == NOT_YET
    assert tax(Preferences(country="GB")) == ""


@given(
    st.lists(
        st.builds(
            Rate,
            st.text(st.characters(codec="latin-1", exclude_characters=";"), min_size=1),
            st.decimals(0, 99, places=3),
        )
    )
)
def test_rates_survive_their_column(rates: list[Rate]) -> None:
    """What the list of tax codes shows is read back as it was (I-27)."""
    assert rates_of(words_of(rates)) == rates


@pytest.mark.parametrize("exempt", [False, True])
def test_the_prediction_is_what_the_company_adds(tmp_path: Path, *, exempt: bool) -> None:
    """The preview's tax is the tax of the estimate that is made then, to the penny (issue 4 §3)."""
    world = World(tmp_path, country="GB")
    asyncio.run(world.run())
    codes = {row["Name"]: row["Id"] for row in world.rows("TaxCode")}
    code = next(number for name, number in codes.items() if name.startswith("20"))
    world.environ |= {"QBO_TAX_CODE": code, "QBO_EXEMPT_CODE": code}
    world.put(
        customer("c-1", "Blauer See", currency="GBP", tax_exempt=exempt),
        product("p-1", "Chai", taxable=True),
        order("o-1", currency="GBP", lines=[("p-1", 3_000, 33_333)]),
    )
    (said,) = [row.tax for row in queue_of(world) if row.local_type == "order"]
    asyncio.run(world.run())
    (estimate,) = [row for row in world.rows("Estimate") if "[rp:o:o-1" in str(row)]
    (line,) = estimate["TxnTaxDetail"]["TaxLine"]
    assert f"of 10.00 is {line['Amount']:.2f}." in said
    world.close()
