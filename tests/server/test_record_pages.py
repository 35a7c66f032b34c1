"""One order and one customer over the real sink: invoice, e-mail, and what became of a name."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from qbo_sink.wire import equals, select
from replica.events.payloads import CustomerChanged, CustomerFields
from replica.server.stores import new_user
from replica.store.access import Role
from tests.server.books import Books, booked, external, order, stock, sync
from tests.server.world import PASSWORD, Company, World

books, world = booked("module")


@pytest.fixture(scope="module")
def company(world: World) -> Company:
    """The sandbox's sample company: o-2 and o-3 stand there."""
    made = world.company()
    stock(world, made)
    sync(world, made)
    world.caught_up(made)
    return made


def settle(world: World, company: Company) -> None:
    sync(world, company)
    world.caught_up(company)


def test_an_order_is_invoiced_and_sent_from_its_page(world: World, company: Company) -> None:
    """Two buttons on the order queue the invoice and its e-mail; the page says the number and where
    it went, and offers neither again (QB-05)."""
    with world.browser(company) as pages:
        assert "Convert to invoice" in pages.text("/orders/o-2")
        assert "Convert to invoice" not in pages.text("/orders/o-1"), "it does not stand there"
        assert pages.post("/orders/o-2/convert").status_code == 303
        queue = pages.text("/queue")
        assert re.search(r'data-label="Becomes">Invoice<div[^>]*>new, made of its estimate', queue)
        settle(world, company)
        page = html.unescape(pages.text("/orders/o-2"))
        assert "Invoiced" in page
        assert re.search(r"It stands in QuickBooks as invoice \S+\.", page)
        assert "Convert to invoice" not in page
        assert 'data-state="invoiced"' in pages.text("/orders?state=invoiced")
        refused = pages.post("/orders/o-2/convert")
        assert refused.status_code == 409
        assert "It is invoiced already." in refused.text
        assert pages.post("/orders/o-2/deliver", text="nobody").status_code == 409
        assert pages.post("/orders/o-2/deliver", text="cafe@side.example").status_code == 303
        settle(world, company)
        page = html.unescape(pages.text("/orders/o-2"))
        assert "it was sent to cafe@side.example" in page
        assert "Send to the customer" not in page


def test_programs_convert_too_and_readers_do_not(world: World, company: Company) -> None:
    """The API names what may be done and does it; who may only read sees no buttons (QB-05)."""
    world.write(company, order("o-7", "A-0007"))
    settle(world, company)
    with world.operator(company) as api:
        (offer,) = api.get("/orders/o-7/offers").json()["offers"]
        assert offer["name"] == "convert"
        answer = api.post("/orders/o-7/convert", json={})
        assert answer.json()["row"]["entity"] == "Invoice"
        assert api.post("/orders/o-7/convert", json={}).status_code == 400
        assert api.post("/orders/o-7/unheard-of", json={}).status_code == 400
    reader = new_user(f"reads-{company.login}", PASSWORD, Role.VIEWER)
    world.stores.control.add_user(company.account, reader, now_ms=1)
    with world.browser(company, reader.login) as pages:
        assert "Convert to invoice" not in pages.text("/orders/o-3")


def test_a_name_that_is_inactive_or_merged_there_says_so(
    world: World, company: Company, books: Books
) -> None:
    """The customer and its orders say what became of it in QuickBooks and what to do (issue 4)."""
    cafe = external(world, company, "c-1", "customer")
    with world.browser(company) as pages:
        books.do("edit", {"entity": "Customer", "id": cafe, "changes": {"Active": False}})
        settle(world, company)
        for path in ("/customers/c-1", "/orders/o-3"):
            page = html.unescape(pages.text(path))
            assert "The record was made inactive in QuickBooks." in page
            assert "make it active there, or choose another here" in page
        assert "Inactive in QuickBooks" in pages.text("/customers")


def test_a_value_that_gave_way_is_taken_back_on_demand(
    world: World, company: Company, books: Books
) -> None:
    """The page shows both values, whose they are and which counts; the other one counts after one
    press, on both sides, by the hand of whoever pressed (CON-10, issue 4)."""
    cafe = external(world, company, "c-1", "customer")
    phone = {"PrimaryPhone": {"FreeFormNumber": "555-2"}}
    books.do("edit", {"entity": "Customer", "id": cafe, "changes": {"Active": True, **phone}})
    world.write(company, CustomerChanged("c-1", CustomerFields(phone="555-1")))
    settle(world, company)
    with world.browser(company) as pages:
        page = html.unescape(pages.text("/conflicts"))
        (identity,) = re.findall(r'<tr data-row="(overruled:\d+)">', page)
        for text in ("Customer Corner Cafe", "555-1", "555-2", "Ours, it is newer"):
            assert text in page
        assert "the office</div>" in page
        assert pages.post(f"/conflicts/{identity}/unheard-of").status_code == 409
        assert pages.post(f"/conflicts/{identity}/other").status_code == 303
        assert f"Dealt with by {company.login}" in pages.text("/conflicts")
        assert 'value="555-2"' in pages.text("/customers/c-1")
        assert pages.post(f"/conflicts/{identity}/other").status_code == 409
        settle(world, company)
        assert 'value="555-2"' in pages.text("/customers/c-1")
    sink: Any = world.runtime.sinks.desk

    async def there() -> Any:
        session = await sink.open_session(company.account)
        (row,) = await session.query(select("Customer", equals("Id", cafe)), "Customer")
        return row["PrimaryPhone"]["FreeFormNumber"]

    assert world.on_loop(there) == "555-2"
