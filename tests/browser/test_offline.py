"""The configurator of what a device holds, in a real browser."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import Browser, Page, expect

from replica.device import CustomerCreated, CustomerFields, OrderCommitted
from tests.browser.conftest import LOOKS, check_readable, sign_in
from tests.crdt.samples import content
from tests.server.raw import RawDevice
from tests.server.world import Company, World

pytestmark = pytest.mark.browser


@pytest.fixture
def path(world: World, company: Company) -> str:
    """The page of a device, among customers and prospects of which some have orders."""
    said = [
        CustomerCreated(
            f"c-{n}",
            CustomerFields(
                name=f"{'Inn' if n % 3 else 'Café'} {n}",
                segment="north" if n % 2 else "south",
                status="prospect" if n > 8 else "customer",
            ),
        )
        for n in range(12)
    ]
    orders = [OrderCommitted(f"o-{n}", content(customer=f"c-{n}")) for n in range(2)]
    world.write(company, *said, *orders)
    return f"/devices/{RawDevice.enrol(world, company).device.hex()}/offline"


def test_customers_are_filtered_priced_and_saved(page: Page, company: Company, path: str) -> None:
    """Quick and advanced filters, all filtered at once, the price before saving, the count after
    (CFG-01, CFG-02, CFG-07, B9)."""
    sign_in(page, company)
    page.goto("/devices")
    page.get_by_role("link", name="Offline on").click()
    expect(page.get_by_role("heading", name="All are held")).to_be_visible()
    page.get_by_label("Text").fill("inn")
    page.get_by_text("Advanced filter").press("Enter")
    page.get_by_label("Segment").fill("north")
    page.get_by_label("Segment").press("Enter")
    page.get_by_label("Select all 3 filtered").check()
    page.get_by_role("button", name="What would it cost?").press("Enter")
    expect(page.locator("#cost")).to_contain_text("Not saved yet")
    expect(page.locator("#cost")).to_contain_text("leave")
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/offline.png", full_page=True)
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.get_by_role("heading", name="3 selected")).to_be_visible()
    expect(page.get_by_text("Saved. The device takes")).to_be_visible()
    page.goto(f"{path}?days=30")
    expect(page.get_by_role("row", name="Café 0")).to_be_visible()
    page.get_by_label("Café 0").check()
    page.get_by_label("Orders", exact=True).select_option("own")
    page.get_by_label("Valid for days").fill("1")
    page.get_by_role("button", name="Save").click()
    page.goto(path)
    expect(page.get_by_role("heading", name="4 selected")).to_be_visible()
    expect(page.get_by_label("Orders", exact=True)).to_have_value("own")
    page.get_by_role("link", name="Prospects all").click()
    expect(page.get_by_role("heading", name="All are held")).to_be_visible()


@LOOKS
def test_the_page_can_be_read(  # noqa: PLR0917 - one look at a page
    chromium: Browser, world: World, company: Company, path: str, scheme: str, width: int
) -> None:
    """Nothing is faint or wider than the window, light, dark and on a phone."""
    check_readable(chromium, world, company, scheme, width, [path, f"{path}?tab=products"])
