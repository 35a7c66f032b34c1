"""The page of the connection over the real sink: connect, deadlines, choices, disconnect."""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any

import httpx2
import pytest

from qbo_sink.sandbox import InProcessTransport
from qbo_sink.wire import select
from replica.events.payloads import CustomerCreated, CustomerFields
from replica.server.stores import new_user
from replica.store.access import Role
from tests.server.books import Books, booked, order, stock, sync
from tests.server.test_queue_pages import row
from tests.server.world import PASSWORD, Company, Pages, World

books, world = booked("module")


@pytest.fixture
def company(world: World) -> Company:
    return world.company()


def consent(world: World, books: Books, address: str, realm: str, decision: str) -> str:
    """What somebody does on QuickBooks' own page; where the browser is sent back to."""

    async def decide() -> str:
        transport = InProcessTransport(books.app)
        async with httpx2.AsyncClient(transport=transport) as browser:
            answer = await browser.post(address, data={"realm": realm, "decision": decision})
            return str(answer.headers["location"])

    return world.on_loop(decide)


def begin(pages: Pages) -> str:
    """Press Connect; the link to the consent page."""
    page = pages.post("/company/connect").text
    (address,) = re.findall(r'<a class="button primary" href="([^"]+)"', page)
    return html.unescape(address)


def test_the_office_connects_a_company_and_disconnects_it(
    world: World, company: Company, books: Books
) -> None:
    """The button leads to the consent page and back; deadlines are shown; after Disconnect nothing
    is sent, and the queue is kept (issue 4 §7)."""
    realm = "9130000000000000001"
    books.do("realms", {"realm": realm})
    stock(world, company)
    with world.browser(company) as pages:
        address = begin(pages)
        assert "com.intuit.quickbooks.accounting" in address
        back = consent(world, books, address, realm, "connect")
        assert back.startswith(f"{world.url}/sinks/quickbooks/callback?")
        answer = pages.get(back.removeprefix(world.url))
        assert (answer.status_code, answer.headers["location"]) == (303, "/company?done=connected")
        assert pages.get(back.removeprefix(world.url)).status_code == 400, "a code is good once"
        page = html.unescape(pages.text("/company?done=connected"))
        for text in (realm, "Permission ends if unused", "Permission ends for good"):
            assert text in page
        sync(world, company)
        page = html.unescape(pages.text("/company"))
        assert re.search(r"Metered reads this month</dt><dd>\d+, about \d", page)
        world.write(company, order("o-9", "A-0009"))
        assert "Nothing is sent or fetched" in pages.text("/company?ask=disconnect")
        assert pages.post("/company/company/disconnect").status_code == 303
        assert 'data-state="not_connected"' in pages.text("/company")
        sync(world, company)
        assert "A-0009" in pages.text("/queue")
        address = begin(pages)
        pages.get(consent(world, books, address, realm, "connect").removeprefix(world.url))
        sync(world, company)
        assert "A-0009" not in pages.text("/queue")


def test_a_refused_permission_connects_nothing(
    world: World, company: Company, books: Books
) -> None:
    """Cancelling on the consent page ends with a page that says so."""
    with world.browser(company) as pages:
        back = consent(world, books, begin(pages), books.sandbox.settings.realm, "deny")
        answer = pages.get(back.removeprefix(world.url))
        assert answer.status_code == 400
        assert "was not connected" in answer.text


def test_choices_are_kept_for_the_account(world: World, company: Company) -> None:
    """Frequency and defaults are changed on the page, only for this account; what is no choice is
    refused with words (QB-04, QB-14)."""
    with world.browser(company) as pages:
        form = {"every": "weekly", "weekday": "fri", "at": "06:30", "zone": "Europe/London"}
        assert pages.post("/company/settings", **form, order_status="Pending").status_code == 303
        page = pages.text("/company")
        for text in ('value="weekly" selected', 'value="fri" selected', 'value="06:30"'):
            assert text in page
        for name, value in (("zone", "Mars/Base"), ("at", "25:00"), ("every", "now")):
            refused = pages.post("/company/settings", **{name: value})
            assert refused.status_code == 409
            assert 'role="alert"' in refused.text
    with world.browser(world.company()) as others:
        assert 'value="never" selected' in others.text("/company")


def test_a_new_default_counts_for_new_documents(
    world: World, company: Company, books: Books
) -> None:
    """Orders sent after the choice are Pending; those sent before stay as they are (QB-04)."""
    with world.browser(company) as pages:
        stock(world, company)
        sync(world, company)
        pages.post("/company/settings", order_status="Pending")
        world.write(company, order("o-9", "A-0009"))
        sync(world, company)

    async def statuses() -> dict[str, str]:
        session = await world.runtime.sinks.desk.open_session(company.account)  # type: ignore[attr-defined]
        rows = await session.query("SELECT * FROM Estimate", "Estimate")
        return {row["DocNumber"]: row["TxnStatus"] for row in rows if row.get("DocNumber")}

    found = world.on_loop(statuses)
    assert (found["A-0002"], found["A-0009"]) == ("Accepted", "Pending")


def test_names_on_both_sides_are_told_apart_before_anything_is_made(
    world: World, company: Company
) -> None:
    """A customer whose name stands there already waits at the first connection, with the one there
    beside it; said to be the same it is linked, kept apart it is made under its own name; a name
    alone links nothing (issue 4)."""
    stock(world, company)
    world.write(
        company,
        CustomerCreated(customer="c-3", fields=CustomerFields(name="Station Cafe")),
        order("o-8", "A-0008", "c-3"),
    )
    sync(world, company)
    with world.browser(company) as pages:
        page = html.unescape(pages.text("/company"))
        names = dict(
            re.findall(r'<tr data-row="(match:[^"]+)"><td data-label="Here">([^<]+)<', page)
        )
        assert names == {
            "match:Customer:customer:c-2": "Harbour Deli",
            "match:Customer:customer:c-3": "Station Cafe",
        }
        assert "nothing but the name says that it is this one" in pages.text("/queue")
        assert pages.post("/company/match:Customer:customer:c-2/same").status_code == 303
        assert pages.post("/company/match:Customer:customer:c-2/same").status_code == 409
        waiting = row(pages, "Station Cafe")
        assert pages.post(f"/queue/{waiting}/apart").status_code == 303
        assert f"kept apart by {company.login}" in pages.text("/company")
        for _ in range(4):
            sync(world, company)
        world.caught_up(company)
        assert "Nothing to send" in pages.text("/queue")
    sink: Any = world.runtime.sinks.desk

    async def there() -> list[str]:
        session = await sink.open_session(company.account)
        rows = await session.query(select("Customer"), "Customer")
        return [row["DisplayName"] for row in rows]

    found = Counter(world.on_loop(there))
    assert found["Harbour Deli"] == 1
    assert "Harbour Deli (2)" not in found
    assert (found["Station Cafe"], found["Station Cafe (2)"]) == (1, 1)


def test_only_who_may_manage_connects(world: World, company: Company) -> None:
    """A rep sees the connection and has no buttons; a form without its token is refused (I-17)."""
    rep = new_user(f"rep-{company.login}", PASSWORD, Role.REP)
    world.stores.control.add_user(company.account, rep, now_ms=world.runtime.now_ms())
    with world.browser(company, rep.login) as pages:
        page = pages.text("/company")
        assert 'action="/company/connect"' not in page
        for path in ("/company/connect", "/company/settings", "/company/company/disconnect"):
            assert pages.post(path, every="hourly").status_code == 403
    with world.browser(company) as pages:
        assert pages.client.post("/company/connect", data={"form_token": "x"}).status_code == 403
