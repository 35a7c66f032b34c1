"""The base: documents, totals and sold quantities move together and can be folded twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.crdt.documents import DocKey
from replica.device.base import Base
from replica.device.holding import Holding
from replica.events.payloads import (
    Content,
    CustomerChanged,
    CustomerFields,
    OrderAmended,
    OrderCancelled,
    ReturnCommitted,
    SealedLine,
    StockCounted,
)
from tests.device.desk import Office, customer, opened, order


@pytest.fixture
def holding(tmp_path: Path) -> Holding:
    return opened(tmp_path / "journal.db")


def goods(*lines: tuple[str, int]) -> Content:
    """A content of whole units at no price."""
    sealed = tuple(
        SealedLine(f"l-{at}", product, qty, 0) for at, (product, qty) in enumerate(lines)
    )
    return Content("N-1", "c-1", "EUR", "2024-02-29", 0, sealed)


def test_stock_follows_what_becomes_of_an_order(holding: Holding) -> None:
    """Sealed, amended to other goods, cancelled: each step gives back what it took (CON-09)."""
    office = Office()

    def on_hand() -> tuple[int, int]:
        office.level(holding)
        return holding.on_hand_e3("p-1"), holding.on_hand_e3("p-2")

    office.write(StockCounted("p-1", 10), StockCounted("p-2", 10), order(1, 4))
    assert on_hand() == (6, 10)
    office.write(OrderAmended("o-1", goods(("p-2", 3), ("p-2", 1))))
    assert on_hand() == (10, 6)
    office.write(ReturnCommitted(return_="r-1", content=goods(("p-2", -2))))
    assert on_hand() == (10, 8)
    office.write(OrderCancelled("o-1"))
    assert on_hand() == (10, 12)
    office.write(StockCounted("p-2", 5))
    assert on_hand() == (10, 5)
    holding.close()


def test_folding_twice_changes_nothing(holding: Holding) -> None:
    """A page that comes again leaves no change to store (I-3)."""
    office = Office()
    office.write(customer(1), order(1), StockCounted("p-1", 5))
    office.level(holding)
    change = holding.base.fold(office.records())
    assert (change.states, change.sales, change.sales_gone) == ({}, [], [])
    holding.close()


def test_change_that_was_not_stored_leaves_no_trace(holding: Holding) -> None:
    """Folding moves nothing by itself: a failed commit leaves the base as it was (I-9)."""
    office = Office()
    office.write(customer(1))
    office.level(holding)
    before = holding.base.sections()
    office.write(CustomerChanged("c-1", CustomerFields(name="Bo")))
    change = holding.base.fold(office.records())
    assert change.states
    assert holding.base.sections() == before
    assert Base(holding.journal).sections() == before
    again = holding.base.fold(office.records())
    assert again.states == change.states
    holding.close()


def test_documents_are_copies(holding: Holding) -> None:
    """Who folds into a document it was given does not change the base."""
    office = Office()
    office.write(customer(1))
    office.level(holding)
    key = DocKey("customer", "c-1")
    document = holding.base.document(key)
    assert document is not None
    document.facts.clear()
    again = holding.base.document(key)
    assert again is not None
    assert again.facts
    holding.close()
