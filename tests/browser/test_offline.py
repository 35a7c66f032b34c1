"""The configurator of what a device holds, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from replica.device import CustomerCreated, CustomerFields, Device, OrderCommitted
from replica.server.stores import new_user
from replica.store.access import Role
from tests.browser.conftest import LOOKS, check_readable, sign_in
from tests.crdt.samples import content
from tests.server.raw import RawDevice
from tests.server.world import PASSWORD, Company, World

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


def test_a_rep_chooses_for_his_own_device(
    page: Page, world: World, company: Company, path: str
) -> None:
    """A rep filters, sees the price and saves for the device that he uses, as long as the office
    lets him, and for no other (CFG-01, CFG-02)."""
    rep = new_user(f"rep-{company.login}", PASSWORD, Role.REP)
    world.stores.control.add_user(company.account, rep, now_ms=world.runtime.now_ms())
    with world.operator(company) as office:
        body = {"name": "Bo's phone", "user": rep.login}
        code = office.post("/devices/codes", json=body).json()["code"]
        told = office.post("/enrol", json={"code": code, "name": "", "software": "raw"}).json()
        own = told["device"]
        sign_in(page, company, rep.login)
        page.goto("/devices")
        expect(page.get_by_role("button", name="Revoke")).to_have_count(0)
        page.get_by_role("link", name="Offline on").click()
        page.wait_for_url(f"**/devices/{own}/offline")
        expect(page.get_by_label("Only the office changes it")).to_have_count(0)
        page.get_by_label("Text").fill("café")
        page.get_by_label("Text").press("Enter")
        page.get_by_label("Select all 3 filtered").check()
        page.get_by_role("button", name="What would it cost?").click()
        expect(page.locator("#cost")).to_contain_text("Not saved yet")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", name="3 selected")).to_be_visible()
        locked = {"locked": True}
        office.put("/scope", params={"device": own}, json=locked).raise_for_status()
    page.goto(f"/devices/{own}/offline")
    expect(page.get_by_role("button", name="Save")).to_have_count(0)
    expect(page.get_by_text("Ask it to change it")).to_be_visible()
    refused = page.request.get(f"{world.url}{path}")
    assert (refused.status, "another user" in refused.text()) == (403, True)


def test_a_handover_is_seen_and_need_not_be_waited_for(
    chromium: Browser, page: Page, world: World, company: Company, tmp_path: Path
) -> None:
    """The devices' page names the customer, both devices and what is waited for; told not to wait,
    he leaves with the next sync, and the work that was not sent is not lost (CFG-03, B10)."""
    world.write(company, CustomerCreated("c-1", CustomerFields(name="Café Anker")))
    with Device.open(tmp_path / "ana.db") as ana:
        ana.enrol(world.url, world.code(company, "Ana's phone"), "Ana's phone")
        assert ana.sync(30).equal
        ana.append(OrderCommitted("late", content(customer="c-1")))
        taker = RawDevice.enrol(world, company, "Bo's phone").device.hex()
        identity = ana.identity
        assert identity is not None
        body = {"customers": ["c-1"], "giver": identity.device.hex(), "taker": taker}
        with world.operator(company) as office:
            office.post("/scope/handover", json=body).raise_for_status()
        sign_in(page, company)
        page.goto("/devices")
        row = page.locator("#handovers tbody tr")
        for text in ("Café Anker", "Ana's phone", "Bo's phone", "unknown while offline"):
            expect(row).to_contain_text(text)
        check_readable(chromium, world, company, "dark", 390, ["/devices"])
        if folder := os.environ.get("SCREENSHOTS"):
            page.screenshot(path=f"{folder}/handovers.png", full_page=True)
        page.get_by_role("button", name="Do not wait for Ana's phone").press("Enter")
        expect(page.get_by_text("The customers leave the device")).to_be_visible()
        expect(page.locator("#handovers")).to_have_count(0)
        assert ana.sync(30).equal
        assert ana.get("customer", "c-1") is None
    page.goto("/orders/late")
    expect(page.get_by_role("definition").filter(has_text="Café Anker")).to_be_visible()


@LOOKS
def test_the_page_can_be_read(  # noqa: PLR0917 - one look at a page
    chromium: Browser, world: World, company: Company, path: str, scheme: str, width: int
) -> None:
    """Nothing is faint or wider than the window, light, dark and on a phone."""
    check_readable(chromium, world, company, scheme, width, [path, f"{path}?tab=products"])
