"""Connecting QuickBooks and reconciling with it, in a real browser and through the real pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from qbo_sink.wire import encode_body, equals, select
from replica.events.payloads import (
    ClassCreated,
    CustomerChanged,
    CustomerFields,
    LabelFields,
)
from replica.server.serve import listen
from tests.browser.conftest import LOOKS, check_readable, sign_in
from tests.server.books import Books, external, stock, sync
from tests.server.world import Company, World

pytestmark = pytest.mark.browser


class Served(World):
    """The server, and beside it on the same loop the sandbox with pages of its own."""

    sandbox_url: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    listener = listen("127.0.0.1", 0)
    address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    books = Books(tmp_path_factory.mktemp("books"), address)
    made = Served(tmp_path_factory.mktemp("data"), plugins=[books.plugin])
    made.sandbox_url = address
    server = uvicorn.Server(uvicorn.Config(books.app, log_level="error", lifespan="off"))

    async def begin() -> asyncio.Task[None]:
        task = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0)
        return task

    task = made.on_loop(begin)

    async def end() -> None:
        server.should_exit = True
        await task

    yield made
    made.on_loop(end)
    made.stop()
    books.close()


@pytest.fixture
def company(world: Served) -> Company:
    made = world.company()
    stock(world, made)
    return made


@pytest.fixture
def page(chromium: Browser, world: Served) -> Iterator[Page]:
    """A page that may go to the sandbox and back, and nowhere else."""
    strange: list[str] = []
    context = chromium.new_context(base_url=world.url)
    context.set_default_timeout(20_000)
    made = context.new_page()
    ours = (world.url, world.sandbox_url, "data:")
    made.on("request", lambda asked: strange.append(asked.url) if not asked.url.startswith(ours)
            else None)  # fmt: skip
    made.on("pageerror", lambda error: strange.append(str(error)))
    yield made
    context.close()
    assert strange == []


def test_the_office_connects_chooses_and_disconnects(page: Page, company: Company) -> None:
    """From the menu to the consent page and back, a frequency chosen, and out again (QB-14)."""
    sign_in(page, company)
    page.locator(".menu summary").click()
    page.get_by_role("link", name="QuickBooks setup").click()
    page.get_by_role("button", name="Connect").click()
    page.get_by_role("link", name="Continue to QuickBooks").click()
    page.get_by_role("button", name="Connect").click()
    expect(page.get_by_text("QuickBooks is connected.")).to_be_visible()
    expect(page.get_by_text("Permission ends for good")).to_be_visible()
    page.get_by_label("Sync automatically").select_option("daily")
    page.get_by_label("Time zone").fill("Europe/London")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("It counts from the next sync on.")).to_be_visible()
    expect(page.get_by_label("Sync automatically")).to_have_value("daily")
    page.get_by_role("link", name="Disconnect").click()
    page.get_by_role("button", name="Disconnect").click()
    expect(page.get_by_text("QuickBooks is disconnected.")).to_be_visible()


def test_a_missing_order_is_ignored_with_a_reason(
    page: Page, world: Served, company: Company
) -> None:
    """Compare, read the totals, say why one difference may be, and see it kept (issue 4 §5)."""
    sign_in(page, company)
    sync(world, company)
    page.goto("/reconcile")
    page.get_by_role("button", name="Compare now").click()
    row = page.get_by_role("row").filter(has_text="A-0001")
    expect(row).to_contain_text("Missing there")
    row.get_by_text("Ignore…").click()
    row.get_by_label("Reason").fill("settled in cash")
    row.get_by_role("button", name="Ignore").click()
    expect(page.get_by_text("Ignored, with the reason.")).to_be_visible()
    page.get_by_role("link", name="Ignored").click()
    expect(page.get_by_text("settled in cash")).to_be_visible()


@LOOKS
def test_the_pages_can_be_read_and_fit(
    chromium: Browser, world: Served, company: Company, scheme: str, width: int
) -> None:
    """In light and dark, and on a phone (WCAG 2.2 AA)."""
    world.write(company, ClassCreated("k-1", LabelFields(name="North")))
    sync(world, company)
    world.caught_up(company)
    cafe = external(world, company, "c-1", "customer")
    change_there(world, company, cafe)
    world.write(company, CustomerChanged("c-1", CustomerFields(phone="555-1")))
    sync(world, company)
    world.caught_up(company)
    paths = ("/reconcile", "/company", "/company?ask=disconnect", "/orders/o-2", "/customers/c-1")
    lists = ("/conflicts", "/classes", "/departments?deleted=1")
    check_readable(chromium, world, company, scheme, width, (*paths, *lists))


def change_there(world: Served, company: Company, customer: str) -> None:
    """What the office does to a customer: another phone, and inactive."""
    desk: Any = world.runtime.sinks.desk

    async def edit() -> None:
        session = await desk.open_session(company.account)
        (row,) = await session.query(select("Customer", equals("Id", customer)), "Customer")
        body = {"Id": customer, "SyncToken": row["SyncToken"], "sparse": True, "Active": False}
        body |= {"DisplayName": row["DisplayName"], "PrimaryPhone": {"FreeFormNumber": "555-2"}}
        await session.write("customer", encode_body(body), "office-edit")

    world.on_loop(edit)
