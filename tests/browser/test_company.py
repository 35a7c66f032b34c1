"""Connecting QuickBooks and reconciling with it, in a real browser and through the real pages."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect

from replica.server.serve import listen
from tests.browser.conftest import sign_in
from tests.browser.test_main_app import CONTRAST
from tests.server.books import Books, stock, sync
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


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_the_pages_can_be_read_and_fit(
    chromium: Browser, world: Served, company: Company, scheme: str, width: int
) -> None:
    """4.5 to 1 or better in light and dark, and no sideways scrolling on a phone (WCAG 2.2 AA)."""
    context = chromium.new_context(
        base_url=world.url,
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800},
    )
    page = context.new_page()
    sign_in(page, company)
    sync(world, company)
    page.goto("/reconcile")
    page.get_by_role("button", name="Compare now").click()
    faint = []
    for path in ("/reconcile", "/company", "/company?ask=disconnect"):
        page.goto(path)
        faint += [(path, *row) for row in page.evaluate(CONTRAST)]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.screenshot(full_page=True)[:4] == b"\x89PNG"
    assert faint == []
    context.close()
