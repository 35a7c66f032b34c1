"""Work carried by hand, in a real browser: choose the file, import it, take the receipt."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from replica.device import CustomerCreated, CustomerFields, Device
from tests.browser.conftest import sign_in
from tests.device.desk import order
from tests.server.world import Company, World

pytestmark = pytest.mark.browser


def test_a_file_is_brought_in_by_hand(
    page: Page, world: World, company: Company, tmp_path: Path
) -> None:
    """From the devices to the file, the preview, the import and the receipt that settles the
    device (OFF-15, OFF-16, ui.md W11)."""
    with Device.open(tmp_path / "till.db") as device:
        device.enrol(world.url, world.code(company, "Market till"), "Market till")
        device.append(CustomerCreated("c-1", CustomerFields(name="Ann")), order(1))
        device.export(tmp_path / "unsent.replica")
        sign_in(page, company)
        page.get_by_role("link", name="Devices", exact=True).click()
        page.get_by_role("link", name="Imports").last.click()
        page.get_by_label("File from the device").set_input_files(tmp_path / "unsent.replica")
        page.get_by_role("button", name="Look at the file").click()
        expect(page.get_by_role("heading", name="Import from Market till")).to_be_visible()
        expect(page.get_by_role("row").filter(has_text="New customers")).to_contain_text("1")
        page.get_by_role("button", name="Import 2 new events").click()
        expect(page.get_by_text("Take the receipt back to Market till")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the receipt").click()
        download.value.save_as(tmp_path / "receipt")
        assert device.take_receipt(tmp_path / "receipt").synced == 2
