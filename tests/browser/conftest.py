"""A real browser, headless. Without Chromium these tests are skipped aloud, and fail under CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.server.world import PASSWORD, Company, World

ARGUMENTS = [
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser process for the tests of a module. While it lives, Playwright's event loop runs
    in this thread and no other test could run one: so it does not outlive the module."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        reason = "no Chromium: the pages were NOT tested in a browser (run `make browser`)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running server without sinks."""
    made = World(tmp_path_factory.mktemp("data"))
    yield made
    made.stop()


@pytest.fixture
def company(world: World) -> Company:
    return world.company()


@pytest.fixture
def page(chromium: Browser, world: World) -> Iterator[Page]:
    """A fresh profile. Anything a page complains of, or asks of another host, fails the test."""
    complaints: list[str] = []
    context = chromium.new_context(base_url=world.url, viewport={"width": 1280, "height": 860})
    context.set_default_timeout(20_000)
    made = context.new_page()
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on(
        "console",
        lambda line: complaints.append(line.text) if line.type in ("error", "warning") else None,
    )
    made.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((world.url, "data:")) else complaints.append(asked.url)
        ),
    )
    yield made
    context.close()
    assert complaints == []


def sign_in(page: Page, company: Company) -> None:
    """From the login to the orders."""
    page.goto("/")
    page.get_by_label("User name").fill(company.login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/orders")
