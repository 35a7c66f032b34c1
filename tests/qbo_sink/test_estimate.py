"""Bodies of estimates: exact to the cent for every quantity, price and currency."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink import marker
from qbo_sink.answers import to_minor
from qbo_sink.compare import total_of
from qbo_sink.estimate import Refs, check, item_keys, meant_total, to_estimate
from qbo_sink.model import Party, Preferences, Product, Sale, Settings
from qbo_sink.wire import decode_body, encode_body
from replica.events.money import minor_digits
from replica.events.payloads import Address
from tests.qbo_sink.world import content

MARK = marker.sign(b"k" * 32, "order", "o-1")
FULL = Preferences(custom_numbers=True, allow_discount=True, allow_shipping=True)
BARE = Preferences()


def body_of(
    sale: Sale,
    preferences: Preferences = FULL,
    *,
    customer: Party | None = None,
    products: dict[str, Product] | None = None,
    given_settings: Settings | None = None,
) -> dict[str, Any]:
    keys = item_keys(sale, preferences)
    refs = Refs(
        customer="58",
        items={key.local_id: f"i-{key.local_id}" for key in keys if key.local_type == "product"},
        charges={key.local_id: f"x-{key.local_id}" for key in keys if key.local_type == "charge"},
        mark=MARK,
    )
    return to_estimate(
        sale,
        customer or Party("c-1", "Somebody"),
        products or {},
        refs,
        preferences=preferences,
        settings=given_settings or Settings(),
    )


def sale(kind: str = "order", **values: Any) -> Sale:
    lines = values.pop("lines", [("p-1", 2_000, 25_000)])
    return Sale(kind, "o-1", content("T-1", "c-1", lines, **values))


def test_catch_weight_is_rounded_half_up_in_decimals() -> None:
    """128.35 times 14.50 is 1861.08, where binary floats give 1861.07 (§1.13)."""
    line = body_of(sale(lines=[("p-1", 128_350, 145_000)]))["Line"][0]
    assert line["Amount"] == Decimal("1861.08")
    assert line["SalesItemLineDetail"]["Qty"] == Decimal("128.35")
    assert line["SalesItemLineDetail"]["UnitPrice"] == Decimal("14.5")


@given(
    lines=st.lists(
        st.tuples(
            st.sampled_from(["p-1", "p-2", ""]),
            st.integers(1, 10_000_000),
            st.integers(0, 100_000_000),
        ),
        min_size=1,
        max_size=12,
    ),
    charges=st.tuples(*[st.integers(0, 1_000_00)] * 3),
    currency=st.sampled_from(["USD", "EUR", "JPY"]),
    preferences=st.sampled_from([FULL, BARE]),
)
@settings(max_examples=200, deadline=None)
def test_the_lines_add_up_to_our_total(
    lines: list[tuple[str, int, int]],
    charges: tuple[int, int, int],
    currency: str,
    preferences: Preferences,
) -> None:
    """For any order the body's sum is ``total_minor``, and no line can be refused with 6070."""
    shipping, fees, discount = charges
    made = sale(
        lines=lines,
        currency=currency,
        shipping_minor=shipping,
        fees_minor=fees,
        discount_minor=discount,
    )
    body = decode_body(encode_body(body_of(made, preferences)))
    assert total_of(body) == meant_total(made)
    assert to_minor(total_of(body), currency) == made.content.total_minor
    for line in body["Line"]:
        detail = line.get("SalesItemLineDetail") or {}
        if "Qty" in detail:
            exact = Decimal(str(detail["Qty"])) * Decimal(str(detail["UnitPrice"]))
            amount = Decimal(str(line["Amount"]))
            assert amount == exact.quantize(Decimal("0.01"), ROUND_HALF_UP)
            assert amount % Decimal(1).scaleb(-min(minor_digits(currency), 2)) == 0


def test_orders_are_accepted_by_the_representative_on_their_day() -> None:
    """TxnStatus, AcceptedBy and AcceptedDate say who and when (QB-02, QB-03)."""
    body = body_of(sale(rep="Rep Seven"))
    assert (body["TxnStatus"], body["AcceptedBy"]) == ("Accepted", "Rep Seven")
    assert body["AcceptedDate"] == "2026-11-20"
    assert body_of(sale("quote", rep="Rep Seven"))["TxnStatus"] == "Pending"
    assert "AcceptedBy" not in body_of(sale("quote", rep="Rep Seven"))


def test_defaults_can_be_changed() -> None:
    """Another status by setting is another status in the body (QB-04)."""
    chosen = Settings(order_status="Pending")
    assert body_of(sale(), given_settings=chosen)["TxnStatus"] == "Pending"


def test_the_number_is_sent_only_where_the_company_takes_ours() -> None:
    """DocNumber appears with CustomTxnNumbers and not without (§2.2 layer 3)."""
    assert body_of(sale(), FULL)["DocNumber"] == "T-1"
    assert "DocNumber" not in body_of(sale(), BARE)


def test_the_marker_is_the_last_line_and_survives_a_long_note() -> None:
    """The note is shortened, the marker never (§2.2 layer 4)."""
    body = body_of(sale(note="x" * 4_000))
    assert len(body["PrivateNote"]) <= 4_000
    assert body["PrivateNote"].splitlines()[-1] == MARK
    assert "…" in body["PrivateNote"]
    assert marker.find([b"k" * 32], body["PrivateNote"]) == ("order", "o-1")


def test_charges_use_the_form_where_it_has_them() -> None:
    """Shipping and discount are form lines when switched on, items when not."""
    made = sale(shipping_minor=500, discount_minor=100, fees_minor=50)
    kinds = [line["DetailType"] for line in body_of(made, FULL)["Line"]]
    assert kinds[-1] == "DiscountLineDetail"
    shipping = body_of(made, FULL)["Line"][-2]["SalesItemLineDetail"]
    assert shipping == {"ItemRef": {"value": "SHIPPING_ITEM_ID"}}
    items = [
        line["SalesItemLineDetail"]["ItemRef"]["value"] for line in body_of(made, BARE)["Line"]
    ]
    assert items == ["i-p-1", "x-fees", "x-shipping", "x-discount"]
    assert body_of(made, BARE)["Line"][-1]["Amount"] == Decimal(-1)


def test_tax_codes_follow_product_and_customer() -> None:
    """TAX or NON in the US, the mapped ids elsewhere, nothing where no tax is used (§1.13)."""
    taxed = Preferences(sales_tax=True)
    products = {"p-1": Product("p-1", "Chai", taxable=True)}

    def code(preferences: Preferences, **values: Any) -> Any:
        line = body_of(sale(), preferences, products=products, **values)["Line"][0]
        return line["SalesItemLineDetail"].get("TaxCodeRef")

    assert code(BARE) is None
    assert code(taxed) == {"value": "TAX"}
    assert code(taxed, customer=Party("c-1", "X", tax_exempt=True)) == {"value": "NON"}
    british = Preferences(country="GB", home_currency="USD", sales_tax=True)
    mapped = Settings(tax_code="5", exempt_code="6")
    assert code(british, given_settings=mapped) == {"value": "5"}
    body = body_of(sale(), british, given_settings=mapped)
    assert body["GlobalTaxCalculation"] == "TaxExcluded"


def test_addresses_dates_and_texts_arrive() -> None:
    """Delivery date and address, memo, purchase order and mail are in their fields."""
    customer = Party("c-1", "X", email="a@b.example", address=Address(line1="Old Street 1"))
    made = sale(
        delivery_date="2026-11-27",
        delivery_address=Address(line1="Dock 4", postal_code="10115"),
        memo="Danke",
        po_number="PO-9",
    )
    body = body_of(made, customer=customer)
    assert body["ShipDate"] == "2026-11-27"
    assert body["ShipAddr"] == {"Line1": "Dock 4", "PostalCode": "10115"}
    assert body["BillAddr"] == {"Line1": "Old Street 1"}
    assert body["CustomerMemo"] == {"value": "Danke"}
    assert body["PONumber"] == "PO-9"
    assert body["BillEmail"] == {"Address": "a@b.example"}


def test_named_fields_of_the_company_are_used() -> None:
    """Representative and purchase order go into custom fields of those names."""
    preferences = Preferences(custom_fields={"sales rep": "2", "p.o. number": "1"})
    body = body_of(sale(rep="Rep Seven", po_number="PO-9"), preferences)
    found = {field["DefinitionId"]: field["StringValue"] for field in body["CustomField"]}
    assert found == {"2": "Rep Seven", "1": "PO-9"}
    assert "PONumber" not in body


@pytest.mark.parametrize(
    ("preferences", "values", "code"),
    [
        (BARE, {"currency": "GBP"}, "currency"),
        (Preferences(country="GB", sales_tax=True), {}, "tax_map"),
        (BARE, {"discount_minor": 10_000}, "below_zero"),
        (Preferences(home_currency="KWD"), {"currency": "KWD", "fees_minor": 1}, "fraction"),
        (Preferences(sales_tax=True), {"lines": [("p-1", 1_000, 1)] * 751}, "too_many_lines"),
    ],
)
def test_what_quickbooks_would_refuse_is_said_first(
    preferences: Preferences, values: dict[str, Any], code: str
) -> None:
    """Each predictable fault has its code, cause and fix before any call (QB-19)."""
    refused = check(sale(**values), Party("c-1", "X"), preferences, Settings())
    assert refused is not None
    assert refused.code == code
    assert refused.cause
    assert refused.fix


def test_an_ordinary_order_has_nothing_to_be_said() -> None:
    """No false alarms."""
    assert check(sale(), Party("c-1", "X"), FULL, Settings()) is None
