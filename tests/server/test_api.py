"""The JSON API: typed answers to good and bad requests."""

from __future__ import annotations

from typing import Any

import httpx2
import msgspec
import pytest

from replica.events.kinds import encode_payload
from replica.events.payloads import CustomerCreated, CustomerFields, DeviceEnrolled, OrderEstimated
from replica.limits import HTTP_BODY_BYTES_MAX
from replica.server.guard import form_token
from tests.server.raw import RawDevice, customer
from tests.server.test_pages import order, stock
from tests.server.world import PASSWORD, Company, World


def refusal(answer: httpx2.Response) -> tuple[int, str]:
    """Status and code of a typed error; every one has the same three fields."""
    said = answer.json()
    assert set(said) == {"code", "message", "hint"}
    assert said["message"]
    return answer.status_code, said["code"]


def test_a_stranger_gets_a_typed_refusal(world: World) -> None:
    """Without a session or a token nothing is told (reliability I-16)."""
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic eDp5"}):
        answer = httpx2.get(f"{world.url}/api/v1/orders", headers=headers)
        assert refusal(answer) == (401, "not_signed_in")


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 400, "malformed"),
        (b"{", 400, "malformed"),
        (b"[]", 400, "malformed"),
        (b'{"code": 5}', 400, "malformed"),
        (b'{"code": ""}', 400, "malformed"),
        (b"[" * 20_000, 400, "malformed"),
        (b'{"code": "\xff"}', 400, "malformed"),
        (b'{"code": "AAAA-BBBB-CCCC-DDDD"}', 403, "forbidden"),
    ],
)
def test_enrolment_answers_bad_bodies(world: World, content: bytes, status: int, code: str) -> None:
    """A bad body is told what is wrong with it (reliability I-20)."""
    answer = httpx2.post(f"{world.url}/api/v1/enrol", content=content)
    assert refusal(answer) == (status, code)


def test_an_endless_body_is_refused(world: World) -> None:
    """A body above its bound is not read to the end (reliability I-20)."""
    body = b" " * (HTTP_BODY_BYTES_MAX + 1)
    assert httpx2.post(f"{world.url}/api/v1/enrol", content=body).status_code == 413


def test_an_unknown_address_is_a_typed_answer(world: World) -> None:
    """A wrong address or method answers like every other error."""
    assert refusal(httpx2.get(f"{world.url}/api/v1/nowhere")) == (404, "not_found")
    assert refusal(httpx2.delete(f"{world.url}/api/v1/orders")) == (404, "not_found")


def test_reading_through_the_api(world: World, company: Company) -> None:
    """Orders with their ladder, customers, products and digests, as the pages have them (V)."""
    stock(world, company)
    with world.operator(company) as office:
        rows = office.get("/orders").json()["rows"]
        assert [(row["number"], row["total_minor"]) for row in rows] == [("A-0001", 998)]
        one = office.get("/orders/o-1").json()
        assert one["lines"][0]["qty_e3"] == 2_500
        assert [rung["name"] for rung in one["ladder"]][:2] == ["device", "server"]
        assert refusal(office.get("/orders/o-9")) == (404, "not_found")
        assert office.get("/customers").json()["rows"][0]["name"] == "Acme"
        assert office.get("/customers/c-1").json()["fields"]["phone"] == "1"
        assert office.get("/products").json()["rows"][0]["price_e4"] == 39_900
        sections = office.get("/sections").json()["sections"]
        assert {row["section"]: row["count"] for row in sections} == {
            "customer": 1,
            "order": 1,
            "product": 1,
        }
        assert all(len(row["digest"]) == 64 for row in sections)


def test_lists_follow_their_key(world: World, company: Company) -> None:
    """``after`` of one page asks for the next; the last one has none (pitfalls P33)."""
    world.write(company, *[order(f"o-{n}", f"N-{n}") for n in range(5)])
    numbers: list[str] = []
    with world.operator(company) as office:
        after: str | None = ""
        while after is not None:
            page = office.get("/orders", params={"limit": 2, "after": after}).json()
            numbers += [row["number"] for row in page["rows"]]
            after = page["after"]
        assert numbers == [f"N-{n}" for n in (4, 3, 2, 1, 0)]
        for limit in ("0", "201", "many"):
            answer = office.get("/orders", params={"limit": limit})
            assert refusal(answer) == (400, "malformed")


def test_the_office_writes_events(world: World, company: Company) -> None:
    """Events of the main app go through the one door, all or none (architecture §4)."""
    good = _said(CustomerCreated(customer="c-1", fields=CustomerFields(name="Acme")))
    with world.operator(company) as office:
        assert office.post("/events", json={"events": [good]}).json()["accepted"] == 1
        before = world.caught_up(company)
        for bad, code in (
            ({"kind": "no.such", "payload": {}}, "malformed"),
            (
                {"kind": "customer.created", "payload": {"customer": "a b", "fields": {}}},
                "malformed",
            ),
            ({"kind": "customer.created", "payload": {"surprise": 1}}, "malformed"),
            (_said(OrderEstimated("o-1", "qb", "1", "1001", 5)), "forbidden"),
        ):
            answer = office.post("/events", json={"events": [good, bad]})
            assert refusal(answer)[1] == code
        assert world.caught_up(company) == before, "nothing of a refused call was written"


def test_a_change_by_cookie_needs_the_form_token(world: World, company: Company) -> None:
    """A browser's session changes nothing through the API without the token (CSRF)."""
    with world.browser(company) as pages:
        client = pages.client
        assert refusal(client.post("/api/v1/sync-now")) == (403, "forbidden")
        session = next(iter(client.cookies.values()))
        headers = {"x-form-token": form_token(session)}
        assert client.post("/api/v1/sync-now", headers=headers).status_code == 200
        assert client.get("/api/v1/me").json()["role"] == "owner"


def test_devices_are_listed_as_they_are(world: World, company: Company) -> None:
    """The office sees who is here, what was confirmed and how wrong a clock is (ui.md W6)."""
    device = RawDevice.enrol(world, company, "Till 1")
    device.meet()
    device.write(customer(1))
    with world.operator(company) as office:
        row = office.get("/devices").json()["rows"][0]
        assert (row["name"], row["state"]) == ("Till 1", "online")
        assert abs(row["offset_ms"]) < 2_000
        device.close()
        world.line(lambda line: line["event"] == "connection" and line["device"] == device.device)
        assert office.get("/devices").json()["rows"][0]["state"] in ("offline", "never")
        assert refusal(office.post("/devices/zz/revoke")) == (400, "malformed")
        assert refusal(office.post(f"/devices/{'00' * 16}/revoke")) == (403, "forbidden")


def test_an_operator_adds_accounts_and_users(world: World, company: Company) -> None:
    """Passwords made up here are told once; a login is taken once (reliability S1)."""
    with world.operator(company) as office:
        made = office.post("/accounts", json={"name": "Beta", "login": f"b-{company.login}"}).json()
        assert len(made["password"]) >= 16
        again = {"name": "Gamma", "login": f"b-{company.login}"}
        assert refusal(office.post("/accounts", json=again)) == (400, "misuse")
        weak = {"login": "weak", "password": "short"}
        assert refusal(office.post("/users", json=weak)) == (400, "malformed")
        fine = {"login": f"rep-{company.login}", "password": PASSWORD}
        assert office.post("/users", json=fine).json()["role"] == "rep"
        assert "password" not in office.post("/users", json=fine | {"login": "r2"}).json()


def _said(payload: Any) -> dict[str, Any]:
    return {"kind": encode_payload(payload)[0], "payload": msgspec.to_builtins(payload)}


def test_only_the_server_enrols(world: World, company: Company) -> None:
    """A device cannot declare another one enrolled (architecture §4)."""
    device = RawDevice.enrol(world, company)
    device.meet()
    claim = DeviceEnrolled(device="ab" * 16, name="Ghost", user="")
    assert device.write(claim).verdicts[0].code == "forbidden"
    device.close()
