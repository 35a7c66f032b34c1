"""The main app in a real browser: sign in, see orders arrive, press Sync Now, edit, delete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from replica.device import CustomerCreated, CustomerFields, Device, ProductCreated, ProductFields
from tests.browser.conftest import CONTRAST, sign_in
from tests.server.world import PASSWORD, Company, World

pytestmark = pytest.mark.browser


@pytest.fixture
def phone(world: World, company: Company, tmp_path: Path) -> Iterator[Device]:
    """A phone with a customer, a product and one order taken offline, then synced."""
    with Device.open(tmp_path / "phone.db") as device:
        device.enrol(world.url, world.code(company, "Ana's phone"), "Ana's phone")
        device.append(
            CustomerCreated(customer="c-1", fields=CustomerFields(name="Acme", phone="555-0100")),
            ProductCreated(product="p-1", fields=ProductFields(name="Earl Grey", price_e4=39_900)),
        )
        take_order(device)
        device.start()
        device.wait_until(lambda status: status.pending == 0)
        world.caught_up(company)
        yield device


def take_order(device: Device) -> str:
    draft = device.order(customer="c-1", currency="USD")
    draft.add("p-1", 2)
    return draft.commit().number


def test_the_office_sees_orders_and_syncs(page: Page, company: Company, phone: Device) -> None:
    """Sign in, see the order, press Sync Now, read what it did and that all hold the same (B2)."""
    sign_in(page, company)
    expect(page.get_by_role("heading", name="Orders")).to_be_visible()
    row = page.get_by_role("row").filter(has_text="Acme")
    expect(row).to_contain_text("On server")
    expect(row).to_contain_text("7.98 USD")
    page.get_by_role("button", name="Sync Now").click()
    page.wait_for_url("**/sync")
    expect(page.get_by_text("Everything agrees")).to_be_visible()
    expect(page.get_by_text("1 of 1 device hold the same as the server")).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Customers")).to_contain_text("Equal on 1")
    assert page.screenshot(full_page=True)[:4] == b"\x89PNG"


def test_an_order_appears_without_a_reload(page: Page, company: Company, phone: Device) -> None:
    """An open page follows the log by itself (SYN-04, ui.md live updates)."""
    sign_in(page, company)
    expect(page.get_by_role("row").filter(has_text="Acme")).to_have_count(1)
    number = take_order(phone)
    expect(page.get_by_role("row").filter(has_text=number)).to_be_visible()
    expect(page.get_by_role("row").filter(has_text="Acme")).to_have_count(2)


def test_the_ladder_of_an_order(page: Page, company: Company, phone: Device) -> None:
    """An order's page shows each step it has taken, with who and when (B1)."""
    sign_in(page, company)
    page.get_by_role("row").filter(has_text="Acme").get_by_role("link").click()
    steps = page.locator(".ladder li")
    expect(steps).to_have_count(3)
    expect(steps.nth(0)).to_contain_text("on Ana's phone, offline")
    expect(steps.nth(1)).to_contain_text("durable")
    expect(steps.nth(2)).to_contain_text("not sent yet")
    expect(page.get_by_role("row").filter(has_text="Earl Grey")).to_contain_text("7.98")


def test_what_the_office_changes_reaches_the_phone(
    page: Page, company: Company, phone: Device
) -> None:
    """An edit and a delete on the page arrive on the device by themselves (SYN-04, CON-05)."""
    sign_in(page, company)
    page.get_by_role("link", name="Customers", exact=True).click()
    page.get_by_role("link", name="Acme").click()
    page.get_by_label("Phone").fill("555-0199")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    phone.wait_until(lambda _: _phone_of(phone) == "555-0199")
    page.get_by_role("button", name="Delete customer").click()
    expect(page.get_by_text("no edit of theirs brings it back")).to_be_visible()
    phone.wait_until(lambda _: not (phone.get("customer", "c-1") or {}).get("exists"))


def test_a_form_being_filled_in_is_left_alone(page: Page, company: Company, phone: Device) -> None:
    """News never takes away what somebody is typing (ui.md: no loss of input)."""
    sign_in(page, company)
    page.goto("/customers/c-1")
    page.get_by_label("Contact person").fill("Ms Half-writ")
    orders = page.context.new_page()
    orders.goto("/orders")
    number = take_order(phone)
    expect(orders.get_by_role("row").filter(has_text=number)).to_be_visible()
    expect(page.get_by_label("Contact person")).to_have_value("Ms Half-writ")


def test_a_code_for_a_new_device(page: Page, company: Company) -> None:
    """The enrolment code is shown once, large enough to type (ui.md W6)."""
    sign_in(page, company)
    page.get_by_role("link", name="Devices", exact=True).click()
    page.get_by_label("Name of the new device").fill("Till 1")
    page.get_by_role("button", name="Enrol a device").click()
    expect(page.locator("#code")).to_have_text(re.compile(r"^([A-Z2-7]{4}-){3}[A-Z2-7]{4}$"))
    page.goto("/devices")
    expect(page.locator("#code")).to_have_count(0)


def test_everything_works_without_scripts(
    chromium: Browser, world: World, company: Company, phone: Device
) -> None:
    """Without JavaScript the same buttons do the same things (ui.md §4)."""
    context = chromium.new_context(base_url=world.url, java_script_enabled=False)
    page = context.new_page()
    sign_in(page, company)
    page.get_by_role("button", name="Sync Now").click()
    world.on_loop(lambda: world.runtime.sync_now.finish(company.account))
    page.goto("/sync")
    expect(page.get_by_text("Everything agrees")).to_be_visible()
    page.goto("/customers/c-1")
    page.get_by_label("Phone").fill("1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Saved.")).to_be_visible()
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(
    chromium: Browser, world: World, company: Company, phone: Device, scheme: str
) -> None:
    """Text stands out 4.5 to 1 or better on every page, in light and dark (WCAG 2.2 AA)."""
    context = chromium.new_context(base_url=world.url, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto("/login")
    faint = [("/login", *row) for row in page.evaluate(CONTRAST)]
    sign_in(page, company)
    for path in ("/orders", "/devices", "/customers", "/products", "/conflicts", "/queue", "/sync"):
        page.goto(path)
        faint += [(path, *row) for row in page.evaluate(CONTRAST)]
    assert faint == []
    context.close()


def test_the_keyboard_reaches_everything(page: Page, company: Company) -> None:
    """Tab goes from the skip link through the navigation to Sync Now, each step visible (AA)."""
    page.goto("/login")
    page.keyboard.type(company.login)
    page.keyboard.press("Tab")
    page.keyboard.type(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/orders")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.textContent.trim().split(',')[0]"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached[-1]
    assert reached[0] == "Skip to content"
    assert "Sync Now" in reached


def _phone_of(device: Device) -> str:
    seen = device.get("customer", "c-1") or {}
    return str(seen.get("fields", {}).get("phone"))


# Contrast of every visible text against what stands behind it, by the formula of WCAG 2.
