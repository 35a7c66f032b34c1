"""The queue in a real browser: read an error, act on it, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import LOOKS, check_readable, sign_in
from tests.server.books import booked, stock, sync
from tests.server.world import Company, World

pytestmark = pytest.mark.browser
PATHS = ("/queue", "/errors", "/errors/codes", "/errors/practice")


books, world = booked("module")


@pytest.fixture
def company(world: World) -> Company:
    made = world.company()
    stock(world, made)
    sync(world, made)
    return made


def test_an_error_is_read_and_its_row_removed_and_put_back(page: Page, company: Company) -> None:
    """The cross leads to the named row, Remove asks first, Undo takes it back (QB-16, QB-17)."""
    sign_in(page, company)
    expect(page.locator("#sync-now button")).to_have_attribute("data-state", "error")
    page.locator(".menu summary").click()
    page.get_by_role("link", name="Sync errors").click()
    expect(page.get_by_role("heading", name="First in line")).to_contain_text("Harbour Deli")
    headline = page.get_by_role("region", name="First in line")
    headline.get_by_role("link", name="Remove").click()
    expect(page.get_by_role("alert")).to_contain_text("Without it these wait: order A-0001")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").filter(has_text="Removed")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Harbour Deli").last).to_contain_text("Excluded")
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Back in the queue.")).to_be_visible()


def test_the_menu_is_reached_by_keyboard(page: Page, company: Company) -> None:
    """Every entry of the Sync menu is a link in the tab order (QB-10)."""
    sign_in(page, company)
    page.locator(".menu summary").focus()
    page.keyboard.press("Enter")
    reached = []
    for _ in range(page.locator(".menu a").count()):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.firstChild.textContent.trim()"))
    assert {
        "Sync Now: the last run",
        "Preview of the next sync",
        "Sync errors",
        "Accounting lists",
        "Classes",
        "Departments",
    } <= set(reached)


@LOOKS
def test_the_pages_can_be_read_and_fit(
    chromium: Browser, world: World, company: Company, scheme: str, width: int
) -> None:
    """In light and dark, and on a phone (WCAG 2.2 AA)."""
    check_readable(chromium, world, company, scheme, width, PATHS)
