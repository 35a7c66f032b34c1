"""The sink as the server hosts it: queue, status, comparison, pull, routes, schedule."""

from __future__ import annotations

import asyncio
import base64
import hmac
from collections.abc import Awaitable, Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import pytest
from sqlalchemy import select
from starlette.applications import Starlette
from starlette.routing import Mount

from qbo_sink.port import QuickBooksSink
from qbo_sink.sandbox import InProcessTransport, Switches
from qbo_sink.sandbox.injection import FaultRule
from qbo_sink.schema import connections
from qbo_sink.webhooks import realms_of
from replica.errors import Forbidden, WorldError
from replica.events.event import AccountId
from replica.events.payloads import OrderCancelled
from replica.server.plugins import load_sinks
from replica.sink import Deed, SinkContext
from tests.qbo_sink.test_push import basics, do, run, watch
from tests.qbo_sink.world import ACCOUNT, World, customer, order, product, quote

T = TypeVar("T")
OTHER = AccountId(b"another-account0")
DEED = Deed("owner")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def with_sink(world: World, act: Callable[[QuickBooksSink], Awaitable[T]]) -> T:
    async def work() -> T:
        sink = world.make_sink()
        await sink.start()
        try:
            return await act(sink)
        finally:
            await sink.stop()

    return asyncio.run(work())


def external(world: World, identity: str) -> str:
    return str(world.seen("order", identity)["answers"]["quickbooks"]["external_id"])


def test_the_server_finds_the_sink_by_its_entry_point() -> None:
    """No import names it (architecture.md §6)."""
    assert QuickBooksSink in load_sinks()


def test_without_a_quickbooks_the_sink_says_so(world: World) -> None:
    """A server without accounting starts, runs and shows that nothing is connected."""
    world.environ = {}

    async def act(sink: QuickBooksSink) -> Any:
        assert (await sink.run(ACCOUNT, "test")).errors == ()
        assert (await sink.queue(ACCOUNT)).rows == ()
        return await sink.status(ACCOUNT)

    assert with_sink(world, act).state == "not_connected"


def test_the_preview_is_the_order_of_sending(world: World) -> None:
    """What the queue lists is what leaves, in that order (QB-15)."""
    world.environ["QBO_CONCURRENT_CALLS"] = "1"
    watches = watch(world)
    basics(world)
    world.put(order("o-1"), quote("q-1"), order("o-2"))

    async def act(sink: QuickBooksSink) -> list[str]:
        listed = [row.local_id for row in (await sink.queue(ACCOUNT)).rows]
        await sink.run(ACCOUNT, "test")
        return listed

    listed = with_sink(world, act)
    assert watches[0].writes() == ["customer", "item", "estimate", "estimate", "estimate"]
    notes = [
        request.content.decode()
        for request in watches[0].sent
        if request.method == "POST" and request.url.path.endswith("/estimate")
    ]
    sent = [note.split("[rp:")[1].split(":")[1] for note in notes]
    assert listed == ["c-1", "p-1", *sent]


def test_a_second_press_joins_the_run_that_is_on(world: World) -> None:
    """Two calls at once are one cycle, with one report (QB-11)."""
    watches = watch(world)
    basics(world)
    world.put(order("o-1"))

    async def act(sink: QuickBooksSink) -> Any:
        return await asyncio.gather(sink.run(ACCOUNT, "a"), sink.run(ACCOUNT, "b"))

    first, second = with_sink(world, act)
    assert first == second
    assert watches[0].writes().count("estimate") == 1


def test_an_excluded_row_is_not_sent_until_it_is_taken_back(world: World) -> None:
    """Any row can be removed and the removal undone; positions renumber (QB-16)."""
    basics(world)
    world.put(order("o-1"), order("o-2"))

    async def exclude(sink: QuickBooksSink) -> Any:
        await sink.queue(ACCOUNT)
        step = next(s for s in await sink.preview(ACCOUNT) if s.intent.key.local_id == "o-1")
        await sink.act(ACCOUNT, f"row:{step.intent.id}", "exclude", DEED)
        await sink.run(ACCOUNT, "test")
        return step.intent.id, (await sink.queue(ACCOUNT)).rows

    identity, rows = with_sink(world, exclude)
    assert world.per_marker() == {"o:o-2": 1}
    assert [(row.position, row.local_id, row.state) for row in rows] == [(1, "o-1", "excluded")]

    async def include(sink: QuickBooksSink) -> None:
        await sink.act(ACCOUNT, f"row:{identity}", "include", DEED)
        await sink.run(ACCOUNT, "test")

    with_sink(world, include)
    assert world.per_marker() == {"o:o-1": 1, "o:o-2": 1}


def test_a_row_can_go_last_and_one_row_can_go_alone(world: World) -> None:
    """Move to bottom changes the order; sync only this sends nothing else."""
    basics(world)
    run(world)
    world.put(order("o-0"))
    run(world)
    world.put(order("o-1"), order("o-2"), order("o-3"))

    async def act(sink: QuickBooksSink) -> list[str]:
        await sink.queue(ACCOUNT)
        ids = {s.intent.key.local_id: s.intent.id for s in await sink.preview(ACCOUNT)}
        await sink.act(ACCOUNT, f"row:{ids['o-1']}", "bottom", DEED)
        listed = [row.local_id for row in (await sink.queue(ACCOUNT)).rows]
        await sink.act(ACCOUNT, f"row:{ids['o-3']}", "only", DEED)
        return listed

    assert with_sink(world, act) == ["o-2", "o-3", "o-1"]
    assert world.per_marker() == {"o:o-0": 1, "o:o-3": 1}


def test_a_failed_row_shows_everything_support_asks_for(world: World) -> None:
    """Cause, fix, the raw words and Intuit's transaction id are kept (QB-18, QB-26)."""
    asyncio.run(world.run())
    world.put(customer("c-1", "Harbour Deli"), product("p-1"), order("o-1"))

    async def act(sink: QuickBooksSink) -> Any:
        await sink.run(ACCOUNT, "test")
        (top, *_) = await sink.preview(ACCOUNT)
        return (
            (await sink.queue(ACCOUNT)).rows,
            await sink.row(ACCOUNT, f"row:{top.intent.id}"),
            await sink.status(ACCOUNT),
        )

    rows, detail, status = with_sink(world, act)
    assert (rows[0].local_id, rows[0].state) == ("c-1", "retrying")
    assert "try 1 of 3" in rows[0].reason
    assert "another name" in rows[0].reason
    assert detail.calls[-1].trace
    assert detail.calls[-1].code == "6240"
    assert detail.calls[-1].trace in detail.support
    assert detail.dependants == ["order T-o-1"]
    assert status.state == "failing"
    assert [row.state for row in rows if row.local_id == "o-1"] == ["waiting_on"]


def test_an_ungranted_permission_stops_with_a_reason(world: World) -> None:
    """A suspended subscription ends the run, keeps the queue, and says what to do (6190)."""
    basics(world)
    run(world)
    do(world, "suspend", {"suspended": True})
    world.put(order("o-1"))
    report = run(world)
    assert any("subscription" in text for text in report.errors)
    do(world, "suspend", {"suspended": False})
    run(world)
    assert world.per_marker() == {"o:o-1": 1}


def test_the_comparison_tells_every_kind_of_difference(world: World) -> None:
    """Equal, missing, changed, deleted and another amount, per order (architecture.md §9)."""
    basics(world)
    world.put(*[order(f"o-{at}") for at in range(5)])
    run(world)
    world.put(order("o-5"), order("o-6"), OrderCancelled("o-6"))
    date = {
        "entity": "Estimate",
        "id": external(world, "o-1"),
        "changes": {"TxnDate": "2026-11-01"},
    }
    do(world, "edit", date)
    do(world, "delete", {"entity": "Estimate", "id": external(world, "o-2")})
    line = {
        "Amount": 1,
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": {"ItemRef": {"value": "1"}, "Qty": 1, "UnitPrice": 1},
    }
    amount = {"entity": "Estimate", "id": external(world, "o-3"), "changes": {"Line": [line]}}
    do(world, "edit", amount)
    found = with_sink(world, lambda sink: sink.compare(ACCOUNT))
    assert found.equal == 2
    assert found.missing == ["o-5"]
    assert (found.changed, found.deleted, found.differs) == (["o-1"], ["o-2"], ["o-3"])


def test_an_unanswered_comparison_is_no_result(world: World) -> None:
    """Half a list is never shown as all of it."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    world.sandbox.plan.add(FaultRule(kind="status", match="/query", status=503, count=9))
    with pytest.raises(WorldError):
        with_sink(world, lambda sink: sink.compare(ACCOUNT))


def test_the_pull_sees_what_the_office_changed_and_not_our_own_writes(world: World) -> None:
    """A deletion there is counted once; our own estimates coming back are not (§1.9)."""
    basics(world)
    world.put(order("o-1"), order("o-2"))
    run(world)
    assert run(world).pulled == 0
    do(world, "delete", {"entity": "Estimate", "id": external(world, "o-1")})
    assert run(world).pulled == 1
    assert run(world).pulled == 0
    assert world.per_marker() == {"o:o-2": 1}


def test_two_accounts_never_share_a_company(world: World) -> None:
    """The second account gets a sandbox company of its own (reliability I-16)."""
    basics(world)
    world.put(order("o-1"))
    run(world)

    async def act(sink: QuickBooksSink) -> Any:
        await sink.run(OTHER, "test")
        links = sink.parts.connections
        return links.get(ACCOUNT), links.get(OTHER)

    first, second = with_sink(world, act)
    assert first.realm != second.realm
    assert world.per_marker() == {"o:o-1": 1}


def test_the_schedule_runs_by_itself_and_never_does_not(tmp_path: Path) -> None:
    """Hourly sends within two hours of told time; never sends nothing (QB-12, QB-13)."""
    for schedule, expected in (("hourly", {"o:o-1": 1}), ("never", {})):
        world = World(tmp_path / schedule)
        try:
            basics(world)
            run(world)
            world.put(order("o-1"))
            world.environ["QBO_SCHEDULE"] = schedule

            async def act(sink: QuickBooksSink, world: World = world) -> None:
                async with asyncio.timeout(30):
                    until = world.clock.ms + 7_200_000
                    while world.clock.ms < until and not world.seen("order", "o-1")["answers"]:
                        await world.clock.sleep(0 if sink._clock else 60)

            with_sink(world, act)
            assert world.per_marker() == expected
        finally:
            world.close()


def test_never_is_by_hand_whatever_is_hinted(world: World) -> None:
    """A month of told time and a webhook every turn bring no automatic run and no call (QB-13)."""
    basics(world)
    run(world)
    world.put(order("o-1"))
    watches = watch(world)

    async def act(sink: QuickBooksSink) -> None:
        async with asyncio.timeout(30):
            until = world.clock.ms + 31 * 86_400_000
            while world.clock.ms < until:
                sink._hinted.add(ACCOUNT)
                await world.clock.sleep(3_600)

    with_sink(world, act)
    assert watches[0].sent == []
    assert world.per_marker() == {}


def test_what_was_deleted_there_is_sent_again_only_on_demand(world: World) -> None:
    """A deleted estimate stays away until somebody asks for it; then there is one again (§2.5)."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    refused = with_sink(world, lambda sink: sink.send_again(ACCOUNT, "order", "o-1"))
    assert "second document" in refused
    do(world, "delete", {"entity": "Estimate", "id": external(world, "o-1")})
    run(world)
    assert world.per_marker() == {}
    assert with_sink(world, lambda sink: sink.send_again(ACCOUNT, "order", "o-1")) == ""
    run(world)
    assert world.per_marker() == {"o:o-1": 1}
    assert with_sink(world, lambda sink: sink.compare(ACCOUNT)).equal == 1


@pytest.mark.parametrize("keep", ["theirs", "ours"])
def test_a_change_there_is_taken_or_put_back_by_decision(world: World, keep: str) -> None:
    """Either version can be chosen, and afterwards the comparison is equal (§2.5)."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    changes = {"TxnDate": "2026-11-01"}
    edit = {"entity": "Estimate", "id": external(world, "o-1"), "changes": changes}
    do(world, "edit", edit)
    assert with_sink(world, lambda sink: sink.compare(ACCOUNT)).changed == ["o-1"]

    async def choose(sink: QuickBooksSink) -> str:
        act = sink.accept_theirs if keep == "theirs" else sink.send_ours
        return await act(ACCOUNT, "order", "o-1")

    assert with_sink(world, choose) == ""
    run(world)
    found = with_sink(world, lambda sink: sink.compare(ACCOUNT))
    assert (found.equal, found.changed) == (1, [])
    (row,) = [row for row in world.rows("Estimate") if row["Id"] == external(world, "o-1")]
    assert row["TxnDate"] == ("2026-11-01" if keep == "theirs" else "2026-11-20")


def test_metered_reads_are_counted(world: World) -> None:
    """Reads of a run are added up for the operator; writes are not (§0.5)."""
    basics(world)
    world.put(order("o-1"))

    async def act(sink: QuickBooksSink) -> int:
        await sink.run(ACCOUNT, "test")
        with world.ledger.reading() as connection:
            return int(connection.execute(select(connections.c.reads)).scalar_one())

    watches = watch(world)
    counted = with_sink(world, act)
    gets = [r for r in watches[0].sent if r.method == "GET" and "/v3/" in r.url.path]
    assert counted == len(gets) > 0


# Routes ------------------------------------------------------------------------------------------


def call_routes(
    world: World, act: Callable[[QuickBooksSink, httpx2.AsyncClient], Awaitable[T]]
) -> T:
    async def work(sink: QuickBooksSink) -> T:
        app = Starlette(routes=[Mount("/sinks/quickbooks", routes=QuickBooksSink.routes())])
        app.state.sinks = {"quickbooks": sink}
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://server") as http:
            return await act(sink, http)

    return with_sink(world, work)


def test_a_company_is_connected_by_its_callback_once(world: World) -> None:
    """The state that was begun for the account brings tokens; a second use brings nothing (S22)."""

    async def act(sink: QuickBooksSink, http: httpx2.AsyncClient) -> tuple[int, int, Any]:
        address = await sink.connect(ACCOUNT, "http://server/sinks/quickbooks/callback")
        transport = InProcessTransport(world.app)
        async with httpx2.AsyncClient(transport=transport) as browser:
            realm = world.sandbox.settings.realm
            form = {"realm": realm, "decision": "connect"}
            consent = await browser.post(address, data=form)
        query = httpx2.URL(consent.headers["location"]).query.decode()
        first = await http.get(f"/sinks/quickbooks/callback?{query}")
        second = await http.get(f"/sinks/quickbooks/callback?{query}")
        return first.status_code, second.status_code, sink.parts.connections.get(ACCOUNT)

    first, second, link = call_routes(world, act)
    assert (first, second) == (303, 400)
    assert link.realm == world.sandbox.settings.realm


@pytest.mark.parametrize(
    "query",
    [
        "",
        "error=access_denied&state=x",
        "code=c&realmId=12&state=nobodys",
        "code=c&realmId=x&state=s",
    ],
)
def test_a_strange_callback_connects_nothing(world: World, query: str) -> None:
    """Refused permissions, unknown states and odd company ids end with a page that says so."""

    async def act(sink: QuickBooksSink, http: httpx2.AsyncClient) -> Any:
        answer = await http.get(f"/sinks/quickbooks/callback?{query}")
        return answer.status_code, sink.parts.connections.get(ACCOUNT)

    assert call_routes(world, act) == (400, None)


def test_a_webhook_needs_its_signature(world: World) -> None:
    """Raw bytes under the verifier's HMAC are taken, anything else is not (S21)."""
    world.environ["QBO_WEBHOOK_VERIFIER"] = "verifier"
    body = b'{"eventNotifications":[{"realmId":"1","dataChangeEvent":{"entities":[]}}]}'
    good = base64.b64encode(hmac.new(b"verifier", body, sha256).digest()).decode()

    async def act(_: QuickBooksSink, http: httpx2.AsyncClient) -> list[int]:
        statuses = []
        for content, signature in ((body, good), (body + b" ", good), (body, "x"), (body, "é")):
            answer = await http.post(
                "/sinks/quickbooks/webhook",
                content=content,
                headers={b"intuit-signature": signature.encode()},
            )
            statuses.append(answer.status_code)
        huge = await http.post("/sinks/quickbooks/webhook", content=b"x" * 1_100_000)
        return [*statuses, huge.status_code]

    assert call_routes(world, act) == [200, 401, 401, 401, 413]


def test_both_webhook_formats_name_their_companies() -> None:
    """The object of before and the list of CloudEvents; anything else names nobody (§1.10)."""
    assert realms_of(b'{"eventNotifications":[{"realmId":"12"},{"realmId":"x"}]}') == {"12"}
    assert realms_of(b'[{"intuitaccountid":"34"},{"intuitaccountid":"56"}]') == {"34", "56"}
    for body in (b"", b"null", b"[1]", b'{"eventNotifications":5}', b"\xff", b"[" * 5_000):
        assert realms_of(body) == set()


def test_another_company_is_refused_once_there_are_documents(world: World) -> None:
    """Documents are never sent to two companies (reliability I-16)."""
    basics(world)
    world.put(order("o-1"))
    run(world)

    async def act(sink: QuickBooksSink) -> None:
        tokens = sink.parts.connections.tokens(ACCOUNT)
        assert tokens is not None
        with pytest.raises(Forbidden):
            sink.parts.connections.connect(ACCOUNT, "999", tokens)

    with_sink(world, act)


def test_a_context_without_settings_makes_a_sink(world: World) -> None:
    """``from_context`` takes the environment alone."""
    context = SinkContext(world.views.read, world.ledger.write, world.submit, world.clock.now_ms)
    assert QuickBooksSink.from_context(context).config is None


def test_a_tax_company_gets_the_order_and_equal_totals(tmp_path: Path) -> None:
    """With tax on, our total before tax still equals theirs before tax (§1.13)."""
    world = World(tmp_path, switches=Switches(throttle=False))
    try:
        world.put(customer("c-1"), product("p-1", "Chai", taxable=True), order("o-1"))
        run(world)
        (row,) = [row for row in world.rows("Estimate") if row["DocNumber"] == "T-o-1"]
        assert row["TxnTaxDetail"]["TotalTax"] > 0
        answer = world.seen("order", "o-1")["answers"]["quickbooks"]
        assert answer["total_minor"] == 500
        assert with_sink(world, lambda sink: sink.compare(ACCOUNT)).equal == 1
    finally:
        world.close()
