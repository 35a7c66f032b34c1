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

from qbo_sink.judge import Ours, Place, Theirs, judge
from qbo_sink.model import Entity
from qbo_sink.reconcile import expected_reads
from qbo_sink.reconcile_store import FETCHING, Progress, ReconcileStore
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.injection import FaultRule
from qbo_sink.sandbox.values import write_json
from qbo_sink.tokens import TokenUnavailable
from replica.sink import Deed, Difference, Reconciliation, Refusal
from tests.qbo_sink.sandbox.desk import line
from tests.qbo_sink.test_invoices import act
from tests.qbo_sink.test_port import external, with_sink
from tests.qbo_sink.test_pull import answer, convert
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
    assert expected_reads(Progress(), 0, invoices=False) == 1
    assert expected_reads(Progress(fetched=20_000), 15_000, invoices=False) == 21
    assert expected_reads(Progress(fetched=20_000), 15_000, invoices=True) == 22
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


class Asked(httpx2.AsyncBaseTransport):
    """Counts the pages that were asked for, by entity."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, asked: list[str]) -> None:
        self._inner = inner
        self._asked = asked

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        statement = request.url.params.get("query", "")
        if "STARTPOSITION" in statement:
            self._asked.append(statement.split(" FROM ")[1].split()[0])
        return await self._inner.handle_async_request(request)


@pytest.fixture
def billed(world: World) -> World:
    """Invoices of o-1 to o-5, that of o-5 made of its estimate; o-6 is an estimate."""
    basics(world)
    world.put(order("o-5"), order("o-6"))
    run(world)
    world.environ["QBO_ORDER_STATUS"] = "Invoice"
    world.put(*[order(f"o-{at}") for at in range(1, 5)])
    act(world, "convert", "o-5")
    run(world)
    return world


def invoice(world: World, identity: str) -> dict[str, Any]:
    """The invoice that carries the order's mark."""
    mark = f"[rp:o:{identity}:"
    (row,) = [one for one in world.rows("Invoice") if mark in str(one.get("PrivateNote"))]
    return row


def void(world: World, identity: str) -> None:
    """The office voids the invoice of an order."""
    sandbox = world.sandbox
    company = sandbox.books.company(sandbox.settings.realm)
    row = invoice(world, identity)
    body = {"Id": row["Id"], "SyncToken": row["SyncToken"]}
    with sandbox.books.atomic():
        sandbox.writer(company).void(ENTITIES["Invoice"], body, write_json(body))


def found(world: World, *, anew: bool = True) -> tuple[Reconciliation, dict[str, Difference]]:
    """The comparison, and its differences by order."""
    if anew:
        with_sink(world, lambda sink: sink.compare(ACCOUNT))
    page = with_sink(world, lambda sink: sink.reconciliation(ACCOUNT, "", 0))
    return page, {row.local_id: row for row in page.rows}


def edit(world: World, identity: str, **changes: Any) -> None:
    """The office changes the invoice of an order."""
    wish = {"entity": "Invoice", "id": invoice(world, identity)["Id"], "changes": changes}
    do(world, "edit", wish)


def remedy(world: World, row: Difference, action: str, text: str = "") -> None:
    with_sink(world, lambda sink: sink.act(ACCOUNT, row.id, action, Deed("owner", text)))


def test_orders_are_compared_with_their_invoices(billed: World) -> None:
    """An order that became an invoice is compared with it and counted once, its estimate not beside
    it; what the office invoiced by itself, with our note on it, is no second one (issue 4 §5)."""
    sandbox = billed.sandbox
    estimate = invoice(billed, "o-5")["LinkedTxn"][0]["TxnId"]
    page, rows = found(billed)
    assert (page.equal, rows, page.foreign) == (6, {}, 0)
    month = next(one for one in page.months if one.month == "2026-11")
    assert (month.ours, month.ours_minor) == (month.theirs, month.theirs_minor) == (6, 3_000)
    assert page.cost.startswith("about 3 metered reads; ")
    convert(billed, external(billed, "o-6"))
    company = sandbox.books.company(sandbox.settings.realm)
    theirs = next(one for one in billed.rows("Invoice") if one.get("DocNumber") == "INV-1")
    note = sandbox.books.live(company.realm, "Estimate", external(billed, "o-6")).body[
        "PrivateNote"
    ]
    wish = {"entity": "Invoice", "id": theirs["Id"], "changes": {"PrivateNote": note}}
    do(billed, "edit", wish)
    do(billed, "delete", {"entity": "Estimate", "id": estimate})
    page, rows = found(billed)
    assert (page.equal, rows) == (6, {})


def test_what_became_of_invoices_is_told_and_remedied(billed: World) -> None:
    """Another date, another amount, deleted and voided are told by the pull and by a comparison
    alike, with the same remedies: theirs, ours, again, and link (issue 4 §5, QB-05)."""
    edit(billed, "o-1", TxnDate="2026-11-02")
    edit(billed, "o-2", Line=[line()])
    lost = invoice(billed, "o-3")["Id"]
    do(billed, "delete", {"entity": "Invoice", "id": lost})
    void(billed, "o-5")
    run(billed)
    _, pulled = found(billed, anew=False)
    page, rows = found(billed)
    kinds = {"o-1": "changed", "o-2": "differs", "o-3": "deleted", "o-5": "deleted"}
    assert {name: row.kind for name, row in rows.items()} == kinds
    told = [
        {(row.kind, row.text, row.ours_minor, row.theirs_minor) for row in each.values()}
        for each in (pulled, rows)
    ]
    assert told[0] == told[1]
    assert rows["o-5"].text == "Its invoice was voided in QuickBooks."
    month = next(one for one in page.months if one.month == "2026-11")
    assert (month.ours - month.theirs, month.ours_minor, month.theirs_minor) == (2, 3_000, 2_950)
    remedy(billed, rows["o-1"], "accept")
    remedy(billed, rows["o-2"], "ours")
    remedy(billed, rows["o-3"], "resend")
    with pytest.raises(Refusal, match="belongs to order o-1"):
        remedy(billed, rows["o-5"], "link", invoice(billed, "o-1")["Id"])
    remedy(billed, rows["o-5"], "resend")
    # The voided one keeps its number, which only the office can change.
    assert "has this number" in " ".join(run(billed).errors)
    edit(billed, "o-5", DocNumber="VOID-5")
    assert run(billed).errors == ()
    assert invoice(billed, "o-3")["Id"] != lost
    assert invoice(billed, "o-2")["TotalAmt"] == 5
    page, rows = found(billed)
    assert (page.equal, rows) == (6, {})
    assert invoice(billed, "o-1")["TxnDate"] == "2026-11-02"
    for identity in ("o-1", "o-3", "o-5"):
        there = answer(billed, identity=identity)["there"]
        assert (there["state"], there["document"]) == ("invoiced", standing(billed, identity))


def standing(world: World, identity: str) -> str:
    """The id of the one invoice of an order that is not voided."""
    mark = f"[rp:o:{identity}:"
    rows = [one for one in world.rows("Invoice") if mark in str(one.get("PrivateNote"))]
    (row,) = [one for one in rows if one["TotalAmt"]]
    return str(row["Id"])


def test_a_lost_ledger_takes_the_invoice_that_stands(billed: World, tmp_path: Path) -> None:
    """Of a voided invoice and the one made in its place, both with our mark, the markers lead back
    to the second; one that was voided and not replaced says so (§2.2 layer 4)."""
    void(billed, "o-4")
    void(billed, "o-5")
    run(billed)
    edit(billed, "o-5", DocNumber="VOID-5")
    act(billed, "invoice_again", "o-5")
    assert run(billed).errors == ()
    fresh = World(tmp_path / "fresh", app=billed.app, clock=billed.clock)
    basics(fresh)
    fresh.put(*[order(f"o-{at}") for at in range(1, 7)])
    assert run(fresh).created == 0
    assert answer(fresh, identity="o-5")["there"]["document"] == standing(billed, "o-5")
    assert answer(fresh, identity="o-4")["there"]["state"] == "deleted"
    fresh.close()


def test_a_comparison_cut_off_among_the_invoices_reads_no_estimate_again(billed: World) -> None:
    """It goes on with the invoices; where no order became one, none is read (issue 4 §5)."""
    asked: list[str] = []
    billed.sandbox.plan.add(FaultRule(kind="status", match="Invoice", status=503, count=9))
    with pytest.raises(TokenUnavailable):
        with_sink(billed, lambda sink: sink.compare(ACCOUNT))
    billed.sandbox.plan.rules.clear()
    billed.wrap = lambda inner: Asked(inner, asked)
    page, _ = found(billed)
    assert (page.equal, set(asked)) == (6, {"Invoice"})


def test_a_company_without_invoices_of_ours_is_not_asked_for_any(world: World) -> None:
    """The office's own invoices cost nothing where no order of ours became one (issue 4 §7)."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    asked: list[str] = []
    world.wrap = lambda inner: Asked(inner, asked)
    found(world)
    assert set(asked) == {"Estimate"}


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
invoices = st.dictionaries(
    ids,
    st.tuples(
        st.integers(0, 10**6), st.booleans(), st.sampled_from(["", "changed", "differs", "voided"])
    ),
    max_size=12,
)


@given(documents, estimates, invoices)
@settings(max_examples=200, deadline=None)
def test_every_document_is_judged_once_and_the_totals_add_up(
    here: dict[int, tuple[int, bool, bool, str]],
    estimated: dict[int, tuple[int, bool, str]],
    invoiced: dict[int, tuple[int, bool, str]],
) -> None:
    """Each committed document is equal or one difference, with its invoice where it has one; each
    marked document there is claimed, doubled or nobody's; and the control totals are the sums."""
    estimate, bill = Entity.ESTIMATE, Entity.INVOICE
    ours, replaced = [], []
    for at, (total, cancelled, linked, month) in here.items():
        place = ("order", f"o-{at}", f"A-{at}", f"2026-1{month}-01", "USD", total, cancelled)
        one = Ours(*place, f"{at}" if linked else "", entity=bill if at in invoiced else estimate)
        ours.append(one)
        if at in invoiced:
            replaced.append(one._replace(external_id=f"{at}", entity=estimate, replaced=True))
    theirs: dict[Place, Theirs] = {
        (entity, f"{at}"): Theirs(
            f"{at}", date="2026-11-02", currency="USD", total=f"{total / 100:.2f}", drift=drift,
            local_type="order" if marked else "", local_id=f"o-{at}" if marked else "",
            entity=entity,
        )
        for entity, rows in ((estimate, estimated), (bill, invoiced))
        for at, (total, marked, drift) in rows.items()
    }  # fmt: skip
    verdict = judge([*replaced, *ours], theirs)
    of_ours = [one for one in verdict.found if one.kind not in ("duplicate", "orphan")]
    stands = {place for place, row in theirs.items() if row.drift != "voided"}
    expected = [one for one in ours if not one.cancelled or (one.entity, one.external_id) in stands]
    assert verdict.equal + len(of_ours) == len(expected)
    assert len({one.local_id for one in of_ours}) == len(of_ours)
    claimed = {(one.entity, one.external_id) for one in (*ours, *replaced)}
    loose = [row for place, row in theirs.items() if place not in claimed]
    unclaimed = [one for one in verdict.found if one.kind in ("duplicate", "orphan")]
    assert len(unclaimed) + verdict.foreign == len(loose)
    assert sum(one.ours for one in verdict.months) == sum(not one.cancelled for one in ours)
    total = sum(one.total_minor for one in ours if not one.cancelled)
    assert sum(one.ours_minor for one in verdict.months) == total
