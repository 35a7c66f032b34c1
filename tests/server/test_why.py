"""Why a field is as it is, through the API and on a page."""

from __future__ import annotations

import pytest

from replica.events.payloads import CustomerChanged, CustomerFields
from replica.server.web.why_views import value_words
from tests.server.raw import RawDevice
from tests.server.test_pages import stock
from tests.server.world import Company, World


def renamed(world: World, company: Company) -> RawDevice:
    """The office makes a customer; then a phone called Ana's renames it."""
    stock(world, company)
    phone = RawDevice.enrol(world, company, "Ana's")
    phone.meet()
    phone.write(CustomerChanged("c-1", CustomerFields(name="Acme <Ltd>")))
    phone.close()
    world.caught_up(company)
    return phone


def test_the_api_names_winner_loser_rule_and_times(world: World, company: Company) -> None:
    """Both events of a field: who, when by which clock, when received, by which rule (CON-10)."""
    phone = renamed(world, company)
    with world.operator(company) as client:
        said = client.get("/why/customer/c-1", params={"field": "name"}).json()
        (name,) = said["fields"]
        assert (said["type"], said["id"]) == ("customer", "c-1")
        assert (name["value"], name["rule"]) == ("Acme <Ltd>", "newer value wins")
        (winner,), (loser,) = name["winners"], name["losers"]
        assert (winner["by"], winner["device"]) == ("Ana's", phone.device.hex())
        assert (loser["by"], loser["origin"], loser["value"]) == ("the office", "web", "Acme")
        assert loser["rule"] == "newer value wins"
        for event in (winner, loser):
            assert all(event[name] for name in ("raw_ms", "merged_ms", "received_ms"))
            assert event["disputed"] is False
            assert event["position"] <= said["position"]
        everything = client.get("/why/customer/c-1").json()["fields"]
        assert {"exists", "name", "phone"} <= {one["field"] for one in everything}


@pytest.mark.parametrize(
    "path", ["/why/customer/nobody", "/why/nothing/c-1", "/why/customer/c-1?field=shoe_size"]
)
def test_what_is_not_there_is_told(world: World, company: Company, path: str) -> None:
    """An unknown type, document or field is a typed answer, and no other account's is shown."""
    stock(world, company)
    with world.operator(company) as client:
        answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    with world.operator(world.company()) as client:
        assert client.get("/why/customer/c-1").status_code == 404


def test_the_page_tells_it_in_words(world: World, company: Company) -> None:
    """From a customer's and an order's page one gets to a table that says who said what, what
    counts and why, with what a user typed shown as text (CON-10, I-18)."""
    renamed(world, company)
    with world.browser(company) as pages:
        assert 'href="/why/customer/c-1"' in pages.text("/customers/c-1")
        assert 'href="/why/order/o-1"' in pages.text("/orders/o-1")
        page = pages.text("/why/customer/c-1?field=name")
        for words in ("newer value wins", "the office", "Counts", "Does not count"):
            assert words in page
        assert "Acme &lt;Ltd&gt;" in page
        assert "<Ltd>" not in page
        page = pages.text("/why/order/o-1")
        assert "9.98 USD" in page
        assert "For the kitchen" in page
        assert "Line 1, qty: 2.5" in pages.text("/why/order/o-1?field=lines.1")
        assert pages.get("/why/customer/nobody").status_code == 404


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("memo", "", "\N{EN DASH}"),
        ("exists", True, "yes"),
        ("qty_e3", 2_500, "2.5"),
        ("price_e4", 39_900, "3.99"),
        ("total_minor", 998, "9.98 USD"),
        ("address", {"city": "Graz", "line2": ""}, "city Graz"),
        ("name", "x" * 300, "x" * 199 + "…"),
    ],
)
def test_values_are_shown_in_their_unit(field: str, value: object, text: str) -> None:
    """Money, quantities and parts read as everywhere else on the pages."""
    assert value_words(field, value, "USD") == text
