"""The comparison: everything judged once, totals that add up, and a killed one that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.judge import Ours, Theirs, judge
from qbo_sink.reconcile import expected_reads
from qbo_sink.reconcile_store import FETCHING, Progress, ReconcileStore
from replica.sink import Deed, Refusal
from tests.qbo_sink.test_port import external, with_sink
from tests.qbo_sink.test_push import basics, do, run
from tests.qbo_sink.world import ACCOUNT, Crash, World, order

DEED = Deed("owner")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


class Dying(httpx2.AsyncBaseTransport):
    """Counts the pages that were asked for, and ends the process at one of them."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, asked: list[str], die_at: int) -> None:
        self._inner = inner
        self._asked = asked
        self._die_at = die_at

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        statement = request.url.params.get("query", "")
        if "FROM Estimate" in statement and "STARTPOSITION" in statement:
            self._asked.append(statement.partition("ORDERBY")[2] or statement)
            if len(self._asked) == self._die_at:
                raise Crash("killed")
        return await self._inner.handle_async_request(request)


def asking(world: World, die_at: int = 0) -> list[str]:
    asked: list[str] = []
    world.wrap = lambda inner: Dying(inner, asked, die_at)
    return asked


def test_a_killed_comparison_goes_on_where_it_was(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pages that were taken in are not asked for again, and the result is that of a whole one
    (issue 4 §5)."""
    basics(world)
    world.put(*[order(f"o-{at}") for at in range(7)])
    run(world)
    monkeypatch.setattr("qbo_sink.reconcile.QBO_PAGE_ROWS", 2)
    asked = asking(world, die_at=3)
    with pytest.raises((Crash, BaseExceptionGroup, asyncio.CancelledError)):
        with_sink(world, lambda sink: sink.compare(ACCOUNT))
    progress = ReconcileStore(world.ledger.write).progress(ACCOUNT)
    assert (progress.state, progress.fetched, progress.next_start) == (FETCHING, 4, 5)
    state = with_sink(world, lambda sink: sink.reconciliation(ACCOUNT, "", 0))
    assert (state.state, state.offers[0].label) == ("interrupted", "Go on")
    asked = asking(world)
    found = with_sink(world, lambda sink: sink.compare(ACCOUNT))
    assert found.equal == 7
    assert asked[0].split("STARTPOSITION ")[1].startswith("5 ")
    done = with_sink(world, lambda sink: sink.reconciliation(ACCOUNT, "", 0))
    assert (done.state, done.equal, done.matching) == ("done", 7, 0)


def test_a_row_that_slipped_between_two_pages_is_not_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no page showed is asked for by its id before it counts as deleted."""
    basics(world)
    world.put(*[order(f"o-{at}") for at in range(5)])
    run(world)
    monkeypatch.setattr("qbo_sink.reconcile.QBO_PAGE_ROWS", 2)
    gone = min((external(world, f"o-{at}") for at in range(5)), key=int)
    pages: list[int] = []

    class Slipping(httpx2.AsyncBaseTransport):
        """Somebody deletes the first estimate after the first page: every other row moves up."""

        def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
            self._inner = inner

        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if "STARTPOSITION 3" in request.url.params.get("query", "") and not pages:
                pages.append(1)
                body = {"entity": "Estimate", "id": gone}
                wish = httpx2.Request("POST", "http://127.0.0.1/sandbox/delete", json=body)
                await self._inner.handle_async_request(wish)
            return await self._inner.handle_async_request(request)

    world.wrap = Slipping
    found = with_sink(world, lambda sink: sink.compare(ACCOUNT))
    assert pages
    assert (found.deleted, found.equal) == ([], 5)


def test_a_comparison_says_what_it_will_cost(world: World) -> None:
    """A read for each thousand rows that are known there, and one that ends it (issue 4 §5)."""
    assert expected_reads(Progress(), 0) == 1
    assert expected_reads(Progress(fetched=20_000), 15_000) == 21
    basics(world)
    world.put(order("o-1"))
    run(world)
    page = with_sink(world, lambda sink: sink.reconciliation(ACCOUNT, "", 0))
    assert page.cost.startswith("about 2 metered reads; ")


def test_an_order_whose_row_was_removed_is_sent_again_only_from_the_queue(world: World) -> None:
    """Resend says where a removed or waiting row is, instead of sending twice (QB-16)."""
    basics(world)
    world.put(order("o-1"))

    async def act(sink: Any) -> list[str]:
        said = []
        await sink.compare(ACCOUNT)
        (missing,) = (await sink.reconciliation(ACCOUNT, "missing", 0)).rows
        for change in (None, "exclude"):
            if change:
                row = await sink.row_of(ACCOUNT, "order", "o-1")
                await sink.act(ACCOUNT, row.id, change, DEED)
            with pytest.raises(Refusal) as refused:
                await sink.act(ACCOUNT, missing.id, "resend", DEED)
            said.append(str(refused.value))
        return said

    waits, removed = with_sink(world, act)
    assert waits == "It waits in the queue already."
    assert removed == "It was removed from the queue; put it back there."


def test_of_everything_the_office_did_nothing_is_called_equal(world: World) -> None:
    """An edit, a deletion and another amount are all told, and the office's own is left alone."""
    basics(world)
    world.put(*[order(f"o-{at}") for at in range(3)])
    run(world)
    do(world, "delete", {"entity": "Estimate", "id": external(world, "o-0")})
    found = with_sink(world, lambda sink: sink.compare(ACCOUNT))
    page = with_sink(world, lambda sink: sink.reconciliation(ACCOUNT, "", 0))
    assert (found.equal, found.deleted) == (2, ["o-0"])
    assert page.counts == {"deleted": 1}
    month = next(one for one in page.months if one.month == "2026-11")
    assert (month.ours - month.theirs, month.ours_minor - month.theirs_minor) == (1, 500)


ids = st.integers(0, 12)
documents = st.dictionaries(
    ids,
    st.tuples(st.integers(0, 10**6), st.booleans(), st.booleans(), st.sampled_from("12")),
    max_size=12,
)
estimates = st.dictionaries(
    ids,
    st.tuples(
        st.integers(0, 10**6),
        st.booleans(),
        st.sampled_from(["", "changed", "differs", "invoiced"]),
    ),
    max_size=12,
)


@given(documents, estimates)
@settings(max_examples=200, deadline=None)
def test_every_document_is_judged_once_and_the_totals_add_up(
    here: dict[int, tuple[int, bool, bool, str]], there: dict[int, tuple[int, bool, str]]
) -> None:
    """Each committed document is equal or one difference, each marked estimate is claimed, doubled
    or nobody's, and the control totals are the sums of both sides."""
    ours = [
        Ours("order", f"o-{at}", f"A-{at}", f"2026-1{month}-01", "USD", total, cancelled,
             f"{at}" if linked else "")
        for at, (total, cancelled, linked, month) in here.items()
    ]  # fmt: skip
    theirs = {
        f"{at}": Theirs(f"{at}", date="2026-11-02", currency="USD", total=f"{total / 100:.2f}",
                        local_type="order" if marked else "", local_id=f"o-{at}" if marked else "",
                        drift=drift)
        for at, (total, marked, drift) in there.items()
    }  # fmt: skip
    verdict = judge(ours, theirs)
    of_ours = [found for found in verdict.found if found.kind not in ("duplicate", "orphan")]
    expected = [one for one in ours if not one.cancelled or one.external_id in theirs]
    assert verdict.equal + len(of_ours) == len(expected)
    assert len({found.local_id for found in of_ours}) == len(of_ours)
    claimed = {one.external_id for one in ours}
    loose = [row for row in theirs.values() if row.external_id not in claimed]
    unclaimed = [found for found in verdict.found if found.kind in ("duplicate", "orphan")]
    assert len(unclaimed) + verdict.foreign == len(loose)
    assert sum(one.ours for one in verdict.months) == sum(not one.cancelled for one in ours)
    total = sum(one.total_minor for one in ours if not one.cancelled)
    assert sum(one.ours_minor for one in verdict.months) == total
