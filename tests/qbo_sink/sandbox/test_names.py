"""Customers, items, classes and their like: names, parents, activity, updates."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.qbo_sink.sandbox.desk import Desk


def test_full_update_clears_what_is_not_sent_and_sparse_keeps_it(desk: Desk) -> None:
    """A full update sets omitted properties to null, a sparse one leaves them (section 1.5)."""
    made = desk.save("Customer", {"DisplayName": "Full", "Notes": "n", "CompanyName": "C"})
    assert made["SyncToken"] == "0"
    head = {"Id": made["Id"], "SyncToken": "0", "sparse": True}
    sparse = desk.save("Customer", head | {"Notes": "m"})
    assert (sparse["Notes"], sparse["CompanyName"], sparse["SyncToken"]) == ("m", "C", "1")
    full = desk.save(
        "Customer", {"Id": made["Id"], "SyncToken": "1", "DisplayName": "Full", "Notes": ""}
    )
    assert "Notes" not in full
    assert "CompanyName" not in full
    assert full["MetaData"]["CreateTime"] == made["MetaData"]["CreateTime"]


def test_old_sync_token_is_5010_and_changes_nothing(desk: Desk) -> None:
    """Optimistic concurrency: whoever is late reads again first (section 1.5)."""
    head = {"Id": "1", "SyncToken": "0", "sparse": True}
    desk.save("Customer", head | {"Notes": "first"})
    late = desk.post("customer", head | {"Notes": "second"})
    assert (late.status, late.codes) == (400, [5010])
    assert desk.read("Customer", "1")["Notes"] == "first"


def test_names_are_unique_over_customers_vendors_and_employees(desk: Desk) -> None:
    """6240 quotes the Id; case and blanks do not make a name new; items have their own space."""
    for name in ("Harbour Deli", " harbour deli ", "Dairy Cooperative", "Rep Seven"):
        answer = desk.post("customer", {"DisplayName": name})
        assert answer.codes == [6240]
        assert "Id=" in answer.error["Detail"]
    desk.save("Item", {"Name": "Harbour Deli", "IncomeAccountRef": {"value": "79"}})


def test_display_name_is_made_of_the_parts_or_missed(desk: Desk) -> None:
    """Without DisplayName the person's name serves; without either it is 6080 (section 1.12)."""
    made = desk.save("Customer", {"GivenName": "Ann", "FamilyName": "Lee", "Suffix": "Jr"})
    assert made["DisplayName"] == "Ann Lee Jr"
    assert desk.post("customer", {"Notes": "x"}).codes == [6080]


def test_colons_and_bad_mail_addresses_are_refused(desk: Desk) -> None:
    """Names hold no colon (2040); an address needs @ and a dot (2210)."""
    assert desk.post("customer", {"DisplayName": "a:b"}).codes == [2040]
    mail = {"DisplayName": "x", "PrimaryEmailAddr": {"Address": "nobody"}}
    assert desk.post("customer", mail).codes == [2210]


def test_inactive_names_get_a_suffix_and_free_the_name(open_desk: Callable[..., Desk]) -> None:
    """Making inactive renames, making active restores; the switch turns that off (1.5, 1.17)."""
    desk = open_desk()
    off = desk.control("inactivate", {"entity": "Class", "id": "1"})
    assert (off["Active"], off["Name"]) == (False, "Retail (deleted)")
    assert desk.save("Class", {"Name": "Retail"})["Id"] != "1"
    back = {"Id": "1", "SyncToken": off["SyncToken"], "sparse": True, "Active": True}
    assert desk.post("class", back).codes == [6240]
    plain = open_desk(inactive_name_suffix=False)
    kept = plain.control("inactivate", {"entity": "Class", "id": "1"})
    assert kept["Name"] == "Retail"


def test_inactive_names_are_left_out_unless_asked_for(desk: Desk) -> None:
    """``Active`` is implied in queries (section 1.7)."""
    desk.control("inactivate", {"entity": "Customer", "id": "2"})
    assert len(desk.rows("select Id from Customer", "Customer")) == 4
    both = "select Id from Customer where Active in (true, false)"
    assert len(desk.rows(both, "Customer")) == 5


@pytest.mark.parametrize(("switch", "longest"), [("20", 20), ("7", 7)])
def test_account_numbers_are_as_long_as_the_switch_lets_them(
    open_desk: Callable[..., Desk], switch: str, longest: int
) -> None:
    """A US company's AcctNum holds what the switch says, one more is 2050; others' hold 20
    (sections 1.12 and 1.17)."""
    for desk, most in (
        (open_desk(us_account_number=switch), longest),
        (open_desk(country="GB", us_account_number=switch), 20),
    ):
        body = {"Name": "Till", "AccountType": "Bank", "AcctNum": "7" * most}
        assert desk.save("Account", body)["AcctNum"] == "7" * most
        longer = body | {"Name": "Safe", "AcctNum": "7" * (most + 1)}
        assert desk.post("account", longer).codes == [2050]


def test_a_social_security_number_is_masked(desk: Desk) -> None:
    """No answer shows the SSN that was written, and writing the mask back keeps it masked
    (section 1.12, seen in a published client's cases)."""
    person = {"GivenName": "Jo", "FamilyName": "March", "SSN": "078-05-1120"}
    made = desk.save("Employee", person)
    again = desk.save("Employee", made | {"FamilyName": "April"})
    assert (made["SSN"], again["SSN"]) == ("XXX-XX-XXXX", "XXX-XX-XXXX")
    assert desk.read("Employee", made["Id"])["SSN"] == "XXX-XX-XXXX"


def test_names_cannot_be_deleted(desk: Desk) -> None:
    """Deleting a customer is an unsupported operation (section 1.5)."""
    answer = desk.post("customer", {"Id": "1", "SyncToken": "0"}, operation="delete")
    assert answer.codes == [500]


def test_levels_end_at_five_and_parents_must_fit(desk: Desk) -> None:
    """FullyQualifiedName follows the parents; 6150, 700, 900 and 6180 guard them (1.12)."""
    parent = "1"
    for level in range(2, 6):
        body = {"Name": f"L{level}", "SubClass": True, "ParentRef": {"value": parent}}
        parent = desk.save("Class", body)["Id"]
    assert desk.read("Class", parent)["FullyQualifiedName"] == "Retail:L2:L3:L4:L5"
    renamed = {"Id": "1", "SyncToken": "0", "sparse": True, "Name": "Shop"}
    desk.save("Class", renamed)
    after = desk.read("Class", parent)
    assert (after["FullyQualifiedName"], after["SyncToken"]) == ("Shop:L2:L3:L4:L5", "0")
    deep = {"Name": "L6", "SubClass": True, "ParentRef": {"value": parent}}
    assert desk.post("class", deep).codes == [6180]
    assert desk.post("class", {"Name": "x", "SubClass": True}).codes == [6150]
    loop = {"Id": "1", "SyncToken": "1", "sparse": True, "SubClass": True}
    assert desk.post("class", loop | {"ParentRef": {"value": "3"}}).codes == [900]


def test_currency_of_a_customer_never_changes(desk: Desk) -> None:
    """CurrencyRef is fixed with the first save (section 1.12)."""
    body = {"Id": "1", "SyncToken": "0", "sparse": True, "CurrencyRef": {"value": "EUR"}}
    assert desk.post("customer", body).codes == [6000]


def test_inventory_items_need_accounts_quantity_and_start(desk: Desk) -> None:
    """What an item cannot be without depends on its type (section 1.12)."""
    assert desk.post("item", {"Name": "a", "Type": "Service"}).codes == [2020]
    body = {"Name": "a", "Type": "Inventory", "IncomeAccountRef": {"value": "79"}}
    assert desk.post("item", body).codes == [2020]
    body |= {"AssetAccountRef": {"value": "81"}, "ExpenseAccountRef": {"value": "80"}}
    body |= {"QtyOnHand": "1", "InvStartDate": "2026-01-01"}
    assert desk.save("Item", body)["TrackQtyOnHand"] is True


@pytest.mark.parametrize("entity", ["Class", "Department"])
def test_tracking_must_be_on_and_the_plan_has_a_limit(desk: Desk, entity: str) -> None:
    """Classes and departments are gated by preference and plan (section 1.12, ACC-04)."""
    off = {"ClassTrackingPerTxn": False, "ClassTrackingPerTxnLine": False}
    desk.prefer("AccountingInfoPrefs", **off, TrackDepartments=False)
    assert desk.post(entity.lower(), {"Name": "x"}).codes == [5020]
    desk.prefer("AccountingInfoPrefs", ClassTrackingPerTxn=True, TrackDepartments=True)
    for number in range(37):
        desk.save(entity, {"Name": f"n{number}"})
    full = desk.post(entity.lower(), {"Name": "one more"})
    assert full.codes == [6000]
    assert "limit" in full.error["Detail"]
