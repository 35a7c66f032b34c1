"""The pages of the accounting lists: what they show, to whom, and that they only show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import pytest

from replica.events.event import AccountId
from replica.server.stores import new_user
from replica.sink import ListAsk, ListColumn, ListInfo, ListPage, ListRow
from replica.store.access import Role
from tests.server.pretend import Books
from tests.server.world import PASSWORD, Company, Pages, World

BILLS = ListInfo(
    "bills",
    "Bills",
    (ListColumn("vendor", "Vendor"), ListColumn("total", "Total", "money")),
    rows=120,
    pulled_ms=1_000,
    complete=True,
    there="https://books.example/bills",
)
EMPTY = ListInfo("employees", "Employees", (ListColumn("name", "Name"),), reason="not permitted")


class Listing(Books):
    """Books with two lists, one of which nobody may see there."""

    asked: ClassVar[list[ListAsk]] = []

    async def lists(self, account: AccountId) -> Sequence[ListInfo]:
        return (BILLS, EMPTY)

    async def rows(self, account: AccountId, name: str, ask: ListAsk) -> ListPage | None:
        self.asked.append(ask)
        if name == "employees":
            return ListPage(EMPTY)
        if name != "bills":
            return None
        row = ListRow("1", {"vendor": "<Dairy>", "total": "84.50"}, "deleted")
        return ListPage(BILLS, (row,), ("Dairy", "1") if ask.after is None else None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a sink that has lists."""
    built = World(tmp_path_factory.mktemp("data"), plugins=[Listing])
    yield built
    built.stop()


@pytest.fixture
def pages(world: World, company: Company) -> Iterator[Pages]:
    """The owner of a fresh account."""
    with world.browser(company) as browser:
        yield browser


def test_the_overview_shows_every_list_with_its_time(pages: Pages) -> None:
    """Names, sizes, the last pull, and why one of them was not told (ACC-01)."""
    text = pages.text("/accounting")
    assert 'href="/accounting/bills"' in text
    assert "120" in text
    assert "1970-01-01T00:00:01Z" in text
    assert "not permitted" in text


def test_a_list_shows_its_rows_and_leads_to_where_it_is_changed(pages: Pages) -> None:
    """Values are escaped, a deleted row says so, and no form changes anything (ACC-02)."""
    text = pages.text("/accounting/bills?q=dairy&sort=-amount")
    assert "&lt;Dairy&gt;" in text
    assert ">Deleted</td>" in text
    assert 'href="https://books.example/bills"' in text
    main = text.split("<main", 1)[1]
    assert 'method="post"' not in main
    assert (Listing.asked[-1].text, Listing.asked[-1].sort) == ("dairy", "-amount")


def test_a_long_list_comes_in_pages_and_an_empty_one_says_why(pages: Pages) -> None:
    """The next page's address carries the filter and the key; an empty list explains itself."""
    text = pages.text("/accounting/bills?q=dairy")
    following = text.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0]
    pages.text(following.replace("&amp;", "&"))
    assert Listing.asked[-1].after == ("Dairy", "1")
    assert Listing.asked[-1].text == "dairy"
    assert "not permitted" in pages.text("/accounting/employees")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/accounting/nothing", 404),
        ("/accounting/bills?sort=evil", 400),
        ("/accounting/bills?state=evil", 400),
        ("/accounting/bills?after=evil", 400),
    ],
)
def test_what_does_not_exist_is_refused(pages: Pages, path: str, status: int) -> None:
    """An unknown list, order, state or key is an answer, not a crash."""
    assert pages.get(path).status_code == status


def test_nothing_can_be_written(pages: Pages) -> None:
    """Any other method than reading answers 405 (ACC-02)."""
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert pages.client.request(method, "/accounting/bills").status_code == 405


def test_only_who_may_sees_the_lists(world: World, company: Company) -> None:
    """A rep gets 403 and no entry in the menu (ACC-03)."""
    user = new_user("rep-of-books", PASSWORD, Role.REP)
    now_ms = world.runtime.now_ms()
    world.stores.control.add_user(company.account, user, now_ms=now_ms)
    with world.browser(company, "rep-of-books") as rep:
        assert rep.get("/accounting").status_code == 403
        assert "/accounting" not in rep.text("/orders")
