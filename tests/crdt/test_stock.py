"""Stock: movements add up, whoever made them and in whatever order they come."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from replica.crdt.documents import DocKey, Document
from replica.crdt.stock import on_hand_e3
from replica.events import payloads as p
from replica.events.record import Record
from tests.crdt.samples import Writer, folded, seen


def stock(records: list[Record]) -> Document | None:
    return folded(records).get(DocKey("stock", "p1"))


def test_two_offline_devices_add_up() -> None:
    """Ten on the shelf, three and four taken by two devices, leave three (CON-09)."""
    first, second = Writer(1), Writer(2)
    records = [
        first.says(p.StockCounted("p1", 10_000), 1),
        first.says(p.StockMoved("p1", -3_000), 2),
        second.says(p.StockMoved("p1", -4_000), 2),
    ]
    assert on_hand_e3(stock(records), ()) == 3_000
    assert seen(records, "stock", "p1")["before_sales_e3"] == 3_000


def test_sales_after_the_count_go_down_and_returns_go_up() -> None:
    """Sealed orders reduce stock from the stock-take on, returns give it back (OFF-13)."""
    counted = Writer(1).says(p.StockCounted("p1", 10_000), 100)
    sold = [(Writer(2).says(p.StockCounted("p1", 0), ms).tag, qty) for ms, qty in SALES]
    assert on_hand_e3(stock([counted]), sold) == 10_000 - 3_000 + 1_000


SALES = [(50, 7_000), (150, 3_000), (160, -1_000)]


def test_a_product_nobody_counted_starts_at_zero() -> None:
    """Without a stock-take every sale counts, and stock may be below zero (pitfalls P28)."""
    assert on_hand_e3(None, [(b"tag", 2_000)]) == -2_000
    assert on_hand_e3(stock([Writer(1).says(p.StockMoved("p1", 5_000), 1)]), ()) == 5_000


def test_an_older_count_is_listed() -> None:
    """The count that a newer stock-take overrode is told (CON-10)."""
    records = [Writer(n).says(p.StockCounted("p1", n * 1_000), n) for n in (2, 1)]
    found = seen(records, "stock", "p1")
    assert (found["counted_e3"], [loser["value"] for loser in found["losers"]]) == (2_000, [1_000])


@given(
    steps=st.lists(st.tuples(st.booleans(), st.integers(-9, 9), st.integers(0, 6)), max_size=12),
    data=st.data(),
)
def test_stock_is_the_newest_count_and_what_followed(
    steps: list[tuple[bool, int, int]], data: st.DataObject
) -> None:
    """On hand equals a plain sum over the records sorted by tag (CON-09)."""
    writer = Writer(1)
    records = [
        writer.says(p.StockCounted("p1", qty) if counted else p.StockMoved("p1", qty), ms)
        for counted, qty, ms in steps
    ]
    expected = 0
    for record in sorted(records, key=lambda record: record.tag):
        counted, qty, _ = steps[records.index(record)]
        expected = qty if counted else expected + qty
    assert on_hand_e3(stock(data.draw(st.permutations(records))), ()) == expected
