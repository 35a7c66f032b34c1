"""Headers, envelopes, request ids, throttling, batches and change data over the wire."""

from __future__ import annotations

from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest

from qbo_sink.sandbox.values import stamp
from tests.qbo_sink.sandbox.desk import NOON_MS, Desk, order

SECOND_MS = 1_000


def test_every_answer_carries_a_transaction_id_of_its_own(desk: Desk) -> None:
    """intuit_tid on success and fault, QBO-Version, JSON with charset (section 1.1)."""
    answers = [desk.get("preferences"), desk.get("customer/999")]
    assert len({answer.headers["intuit_tid"] for answer in answers}) == 2
    for answer in answers:
        assert answer.headers["content-type"] == "application/json;charset=UTF-8"
        assert "QBO-Version" in answer.headers
        assert answer.json["time"].endswith("-08:00")


def test_unknown_paths_verbs_and_types(desk: Desk) -> None:
    """500 for unknown resources, 1050 for other types, 2000 for broken JSON, 610 on a read."""
    assert desk.get("nothing/1").codes == [500]
    assert desk.post("customer/1/pdf", {}).codes == [500]
    assert desk.post("estimate", order(), operation="explode").codes == [500]
    url = f"/v3/company/{desk.realm}/customer"
    table = desk.headers | {"Content-Type": "text/csv"}
    assert desk.ask("POST", url, headers=table, content=b"a,b").codes == [1050]
    assert desk.post("customer", b"{").codes == [2000]
    assert desk.post("customer", [1]).codes == [2000]
    read = desk.get("customer/999")
    assert (read.status, read.codes) == (400, [610])


@pytest.mark.parametrize("life_s", [60, 86_400])
def test_repeated_request_id_is_answered_without_applying_again(
    open_desk: Callable[..., Desk], life_s: int
) -> None:
    """The same id gives the same bytes and one document, for a day or as long as the switch says
    (sections 1.6, 1.17)."""
    desk = open_desk(requestid_ttl_s=life_s)
    first = desk.post("estimate", order(), requestid="r1")
    again = desk.post("estimate", order(), requestid="r1")
    assert again.content == first.content
    assert desk.control("count", method="GET")["Estimate"] == 1
    desk.now_ms += (life_s + 1) * SECOND_MS
    desk.tokens = desk.control("connect")
    desk.headers = {"Authorization": f"Bearer {desk.tokens['access_token']}"}
    desk.post("estimate", order(), requestid="r1")
    assert desk.control("count", method="GET")["Estimate"] == 2


@pytest.mark.parametrize(("switch", "status"), [("replay", 200), ("600", 400)])
def test_request_id_with_another_body_by_switch(
    open_desk: Callable[..., Desk], switch: str, status: int
) -> None:
    """Another body under a used id is replayed or refused with 600 (section 1.17)."""
    desk = open_desk(requestid_conflict=switch)
    desk.post("estimate", order(), requestid="r1")
    other = desk.post("estimate", order(customer="2"), requestid="r1")
    assert other.status == status
    assert desk.control("count", method="GET")["Estimate"] == 1


@pytest.mark.parametrize("replays", [True, False])
def test_faults_are_remembered_only_by_switch(
    open_desk: Callable[..., Desk], replays: bool
) -> None:
    """After the cause is gone the same id succeeds, unless faults are replayed (1.17)."""
    desk = open_desk(requestid_replays_faults=replays)
    desk.control("inactivate", {"entity": "Customer", "id": "1"})
    assert desk.post("estimate", order(), requestid="r1").codes == [6250]
    desk.control("edit", {"entity": "Customer", "id": "1", "changes": {"Active": True}})
    assert (desk.post("estimate", order(), requestid="r1").status == 400) is replays


def test_long_request_ids_are_2130(desk: Desk) -> None:
    """Fifty characters for single requests, thirty-six for batches (section 1.6)."""
    assert desk.post("estimate", order(), requestid="x" * 51).codes == [2130]
    assert desk.post("batch", {"BatchItemRequest": []}, requestid="x" * 37).codes == [2130]


@pytest.mark.parametrize(
    ("form", "status", "kind"),
    [("json429", 429, "json"), ("xml429", 429, "xml"), ("xml403", 403, "xml")],
)
def test_eleventh_request_in_a_second_is_throttled(
    open_desk: Callable[..., Desk], form: str, status: int, kind: str
) -> None:
    """Ten a second, in each of the formats seen in the field (section 1.11)."""
    desk = open_desk(throttle=True, throttle_format=form)
    for _ in range(10):
        assert desk.get("preferences").status == 200
    refused = desk.get("preferences")
    assert refused.status == status
    assert kind in refused.headers["content-type"]
    assert b"errorCode=003001" in refused.content
    desk.now_ms += SECOND_MS
    assert desk.get("preferences").status == 200


def test_five_hundred_a_minute_and_forty_batches(open_desk: Callable[..., Desk]) -> None:
    """The windows of a minute are counted per realm (section 1.11)."""
    desk = open_desk(throttle=True)
    for _ in range(40):
        desk.now_ms += 100
        assert desk.post("batch", {"BatchItemRequest": []}).status == 200
    desk.now_ms += SECOND_MS
    assert desk.post("batch", {"BatchItemRequest": []}).status == 429
    for _ in range(460):
        desk.now_ms += 110
        assert desk.get("preferences").status == 200
    desk.now_ms += 110
    assert desk.get("preferences").status == 429


def test_batch_items_stand_alone(desk: Desk) -> None:
    """A faulted item leaves no trace and does not touch its siblings (section 1.8)."""
    items = [
        {"bId": "1", "operation": "create", "Customer": {"DisplayName": "One"}},
        {"bId": "2", "operation": "create", "Customer": {"DisplayName": "one"}},
        {"bId": "3", "operation": "update", "Customer": {"Id": "1", "SyncToken": "7"}},
        {"bId": "4", "Query": "select * from Item maxresults 1"},
        {"bId": "5", "CDCQuery": {"Entities": "Customer", "ChangedSince": "2026-11-01"}},
        {"Estimate": order()},
        {"bId": "7", "operation": "delete", "Customer": {"Id": "1", "SyncToken": "0"}},
        {"bId": "8", "Nothing": {}},
    ]
    answer = desk.post("batch", {"BatchItemRequest": items}, requestid="b1")
    rows = answer.json["BatchItemResponse"]
    assert answer.status == 200
    assert rows[0]["Customer"]["DisplayName"] == "One"
    assert rows[1]["Fault"]["Error"][0]["code"] == "6240"
    assert rows[2]["Fault"]["Error"][0]["code"] == "5010"
    assert len(rows[3]["QueryResponse"]["Item"]) == 1
    assert len(rows[4]["CDCResponse"][0]["QueryResponse"][0]["Customer"]) == 6
    assert rows[5]["Estimate"]["SyncToken"] == "0"
    assert rows[6]["Fault"]["Error"][0]["code"] == "500"
    assert rows[7]["Fault"]["Error"][0]["code"] == "500"
    assert desk.post("batch", {"BatchItemRequest": items}, requestid="b1").content == answer.content
    counted = desk.control("count", method="GET")
    assert (counted["Customer"], counted["Estimate"]) == (6, 1)


def test_batches_hold_thirty_items_and_short_ids(desk: Desk) -> None:
    """31 items are 1040; with a request id each bId has ten characters at most (1.6, 1.8)."""
    item = {"bId": "1", "Query": "select * from Item"}
    assert desk.post("batch", {"BatchItemRequest": [item] * 31}).codes == [1040]
    long = {"BatchItemRequest": [item | {"bId": "x" * 11}]}
    assert desk.post("batch", long).status == 200
    assert desk.post("batch", long, requestid="b").codes == [2050]


def test_change_data_has_live_then_deleted_objects(desk: Desk) -> None:
    """Grouped in request order, deleted ones as stubs, silence as {} (section 1.9)."""
    desk.now_ms += 10 * SECOND_MS
    kept = desk.save("Estimate", order())
    gone = desk.save("Estimate", order())
    desk.post("estimate", {"Id": gone["Id"], "SyncToken": "0"}, operation="delete")
    since = stamp(NOON_MS + 5 * SECOND_MS, ZoneInfo("America/Los_Angeles"))
    answer = desk.get("cdc", entities="Customer,Estimate", changedSince=since)
    customers, estimates = answer.json["CDCResponse"][0]["QueryResponse"]
    assert customers == {}
    assert [row["Id"] for row in estimates["Estimate"]] == [kept["Id"], gone["Id"]]
    assert estimates["Estimate"][1]["status"] == "Deleted"
    assert estimates["totalCount"] == 2


def test_change_data_is_bounded_and_not_for_everything(desk: Desk) -> None:
    """More than thirty days back or a silent entity is refused (section 1.9)."""
    assert desk.get("cdc", entities="Customer", changedSince="2026-10-01").codes == [2180]
    assert desk.get("cdc", entities="TaxCode", changedSince="2026-11-15").codes == [4001]
    assert desk.get("cdc", entities="Customer", changedSince="soon").codes == [2060]


def test_change_data_can_lag(open_desk: Callable[..., Desk]) -> None:
    """With ``cdc_lag_ms`` fresh changes show later (section 1.17)."""
    desk = open_desk(cdc_lag_ms=60_000)
    ask = {"entities": "Customer", "changedSince": "2026-11-01"}
    assert desk.get("cdc", **ask).json["CDCResponse"][0]["QueryResponse"] == [{}]
    desk.now_ms += 60 * SECOND_MS
    assert desk.get("cdc", **ask).json["CDCResponse"][0]["QueryResponse"][0]["Customer"]


def test_suspended_companies_answer_6190(desk: Desk) -> None:
    """A subscription that ended stops everything until renewed (section 1.4)."""
    desk.control("suspend", {"suspended": True})
    assert desk.get("preferences").codes == [6190]
    desk.control("suspend", {"suspended": False})
    assert desk.get("preferences").status == 200
