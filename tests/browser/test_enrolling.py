"""Enrolling devices, and what they hold at first, in a real browser."""

from __future__ import annotations

import os

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import LOOKS, check_readable, sign_in
from tests.server.raw import RawDevice
from tests.server.world import Company, World

pytestmark = pytest.mark.browser


def test_what_new_devices_hold_is_chosen(page: Page, world: World, company: Company) -> None:
    """The office says what new devices hold, and with a code what this one holds; both with the
    keyboard alone, and the page says in words what counts (CFG-05, CFG-07)."""
    RawDevice.enrol(world, company, "Ana's phone")
    sign_in(page, company)
    page.goto("/devices")
    policy = page.get_by_role("form", name="New devices")
    expect(page.get_by_text("A new device holds everything.")).to_be_visible()
    policy.get_by_label("It holds at first").select_option("products")
    policy.get_by_label("Only the office changes it").press("Space")
    policy.get_by_role("button", name="Save for new devices").press("Enter")
    expect(page.get_by_text("It counts for devices that enrol from now on")).to_be_visible()
    expect(page.get_by_text("no customers, no prospects, all products")).to_be_visible()
    page.get_by_label("Name of the new device").fill("Till 1")
    enrol = page.get_by_role("form", name="Enrol a device")
    enrol.get_by_label("It holds at first").select_option("everything")
    enrol.get_by_role("button", name="Enrol a device").press("Enter")
    expect(page.locator("#code")).to_be_visible()
    if folder := os.environ.get("SCREENSHOTS"):
        page.screenshot(path=f"{folder}/enrolling.png", full_page=True)
        page.set_viewport_size({"width": 390, "height": 800})
        page.screenshot(path=f"{folder}/enrolling-phone.png", full_page=True)


@LOOKS
def test_the_page_can_be_read(
    chromium: Browser, world: World, company: Company, scheme: str, width: int
) -> None:
    """Nothing is faint or wider than the window, light, dark and on a phone."""
    check_readable(chromium, world, company, scheme, width, ["/devices"])
