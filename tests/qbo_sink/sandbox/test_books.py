"""The books outlive the process, and control routes keep to this machine."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox.values import number, read_json, write_json
from tests.qbo_sink.sandbox.desk import Desk, order


def test_restart_loses_nothing(tmp_path: Path) -> None:
    """Objects, numbers, tokens, request ids, switches and clock survive (issue 4, point 1)."""
    path = str(tmp_path / "books.db")
    first = Desk(path, country="US")
    made = first.post("estimate", order(DocNumber="D1"), requestid="r1")
    first.control("switches", {"webhook_format": "old"}, "PUT")
    first.control("clock", {"advance_ms": 1_000})
    headers, tokens = first.headers, first.tokens
    first.close()
    second = Desk(path)
    second.headers = headers
    try:
        assert second.post("estimate", order(), requestid="r1").content == made.content
        assert second.control("count", method="GET")["Estimate"] == 1
        assert second.save("Estimate", order())["Id"] != made.json["Estimate"]["Id"]
        state = second.control("state", method="GET")
        assert state["switches"]["webhook_format"] == "old"
        assert state["clock_offset_ms"] == 1_000
        assert second.sandbox.grants.revoke(tokens["refresh_token"])
    finally:
        second.close()


def test_a_refused_write_leaves_no_trace(desk: Desk) -> None:
    """Numbers, rows and queries are as before when a rule refuses at the end."""
    desk.save("Invoice", order(DocNumber="I1"))
    before = desk.query("select * from Invoice").json["QueryResponse"]
    assert desk.post("invoice", order(DocNumber="I1")).status == 400
    assert desk.query("select * from Invoice").json["QueryResponse"] == before


@pytest.mark.parametrize("headers", [{"Origin": "http://evil.invalid"}, {}])
def test_control_routes_answer_this_machine_only(desk: Desk, headers: dict[str, str]) -> None:
    """Another host, or a page in a browser on this one, gets 404 (issue 4, point 1)."""
    if headers:
        assert desk.ask("GET", "/sandbox/state", headers=headers).status == 404
        return
    transport = httpx2.ASGITransport(app=desk.app, client=("192.0.2.7", 1))

    async def ask() -> int:
        async with httpx2.AsyncClient(transport=transport, base_url="http://x") as client:
            return (await client.get("/sandbox/state")).status_code

    assert desk._runner.run(ask()) == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("tokens", {"do": "nothing"}),
        ("realms", {"realm": "x"}),
        ("edit", {"entity": "Customer", "id": "77", "changes": {}}),
        ("edit", {"entity": "Nothing", "id": "1", "changes": {}}),
        ("preferences", {"changes": {"Nope": {}}}),
        ("connect", {"realm": "1"}),
        ("connect", []),
    ],
)
def test_control_requests_that_make_no_sense_are_400(desk: Desk, path: str, body: object) -> None:
    """A typo in a test's set-up is told, with its reason."""
    answer = desk.ask("POST", f"/sandbox/{path}", json=body)
    assert answer.status == 400
    assert answer.json["error"]


def test_tokens_can_be_ended_from_outside(desk: Desk) -> None:
    """Expiry and revocation on demand, per company (section 1.17)."""
    desk.control("tokens", {"do": "expire_access"})
    assert desk.get("preferences").status == 401
    desk.headers = {"Authorization": f"Bearer {desk.control('connect')['access_token']}"}
    assert desk.get("preferences").status == 200
    desk.control("tokens", {"do": "revoke"})
    assert desk.get("preferences").status == 401


def test_two_companies_share_nothing(open_desk: Callable[..., Desk]) -> None:
    """Each realm has its own lists, numbers and request ids."""
    desk = open_desk()
    desk.post("estimate", order(), requestid="r1")
    desk.control("realms", {"realm": "777", "country": "GB"})
    other = desk.control("connect", {"realm": "777"})
    desk.realm = "777"
    desk.headers = {"Authorization": f"Bearer {other['access_token']}"}
    assert desk.post("estimate", order(), requestid="r1").codes == [2020]
    assert desk.rows("select * from Estimate", "Estimate") == []


@settings(max_examples=200)
@given(st.decimals("-99999999999999", "99999999999999", places=2))
def test_money_survives_the_wire_to_the_cent(amount: Decimal) -> None:
    """Whether sent as number or string, an amount comes back equal and without an exponent."""
    for sent in (amount, str(amount)):
        read = number(read_json(write_json(sent)))
        assert read == amount
        assert b"E" not in write_json(read)
