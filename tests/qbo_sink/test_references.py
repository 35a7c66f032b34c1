"""Corrections of references, amounts and tax codes: closed, logged, and never money or party."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from qbo_sink import corrections
from qbo_sink.model import Entity
from qbo_sink.queue_store import QueueStore
from tests.qbo_sink.test_push import do
from tests.qbo_sink.test_twoway import create, later, link
from tests.qbo_sink.world import ACCOUNT, World, customer, order, product


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    made.put(customer("c-1", "Blauer See"), product("p-1", "Chai", sku="CHAI"), order("o-1"))
    asyncio.run(made.run())
    later(made)
    yield made
    made.close()


def test_an_item_that_was_replaced_there_is_found_by_its_sku(world: World) -> None:
    """After three unchanged tries the link moves to the active item of the same SKU, the estimate
    names it, and the correction is logged with before and after (§2.6, QB-24)."""
    old = link(world, "product", "p-1")
    do(world, "edit", {"entity": "Item", "id": old, "changes": {"Sku": "CHAI-OLD"}})
    asyncio.run(world.run())
    do(world, "inactivate", {"entity": "Item", "id": old})
    new = create(
        world,
        "Item",
        Name="Chai, new recipe",
        Sku="CHAI-OLD",
        Type="NonInventory",
        IncomeAccountRef={"value": "79"},
    )
    world.put(order("o-2"))
    asyncio.run(world.run(times=4))
    assert world.per_marker()["o:o-2"] == 1
    (made,) = [row for row in world.rows("Estimate") if row.get("DocNumber") == "T-o-2"]
    assert made["Line"][0]["SalesItemLineDetail"]["ItemRef"]["value"] == new
    assert Decimal(str(made["TotalAmt"])) == Decimal(5)
    (logged,) = QueueStore(world.ledger.write).corrections(ACCOUNT)
    assert logged.rule == "fresh_references"
    assert (f'"value":"{old}"' in logged.before, f'"value":"{new}"' in logged.after) == (True, True)


def test_nothing_else_is_put_in_the_place_of_what_is_gone(world: World) -> None:
    """Without an item of the same SKU or name the row is parked for somebody (§2.6)."""
    do(world, "inactivate", {"entity": "Item", "id": link(world, "product", "p-1")})
    world.put(order("o-2"))
    asyncio.run(world.run(times=5))
    assert "o:o-2" not in world.per_marker()
    assert world.seen("order", "o-2")["answers"]["quickbooks"]["state"] == "parked"


def test_an_amount_is_moved_by_a_cent_at_most() -> None:
    """Quantity times price rounded half up, where the amount is a cent away; else it stays."""
    detail = {"Qty": Decimal("128.35"), "UnitPrice": Decimal("14.5")}
    body = {
        "Line": [
            {"Amount": Decimal("1861.07"), "SalesItemLineDetail": detail},
            {"Amount": Decimal("1861.00"), "SalesItemLineDetail": detail},
            {"Amount": Decimal(3), "DiscountLineDetail": {}},
        ]
    }
    corrected = corrections.apply(body, "exact_amounts")
    assert [line["Amount"] for line in corrected["Line"]] == [
        Decimal("1861.08"),
        Decimal("1861.00"),
        Decimal(3),
    ]


def test_tax_codes_are_put_anew_only_where_there_are_two() -> None:
    """A US line has TAX or NON; elsewhere no rate is ever chosen."""
    line = {"SalesItemLineDetail": {"TaxCodeRef": {"value": "5"}}}
    us = corrections.apply({"Line": [line]}, corrections.TAX_CODES_AGAIN)
    assert us["Line"][0]["SalesItemLineDetail"]["TaxCodeRef"] == {"value": "NON"}
    body = {"GlobalTaxCalculation": "TaxExcluded", "Line": [line]}
    assert corrections.apply(body, corrections.TAX_CODES_AGAIN) == body


@pytest.mark.parametrize(
    ("code", "family", "rule"),
    [
        ("2500", "", "fresh_references"),
        ("610", "", "fresh_references"),
        ("6000", "inactive", "fresh_references"),
        ("6070", "", "exact_amounts"),
        ("6000", "tax", "tax_codes_again"),
    ],
)
def test_each_of_these_faults_has_its_one_correction(code: str, family: str, rule: str) -> None:
    """The catalogue is closed: a fault names at most one rule."""
    assert corrections.rule_for(code, family, Entity.ESTIMATE) == rule
