"""Orders as invoices: converted here, made at once, sent to the customer, changed and cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from qbo_sink.sandbox import Switches
from qbo_sink.sandbox.injection import FaultRule
from replica.events.payloads import OrderAmended, OrderCancelled
from replica.events.record import Origin
from replica.sink import Deed, Offer, Refusal
from tests.qbo_sink.test_pull import answer, convert
from tests.qbo_sink.test_push import basics, do, queue_of, run
from tests.qbo_sink.world import ACCOUNT, ENVIRON, World, content, customer, order, quote


@pytest.fixture(params=["unchanged", "Closed", "Converted"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """An order and a quote that stand there, whatever the company makes of a converted estimate."""
    switches = Switches(throttle=False, estimate_status_after_invoice=request.param)
    made = World(tmp_path, switches=switches)
    basics(made)
    made.put(customer("c-2", "Roter See", email="red@side.example"))
    made.put(order("o-1"), order("o-2", "c-2"), quote("q-1"))
    run(made)
    yield made
    made.close()


def act(world: World, action: str, identity: str = "o-1", text: str = "") -> None:
    """A command about an order, given beside the server."""

    async def give() -> None:
        sink = world.make_sink()
        await sink.start()
        try:
            await sink.act(ACCOUNT, f"order:{identity}", action, Deed("Ana", text))
        finally:
            await sink.stop()

    asyncio.run(give())


def offers(world: World, identity: str = "o-1", kind: str = "order") -> list[Offer]:
    async def ask() -> list[Offer]:
        sink = world.make_sink()
        await sink.start()
        try:
            return list(await sink.offers(ACCOUNT, kind, identity))
        finally:
            await sink.stop()

    return asyncio.run(ask())


def there(world: World, identity: str = "o-1") -> dict[str, Any]:
    found: dict[str, Any] = answer(world, identity=identity)["there"]
    return found


def amended(identity: str = "o-1", qty_e3: int = 7_000) -> OrderAmended:
    return OrderAmended(identity, content(f"T-{identity}", "c-1", [("p-1", qty_e3, 25_000)]))


def test_an_order_is_converted_here_and_its_invoice_sent(world: World) -> None:
    """Convert makes one invoice of the estimate with its lines, ties and closes it, and the order
    says invoiced with the number; sending mails it once (QB-05)."""
    assert [one.name for one in offers(world, "o-2")] == ["convert"]
    assert offers(world, "q-1", "quote") == []
    act(world, "convert", "o-2")
    (row,) = queue_of(world)
    assert (row.entity, row.becomes) == ("Invoice", "new, made of its estimate")
    assert world.rows("Invoice") == [] or all(
        "[rp:o:o-2" not in str(one.get("PrivateNote")) for one in world.rows("Invoice")
    )
    assert run(world).errors == ()
    invoice, estimate = ours(world, "o-2")
    assert invoice["LinkedTxn"] == [{"TxnId": estimate["Id"], "TxnType": "Estimate"}]
    assert estimate["TxnStatus"] in ("Closed", "Converted")
    assert Decimal(str(invoice["TotalAmt"])) == Decimal(str(estimate["TotalAmt"]))
    said = there(world, "o-2")
    assert (said["state"], said["document"]) == ("invoiced", invoice["Id"])
    assert said["number"] == invoice.get("DocNumber", "")
    assert answer(world, identity="o-2")["external_id"] == estimate["Id"]
    with pytest.raises(Refusal, match="invoiced already"):
        act(world, "convert", "o-2")
    (send,) = offers(world, "o-2")
    assert (send.name, send.value) == ("deliver", "red@side.example")
    with pytest.raises(Refusal, match="no e-mail address"):
        act(world, "deliver", "o-2", "nobody")
    act(world, "deliver", "o-2", "green@side.example")
    assert run(world).errors == ()
    assert ours(world, "o-2")[0]["EmailStatus"] == "EmailSent"
    assert "sent to green@side.example" in there(world, "o-2")["cause"]
    assert offers(world, "o-2") == []
    assert queue_of(world) == []


def ours(world: World, identity: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The one invoice and the one estimate of an order."""
    found = []
    for entity in ("Invoice", "Estimate"):
        (row,) = [
            one
            for one in world.rows(entity)
            if f"[rp:o:{identity}:" in str(one.get("PrivateNote", ""))
        ]
        found.append(row)
    return found[0], found[1]


def test_changes_after_the_conversion_are_never_silent(world: World) -> None:
    """An amendment of an invoiced order changes the invoice; one whose invoice is paid, and a
    cancellation, wait for somebody with the reason, until the invoice is gone there (QB-05)."""
    act(world, "convert")
    run(world)
    world.put(amended(), origin=Origin.WEB)
    (row,) = queue_of(world)
    assert (row.entity, row.becomes) == ("Invoice", "changed")
    run(world)
    invoice, estimate = ours(world, "o-1")
    assert (Decimal(str(invoice["TotalAmt"])), estimate["TotalAmt"]) == (Decimal("17.5"), 5)
    assert there(world)["state"] == "invoiced"
    world.put(OrderCancelled("o-1", "changed their mind"))
    report = run(world)
    assert "stands in QuickBooks as an invoice" in report.errors[0]
    (row,) = queue_of(world)
    assert (row.state, row.code) == ("needs_you", "invoice_stands")
    do(world, "delete", {"entity": "Invoice", "id": invoice["Id"]})
    run(world)
    assert queue_of(world) == []
    assert "was deleted" in there(world)["cause"]


def test_what_the_office_invoiced_is_left_alone(world: World) -> None:
    """An amendment of an order that the office converted waits with the reason, nothing is sent
    over it; converting it here is refused, also when both do it at once (QB-05)."""
    invoice = convert(world, answer(world)["external_id"])
    act(world, "convert")  # the office was faster, and nothing here knows yet
    run(world)
    assert there(world)["document"] == invoice
    assert there(world)["number"] == "INV-1"
    assert queue_of(world) == []
    with pytest.raises(Refusal, match="invoiced already"):
        act(world, "convert")
    world.put(amended(), origin=Origin.WEB)
    run(world)
    (row,) = queue_of(world)
    assert (row.state, row.code) == ("needs_you", "invoiced_there")
    (kept,) = [one for one in world.rows("Invoice") if one["Id"] == invoice]
    assert kept["TotalAmt"] == 5


def test_an_invoice_that_was_deleted_there_is_made_again_on_demand(world: World) -> None:
    """The order says that its invoice is gone; one more is made when somebody says so (QB-05)."""
    act(world, "convert")
    run(world)
    first = ours(world, "o-1")[0]["Id"]
    do(world, "delete", {"entity": "Invoice", "id": first})
    run(world)
    assert there(world)["state"] == "deleted"
    assert [one.name for one in offers(world)] == ["invoice_again"]
    act(world, "invoice_again")
    assert run(world).errors == ()
    second = ours(world, "o-1")[0]["Id"]
    assert second != first
    assert there(world)["document"] == second


def test_new_defaults_count_for_new_orders_only(tmp_path: Path) -> None:
    """After the account chose invoices, what waits and what stands there stays what it was meant
    as, amendments too; a new order becomes an invoice, once, and says so (QB-04)."""
    world = World(tmp_path)
    basics(world)
    world.put(order("o-1"))
    run(world)
    world.put(order("o-2"))
    queue_of(world)  # taken into the queue as an estimate
    world.environ |= {"QBO_ORDER_STATUS": "Invoice", "QBO_QUOTE_STATUS": "Accepted"}
    world.put(order("o-3"), quote("q-1"), amended())
    rows = {row.local_id: (row.entity, row.becomes) for row in queue_of(world)}
    assert rows == {
        "o-1": ("Estimate", "changed"),
        "o-2": ("Estimate", "new, Accepted"),
        "o-3": ("Invoice", "new"),
        "q-1": ("Estimate", "new, Accepted"),
    }
    world.sandbox.plan.add(FaultRule(kind="drop_after", match="/invoice"))
    run(world)
    run(world)
    (invoice,) = [one for one in world.rows("Invoice") if "[rp:o:o-3" in str(one["PrivateNote"])]
    assert there(world, "o-3")["document"] == answer(world, identity="o-3")["external_id"]
    assert answer(world, identity="o-3")["external_id"] == invoice["Id"]
    assert "LinkedTxn" not in invoice or not invoice["LinkedTxn"]
    assert world.per_marker() == {"o:o-1": 1, "o:o-2": 1, "q:q-1": 1}
    world.environ["QBO_ORDER_STATUS"] = "Pending"
    world.put(amended(), amended("o-3"), origin=Origin.WEB)
    run(world)
    assert {row["TxnStatus"] for row in world.rows("Estimate") if "[rp:o" in str(row)} == {
        "Accepted"
    }
    (invoice,) = [one for one in world.rows("Invoice") if "[rp:o:o-3" in str(one["PrivateNote"])]
    assert invoice["TotalAmt"] == Decimal("17.5")
    world.close()


@pytest.mark.parametrize("answers_kept", [True, False])
def test_a_lost_ledger_makes_no_second_invoice(tmp_path: Path, *, answers_kept: bool) -> None:
    """With an empty ledger the sink knows invoices again by what the orders say, or by the markers
    alone: no invoice is made twice, none of them becomes an estimate (§2.2 layer 4)."""
    world = World(tmp_path / "one", environ={**ENVIRON, "QBO_ORDER_STATUS": "Invoice"})
    basics(world)
    world.put(order("o-1"))
    run(world)
    world.environ["QBO_ORDER_STATUS"] = "Accepted"
    world.put(order("o-2"))
    run(world)
    act(world, "convert", "o-2")
    run(world)
    fresh = World(tmp_path / "two", app=world.app, clock=world.clock)
    if answers_kept:
        fresh.documents, fresh.positions = world.documents, world.positions
        fresh.position = world.position
        fresh.save(set(fresh.documents))
    else:
        basics(fresh)
        fresh.put(order("o-1"), order("o-2"))
    for _ in range(2):
        assert run(fresh).created == 0
    notes = [str(one.get("PrivateNote", "")) for one in world.rows("Invoice")]
    assert [sum(f"[rp:o:{one}:" in note for note in notes) for one in ("o-1", "o-2")] == [1, 1]
    assert world.per_marker() == {"o:o-2": 1}
    assert {there(fresh, one)["state"] for one in ("o-1", "o-2")} == {"invoiced"}
    with pytest.raises(Refusal, match="invoiced already"):
        act(fresh, "convert", "o-2")
    fresh.close()
    world.close()
