"""Estimates, invoices and other transactions: amounts, numbers, links, closed books."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox.faults import Refused
from qbo_sink.sandbox.totals import check_line_amounts
from qbo_sink.sandbox.values import cents
from tests.qbo_sink.sandbox.desk import Desk, Json, line, order


def test_order_becomes_an_estimate_with_what_the_server_adds(desk: Desk) -> None:
    """The worked shape of section 1.15 is accepted and completed."""
    body = order(line("1861.08", "128.35", "14.5", TaxCodeRef={"value": "TAX"}))
    body |= {"DocNumber": "T07-000123", "TxnStatus": "Accepted", "AcceptedBy": "Rep Seven"}
    made = desk.save("Estimate", body | {"TxnDate": "2026-11-20", "PrivateNote": "a\n[rp:1]"})
    assert (made["SyncToken"], made["TxnStatus"], made["LinkedTxn"]) == ("0", "Accepted", [])
    assert made["DocNumber"] == "T07-000123"
    assert made["CustomerRef"]["name"] == "Harbour Deli"
    assert made["ShipAddr"]["Line1"] == "12 Quay Street"
    assert [each["DetailType"] for each in made["Line"]] == [
        "SalesItemLineDetail",
        "SubTotalLineDetail",
    ]
    assert made["Line"][0]["Id"] == "1"
    assert made["TotalAmt"] == Decimal("1861.08") + Decimal("148.89")


def test_amount_must_be_quantity_times_price_rounded_half_up(
    open_desk: Callable[..., Desk],
) -> None:
    """128.35 x 14.50 = 1861.075 is 1861.08; 1861.07 is 6070 unless tolerance is on (1.13, 1.17)."""
    desk = open_desk()
    wrong = order(line("1861.07", "128.35", "14.5"))
    answer = desk.post("estimate", wrong)
    assert answer.codes == [6070]
    assert "1861.07" in answer.error["Detail"]
    assert open_desk(amount_rounding="tolerance").post("estimate", wrong).status == 200


@settings(max_examples=100)
@given(qty=st.decimals("0.001", "9999", places=3), price=st.decimals("0.0001", "9999", places=4))
def test_exactly_one_amount_fits(qty: Decimal, price: Decimal) -> None:
    """For any quantity and price the rounded product passes and one cent more is 6070."""
    detail = {"Qty": qty, "UnitPrice": price}
    right = cents(qty * price)
    row = {"DetailType": "SalesItemLineDetail", "SalesItemLineDetail": detail}
    check_line_amounts([row | {"Amount": right}], tolerance=False)
    with pytest.raises(Refused, match="6070"):
        check_line_amounts([row | {"Amount": right + Decimal("0.01")}], tolerance=False)


def test_item_line_without_item_counts_as_text(desk: Desk) -> None:
    """Without ItemRef the amount is dropped (section 1.12)."""
    text: Json = {"Amount": 5, "DetailType": "SalesItemLineDetail", "Description": "free text"}
    made = desk.save("Estimate", order(text | {"SalesItemLineDetail": {"Qty": 1}}))
    assert made["Line"][0]["DetailType"] == "DescriptionOnly"
    assert made["TotalAmt"] == 0


def test_discount_and_shipping_follow_their_preferences(desk: Desk) -> None:
    """One discount line and a shipping line count when allowed and vanish when not."""
    discount: Json = {"DetailType": "DiscountLineDetail"}
    discount |= {"DiscountLineDetail": {"PercentBased": True, "DiscountPercent": 10}}
    ship: Json = {"Amount": 7, "DetailType": "SalesItemLineDetail"}
    ship |= {"SalesItemLineDetail": {"ItemRef": {"value": "SHIPPING_ITEM_ID"}}}
    body = order(line("100", "10", "10"), discount, ship)
    made = desk.save("Estimate", body)
    assert made["TotalAmt"] == Decimal("97.00")
    assert next(each for each in made["Line"] if "DiscountLineDetail" in each)["Amount"] == 10
    desk.prefer("SalesFormsPrefs", AllowDiscount=False, AllowShipping=False)
    assert desk.save("Estimate", body)["TotalAmt"] == 100
    two = order(line(), discount, discount)
    desk.prefer("SalesFormsPrefs", AllowDiscount=True)
    assert desk.post("estimate", two).codes == [6000]


def test_switched_off_features_drop_their_properties_silently(desk: Desk) -> None:
    """Class, location and custom fields vanish without a fault when off (section 1.12)."""
    body = order(line(ClassRef={"value": "1"}))
    body |= {"DepartmentRef": {"value": "1"}, "ClassRef": {"value": "1"}}
    made = desk.save("Estimate", body)
    assert "ClassRef" not in made
    assert made["DepartmentRef"] == {"value": "1", "name": "Main Store"}
    assert made["Line"][0]["SalesItemLineDetail"]["ClassRef"]["name"] == "Retail"
    desk.prefer("AccountingInfoPrefs", TrackDepartments=False, ClassTrackingPerTxnLine=False)
    off = desk.save("Estimate", body)
    assert "DepartmentRef" not in off
    assert "ClassRef" not in off["Line"][0]["SalesItemLineDetail"]


def test_custom_numbers_are_taken_and_absent_ones_stay_null(desk: Desk) -> None:
    """With CustomTxnNumbers the client numbers (section 1.12)."""
    assert "DocNumber" not in desk.save("Estimate", order())
    assert desk.post("estimate", order(DocNumber="x" * 22)).codes == [2050]


@pytest.mark.parametrize(("when", "kept"), [("ignore", "1001"), ("keep", "MINE")])
def test_automatic_numbers_count_on(open_desk: Callable[..., Desk], when: str, kept: str) -> None:
    """Without CustomTxnNumbers the server counts; ours is ignored or kept by switch (1.17)."""
    desk = open_desk(docnumber_when_auto=when)
    desk.prefer("SalesFormsPrefs", CustomTxnNumbers=False)
    assert desk.save("Estimate", order(DocNumber="MINE"))["DocNumber"] == kept
    later = desk.save("Estimate", order())
    assert later["DocNumber"].isdigit()


@pytest.mark.parametrize(("switch", "codes"), [("allow", None), ("6140", [6140])])
def test_duplicate_estimate_numbers_by_switch(
    open_desk: Callable[..., Desk], switch: str, codes: list[int] | None
) -> None:
    """6140 quotes number, type and Id; the option of the query string overrides it (1.17)."""
    desk = open_desk(estimate_dup_docnumber=switch)
    first = desk.save("Estimate", order(DocNumber="A1"))
    second = desk.post("estimate", order(DocNumber="a1"))
    if codes is None:
        assert second.status == 200
        return
    assert second.codes == codes
    assert f"TxnId={first['Id']}" in second.error["Detail"]
    assert (
        desk.post("estimate", order(DocNumber="A1"), include="allowduplicatedocnum").status == 200
    )


def test_duplicate_invoice_numbers_are_always_refused(desk: Desk) -> None:
    """6140 holds for invoices whatever the switch for estimates says."""
    desk.save("Invoice", order(DocNumber="I1"))
    assert desk.post("invoice", order(DocNumber="I1")).codes == [6140]


def test_references_must_exist_and_be_active(desk: Desk) -> None:
    """2500 names the element; inactive items are 610, inactive customers 6250 (section 1.4)."""
    missing = desk.post("estimate", order(line(ItemRef={"value": "999"})))
    assert missing.codes == [2500]
    assert missing.error["element"] == "Line[0].SalesItemLineDetail.ItemRef"
    desk.control("inactivate", {"entity": "Item", "id": "1"})
    assert desk.post("estimate", order()).codes == [610]
    desk.control("inactivate", {"entity": "Customer", "id": "2"})
    second_item = line(ItemRef={"value": "2"})
    assert desk.post("estimate", order(second_item, customer="2")).codes == [6250]


def test_unknown_and_bad_properties_are_reported_together(desk: Desk) -> None:
    """2010 with line and column, lengths, enums and dates in one answer (section 1.16)."""
    source = b'{"CustomerRef":{"value":"1"},\n "Foo":1,"TxnDate":"soon","TxnStatus":"Maybe",'
    source += b'"PrivateNote":"' + b"x" * 4001 + b'","Line":[{"Qty":1}]}'
    answer = desk.post("estimate", source)
    assert answer.codes == [2010, 2060, 2170, 2050, 2010]
    assert "line 2" in answer.error["Detail"]


def test_read_only_properties_are_ignored(desk: Desk) -> None:
    """Id, tokens, totals and stamps sent on create change nothing (section 1.3)."""
    body = order(TotalAmt=1, Balance=3, MetaData={"CreateTime": "x"}, SyncToken="9", sparse=False)
    made = desk.save("Estimate", body | {"Id": ""})
    assert (made["SyncToken"], made["TotalAmt"]) == ("0", Decimal("14.5"))
    assert made["MetaData"]["CreateTime"].startswith("2026-11-18")


def test_sparse_line_array_is_the_new_list(desk: Desk) -> None:
    """Known line Ids are updated, others created, missing ones vanish (section 1.5)."""
    made = desk.save("Estimate", order(line(), line("2.35", "1", "2.35")))
    kept = made["Line"][1] | {"Description": "kept"}
    head = {"Id": made["Id"], "SyncToken": "0", "sparse": True}
    changed = desk.save("Estimate", head | {"Line": [kept, line("29", "2", "14.5")]})
    assert [each.get("Id") for each in changed["Line"]] == ["2", "3", None]
    assert changed["TotalAmt"] == Decimal("31.35")
    assert changed["CustomerRef"]["value"] == "1"


@pytest.mark.parametrize(("switch", "city"), [("replace", None), ("merge", "Sampleton")])
def test_nested_objects_in_sparse_updates_by_switch(
    open_desk: Callable[..., Desk], switch: str, city: str | None
) -> None:
    """An address in a sparse update replaces or merges (section 1.17)."""
    desk = open_desk(nested_object_sparse=switch)
    made = desk.save("Estimate", order())
    head = {"Id": made["Id"], "SyncToken": "0", "sparse": True}
    changed = desk.save("Estimate", head | {"ShipAddr": {"Line1": "New"}})
    assert changed["ShipAddr"]["Line1"] == "New"
    assert changed["ShipAddr"].get("City") == city


def test_deleted_transactions_are_610_forever(desk: Desk) -> None:
    """Delete answers a stub; reading, updating and deleting again are 610 (section 1.5)."""
    made = desk.save("Estimate", order())
    body = {"Id": made["Id"], "SyncToken": "0"}
    answer = desk.post("estimate", body, operation="delete")
    assert answer.json["Estimate"] == {"status": "Deleted", "domain": "QBO", "Id": made["Id"]}
    assert desk.get(f"estimate/{made['Id']}").codes == [610]
    assert desk.post("estimate", body, operation="delete").codes == [610]
    assert desk.rows("select * from Estimate", "Estimate") == []


def test_estimates_have_no_void_and_void_invoices_are_nothing(desk: Desk) -> None:
    """Void zeroes an invoice and says so in its note; an estimate has no void (section 1.5)."""
    made = desk.save("Estimate", order())
    head = {"Id": made["Id"], "SyncToken": "0"}
    assert desk.post("estimate", head, operation="void").codes == [500]
    bill = desk.save("Invoice", order(PrivateNote="n"))
    gone = desk.save("Invoice", {"Id": bill["Id"], "SyncToken": "0"}, operation="void")
    assert (gone["TotalAmt"], gone["Balance"], gone["SyncToken"]) == (0, 0, "1")
    assert gone["PrivateNote"] == "Voided - n"


@pytest.mark.parametrize(
    ("entity", "how"),
    [
        ("Invoice", {"operation": "void"}),
        ("SalesReceipt", {"operation": "update", "include": "void"}),
    ],
)
def test_what_was_voided_can_still_be_changed(desk: Desk, entity: str, how: dict[str, str]) -> None:
    """A voided document takes another number, and a whole update of what was read (section 1.5)."""
    made = desk.save(entity, order())
    head = {"Id": made["Id"], "SyncToken": "0", "sparse": True}
    gone = desk.save(entity, head, **how)
    named = desk.save(entity, head | {"SyncToken": gone["SyncToken"], "DocNumber": "V-1"})
    assert (named["DocNumber"], named["TotalAmt"]) == ("V-1", 0)
    assert desk.save(entity, desk.read(entity, made["Id"]))["TotalAmt"] == 0
    assert desk.get("reports/ProfitAndLoss").status == 200


@pytest.mark.parametrize("reopens", [True, False])
def test_deleting_an_invoice_frees_its_estimate_or_not(
    open_desk: Callable[..., Desk], reopens: bool
) -> None:
    """Afterwards the estimate can be invoiced again, or stays linked and is 620, by switch
    (section 1.17)."""
    desk = open_desk(delete_reopens_estimate=reopens)
    made = desk.save("Estimate", order())
    link = [{"TxnId": made["Id"], "TxnType": "Estimate"}]
    bill = desk.save("Invoice", order(LinkedTxn=link))
    desk.save("Invoice", {"Id": bill["Id"], "SyncToken": "0"}, operation="delete")
    assert (desk.read("Estimate", made["Id"])["LinkedTxn"] == []) == reopens
    again = desk.post("invoice", order(LinkedTxn=link))
    assert again.status == 200 if reopens else again.codes == [620]


@pytest.mark.parametrize("status", ["unchanged", "Closed", "Converted"])
@pytest.mark.parametrize("bump", [True, False])
def test_conversion_links_both_ways_once(
    open_desk: Callable[..., Desk], status: str, bump: bool
) -> None:
    """An invoice made from an estimate links both; a second one is 620 (section 1.12, QB-05)."""
    desk = open_desk(estimate_status_after_invoice=status, estimate_token_bump_on_invoice=bump)
    made = desk.save("Estimate", order(TxnStatus="Accepted"))
    link = [{"TxnId": made["Id"], "TxnType": "Estimate"}]
    bill = desk.save("Invoice", order(LinkedTxn=link))
    assert bill["LinkedTxn"] == link
    after = desk.read("Estimate", made["Id"])
    assert after["LinkedTxn"] == [{"TxnId": bill["Id"], "TxnType": "Invoice"}]
    assert after["TxnStatus"] == ("Accepted" if status == "unchanged" else status)
    assert after["SyncToken"] == ("1" if bump else "0")
    assert desk.post("invoice", order(LinkedTxn=link)).codes == [620]
    desk.post("invoice", {"Id": bill["Id"], "SyncToken": "0"}, operation="delete")
    assert desk.read("Estimate", made["Id"])["LinkedTxn"] == []


def test_conversion_for_another_customer_is_620(desk: Desk) -> None:
    """The customer of invoice and estimate must be the same (section 1.12)."""
    made = desk.save("Estimate", order())
    link = [{"TxnId": made["Id"], "TxnType": "Estimate"}]
    assert desk.post("invoice", order(customer="2", LinkedTxn=link)).codes == [620]


@pytest.mark.parametrize("blocks", [True, False])
def test_closed_books_block_postings_and_estimates_by_switch(
    open_desk: Callable[..., Desk], blocks: bool
) -> None:
    """6200 for invoices dated before the closing date, for estimates only by switch (1.17)."""
    desk = open_desk(closed_books_block_estimates=blocks)
    desk.prefer("AccountingInfoPrefs", BookCloseDate="2026-10-31")
    assert desk.post("invoice", order(TxnDate="2026-10-31")).codes == [6200]
    assert desk.post("invoice", order(TxnDate="2026-11-01")).status == 200
    estimate = desk.post("estimate", order(TxnDate="2026-10-01"))
    assert estimate.status == (400 if blocks else 200)


def test_need_to_send_needs_an_address(desk: Desk) -> None:
    """6420 without BillEmail (section 1.4)."""
    head = {"Id": "1", "SyncToken": "0", "sparse": True, "PrimaryEmailAddr": None}
    desk.save("Customer", head)
    assert desk.post("estimate", order(EmailStatus="NeedToSend")).codes == [6420]


def test_payment_reduces_the_invoice_and_its_void_restores_it(desk: Desk) -> None:
    """Balances and links follow payments."""
    bill = desk.save("Invoice", order())
    part = {"Amount": 4, "LinkedTxn": [{"TxnId": bill["Id"], "TxnType": "Invoice"}]}
    paid = desk.save("Payment", {"CustomerRef": {"value": "1"}, "TotalAmt": 10, "Line": [part]})
    assert paid["UnappliedAmt"] == 6
    assert desk.read("Invoice", bill["Id"])["Balance"] == Decimal("10.5")
    head = {"Id": paid["Id"], "SyncToken": "0", "sparse": True}
    desk.save("Payment", head, operation="update", include="void")
    assert desk.read("Invoice", bill["Id"])["Balance"] == Decimal("14.5")


def test_journal_entries_balance(desk: Desk) -> None:
    """Debits equal credits or 2300 (section 1.4)."""
    rows = [
        {
            "Amount": amount,
            "DetailType": "JournalEntryLineDetail",
            "JournalEntryLineDetail": {"PostingType": side, "AccountRef": {"value": "1"}},
        }
        for side, amount in (("Debit", 5), ("Credit", 5))
    ]
    assert desk.save("JournalEntry", {"Line": rows})["TotalAmt"] == 0
    rows[1]["Amount"] = 6
    assert desk.post("journalentry", {"Line": rows}).codes == [2300]


def test_pdf_is_a_pdf_and_send_is_recorded(desk: Desk) -> None:
    """One page of PDF 1.4; sending marks the document as mailed (section 1.1)."""
    made = desk.save("Estimate", order(DocNumber="P(1)"))
    paper = desk.get(f"estimate/{made['Id']}/pdf")
    assert paper.headers["content-type"] == "application/pdf"
    assert paper.content.startswith(b"%PDF-1.4")
    assert rb"P\(1\)" in paper.content
    assert paper.content.endswith(b"%%EOF\n")
    at = int(paper.content.rsplit(b"startxref\n", 1)[1].split(b"\n")[0])
    assert paper.content[at:].startswith(b"xref\n0 6")
    sent = desk.post(f"estimate/{made['Id']}/send", b"", sendTo="a@example.com")
    assert sent.json["Estimate"]["EmailStatus"] == "EmailSent"
    assert sent.json["Estimate"]["DeliveryInfo"]["DeliveryType"] == "Email"
