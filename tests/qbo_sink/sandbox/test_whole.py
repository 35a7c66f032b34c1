"""What the sandbox answers, it takes back: clients save whole objects as they read them."""

from __future__ import annotations

import pytest

from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.values import Json, read_json
from qbo_sink.sandbox.xml_codec import read_xml, write_xml
from tests.qbo_sink.sandbox.desk import Desk, line, order

# Not saved whole by any client: made by the tax service or in the product, or refused as such.
_READ_ONLY = {name for name, each in ENTITIES.items() if "update" not in each.verbs}
_MADE: dict[str, Json] = {
    "Estimate": order(TxnStatus="Accepted"),
    "Invoice": order(),
    "SalesReceipt": order(),
    "RefundReceipt": order(DepositToAccountRef={"value": "35"}),
    "Deposit": {"DepositToAccountRef": {"value": "35"}}
    | {"Line": [{"Amount": 5, "DetailType": "DepositLineDetail", "DepositLineDetail": {}}]},
    "Transfer": {"FromAccountRef": {"value": "35"}, "ToAccountRef": {"value": "36"}, "Amount": 5},
    "CreditCardPayment": {"BankAccountRef": {"value": "35"}, "Amount": 5}
    | {"CreditCardAccountRef": {"value": "42"}},
    "TimeActivity": {"NameOf": "Employee", "EmployeeRef": {"value": "1"}, "Hours": 2},
    "Attachable": {"Note": "n"},
    "JournalCode": {"Name": "VT", "Type": "Sales"},
}
_EXPENSE = {"AccountBasedExpenseLineDetail": {"AccountRef": {"value": "1"}}, "Amount": 5}
_EXPENSE["DetailType"] = "AccountBasedExpenseLineDetail"
for _name in ("PurchaseOrder", "VendorCredit"):
    _MADE[_name] = {"VendorRef": {"value": "1"}, "Line": [_EXPENSE]}
_MADE["BillPayment"] = {"VendorRef": {"value": "1"}, "PayType": "Check", "TotalAmt": 5}
_MADE["BillPayment"]["Line"] = [{"Amount": 5}]
_MADE["RecurringTransaction"] = {"Bill": _MADE["VendorCredit"] | {"RecurringInfo": {"Name": "R"}}}


@pytest.mark.parametrize("name", sorted(ENTITIES.keys() - _READ_ONLY))
def test_every_object_can_be_saved_as_it_was_read(desk: Desk, name: str) -> None:
    """Read, send back whole in JSON and in XML: accepted, nothing but token and time changes."""
    entity = ENTITIES[name]
    if name in _MADE:
        desk.save(name, _MADE[name])
    row = desk.rows(" ".join(("select * from", name)), entity.element)[-1]
    id_ = _inner(row).get("Id", "1")
    desk.headers["Accept"] = "application/json"
    again = desk.post(name.lower(), row)
    assert again.status == 200, again.content
    assert _bare(again.json[entity.element]) == _bare(row)
    document = write_xml({entity.element: again.json[entity.element]})
    body = document.split(b'finance/v3">', 1)[1].removesuffix(b"</IntuitResponse>")
    third = desk.post(name.lower(), body, "application/xml")
    assert third.status == 200, third.content
    if entity.family != "record":  # what a schema leaves open is text in XML
        assert _bare(third.json[entity.element]) == _bare(row)
    desk.accept("application/xml")
    read = desk.get(f"{name.lower()}/{id_}")
    assert entity.element in read_xml(read.content)["IntuitResponse"]


def _inner(row: Json) -> Json:
    """The document in a recurring transaction."""
    return row["Bill"] if set(row) == {"Bill"} else row


def _bare(row: Json) -> Json:
    kept = {key: row[key] for key in row if key not in ("SyncToken", "MetaData")}
    inner = kept.get("Bill")
    return {"Bill": _bare(inner)} if isinstance(inner, dict) else kept


def test_strict_sparse_updates_name_what_they_are_about(desk: Desk) -> None:
    """By switch, a sparse update of some entities needs their key references (section 1.15)."""
    row = desk.read("Class", "1")
    head = {"Id": row["Id"], "SyncToken": row["SyncToken"], "sparse": True}
    desk.control("switches", {"sparse_needs_required": True}, "PUT")
    assert desk.post("class", head | {"Active": False}).codes == [2020]
    assert desk.post("class", head | {"Name": "Retail", "Active": False}).status == 200
    assert desk.post("customer", {"Id": "1", "SyncToken": "0", "sparse": True}).status == 200


def test_recurring_transactions_wrap_their_document(desk: Desk) -> None:
    """Created, listed by type, changed and deleted under the name of what they repeat."""
    schedule = {"IntervalType": "Monthly", "NumInterval": 1, "DayOfMonth": 1}
    info = {"Name": "Rent", "RecurType": "Automated", "Active": True, "ScheduleInfo": schedule}
    made = desk.save("RecurringTransaction", {"Invoice": order(RecurringInfo=info)})["Invoice"]
    assert (made["RecurringInfo"], made["TotalAmt"]) == (info, read_json(b"14.50"))
    assert desk.control("count", method="GET")["Invoice"] == 0
    found = desk.rows("select * from RecurringTransaction where Type='Invoice'", _RECURRING)
    assert [list(each) for each in found] == [["Invoice"]]
    assert (
        desk.query("select * from RecurringTransaction where Type='Bill'").json["QueryResponse"]
        == {}
    )
    changed = made | {"PrivateNote": "n"}
    again = desk.save("RecurringTransaction", {"Invoice": changed})["Invoice"]
    assert (again["SyncToken"], again["PrivateNote"]) == ("1", "n")
    assert desk.post("recurringtransaction", {"Invoice": made}).codes == [5010]
    assert desk.post("recurringtransaction", {"Invoice": order()}).codes == [2020]
    assert desk.post("recurringtransaction", {"Customer": {}}).codes == [2020]
    gone = desk.post("recurringtransaction", {"Invoice": again}, operation="delete")
    assert gone.json[_RECURRING]["Invoice"]["status"] == "Deleted"
    assert desk.get(f"recurringtransaction/{made['Id']}").codes == [610]


_RECURRING = "RecurringTransaction"


def test_payments_to_cards_read_as_transfers_too(desk: Desk) -> None:
    """Under the name that answers use, and under Transfer with the accounts in their place."""
    body = _MADE["CreditCardPayment"]
    made = desk.post("creditcardpayment", body).json["CreditCardPaymentTxn"]
    seen = desk.read("Transfer", made["Id"])
    assert (seen["Amount"], seen["ToAccountRef"]["value"]) == (5, "42")
    rows = desk.rows("select * from CreditCardPayment", "CreditCardPaymentTxn")
    assert [row["Id"] for row in rows] == [made["Id"]]


def test_bills_are_paid_and_credits_used(desk: Desk) -> None:
    """A bill payment settles its bill and takes it back when voided; a credit pays as well."""
    bill = desk.rows("select * from Bill", "Bill")[0]
    link = {"Amount": "84.5", "LinkedTxn": [{"TxnId": bill["Id"], "TxnType": "Bill"}]}
    vendor = {"VendorRef": {"value": "1"}, "PayType": "Check", "TotalAmt": "84.5"}
    paid = desk.save("BillPayment", vendor | {"Line": [link]})
    after = desk.read("Bill", bill["Id"])
    assert (after["Balance"], after["LinkedTxn"][0]["TxnType"]) == (0, "BillPayment")
    head = {"Id": paid["Id"], "SyncToken": "0", "sparse": True}
    desk.save("BillPayment", head, operation="update", include="void")
    assert desk.read("Bill", bill["Id"])["Balance"] == bill["Balance"]
    credit = desk.rows("select * from CreditMemo", "CreditMemo")[0]
    owed = desk.save("Invoice", order())
    lines = [
        {"Amount": "14.5", "LinkedTxn": [{"TxnId": each["Id"], "TxnType": kind}]}
        for kind, each in (("Invoice", owed), ("CreditMemo", credit))
    ]
    desk.save("Payment", {"CustomerRef": {"value": "1"}, "TotalAmt": 0, "Line": lines})
    assert desk.read("Invoice", owed["Id"])["Balance"] == 0
    assert desk.read("CreditMemo", credit["Id"])["RemainingCredit"] == 0
    lost = {"Amount": 1, "LinkedTxn": [{"TxnId": "999", "TxnType": "Bill"}]}
    assert desk.post("billpayment", vendor | {"Line": [lost]}).codes == [610]
    other = vendor | {"VendorRef": {"value": "2"}, "Line": [link]}
    assert desk.post("billpayment", other).codes == [620]


def test_entitlements_and_pseudo_tax_codes(desk: Desk) -> None:
    """The plan in XML for whoever is connected; TAX and NON can be read by Id in US companies."""
    url = f"/manage/entitlements/v3/{desk.realm}"
    found = read_xml(desk.ask("GET", url, headers=desk.headers).content)["EntitlementsResponse"]
    assert (found["PlanName"], found["Entitlement"][0]["term"]) == ("QuickBooks Online Plus", "On")
    assert desk.ask("GET", url).status == 401
    assert desk.read("TaxCode", "TAX")["Taxable"] is True
    desk.headers["Authorization"] = "Bearer x"
    assert "invalid_token" in desk.get("customer/1").headers["www-authenticate"]


def test_balances_of_names_follow_their_documents(desk: Desk) -> None:
    """Owed by a job and by its customer; a deleted invoice sets what had paid it free; the time
    of a name's last change stays, so change data is silent about it."""
    start = desk.read("Customer", "2")
    job = desk.save("Customer", {"DisplayName": "Job", "Job": True, "ParentRef": {"value": "2"}})
    desk.now_ms += 5_000
    owed = desk.save("Invoice", order(customer=job["Id"]))
    link = {"Amount": 10, "LinkedTxn": [{"TxnId": owed["Id"], "TxnType": "Invoice"}]}
    party = {"CustomerRef": {"value": job["Id"]}}
    paid = desk.save("Payment", party | {"TotalAmt": 10, "Line": [link]})
    assert _balances(desk, job["Id"]) == ("4.50", "4.50")
    assert _balances(desk, "2") == ("-20.00", "-15.50")
    now = desk.read("Customer", "2")
    assert [now[name] for name in ("SyncToken", "MetaData")] == [
        start[name] for name in ("SyncToken", "MetaData")
    ]
    token = desk.read("Invoice", owed["Id"])["SyncToken"]
    desk.save("Invoice", {"Id": owed["Id"], "SyncToken": token}, operation="delete")
    freed = desk.read("Payment", paid["Id"])
    assert (freed["UnappliedAmt"], freed["Line"]) == (10, [])
    assert _balances(desk, job["Id"]) == ("-10.00", "-10.00")


def _balances(desk: Desk, id_: str) -> tuple[str, str]:
    found = desk.read("Customer", id_)
    return str(found["Balance"]), str(found["BalanceWithJobs"])


def test_stock_dates_and_custom_fields(desk: Desk) -> None:
    """6270 before an inventory item began, for what posts; 3000 for a field that is not there."""
    early = {"TxnDate": "2019-12-31"}
    stocked = line(ItemRef={"value": "6"})
    assert desk.post("invoice", order(stocked, **early)).codes == [6270]
    assert desk.post("estimate", order(stocked, **early)).status == 200
    assert desk.post("estimate", order(CustomField=[{"DefinitionId": "9"}])).codes == [3000]
