"""What a sale takes from the shelf, and what an event builds on."""

from __future__ import annotations

from hypothesis import given

from replica.crdt.documents import DocKey
from replica.crdt.order import effective
from replica.device.sales import NO_SALE, builds_on, sale
from replica.events.payloads import OrderDrafted, OrderFields, PaymentRecorded, StockMoved
from replica.events.record import Record
from tests.crdt.samples import folded, record_sets
from tests.device.desk import customer, order


def test_the_document_itself_comes_first() -> None:
    """An edit builds on what was said of its document before."""
    assert next(iter(builds_on(customer(1)))) == DocKey("customer", "c-1")
    assert next(iter(builds_on(StockMoved("p-1", 1)))) == DocKey("stock", "p-1")


def test_everything_an_order_mentions() -> None:
    """Customer before products, in sealed and in drafted orders (P27)."""
    sealed = list(builds_on(order(1)))
    assert sealed == [DocKey("order", "o-1"), *sealed[1:]]
    assert sealed.index(DocKey("customer", "c-1")) < sealed.index(DocKey("product", "p-1"))
    drafted = OrderDrafted("o-1", OrderFields(customer="c-2"))
    assert DocKey("customer", "c-2") in builds_on(drafted)


def test_empty_mentions_are_none() -> None:
    """A payment without an order mentions no order."""
    mentioned = list(builds_on(PaymentRecorded("y-1", "", "c-1", "cash", 5, "EUR")))
    assert DocKey("customer", "c-1") in mentioned
    assert all(key.id for key in mentioned)


SEALS = ["order.committed", "order.amended", "order.cancelled", "order.corrected"]


@given(record_sets(SEALS))
def test_an_order_takes_what_it_says_in_the_end(records: list[Record]) -> None:
    """Whatever was sealed, amended, cancelled and corrected, the quantities are those of the
    content that counts, from the time of the seal on (OFF-13)."""
    for document in folded(records).values():
        sealed = effective(document)
        taken = sale(document)
        if sealed is None or sealed.cancelled:
            assert taken == NO_SALE
            continue
        assert taken.tag == sealed.seal.tag
        assert sum(taken.quantities_e3.values()) == sum(one.qty_e3 for one in sealed.content.lines)
        assert taken.quantities_e3.keys() == {one.product for one in sealed.content.lines}
