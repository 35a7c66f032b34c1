"""A customer that two phones made, decided in a real browser."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import LOOKS, check_readable, sign_in
from tests.server.test_twins import customer, push, settle, sold
from tests.server.world import Company, World

pytestmark = pytest.mark.browser


def twice(world: World, company: Company) -> None:
    push(world, company, "Ana's phone", customer("a", "Corner Cafe"), sold("o-1", "1001", "a"))
    push(world, company, "Bo's phone", customer("b", "corner cafe"), sold("o-2", "1001", "b"))
    settle(world, company)


def test_the_office_says_that_two_are_the_same_and_takes_it_back(
    page: Page, world: World, company: Company
) -> None:
    """Both records stand side by side, one press decides and another one asks again; a new name
    ends the question (P57, CON-10)."""
    twice(world, company)
    sign_in(page, company)
    page.goto("/conflicts")
    row = page.get_by_role("row").filter(has_text="Customer with one name")
    expect(row).to_contain_text("made by Ana's phone")
    expect(row).to_contain_text("made by Bo's phone")
    row.get_by_role("button", name="The same: keep one").click()
    expect(row).to_contain_text("The same. The one stands for both")
    settle(world, company)
    page.goto("/orders/o-2")
    expect(page.get_by_text("Corner Cafe").first).to_be_visible()
    page.goto("/conflicts")
    row.get_by_role("button", name="Undo").click()
    expect(row).to_contain_text("Waits for you")
    row.get_by_text("Rename the other…").click()
    row.get_by_label("New name").last.fill("Cafe North")
    row.get_by_role("button", name="Rename the other").click()
    expect(page.get_by_text("are these the same?")).to_have_count(0)


@LOOKS
def test_the_page_can_be_read_and_fits(
    chromium: Browser, world: World, company: Company, scheme: str, width: int
) -> None:
    """In light and dark, and on a phone (WCAG 2.2 AA)."""
    twice(world, company)
    check_readable(chromium, world, company, scheme, width, ("/conflicts",))
