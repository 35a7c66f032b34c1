"""The queue's pages over the real sink and the sandbox: what is shown, what is pressed."""

from __future__ import annotations

import html
import re

import pytest

from qbo_sink.catalogue import CATALOGUE, PREFLIGHT
from qbo_sink.sandbox.injection import FaultRule
from replica.server.stores import new_user
from replica.store.access import Role
from tests.server.books import Books, booked, order, stock, sync
from tests.server.world import PASSWORD, Company, Pages, World

books, world = booked("module")


@pytest.fixture
def company(world: World) -> Company:
    """Connected before there is anything, so that no names are left for somebody to tell apart."""
    made = world.company()
    sync(world, made)
    stock(world, made)
    return made


def rows_of(page: str) -> list[tuple[str, str, str]]:
    """Id, state and name of each row, in order."""
    found = re.findall(
        r'<tr data-row="([^"]+)" data-state="([^"]+)">.*?<a href="/queue/[^"]+">([^<]+)</a>',
        page,
        re.DOTALL,
    )
    return [(identity, state, html.unescape(name)) for identity, state, name in found]


def row(pages: Pages, name: str) -> str:
    return next(identity for identity, _, shown in rows_of(pages.text("/queue")) if shown == name)


def test_the_preview_lists_what_is_sent_in_that_order(world: World, company: Company) -> None:
    """Customers first, then items, then documents, numbered; nothing left yet (QB-09, QB-15)."""
    with world.browser(company) as pages:
        found = rows_of(pages.text("/queue"))
    names = [name for _, _, name in found]
    assert names == ["Corner Cafe", "Harbour Deli", "Earl Grey", "A-0001", "A-0002", "A-0003"]
    assert {state for _, state, _ in found} == {"queued", "waiting_on"}


def test_the_failing_row_is_on_top_and_named_on_both_pages(world: World, company: Company) -> None:
    """The error is that of row one, with cause, fix and the tries left; the button shows a cross
    (QB-17, QB-18, QB-20, QB-21, QB-23)."""
    with world.browser(company) as pages:
        assert 'data-state="waiting"' in pages.text("/queue")
        sync(world, company)
        for path in ("/queue", "/errors"):
            page = html.unescape(pages.text(path))
            assert "First in line: <a" in page
            assert "Customer Harbour Deli" in page
            assert "QuickBooks has a record of this name already." in page
            assert "give one of them another name" in page
            assert "ry 1 of 3; after the last one we try to correct it ourselves" in page
            assert 'class="primary" data-state="error"' in page
        found = rows_of(pages.text("/queue"))
        assert [(state, name) for _, state, name in found] == [
            ("retrying", "Harbour Deli"),
            ("waiting_on", "A-0001"),
        ]
        assert "waits for customer Harbour Deli" in pages.text("/queue")
        assert [name for _, _, name in rows_of(pages.text("/errors"))] == ["Harbour Deli"]
        assert "1 row" in pages.text("/errors")


def test_three_tries_then_a_correction_that_can_be_taken_back(
    world: World, company: Company
) -> None:
    """The fourth cycle sends another name, says so with before and after, and Undo puts the name
    back into the queue (QB-24, QB-25)."""
    with world.browser(company) as pages:
        for _ in range(3):
            sync(world, company)
        assert 'data-state="autofixing"' in pages.text("/queue")
        sync(world, company)
        page = html.unescape(pages.text("/queue"))
        assert rows_of(page) == []
        assert 'class="primary" data-state="ready"' in page
        assert "sent under a name that is free" in page
        assert "Harbour Deli (2)" in page
        correction = re.findall(r'action="/queue/(correction:\d+|correction%3A\d+)/undo"', page)
        assert pages.post(f"/queue/{correction[0]}/undo").status_code == 303
        page = html.unescape(pages.text("/queue"))
        assert [name for _, _, name in rows_of(page)] == ["Harbour Deli"]
        assert "taken back by" in page
        assert pages.post(f"/queue/{correction[0]}/undo").status_code == 400


def test_a_row_is_removed_and_put_back(world: World, company: Company) -> None:
    """Removing asks when others wait for it, keeps the row under Excluded, and can be undone; any
    kind of record can be removed (QB-16)."""
    with world.browser(company) as pages:
        customer, document = row(pages, "Corner Cafe"), row(pages, "A-0003")
        asked = html.unescape(pages.text(f"/queue/{customer}?ask=exclude"))
        assert "Without it these wait: order A-0002, order A-0003." in asked
        answer = pages.post(f"/queue/{document}/exclude")
        assert answer.status_code == 303
        page = pages.text(answer.headers["location"])
        assert "Undo" in page
        assert rows_of(page)[-1][1:] == ("excluded", "A-0003")
        assert [name for _, _, name in rows_of(pages.text("/queue?state=excluded"))] == ["A-0003"]
        sync(world, company)
        assert row(pages, "A-0003") == document
        assert pages.post(f"/queue/{document}/include").status_code == 303
        sync(world, company)
        assert "A-0003" not in pages.text("/queue")


def test_a_row_goes_last_or_alone(world: World, company: Company) -> None:
    """Move to bottom changes the order; sync only this sends nothing else."""
    with world.browser(company) as pages:
        sync(world, company)
        world.write(company, order("o-4", "A-0004"), order("o-5", "A-0005"))
        pages.post(f"/queue/{row(pages, 'A-0004')}/bottom")
        names = [name for _, _, name in rows_of(pages.text("/queue"))]
        assert names.index("A-0005") < names.index("A-0004")
        pages.post(f"/queue/{row(pages, 'A-0004')}/only")
        world.caught_up(company)
        page = pages.text("/queue")
        assert "A-0004" not in page
        assert "A-0005" in page
        assert 'data-state="retrying"' in page, "the failing row still says so"


def test_a_row_tells_everything_that_support_asks_for(world: World, company: Company) -> None:
    """Calls with Intuit's id, what was sent, what waits, and a text without secrets (QB-26)."""
    with world.browser(company) as pages:
        sync(world, company)
        page = html.unescape(pages.text(f"/queue/{row(pages, 'Harbour Deli')}"))
        support = page.split('id="support">')[1].split("</pre>")[0]
        for text in ("intuit_tid 1-", "request id", "code 6240", "company "):
            assert text in support
        assert "order A-0001" in page
        tokens = world.runtime.sinks.desk.parts.connections.tokens(company.account)  # type: ignore[attr-defined]
        assert tokens.access not in page
        assert tokens.refresh not in page
        assert pages.get("/queue/row:999999").status_code == 404
        assert pages.get("/queue/nonsense").status_code == 404


def test_what_will_fail_is_said_before_it_is_sent(world: World, company: Company) -> None:
    """A currency the company does not keep is foreseen in the preview, with the fix."""
    with world.browser(company) as pages:
        sync(world, company)
        world.write(company, order("o-6", "A-0006", currency="EUR"))
        page = html.unescape(pages.text("/queue"))
        assert "Will fail: The document's currency" in page


def test_the_queue_is_found_filtered_and_paged(
    world: World, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows are found by number and customer, filtered by state, and a page is bounded."""
    monkeypatch.setattr("qbo_sink.queue.SYNC_PLAN_ROWS_MAX", 4)
    with world.browser(company) as pages:
        first = pages.text("/queue")
        assert len(rows_of(first)) == 4
        following = html.unescape(re.findall(r'href="([^"]+)" rel="next"', first)[0])
        second = rows_of(pages.text(following))
        assert [name for _, _, name in second] == ["A-0002", "A-0003"]
        for text, names in (("0002", ["A-0002"]), ("harbour", ["Harbour Deli", "A-0001"])):
            found = rows_of(pages.text(f"/queue?q={text}"))
            assert [name for _, _, name in found] == names
        assert "No such row" in pages.text("/queue?q=nothing-of-the-kind")
        assert pages.get("/queue?start=-1").status_code == 400


def test_every_code_has_its_guidance_and_every_link_leads_to_one(
    world: World, company: Company
) -> None:
    """The page of codes holds each fault of the catalogue, and links from rows find it (QB-28)."""
    with world.browser(company) as pages:
        sync(world, company)
        page = pages.text("/errors/codes")
        for code in [*map(str, CATALOGUE), *PREFLIGHT]:
            assert f'<tr id="{code}">' in page
        linked = set(re.findall(r'/errors/codes#([^"]+)"', pages.text("/errors")))
        assert linked == {"6240"}


def test_the_practice_queue_leads_through_an_error(world: World, company: Company) -> None:
    """Each button of the made-up queue shows what it would do, and nothing is stored (QB-29)."""
    with world.browser(company) as pages:
        before = rows_of(pages.text("/queue"))
        first = pages.text("/errors/practice")
        for name in re.findall(r"practice\?did=(\w+)", first):
            assert "Step 2 of 2" in pages.text(f"/errors/practice?did={name}")
        assert rows_of(pages.text("/queue")) == before


def test_a_viewer_sees_the_queue_and_no_buttons(world: World, company: Company) -> None:
    """A user without the right reads everything and is refused every action (I-17)."""
    viewer = new_user(f"viewer-{company.login}", PASSWORD, Role.VIEWER)
    now_ms = world.runtime.now_ms()
    world.stores.control.add_user(company.account, viewer, now_ms=now_ms)
    with world.browser(company, viewer.login) as pages:
        page = pages.text("/queue")
        assert len(rows_of(page)) == 6
        assert 'action="/queue/' not in page
        assert pages.post(f"/queue/{rows_of(page)[0][0]}/exclude").status_code == 403


@pytest.mark.parametrize("thing", ["row:1x", "row:", "correction:0", "row:99999999999999999999"])
def test_an_action_on_nothing_is_refused(world: World, company: Company, thing: str) -> None:
    """Strange names and rows of other accounts answer with words, not with a failure (I-16)."""
    with world.browser(company) as pages:
        assert pages.post(f"/queue/{thing}/exclude").status_code == 400


def test_rows_of_another_account_are_out_of_reach(world: World, company: Company) -> None:
    """An id of one account names nothing in another (I-16)."""
    other = world.company()
    with world.browser(company) as pages, world.browser(other) as others:
        identity = row(pages, "A-0001")
        assert others.get(f"/queue/{identity}").status_code == 404
        assert others.post(f"/queue/{identity}/exclude").status_code == 400
        assert rows_of(pages.text("/queue"))[3][1] == "waiting_on"


def test_an_outage_is_shown_as_passing_and_not_as_an_error(
    world: World, company: Company, books: Books
) -> None:
    """A row that got no answer passes by itself and is no error; a data fault somebody has to mend
    (QB-22)."""
    books.sandbox.plan.add(FaultRule(kind="status", match="/estimate", status=503, count=9))
    with world.browser(company) as pages:
        sync(world, company)
        books.sandbox.plan.rules.clear()
        found = {name: identity for identity, _, name in rows_of(pages.text("/queue"))}
        page = pages.text("/queue")
        outage = page.split(f'data-row="{found["A-0002"]}"')[1].split("</tr>")[0]
        fault = page.split(f'data-row="{found["Harbour Deli"]}"')[1].split("</tr>")[0]
        assert "Passes by itself" in outage
        assert "Somebody has to mend it" in fault
        assert found["A-0002"] not in pages.text("/errors")
