"""A real browser, headless. Without Chromium these tests are skipped aloud, and fail under CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.server.conftest import company, world
from tests.server.world import PASSWORD, Company, World

__all__ = ["company", "world"]

ARGUMENTS = [
    "--no-sandbox",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
]

CONTRAST = """() => {
  const part = (v) => (v /= 255, v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgb = (colour, under) => {
    canvas.fillStyle = `rgb(${under.join(',')})`; canvas.fillRect(0, 0, 1, 1);
    canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const behind = (node) => {
    const stack = [];
    for (let at = node; at; at = at.parentElement) stack.push(getComputedStyle(at).backgroundColor);
    return stack.reverse().reduce((under, colour) => rgb(colour, under), [255, 255, 255]);
  };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    const texts = [...node.childNodes].filter((c) => c.nodeType === 3 && c.data.trim());
    if (!texts.length || !node.checkVisibility() || node.closest('.visually-hidden, svg')) continue;
    const ground = behind(node), ink = rgb(getComputedStyle(node).color, ground);
    const [a, b] = [light(ground), light(ink)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) faint.push([texts[0].data.trim(), Math.round(ratio * 100) / 100]);
  }
  return faint;
}"""


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


def sign_in(page: Page, company: Company, login: str = "") -> None:
    """From the login to the orders, as the owner unless another user is named."""
    page.goto("/")
    page.get_by_label("User name").fill(login or company.login)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/orders")


LOOKS = pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)]
)
"""Light, dark, and a phone."""


def check_readable(  # noqa: PLR0917 - one look at some pages
    chromium: Browser, world: World, company: Company, scheme: str, width: int, paths: Sequence[str]
) -> None:
    """4.5 to 1 or better, no sideways scrolling, on each of ``paths`` (WCAG 2.2 AA)."""
    context = chromium.new_context(
        base_url=world.url,
        color_scheme=scheme,  # type: ignore[arg-type]
        viewport={"width": width, "height": 800},
    )
    page = context.new_page()
    sign_in(page, company)
    faint = []
    for path in paths:
        page.goto(path)
        faint += [(path, *row) for row in page.evaluate(CONTRAST)]
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.screenshot(full_page=True)[:4] == b"\x89PNG"
    context.close()
    assert faint == []
