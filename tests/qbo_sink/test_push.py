"""The push against the real sandbox: what stands there after each thing that users do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx2
import pytest

from qbo_sink.sandbox import InProcessTransport, Switches
from qbo_sink.sandbox.injection import FaultRule
from replica.events.payloads import (
    Address,
    CustomerChanged,
    CustomerDeleted,
    CustomerFields,
    OrderAmended,
    OrderCancelled,
    QuoteWithdrawn,
)
from replica.events.record import Origin
from replica.sink import QueueRow
from tests.qbo_sink.world import ACCOUNT, World, content, customer, order, product, quote


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def run(world: World) -> Any:
    return asyncio.run(world.run())


def queue_of(world: World) -> list[QueueRow]:
    async def ask() -> list[QueueRow]:
        sink = world.make_sink()
        await sink.start()
        try:
            return list((await sink.queue(ACCOUNT)).rows)
        finally:
            await sink.stop()

    return asyncio.run(ask())


def do(world: World, control: str, body: dict[str, Any]) -> None:
    """What another user or an administrator does in the sandbox."""

    async def call() -> None:
        transport = InProcessTransport(world.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            answer = await http.request(
                "PUT" if control == "switches" else "POST", f"/sandbox/{control}", json=body
            )
            assert answer.status_code == 200, answer.text

    asyncio.run(call())


def basics(world: World) -> None:
    world.put(customer("c-1", "Blauer See"), product("p-1", "Chai"))


class Watch(httpx2.AsyncBaseTransport):
    """Keeps what was sent, in order."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.sent: list[httpx2.Request] = []

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.sent.append(request)
        return await self._inner.handle_async_request(request)

    def writes(self) -> list[str]:
        return [
            request.url.path.rsplit("/", 1)[1]
            for request in self.sent
            if request.method == "POST" and "/v3/" in request.url.path
        ]


def watch(world: World) -> list[Watch]:
    made: list[Watch] = []

    def wrap(inner: httpx2.AsyncBaseTransport) -> httpx2.AsyncBaseTransport:
        made.append(Watch(inner))
        return made[-1]

    world.wrap = wrap
    return made


def test_orders_are_accepted_and_quotes_pending(world: World) -> None:
    """An order becomes an Accepted estimate, a quote a Pending one (QB-02, QB-03)."""
    basics(world)
    world.put(order("o-1", rep="Rep Seven"), quote("q-1"))
    report = run(world)
    assert (report.created, report.failed, report.errors) == (4, 0, ())
    found = {row["DocNumber"]: row for row in world.rows("Estimate") if "rp:" in row["PrivateNote"]}
    assert found["T-o-1"]["TxnStatus"] == "Accepted"
    assert found["T-o-1"]["AcceptedBy"] == "Rep Seven"
    assert found["Q-q-1"]["TxnStatus"] == "Pending"


def test_a_customer_made_offline_is_sent_before_its_order(world: World) -> None:
    """The customer is created first, then the item, then the estimate (ORD-08)."""
    watches = watch(world)
    basics(world)
    world.put(order("o-1"))
    run(world)
    assert watches[0].writes() == ["customer", "item", "estimate"]


def test_nothing_is_sent_by_saving(world: World) -> None:
    """A committed order waits in the queue until a cycle (QB-09)."""
    watches = watch(world)
    basics(world)
    world.put(order("o-1"))
    rows = queue_of(world)
    assert [row.entity for row in rows] == ["Customer", "Item", "Estimate"]
    assert rows[2].state == "waiting_on"
    assert "customer Blauer See" in rows[2].reason
    assert watches[0].sent == []


def test_a_product_that_stands_there_is_linked_by_its_sku(world: World) -> None:
    """No second item is made for an SKU that QuickBooks has."""
    world.put(customer("c-1"), product("p-1", "Cheddar, mature", sku="CH-100"))
    world.put(order("o-1"))
    before = len(world.rows("Item"))
    run(world)
    assert len(world.rows("Item")) == before
    assert world.seen("product", "p-1")["links"] == {"quickbooks": "1"}


def test_only_products_and_customers_that_are_needed_are_sent(world: World) -> None:
    """A catalogue that nothing refers to stays here."""
    world.put(customer("c-2"), product("p-2"))
    assert run(world).sent == 0
    assert queue_of(world) == []


def test_an_order_cancelled_before_it_was_sent_is_not_sent(world: World) -> None:
    """The intent is cancelled and nothing leaves."""
    basics(world)
    world.put(order("o-1"))
    queue_of(world)
    world.put(OrderCancelled("o-1", "changed their mind"))
    run(world)
    assert world.per_marker() == {}


def test_an_order_cancelled_after_it_was_sent_is_rejected_there(world: World) -> None:
    """Its one estimate becomes Rejected; a withdrawn quote likewise."""
    basics(world)
    world.put(order("o-1"), quote("q-1"))
    run(world)
    world.put(OrderCancelled("o-1"), QuoteWithdrawn("q-1"))
    assert run(world).updated == 2
    statuses = {row["DocNumber"]: row["TxnStatus"] for row in world.rows("Estimate")}
    assert (statuses["T-o-1"], statuses["Q-q-1"]) == ("Rejected", "Rejected")


def test_an_amended_order_updates_its_estimate(world: World) -> None:
    """The new lines replace the old ones in the same document, to the penny."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    amended = content("T-o-1", "c-1", [("p-1", 5_000, 33_300)])
    world.put(OrderAmended("o-1", amended), origin=Origin.WEB)
    assert run(world).updated == 1
    assert world.per_marker() == {"o:o-1": 1}
    (row,) = [row for row in world.rows("Estimate") if row["DocNumber"] == "T-o-1"]
    assert Decimal(str(row["TotalAmt"])) == Decimal("16.65")
    assert world.seen("order", "o-1")["answers"]["quickbooks"]["total_minor"] == 1_665


def test_several_edits_before_a_send_are_one_call(world: World) -> None:
    """What was amended three times while queued is created once, as it is now."""
    watches = watch(world)
    basics(world)
    world.put(order("o-1"))
    for qty in (2_000, 3_000, 4_000):
        queue_of(world)
        amended = content("T-o-1", "c-1", [("p-1", qty, 10_000)])
        world.put(OrderAmended("o-1", amended), origin=Origin.WEB)
    run(world)
    assert watches[-1].writes() == ["customer", "item", "estimate"]
    (row,) = [row for row in world.rows("Estimate") if row["DocNumber"] == "T-o-1"]
    assert Decimal(str(row["TotalAmt"])) == Decimal("4.00")


def test_a_linked_customer_follows_edits_made_here(world: World) -> None:
    """An edit of a customer that stands there is a sparse update of it."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    fields = CustomerFields(phone="+49 30 1234", address=Address(city="Berlin"))
    world.put(CustomerChanged("c-1", fields))
    assert run(world).updated == 1
    (row,) = [row for row in world.rows("Customer") if row["DisplayName"] == "Blauer See"]
    assert row["PrimaryPhone"]["FreeFormNumber"] == "+49 30 1234"
    assert row["BillAddr"]["City"] == "Berlin"
    assert "[rp:c:c-1:" in row["Notes"]


def test_an_order_for_a_customer_the_office_deleted_is_sent(world: World) -> None:
    """What was sold is accounted for, though the customer was removed here since."""
    basics(world)
    world.put(order("o-1"))
    world.put(CustomerDeleted("c-1"), origin=Origin.WEB)
    run(world)
    assert world.per_marker() == {"o:o-1": 1}


def test_an_order_waits_for_a_customer_that_is_not_known_yet(world: World) -> None:
    """It is sent as soon as the customer's device has synced; unrelated orders go on."""
    world.put(customer("c-2"), product("p-1"), order("o-1"), order("o-2", "c-2"))
    report = run(world)
    assert world.per_marker() == {"o:o-2": 1}
    assert report.waiting == 1
    (row,) = queue_of(world)
    assert (row.local_id, row.state) == ("o-1", "waiting_on")
    world.put(customer("c-1"))
    run(world)
    assert world.per_marker() == {"o:o-1": 1, "o:o-2": 1}


def test_a_currency_the_company_does_not_keep_is_said_before_any_call(world: World) -> None:
    """The order is held with cause and fix, on top of the queue, and said to its author (QB-21)."""
    basics(world)
    world.put(order("o-1", currency="GBP"), order("o-2"))
    report = run(world)
    assert world.per_marker() == {"o:o-2": 1}
    assert report.failed == 1
    row = queue_of(world)[0]
    assert (row.local_id, row.state) == ("o-1", "needs_you")
    assert "multicurrency" in row.reason
    answer = world.seen("order", "o-1")["answers"]["quickbooks"]
    assert (answer["state"], answer["code"]) == ("parked", "currency")
    assert answer["fix"]
    run(world)
    parked = [kind for kind, _ in world.answers if kind == "order.parked"]
    assert parked == ["order.parked"]


def test_an_existing_customer_with_the_same_mail_is_linked(world: World) -> None:
    """A refused name is looked up, and more than the name agrees: linked at once (§2.6)."""
    world.put(customer("c-1", "Harbour Deli", email="orders@harbourdeli.example"))
    world.put(product("p-1"), order("o-1"))
    run(world)
    assert world.per_marker() == {"o:o-1": 1}
    assert world.seen("customer", "c-1")["links"] == {"quickbooks": "1"}


def test_a_name_alone_links_nobody_and_gets_a_suffix_after_three_tries(world: World) -> None:
    """Three unchanged cycles, then one logged correction, and the order goes (QB-23, QB-24)."""
    run(world)  # connected: names that clash later are not for review
    world.put(customer("c-1", "Harbour Deli"), product("p-1"), order("o-1"))
    for cycle in (1, 2, 3):
        report = run(world)
        assert report.failed == 1
        top = queue_of(world)[0]
        assert (top.local_id, top.attempts) == ("c-1", cycle)
    assert top.state == "autofixing"
    run(world)
    assert world.per_marker() == {"o:o-1": 1}
    names = [row["DisplayName"] for row in world.rows("Customer")]
    assert names.count("Harbour Deli") == 1
    assert "Harbour Deli (2)" in names


def test_an_outage_uses_up_no_cycle(world: World) -> None:
    """Server errors and throttling leave the count of tries alone (QB-22)."""
    basics(world)
    world.put(order("o-1"))
    for _ in range(4):
        world.sandbox.plan.add(FaultRule(kind="status", match="/customer", status=503, count=99))
        run(world)
        rows = {row.local_id: row for row in queue_of(world)}
        assert rows["c-1"].attempts == 0
        world.sandbox.plan.rules.clear()
        world.clock.ms += 7_200_000
    run(world)
    assert world.per_marker() == {"o:o-1": 1}


@pytest.mark.parametrize("form", ["json429", "xml429", "xml403"])
def test_throttling_pauses_the_company_in_every_format(tmp_path: Path, form: Any) -> None:
    """A 429, in JSON or XML or as a 403, stops the run; a minute later it goes on."""
    world = World(tmp_path, switches=Switches(throttle=True, throttle_format=form))
    world.environ |= {"QBO_REQUESTS_PER_S": "1000", "QBO_REQUESTS_PER_MIN": "100000"}
    try:
        world.put(customer("c-1"), product("p-1"))
        world.put(*[order(f"o-{at}") for at in range(30)])
        report = run(world)
        assert any("fewer requests" in text for text in report.errors)
        for _ in range(8):
            world.clock.ms += 61_000
            run(world)
        assert set(world.per_marker().values()) == {1}
        assert len(world.per_marker()) == 30
    finally:
        world.close()


def test_an_expired_access_token_is_renewed_without_a_second_document(world: World) -> None:
    """A 401 in the middle is one refresh and one resend of the same request."""
    basics(world)
    run(world)
    do(world, "tokens", {"do": "expire_access"})
    world.put(order("o-1"))
    report = run(world)
    assert report.errors == ()
    assert world.per_marker() == {"o:o-1": 1}


def test_a_connection_that_ended_keeps_the_queue(tmp_path: Path) -> None:
    """invalid_grant says reconnect; orders keep queueing (§1.2)."""
    world = World(tmp_path)
    try:
        basics(world)
        run(world)
        world.environ |= {"QBO_PROFILE": "intuit-sandbox", "QBO_ALLOW_FOREIGN_BASE": "1"}
        world.environ |= {"QBO_CLIENT_ID": "sandbox-client", "QBO_CLIENT_SECRET": "sandbox-secret"}
        base = world.environ["QBO_API_BASE"]
        world.environ |= {
            "QBO_TOKEN_URL": f"{base}/oauth2/v1/tokens/bearer",
            "QBO_REVOKE_URL": f"{base}/v2/oauth2/tokens/revoke",
            "QBO_AUTHORIZE_URL": f"{base}/connect/oauth2",
        }
        do(world, "tokens", {"do": "revoke"})
        world.put(order("o-1"))
        report = run(world)
        assert any("permission" in text for text in report.errors)
        assert len(queue_of(world)) == 3

        async def status() -> Any:
            sink = world.make_sink()
            await sink.start()
            try:
                return await sink.status(ACCOUNT)
            finally:
                await sink.stop()

        assert asyncio.run(status()).state == "reconnect_needed"
    finally:
        world.close()


def test_a_lost_ledger_is_rebuilt_from_the_markers(world: World, tmp_path: Path) -> None:
    """With an empty ledger and documents that never got their answer, nothing is made twice."""
    basics(world)
    world.put(order("o-1"), quote("q-1"))
    run(world)
    fresh = World(tmp_path / "other", app=world.app, clock=world.clock)
    try:
        # The same log, of which no answer of the sink survived.
        basics(fresh)
        fresh.put(order("o-1"), quote("q-1"))
        report = run(fresh)
        assert report.created == 0
        assert world.per_marker() == {"o:o-1": 1, "q:q-1": 1}
        assert fresh.seen("order", "o-1")["answers"]["quickbooks"]["state"] == "estimated"
    finally:
        fresh.close()


def test_a_lost_ledger_takes_its_links_from_the_documents(world: World, tmp_path: Path) -> None:
    """Replaying a log that holds the answers creates nothing (pitfalls P46)."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    fresh = World(tmp_path / "other", app=world.app, clock=world.clock)
    try:
        fresh.documents, fresh.positions = world.documents, world.positions
        fresh.position = world.position
        fresh.save(set(fresh.documents))
        watches = watch(fresh)
        run(fresh)
        assert watches[0].writes() == []
        assert world.per_marker() == {"o:o-1": 1}
    finally:
        fresh.close()


def test_an_edit_there_and_an_edit_here_wait_for_somebody(world: World) -> None:
    """The office's change is never overwritten by ours (5010, §1.5)."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    external = world.seen("order", "o-1")["answers"]["quickbooks"]["external_id"]
    changes = {"TxnDate": "2026-11-21"}
    do(world, "edit", {"entity": "Estimate", "id": external, "changes": changes})
    amended = content("T-o-1", "c-1", [("p-1", 9_000, 10_000)])
    world.put(OrderAmended("o-1", amended), origin=Origin.WEB)
    run(world)
    (row,) = queue_of(world)
    assert row.state == "needs_you"
    (estimate,) = [row for row in world.rows("Estimate") if row["Id"] == external]
    assert estimate["TxnDate"] == "2026-11-21"


def test_an_edit_there_of_what_is_not_ours_does_not_stop_an_update(world: World) -> None:
    """A stale token over fields we do not own is taken up and the update goes at once."""
    basics(world)
    world.put(order("o-1"))
    run(world)
    external = world.seen("order", "o-1")["answers"]["quickbooks"]["external_id"]
    changes = {"ExpirationDate": "2027-01-31"}
    do(world, "edit", {"entity": "Estimate", "id": external, "changes": changes})
    amended = content("T-o-1", "c-1", [("p-1", 9_000, 10_000)])
    world.put(OrderAmended("o-1", amended), origin=Origin.WEB)
    assert run(world).updated == 1
    (estimate,) = [row for row in world.rows("Estimate") if row["Id"] == external]
    assert Decimal(str(estimate["TotalAmt"])) == Decimal("9.00")
    assert estimate["ExpirationDate"] == "2027-01-31"


def test_two_hundred_orders_take_less_than_thirty_seconds(tmp_path: Path) -> None:
    """Pacing leaves room for it inside the company's allowance, by the told clock (QB-08)."""
    world = World(tmp_path, switches=Switches(throttle=True))
    try:
        run(world)  # connected, preferences known
        watches = watch(world)
        world.put(*[customer(f"c-{at}") for at in range(5)], product("p-1"))
        world.put(*[order(f"o-{at}", f"c-{at % 5}") for at in range(200)])
        world.clock.ms += 60_000
        started = world.clock.ms
        report = run(world)
        assert report.errors == ()
        assert len(world.per_marker()) == 200
        assert set(world.per_marker().values()) == {1}
        assert watches[0].writes().count("estimate") == 200
        # Four calls at once hide 200 ms each behind eight calls a second; the pace is the bound.
        assert world.clock.ms - started < 30_000
    finally:
        world.close()


def test_how_far_a_run_has_come_only_grows(world: World) -> None:
    """Whoever watches a run sees the rows that it was to send and how many of them were, one by
    one; a run that is over has no progress (SYN-14)."""
    world.put(customer("c-1"), product("p-1"), *(order(f"o-{n}") for n in range(6)))

    async def watch() -> list[tuple[str, int, int]]:
        sink = world.make_sink()
        await sink.start()
        seen: list[tuple[str, int, int]] = []
        try:
            assert await sink.progress(ACCOUNT) is None
            pushing = asyncio.create_task(sink.run(ACCOUNT, "test"))
            while not pushing.done():
                found = await sink.progress(ACCOUNT)
                if found is not None:
                    seen.append((found.doing, found.done, found.total))
                await asyncio.sleep(0)
            assert (await pushing).waiting == 0
            assert await sink.progress(ACCOUNT) is None
        finally:
            await sink.stop()
        return seen

    seen = asyncio.run(watch())
    sending = [(done, total) for doing, done, total in seen if doing == "Sending"]
    assert sending == sorted(sending)
    assert all(done <= total for done, total in sending)
    assert len({done for done, _ in sending}) > 2
    assert sending[-1] == (8, 8)
    assert seen[-1] == ("Fetching what changed", 8, 8)
