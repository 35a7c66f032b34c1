"""What a device holds: a pure function of scope and documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.scope import Facet, Place, Scope, facet
from replica.crdt.twins import twin_found, twin_id
from replica.events import payloads as p
from replica.events.record import Origin, Record
from tests.crdt.samples import Documents, Writer, content, folded, record_sets

PHONE = bytes(15) + b"\x01"
_ids = st.lists(st.sampled_from(["a", "b", "c1"]), unique=True).map(lambda ids: tuple(sorted(ids)))
_scopes = st.builds(
    p.DeviceScoped,
    device=st.just(PHONE.hex()),
    version=st.just(1),
    customers=st.none() | _ids,
    prospects=st.none() | _ids,
    products=st.none() | _ids,
    orders=st.sampled_from(["own", "team"]),
    without=_ids,
)


def members(documents: Documents, granted: p.DeviceScoped) -> set[DocKey]:
    """The documents in scope, by asking for each parent anew."""
    scope = Scope(granted)
    facets = {key: facet(document) for key, document in documents.items()}

    def place(key: DocKey) -> Place | None:
        return scope.place(key, facets[key], place) if key in facets else None

    return {key for key in documents if place(key) is Place.IN}


def scoped(**fields: object) -> p.DeviceScoped:
    return p.DeviceScoped(PHONE.hex(), 1, **fields)  # type: ignore[arg-type]


def sold(writer: Writer, order: str, customer: str, ms: int) -> Record:
    return writer.says(p.OrderCommitted(order, content(customer=customer)), ms)


def company() -> Documents:
    office, phone, other = Writer(9), Writer(1), Writer(2)
    paid = {"customer": "", "method": "cash", "amount_minor": 1, "currency": "USD"}
    return folded(
        [
            office.says(p.CustomerCreated("c", p.CustomerFields(name="Ana")), 1),
            office.says(p.CustomerCreated("v", p.CustomerFields(status="prospect")), 2),
            phone.says(p.CustomerCreated("mine", p.CustomerFields(name="Bo")), 3),
            office.says(p.ProductCreated("p1", p.ProductFields(name="Tea")), 4),
            office.says(p.StockCounted("p1", 5_000), 5),
            office.says(p.ClassCreated("k", p.LabelFields(name="North")), 6),
            sold(phone, "o-mine", "c", 7),
            sold(other, "o-other", "c", 8),
            sold(other, "o-stranger", "nobody", 9),
            other.says(p.PaymentRecorded("pay", order="o-other", **paid), 10),  # type: ignore[arg-type]
            other.says(p.OrderDrafted("draft", p.OrderFields(memo="no customer yet")), 11),
            Writer(9).says(p.CustomerDeleted("v"), 12),
        ]
    )


def ids(found: Iterable[DocKey]) -> set[str]:
    return {f"{key.type}:{key.id}" for key in found}


@settings(max_examples=150)
@given(record_sets(), _scopes, _ids)
def test_membership_is_total_and_grows_with_the_choice(
    records: list[Record], granted: p.DeviceScoped, more: tuple[str, ...]
) -> None:
    """Every state has a place; choosing more, the orders of the team, or serving a customer again
    never takes a document away (CFG-01, CFG-05)."""
    documents = folded(records)
    before = members(documents, granted)
    wider = {
        name: None if chosen is None else tuple(sorted({*chosen, *more}))
        for name in ("customers", "prospects", "products")
        for chosen in [getattr(granted, name)]
    }
    grown = msgspec.structs.replace(granted, **wider, orders="team")
    if not Scope(granted).everything:
        assert before <= members(documents, grown)
        assert before <= members(documents, msgspec.structs.replace(granted, without=()))
    assert members(documents, scoped()) == set(documents)


def test_all_is_the_default_and_a_choice_keeps_what_belongs_to_it() -> None:
    """Chosen customers come with their orders, the payments of these, and own work; others are
    not there, and a deleted one that was chosen is (CFG-01, CFG-05)."""
    documents = company()
    found = ids(members(documents, scoped(customers=("c",), prospects=(), products=())))
    assert found == {
        *("customer:c", "customer:mine", "class:k"),
        *("order:o-mine", "order:o-other", "payment:pay"),
    }
    found = ids(members(documents, scoped(customers=(), prospects=("v",), products=("p1",))))
    assert {"customer:v", "product:p1", "stock:p1", "order:o-mine"} <= found
    assert not {"customer:c", "order:o-other", "order:draft", "payment:pay"} & found


def test_prospects_are_chosen_apart_from_customers() -> None:
    """``all`` customers are no prospects; an order of a customer nobody has seen goes with them."""
    found = ids(members(company(), scoped(prospects=())))
    assert "customer:v" not in found
    assert {"customer:c", "order:o-stranger"} <= found


def test_own_orders_are_those_this_device_wrote() -> None:
    """With ``own`` the orders of others stay away, and what hangs on them."""
    found = ids(members(company(), scoped(orders="own")))
    assert {"customer:c", "order:o-mine"} <= found
    assert not {"order:o-other", "payment:pay", "order:draft"} & found


@pytest.mark.parametrize("orders", ["own", "team"])
def test_a_note_goes_with_its_customer(orders: Literal["own", "team"]) -> None:
    """Whoever serves a customer has the notes about him, whoever wrote them and whose orders he
    sees (CFG-01)."""
    said = p.NoteEdited("customer", "c", b"rings twice"), p.NoteEdited("customer", "v", b"moved")
    documents = company() | folded(Writer(2).says(one, 20) for one in said)
    found = ids(members(documents, scoped(customers=("c",), prospects=(), orders=orders)))
    assert "note:customer:c" in found
    assert "note:customer:v" not in found


@pytest.mark.parametrize("orders", ["own", "team"])
def test_a_customer_that_was_given_away_takes_everything_along(orders: str) -> None:
    """Whoever serves a customer no more holds nothing of him, own orders included (B10)."""
    found = ids(members(company(), scoped(without=("c", "mine"), orders=orders)))
    gone = {"customer:c", "customer:mine", "order:o-mine", "order:o-other", "payment:pay"}
    assert not gone & found


def test_a_facet_names_the_customer_that_counts() -> None:
    """An amendment moves an order to its customer, a draft names the newest one, and unsetting a
    status makes a customer of a prospect."""
    office = Writer(1)
    records = [
        sold(office, "o", "a", 1),
        office.says(p.OrderAmended("o", content(customer="b")), 2),
        office.says(p.OrderDrafted("d", p.OrderFields(customer="a")), 3),
        office.says(p.OrderChanged("d", p.OrderFields(customer=None)), 4),
        office.says(p.QuoteCommitted("q", content(customer="a")), 5),
        office.says(p.CustomerCreated("c", p.CustomerFields(status="prospect")), 6),
        office.says(p.CustomerChanged("c", p.CustomerFields(status=None)), 7),
    ]
    documents = folded(records)
    assert facet(documents[DocKey("order", "o")]) == Facet("customer:b", office.device[8:])
    assert facet(documents[DocKey("order", "d")]).about == ""
    assert facet(documents[DocKey("quote", "q")]).about == "customer:a"
    assert facet(documents[DocKey("customer", "c")]).about == "customer"
    assert facet(Document(DocKey("order", "x"))) == Facet()


def test_a_pair_is_with_whoever_holds_one_of_the_two() -> None:
    """A device learns of the twin of a record that it holds, and of no other pair; an order that
    was corrected goes with the customer it names now (P57, CFG-02)."""
    office = Writer(9, Origin.WEB)
    documents = company()
    for one, other in (("c", "z"), ("y", "z")):
        fold(documents, office.says(twin_found("customer", one, other, "name"), 20))
    fold(documents, office.says(p.OrderCorrected("o-stranger", "customer", "nobody", "c"), 21))
    held = ids(members(documents, scoped(customers=("c",), prospects=(), products=())))
    assert f"twin:{twin_id('customer', 'c', 'z')}" in held
    assert f"twin:{twin_id('customer', 'y', 'z')}" not in held
    assert "order:o-stranger" in held
