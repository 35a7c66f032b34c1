"""Change notices: both formats, signature, retry ladder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from qbo_sink.sandbox import post_due
from qbo_sink.sandbox.webhooks import ATTEMPTS_MAX, LADDER_S
from tests.qbo_sink.sandbox.desk import Desk, order


def _post(desk: Desk, status: int = 200) -> list[httpx2.Request]:
    """Post what is due to a receiver that answers ``status``; what it received."""
    received: list[httpx2.Request] = []

    def receive(request: httpx2.Request) -> httpx2.Response:
        received.append(request)
        return httpx2.Response(status)

    async def run() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(receive)) as client:
            await post_due(desk.sandbox, client)

    asyncio.run(run())
    return received


def _bodies(desk: Desk) -> list[Any]:
    return [json.loads(request.content) for request in _post(desk)]


def test_notices_are_signed_over_the_raw_body(desk: Desk) -> None:
    """intuit-signature is base64 of HMAC-SHA256 with the verifier token (section 1.10)."""
    desk.save("Estimate", order())
    (request,) = _post(desk)
    mark = hmac.new(b"sandbox-verifier", request.content, hashlib.sha256).digest()
    assert request.headers["intuit-signature"] == base64.b64encode(mark).decode()
    assert request.headers["intuit-t-id"]
    assert _post(desk) == []


def test_cloud_events_name_entity_and_realm(desk: Desk) -> None:
    """The format in force since July 2026, one event per changed object (section 1.10)."""
    made = desk.save("Estimate", order())
    bill = desk.save("Invoice", order(LinkedTxn=[{"TxnId": made["Id"], "TxnType": "Estimate"}]))
    desk.post("invoice", {"Id": bill["Id"], "SyncToken": "0"}, operation="void")
    desk.post(f"estimate/{made['Id']}/send", b"", sendTo="a@example.com")
    events = [event for body in _bodies(desk) for event in body]
    assert [event["type"] for event in events] == [
        "qbo.estimate.created.v1",
        "qbo.invoice.created.v1",
        "qbo.estimate.updated.v1",
        "qbo.invoice.voided.v1",
        "qbo.estimate.updated.v1",
        "qbo.estimate.emailed.v1",
    ]
    assert {event["intuitaccountid"] for event in events} == {desk.realm}
    assert len({event["id"] for event in events}) == len(events)
    assert events[0]["specversion"] == "1.0"
    assert events[0]["intuitentityid"] == made["Id"]


def test_old_format_and_both(open_desk: Callable[..., Desk]) -> None:
    """The earlier payload, alone or beside the new one, by switch (section 1.17)."""
    desk = open_desk(webhook_format="old")
    made = desk.save("Estimate", order())
    (body,) = _bodies(desk)
    (notice,) = body["eventNotifications"]
    assert notice["realmId"] == desk.realm
    (entity,) = notice["dataChangeEvent"]["entities"]
    assert (entity["name"], entity["id"], entity["operation"]) == ("Estimate", made["Id"], "Create")
    desk.control("switches", {"webhook_format": "both"}, "PUT")
    desk.save("Estimate", order())
    assert len(_bodies(desk)) == 2


@pytest.mark.parametrize("form", ["old", "cloudevents"])
def test_merge_names_survivor_and_loser(open_desk: Callable[..., Desk], form: str) -> None:
    """A merge tells who remains and who is gone; documents follow the survivor (1.10)."""
    desk = open_desk(webhook_format=form)
    made = desk.save("Estimate", order(customer="2"))
    _post(desk)
    desk.control("merge", {"entity": "Customer", "id": "2", "into": "1"})
    (body,) = _bodies(desk)
    first = (
        body["eventNotifications"][0]["dataChangeEvent"]["entities"][0]
        if form == "old"
        else body[0]["data"] | {"id": body[0]["intuitentityid"]}
    )
    assert (first["id"], first["deletedId"]) == ("1", "2")
    assert desk.get("customer/2").codes == [610]
    assert desk.read("Estimate", made["Id"])["CustomerRef"]["value"] == "1"


def test_refused_notices_come_again_by_the_ladder(desk: Desk) -> None:
    """10, 20, 30 s, 5 and 20 min, 2, 4, 6 h, then 6-hourly until given up (section 1.10)."""
    desk.save("Estimate", order())
    for attempt in range(ATTEMPTS_MAX):
        assert len(_post(desk, 500)) == 1
        assert _post(desk, 500) == []
        desk.now_ms += LADDER_S[min(attempt, len(LADDER_S) - 1)] * 1000
    assert _post(desk) == []
    assert desk.sandbox.notices.listing()[0]["state"] == "given up"


def test_nothing_is_kept_without_a_receiver(desk: Desk) -> None:
    """The outbox stays empty until somebody listens."""
    desk.control("webhooks", {"url": ""}, "PUT")
    desk.save("Estimate", order())
    assert desk.control("webhooks", method="GET")["notices"] == []
