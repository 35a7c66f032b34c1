"""What others change there becomes a visible state here, never silent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.values import write_json
from tests.qbo_sink.test_push import basics, do
from tests.qbo_sink.world import World, order, quote


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    basics(made)
    made.put(order("o-1"), quote("q-1"))
    asyncio.run(made.run())
    yield made
    made.close()


def answer(world: World, kind: str = "order", identity: str = "o-1") -> dict[str, Any]:
    found: dict[str, Any] = world.seen(kind, identity)["answers"]["quickbooks"]
    return found


def convert(world: World, external_id: str) -> str:
    """The office converts an estimate to an invoice; gives its id."""
    sandbox = world.sandbox
    company = sandbox.books.company(sandbox.settings.realm)
    estimate = sandbox.books.live(company.realm, "Estimate", external_id).body
    lines = [line for line in estimate["Line"] if line["DetailType"] == "SalesItemLineDetail"]
    body = {
        "CustomerRef": estimate["CustomerRef"],
        "DocNumber": "INV-1",
        "Line": [{k: v for k, v in line.items() if k != "Id"} for line in lines],
        "LinkedTxn": [{"TxnId": external_id, "TxnType": "Estimate"}],
    }
    with sandbox.books.atomic():
        written = sandbox.writer(company).save(ENTITIES["Invoice"], body, write_json(body))
    return str(written.reply["Id"])


def test_an_edit_there_is_said_with_what_changed(world: World) -> None:
    """The order says that its estimate was changed, before and after, until it stands again."""
    estimate = answer(world)["external_id"]
    changes = {"entity": "Estimate", "id": estimate, "changes": {"TxnDate": "2026-11-21"}}
    do(world, "edit", changes)
    asyncio.run(world.run())
    there = answer(world)["there"]
    assert there["state"] == "changed"
    assert "date 2026-11-20 is now 2026-11-21" in there["cause"]
    assert "Reconcile" in there["fix"]
    assert answer(world)["external_id"] == estimate
    do(world, "edit", {**changes, "changes": {"TxnDate": "2026-11-20"}})
    asyncio.run(world.run(times=2))
    assert answer(world)["there"]["state"] == "standing"
    followed = [kind for kind, _ in world.answers if kind == "order.followed"]
    assert len(followed) == 2, "each change is said once"


@pytest.mark.parametrize(("kind", "identity"), [("order", "o-1"), ("quote", "q-1")])
def test_a_deletion_there_is_said_and_nothing_is_made_again(
    world: World, kind: str, identity: str
) -> None:
    """The document says that its estimate is gone; somebody decides (§2.5)."""
    external = answer(world, kind, identity)["external_id"]
    do(world, "delete", {"entity": "Estimate", "id": external})
    asyncio.run(world.run(times=2))
    there = answer(world, kind, identity)["there"]
    assert there["state"] == "deleted"
    assert "Send it again" in there["fix"]
    assert f"{kind[0]}:{identity}" not in world.per_marker()


@pytest.mark.parametrize("status", ["unchanged", "Closed", "Converted"])
def test_a_conversion_there_is_shown_as_invoiced_with_its_number(world: World, status: str) -> None:
    """Whatever QuickBooks makes of the status, the order is invoiced with a link (QB-05)."""
    do(world, "switches", {"estimate_status_after_invoice": status})
    invoice = convert(world, answer(world)["external_id"])
    asyncio.run(world.run())
    there = answer(world)["there"]
    assert (there["state"], there["document"], there["number"]) == ("invoiced", invoice, "INV-1")
    do(world, "delete", {"entity": "Invoice", "id": invoice})
    asyncio.run(world.run())
    state = answer(world)["there"]["state"]
    assert state == ("standing" if status == "unchanged" else state)
