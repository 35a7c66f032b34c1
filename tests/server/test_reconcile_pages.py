"""The comparison's page over the real sink and the sandbox: totals, differences, remedies."""

from __future__ import annotations

import html
import re
from typing import Any

import pytest

from qbo_sink.wire import encode_body, equals, select
from tests.server.books import Books, booked, external, order, stock, sync
from tests.server.world import Company, Pages, World

books, world = booked("function")


@pytest.fixture
def company(world: World) -> Company:
    """Three orders there: o-2 and o-3 of the stock, and o-4."""
    made = world.company()
    stock(world, made)
    world.write(made, order("o-4", "A-0004"), order("o-5", "A-0005"))
    sync(world, made)
    world.caught_up(made)
    return made


def rows_of(page: str) -> dict[str, tuple[str, str]]:
    """Number → id and kind."""
    found = re.findall(
        r'<tr data-row="([^"]+)" data-kind="([^"]+)"><td[^>]*>(?:<a[^>]*>)?([^<]+)<', page
    )
    return {html.unescape(name): (identity, kind) for identity, kind, name in found}


def copy(
    world: World, company: Company, identity: str, *, number: str = "", marked: bool = False
) -> str:
    """Another estimate like that of an order, made there by somebody; its id."""
    sink: Any = world.runtime.sinks.desk
    there = external(world, company, identity)

    async def make() -> str:
        session = await sink._runner._session(company.account)
        (row,) = await session.query(select("Estimate", equals("Id", there)), "Estimate")
        body = {name: row[name] for name in ("CustomerRef", "TxnDate", "PrivateNote", "Line")}
        body["Line"] = [one for one in body["Line"] if one["DetailType"] != "SubTotalLineDetail"]
        body |= {"DocNumber": number or "COPY", **({} if marked else {"PrivateNote": ""})}
        reply = await session.write("estimate", encode_body(body), f"copy-{number}-{marked}")
        return str(reply.body["Estimate"]["Id"])

    return world.on_loop(make)


def compare(pages: Pages) -> dict[str, tuple[str, str]]:
    answer = pages.post("/reconcile/comparison/start")
    assert answer.status_code == 303, answer.text
    return rows_of(pages.text("/reconcile"))


def test_totals_per_month_and_every_kind_of_difference(
    world: World, company: Company, books: Books
) -> None:
    """Missing, deleted, changed and another amount are told apart, with the totals of the month on
    both sides and the cost before it is begun (issue 4 §5)."""
    line = {
        "Amount": 9,
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": {"ItemRef": {"value": "1"}, "Qty": 1, "UnitPrice": 9},
    }
    for identity, changes in (("o-3", {"TxnDate": "2026-10-01"}), ("o-4", {"Line": [line]})):
        there = external(world, company, identity)
        books.do("edit", {"entity": "Estimate", "id": there, "changes": changes})
    books.do("delete", {"entity": "Estimate", "id": external(world, company, "o-2")})
    with world.browser(company) as pages:
        assert "metered reads" in pages.text("/reconcile")
        found = compare(pages)
        assert {name: kind for name, (_, kind) in found.items()} == {
            "A-0001": "missing",
            "A-0002": "deleted",
            "A-0003": "changed",
            "A-0004": "differs",
        }
        page = html.unescape(pages.text("/reconcile"))
        months = re.findall(r"<tr><td class=\"nowrap\" data-label=\"Month\">(.*?)</tr>", page)
        totals = [re.sub(r"<[^>]+>", "|", row) for row in months]
        assert ["2026-10" in totals[0], "2026-11" in totals[1]] == [True, True]
        assert "5.00 USD" in totals[0]
        assert "25.00 USD" in totals[1]
        assert "14.00 USD" in totals[1]
        assert "It was changed in QuickBooks: date." in page
        only = rows_of(pages.text("/reconcile?kind=deleted"))
        assert list(only) == ["A-0002"]


def pull(world: World, company: Company) -> None:
    """What the schedule does: send and fetch, compare nothing."""
    desk = world.runtime.sinks.desk
    world.on_loop(lambda: desk.run(company.account, "schedule"))
    world.caught_up(company)


def test_what_the_office_changed_is_there_without_a_comparison(
    world: World, company: Company, books: Books
) -> None:
    """A run of the schedule alone brings a row for each estimate that was changed or deleted there,
    counted in the menu, with the same remedies; one that stands again is none (issue 4 §4)."""
    edit = {"entity": "Estimate", "id": external(world, company, "o-3")}
    books.do("edit", {**edit, "changes": {"TxnDate": "2026-11-02"}})
    books.do("delete", {"entity": "Estimate", "id": external(world, company, "o-2")})
    pull(world, company)
    with world.browser(company) as pages:
        page = pages.text("/reconcile")
        found = rows_of(page)
        assert {name: kind for name, (_, kind) in found.items()} == {
            "A-0001": "missing",
            "A-0003": "changed",
            "A-0002": "deleted",
        }
        assert "It was changed in QuickBooks: date." in html.unescape(page)
        count = 'Reconcile <span class="count alert">3<'
        assert count in page
        pull(world, company)
        assert rows_of(pages.text("/reconcile")) == found, "a row keeps its name"
        pages.post(f"/reconcile/{found['A-0003'][0]}/ignore", text="as agreed")
        assert count not in pages.text("/reconcile")
        books.do("edit", {**edit, "changes": {"TxnDate": "2026-11-03"}})
        pull(world, company)
        assert count in pages.text("/reconcile"), "a later change is a new difference"
        books.do("edit", {**edit, "changes": {"TxnDate": "2026-11-21"}})
        assert pages.post(f"/reconcile/{found['A-0002'][0]}/resend").status_code == 303
        pull(world, company)
        assert list(rows_of(pages.text("/reconcile"))) == ["A-0001"]


def test_each_remedy_is_a_button(world: World, company: Company, books: Books) -> None:
    """Send again, accept theirs, send ours and link leave nothing to differ; one document each."""
    books.do("delete", {"entity": "Estimate", "id": external(world, company, "o-2")})
    for identity in ("o-3", "o-4"):
        there = external(world, company, identity)
        changes = {"TxnDate": "2026-11-02"}
        books.do("edit", {"entity": "Estimate", "id": there, "changes": changes})
    with world.browser(company) as pages:
        found = compare(pages)
        for number, action in (("A-0002", "resend"), ("A-0003", "accept"), ("A-0004", "ours")):
            answer = pages.post(f"/reconcile/{found[number][0]}/{action}")
            assert answer.status_code == 303, html.unescape(answer.text)
        assert list(rows_of(pages.text("/reconcile"))) == ["A-0001"]
        sync(world, company)
        assert list(compare(pages)) == ["A-0001"]
        refused = pages.post(f"/reconcile/{found['A-0002'][0]}/resend")
        assert refused.status_code == 409
        assert "There is no such difference any more" in html.unescape(refused.text)


def test_a_document_is_linked_to_the_one_the_office_made(
    world: World, company: Company, books: Books
) -> None:
    """A missing order is linked by number: nothing is sent, the answer reaches the order, and an
    estimate of another document is refused."""
    with world.browser(company) as pages:
        found = compare(pages)
        taken = pages.post(f"/reconcile/{found['A-0001'][0]}/link", text="A-0002")
        assert taken.status_code == 409
        assert "belongs to order o-2" in html.unescape(taken.text)
        assert pages.post(f"/reconcile/{found['A-0001'][0]}/link", text="").status_code == 409
        assert pages.post(f"/reconcile/{found['A-0001'][0]}/link", text="Z-9").status_code == 409
        made = copy(world, company, "o-5", number="OFFICE-9")
        linked = pages.post(f"/reconcile/{found['A-0001'][0]}/link", text="OFFICE-9")
        assert linked.status_code == 303, html.unescape(linked.text)
        world.caught_up(company)
        assert external(world, company, "o-1") == made
        assert "A-0001" not in pages.text("/queue")
        sync(world, company)
        assert compare(pages) == {}


def test_a_difference_is_ignored_with_a_reason_until_it_changes(
    world: World, company: Company, books: Books
) -> None:
    """Ignored rows are out of the list and of Sync Now, keep who and why, and come back after
    another change there or on demand."""
    edit = {"entity": "Estimate", "id": external(world, company, "o-3")}
    books.do("edit", {**edit, "changes": {"TxnDate": "2026-11-02"}})
    with world.browser(company) as pages:
        found = compare(pages)
        identity = found["A-0003"][0]
        assert pages.post(f"/reconcile/{identity}/ignore", text="").status_code == 409
        pages.post(f"/reconcile/{identity}/ignore", text="as agreed on the phone")
        assert "A-0003" not in rows_of(pages.text("/reconcile"))
        page = html.unescape(pages.text("/reconcile?kind=ignored"))
        assert f"as agreed on the phone ({company.login})" in page
        assert "A-0003" not in compare(pages)
        again = rows_of(pages.text("/reconcile?kind=ignored"))["A-0003"][0]
        pages.post(f"/reconcile/{again}/watch")
        assert "A-0003" in rows_of(pages.text("/reconcile"))
        pages.post(f"/reconcile/{again}/ignore", text="still fine")
        books.do("edit", {**edit, "changes": {"TxnDate": "2026-11-03"}})
        assert "A-0003" in compare(pages)


def test_a_second_document_with_our_mark_is_shown(
    world: World, company: Company, books: Books
) -> None:
    """A copy that somebody made there of one of ours is a duplicate, not silence (§2.5)."""
    copy(world, company, "o-3", marked=True)
    with world.browser(company) as pages:
        found = compare(pages)
        assert "duplicate" in {kind for _, kind in found.values()}
