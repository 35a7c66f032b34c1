"""Ours against theirs, corrections, matching: pure rules about bodies and rows."""

from __future__ import annotations

from copy import deepcopy
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbo_sink import corrections
from qbo_sink.catalogue import CATALOGUE
from qbo_sink.compare import drift, holds, total_of
from qbo_sink.model import Entity, Party, Product, Settings, read_preferences
from qbo_sink.party import (
    clean,
    customer_fields,
    evidence,
    matches_item,
    shorten,
    tidy_name,
    to_item,
    valid_email,
)
from replica.events.payloads import Address

LINE = {
    "Amount": Decimal(5),
    "Description": "Chai",
    "DetailType": "SalesItemLineDetail",
    "SalesItemLineDetail": {"ItemRef": {"value": "1"}, "Qty": 2, "UnitPrice": Decimal("2.5")},
}
BODY: dict[str, Any] = {
    "CustomerRef": {"value": "58"},
    "TxnDate": "2026-11-20",
    "TxnStatus": "Accepted",
    "PrivateNote": "gate\n[rp:o:o-1:0123456789ab]",
    "CustomerMemo": {"value": "Danke"},
    "BillEmail": {"Address": "a@b.example"},
    "CustomField": [{"DefinitionId": "1"}],
    "Line": [LINE],
}


def stored(**changes: Any) -> dict[str, Any]:
    """The row as QuickBooks gives it back: subtotal added, numbers in other clothes."""
    row = deepcopy(BODY) | {"Id": "1", "SyncToken": "0", "TotalAmt": Decimal("5.00")}
    row["CustomerRef"]["name"] = "Blauer See"
    row["Line"][0] |= {"Id": "1", "Amount": "5.00"}
    row["Line"].append({"Amount": 5, "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}})
    return row | changes


def test_a_row_in_other_clothes_is_the_same() -> None:
    """Subtotals, reference names and number formats are no differences (§2.5)."""
    assert holds(stored(), BODY) == []
    assert drift(stored(), stored(), Decimal(5)) == ""


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"TxnStatus": "Pending"}, "TxnStatus"),
        ({"CustomerRef": {"value": "59"}}, "CustomerRef"),
        ({"Line": []}, "Line"),
        ({"TxnDate": "2026-11-21"}, "TxnDate"),
    ],
)
def test_a_dropped_property_is_noticed(change: dict[str, Any], name: str) -> None:
    """A 200 that silently changed something is not proof (§0.4)."""
    assert holds(stored(**change), BODY) == [name]


@pytest.mark.parametrize(
    ("row", "state"),
    [
        (None, "deleted"),
        ({"status": "Deleted"}, "deleted"),
        (stored(TotalAmt=Decimal("5.01")), "differs"),
        (stored(TxnDate="2026-11-21"), "changed"),
        (stored(TxnStatus="Closed"), "invoiced"),
        (stored(LinkedTxn=[{"TxnId": "9", "TxnType": "Invoice"}]), "invoiced"),
        (stored(TxnStatus="Rejected"), "changed"),
        (stored(ExpirationDate="2027-01-01"), ""),
        (stored(TotalAmt=Decimal("5.40"), TxnTaxDetail={"TotalTax": Decimal("0.40")}), ""),
    ],
)
def test_what_became_of_an_estimate(row: dict[str, Any] | None, state: str) -> None:
    """Every kind of change there has its own state; tax and foreign fields are none (§2.5)."""
    assert drift(row, stored(), Decimal(5)) == state


def test_a_link_without_a_snapshot_compares_the_amount() -> None:
    """After a lost ledger the total alone is compared until the next write."""
    assert drift(stored(), {}, Decimal(5)) == ""
    assert drift(stored(), {}, Decimal(6)) == "differs"


@pytest.mark.parametrize("rule", sorted(corrections.RULES))
def test_a_correction_changes_no_money_party_or_period(rule: str) -> None:
    """Lines, amounts, customer, date and marker are what they were (§2.6)."""
    body = deepcopy(BODY)
    body["Line"][0]["Description"] = "x" * 3_000 + "\u4f60"
    customer: dict[str, Any] = {"DisplayName": "Harbour Deli"}
    source: dict[str, Any] = customer if rule == "other_name" else body
    before: dict[str, Any] = deepcopy(source)
    after = corrections.apply(source, rule)
    assert source == before
    if rule == "other_name":
        assert after == {"DisplayName": "Harbour Deli (2)", "CompanyName": "Harbour Deli"}
        item = corrections.apply({"Name": "B" * 99, "UnitPrice": 2}, rule)
        assert item == {"Name": "B" * 96 + " (2)", "UnitPrice": 2}
        return
    assert total_of(after) == total_of(before)
    assert [line["SalesItemLineDetail"] for line in after["Line"]] == [
        line["SalesItemLineDetail"] for line in before["Line"]
    ]
    for name in ("CustomerRef", "TxnDate", "TxnStatus"):
        assert after[name] == before[name]
    assert after["PrivateNote"].splitlines()[-1] == "[rp:o:o-1:0123456789ab]"
    assert corrections.apply(after, rule) == after


def test_a_rule_exists_for_known_codes_only() -> None:
    """The catalogue is closed: every rule answers a documented code."""
    for code in CATALOGUE:
        for entity in Entity:
            rule = corrections.rule_for(str(code), "", entity)
            assert rule is None or rule in corrections.RULES
    assert corrections.rule_for("6000", "name_used", Entity.CUSTOMER) == "other_name"
    assert corrections.rule_for("6240", "", Entity.ITEM) == "other_name"
    assert corrections.rule_for("6200", "", Entity.ESTIMATE) is None
    assert corrections.rule_for("6140", "", Entity.ESTIMATE) is None


@given(st.text(max_size=600))
def test_names_and_texts_are_what_quickbooks_accepts(text: str) -> None:
    """No colon, tab or line break in a name, no control character in a text, within bounds."""
    name = tidy_name(text, 100)
    assert len(name) <= 100
    assert not set(name) & set(":\t\r\n")
    assert len(shorten(text, 50)) <= 50
    assert "\0" not in clean(text)
    assert all(ord(character) < 256 for character in corrections.latin(text))


def test_a_customer_is_linked_by_more_than_its_name() -> None:
    """E-mail, phone or post code must agree; empty ones agree with nothing (§2.6)."""
    row = {
        "PrimaryEmailAddr": {"Address": "A@b.example"},
        "PrimaryPhone": {"FreeFormNumber": "+49 (30) 12-34"},
        "BillAddr": {"PostalCode": "SW1A 1AA"},
    }
    assert evidence(Party("c", "X", email="a@B.example"), row)
    assert evidence(Party("c", "X", phone="+493012 34"), row)
    assert evidence(Party("c", "X", address=Address(postal_code="sw1a1aa")), row)
    assert not evidence(Party("c", "X", email="other@b.example"), row)
    assert not evidence(Party("c", "X"), {})


def test_an_item_is_matched_by_sku_before_name() -> None:
    """Equal SKU is the same item; with two SKUs an equal name is not."""
    chai = Product("p", "Chai", sku="CH-1")
    assert matches_item(chai, {"Name": "Tea", "Sku": "ch-1"})
    assert matches_item(chai, {"Name": "chai"})
    assert not matches_item(chai, {"Name": "Chai", "Sku": "CH-2"})


def test_an_item_never_keeps_stock() -> None:
    """New items are NonInventory or Service with an income account (§2.1)."""
    body = to_item(Product("p", "A:B", sku="S", price_e4=12_345), Settings(), "79")
    assert (body["Name"], body["Type"]) == ("A-B", "NonInventory")
    assert body["IncomeAccountRef"] == {"value": "79"}
    assert body["UnitPrice"] == Decimal("1.2345")


def test_a_wrong_mail_address_is_left_out() -> None:
    """QuickBooks would refuse the customer for it (2210)."""
    assert "PrimaryEmailAddr" not in customer_fields(Party("c", "X", email="nobody"))
    assert valid_email("a@b.example")
    assert not valid_email("a b@c.example")


def test_preferences_are_read_with_everything_absent_as_off() -> None:
    """An empty company allows nothing; a full one what it says (§1.12)."""
    assert not read_preferences({}, {}).custom_numbers
    found = read_preferences(
        {
            "SalesFormsPrefs": {
                "CustomTxnNumbers": True,
                "AllowShipping": "79",
                "CustomField": [
                    {"CustomField": [{"Name": "SalesFormsPrefs.UseSalesCustom2"}]},
                    {
                        "CustomField": [
                            {"Name": "SalesFormsPrefs.SalesCustomName2", "StringValue": "Sales Rep"}
                        ]
                    },
                ],
            },
            "CurrencyPrefs": {"MultiCurrencyEnabled": "true", "HomeCurrency": {"value": "EUR"}},
        },
        {"Country": "USA"},
    )
    assert (found.custom_numbers, found.allow_shipping, found.multi_currency) == (True,) * 3
    assert (found.home_currency, found.is_us) == ("EUR", True)
    assert found.custom_fields == {"sales rep": "2"}
