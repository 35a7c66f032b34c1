"""Stock on hand of devices that hold a part of the sales, against one that holds all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPMessage
from typing import cast
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.order import effective
from replica.crdt.scope import Facet, Place, Scope
from replica.crdt.stock import SOLD, Sold, decode_sold, on_hand_e3
from replica.device.asking import Answer, Line
from replica.device.holding import Holding
from replica.device.sales import SALE_TYPES, sale
from replica.device.scope import pull
from replica.errors import Malformed
from replica.events.event import DeviceId
from replica.events.kinds import encode_payload
from replica.events.payloads import (
    Content,
    CustomerCreated,
    CustomerFields,
    DeviceScoped,
    OrderAmended,
    OrderCancelled,
    OrderCommitted,
    Payload,
    ProductCreated,
    ProductFields,
    ReturnCommitted,
    StockCounted,
    StockMoved,
)
from replica.limits import SCOPE_PAGE_BYTES_TARGET
from replica.projections import tables as t
from replica.projections.runner import Projector
from replica.server import first_pages, scoped
from replica.server.scoped import ScopedSets
from replica.store.access import Device
from replica.store.engine import Database, open_sqlite
from replica.sync.scope import encode_page, read_ahead
from tests.crdt.samples import Documents, content, folded
from tests.device.desk import ACCOUNT, NOW_MS, Office, identity
from tests.simulation.plain import PlainJournal, Tables

PRODUCTS, CUSTOMERS = ("p-1", "p-2"), ("c-1", "c-2")
_encode = msgspec.msgpack.Encoder().encode


class Desk:
    """An office, its read models, a device that takes in the log, and two that may have a scope."""

    def __init__(self, views: Database) -> None:
        with views.writing() as connection:
            for table in t.ACCOUNT_TABLES:
                connection.execute(delete(table))
        self.office = Office()
        self.sets = ScopedSets(views)
        self.projector = Projector(views, self.office.log)
        self.full, *self.phones = (Holding(PlainJournal(Tables())) for _ in range(3))
        for n, holding in enumerate((self.full, *self.phones), 1):
            holding.enrol(identity(n))
        self.scopes = [
            DeviceScoped(bytes([n] * 16).hex(), 1, (), (), None, orders="own") for n in (2, 3)
        ]
        self.made = 0
        self.meddle = False  # work is answered while a question is under way
        self.questions = 1_000  # until the connection is lost
        self.asked: list[str] = []
        self.office.write(
            *(CustomerCreated(name, CustomerFields(name=name)) for name in CUSTOMERS),
            *(ProductCreated(name, ProductFields(name=name)) for name in PRODUCTS),
        )

    def reopen(self, n: int) -> None:
        journal = self.phones[n].journal
        assert isinstance(journal, PlainJournal)
        self.phones[n] = Holding(PlainJournal(journal.image()))

    # What people do ------------------------------------------------------------------------------

    def goods(self, customer: str, product: str, qty_e3: int) -> Content:
        return content(("1", product, qty_e3, 10_000), customer=customer)

    def sell(self, n: int, customer: str, product: str, qty_e3: int) -> None:
        self.made += 1
        said = OrderCommitted(f"o-{self.made}", self.goods(customer, product, qty_e3))
        self.phones[n].append([said], self.office.now_ms)

    def seal(self, n: int, order: int, customer: str, product: str, qty_e3: int) -> None:
        """Perhaps an order of somebody else, who sealed it first or cancelled it."""
        said = OrderCommitted(f"o-{order}", self.goods(customer, product, qty_e3))
        self.phones[n].append([said], self.office.now_ms)

    def bring_back(self, n: int, customer: str, product: str, qty_e3: int) -> None:
        self.made += 1
        said = ReturnCommitted(f"r-{self.made}", self.goods(customer, product, -qty_e3))
        self.phones[n].append([said], self.office.now_ms)

    def amend(self, n: int, customer: str, product: str, qty_e3: int) -> None:
        for order in self.orders(n):
            said = OrderAmended(order, self.goods(customer, product, qty_e3))
            self.phones[n].append([said], self.office.now_ms)

    def cancel(self, n: int) -> None:
        for order in self.orders(n):
            self.phones[n].append([OrderCancelled(order)], self.office.now_ms)

    def orders(self, n: int) -> list[str]:
        """The newest sealed order that a phone holds."""
        found = [one.key.id for one in self.phones[n].documents("order") if effective(one)]
        return sorted(found, key=lambda name: int(name[2:]))[-1:]

    def wait(self, ms: int) -> None:
        self.office.now_ms += ms

    def say(self, payload: Payload) -> None:
        self.office.write(payload)

    def grant(self, n: int, scope: DeviceScoped) -> None:
        before = self.scopes[n]
        self.scopes[n] = msgspec.structs.replace(
            scope, device=before.device, version=before.version + 1
        )

    # Syncing -------------------------------------------------------------------------------------

    def take_in(self, n: int, *, broken: int = 1_000) -> None:
        """What comes down, over a connection that is lost after ``broken`` questions."""
        phone = self.phones[n]
        if not phone.journal.place.scope and Scope(self.scopes[n]).everything:
            while self.office.pull(phone):
                pass
            return
        self.questions, self.asking = broken, n
        version, head = self.scopes[n].version, self.office.log.head(ACCOUNT).position
        line = cast("Line", self)
        pull(phone, line, head, version, now_ms=lambda: NOW_MS, stopping=lambda: self.questions < 1)

    @contextmanager
    def server(self) -> Iterator[Desk]:
        """What :class:`replica.device.asking.Line` gives: somebody to ask."""
        yield self

    def ask(self, path: str, most: int, body: bytes | None = None) -> Answer:
        """What :class:`replica.device.asking.Server` asks of the server's routes."""
        assert most
        self.questions -= 1
        parts = urlsplit(path)
        self.asked.append(parts.path)
        query = {name: value for name, (value,) in parse_qs(parts.query).items()}
        self.projector.catch_up(ACCOUNT)
        granted = self.scopes[self.asking]
        device = Device(
            ACCOUNT, DeviceId(bytes.fromhex(granted.device)), "", None, 0, None, 0, 0, "",
            encode_payload(granted)[2],
        )  # fmt: skip
        headers = HTTPMessage()
        match parts.path:
            case "scope/changes":
                if "ahead" in query:
                    nodes = {device.device[-8:]}
                    page, fingerprint = self.sets.ahead(device, read_ahead(query["ahead"]), nodes)
                else:
                    page, fingerprint = self.sets.page(device, int(query["after"]))
                data = encode_page(page)
                headers["replica-fold"] = fingerprint.hex()
            case "reconcile/documents":
                place, data = self.sets.answer(device, body or b"")
                headers["replica-fold"] = place.fold.hex()
            case _:
                data = body or b""
                hashes = [data[at : at + 32] for at in range(0, len(data), 32)]
                position, found = self.sets.states(device, hashes, 1 << 20)
                data = _encode([(*key, state) for key, state in found])
                headers["replica-position"] = str(position)
        if self.meddle:
            self.office.push(self.phones[self.asking], 1)
        return Answer(200, data, headers)

    # What is true --------------------------------------------------------------------------------

    def truth(self, phone: Holding) -> dict[str, int]:
        """What is on hand by the whole log, and by what ``phone`` has not sent."""
        documents: Documents = folded(self.office.records())
        for kind in SALE_TYPES | {"stock"}:
            for key in phone.overlay.keys(kind):
                for record in phone.overlay.records(key):
                    fold(documents, record)
        return on_hand(documents)

    def unlike(self, n: int) -> set[str]:
        """Products of the scope that a phone counts otherwise."""
        phone, scope = self.phones[n], Scope(self.scopes[n])
        truth = self.truth(phone)
        chosen = {
            product
            for product in PRODUCTS
            if scope.granted.products is None or product in scope.granted.products
        }
        return {one for one in chosen if phone.on_hand_e3(one) != truth[one]}

    def level(self, n: int) -> bool:
        """Whether a phone knows all there is of the documents that its unsent work is about."""
        phone = self.phones[n]
        documents = folded(self.office.records())
        keys = [key for kind in SALE_TYPES for key in phone.overlay.keys(kind)]
        return all(phone.base.document(key) == documents.get(key) for key in keys)


def on_hand(documents: Documents) -> dict[str, int]:
    found = {}
    for product in PRODUCTS:
        sales = [sale(one) for key, one in documents.items() if key.type in SALE_TYPES]
        lines = [(one.tag, one.quantities_e3.get(product, 0)) for one in sales]
        found[product] = on_hand_e3(documents.get(DocKey("stock", product)), lines)
    return found


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = open_sqlite(tmp_path_factory.mktemp("views") / "views.db", profile="rebuildable")
    t.open_views(database.write)
    yield database
    database.close()


_customers, _products = st.sampled_from(CUSTOMERS), st.sampled_from(PRODUCTS)
_phone, _qty_e3 = st.integers(0, 1), st.integers(1, 9)
_chosen = st.none() | st.lists(_customers, unique=True).map(tuple)
_scopes = st.builds(
    lambda customers, products, orders, without: DeviceScoped(
        "", 0, customers, customers, products, orders=orders, without=without
    ),
    _chosen,
    st.none() | st.just(("p-1",)),
    st.sampled_from(["team", "own"]),
    st.just(()) | st.just(("c-1",)),
) | st.just(DeviceScoped("", 0))
_steps = st.one_of(
    st.tuples(
        st.sampled_from(["sell", "bring_back", "amend"]), _phone, _customers, _products, _qty_e3
    ),
    st.tuples(st.just("seal"), _phone, st.integers(1, 4), _customers, _products, _qty_e3),
    st.tuples(st.just("cancel"), _phone),
    st.tuples(st.just("say"), st.builds(StockCounted, _products, _qty_e3)),
    st.tuples(st.just("say"), st.builds(StockMoved, _products, _qty_e3)),
    st.tuples(st.just("say"), st.builds(lambda n: OrderCancelled(f"o-{n}"), st.integers(1, 4))),
    st.tuples(st.just("count"), _phone, _products, _qty_e3),
    st.tuples(st.just("push"), _phone, st.integers(1, 3)),
    st.tuples(st.just("pull"), _phone, st.integers(1, 5) | st.just(1_000), st.booleans()),
    st.tuples(st.just("grant"), _phone, _scopes),
    st.tuples(st.just("reopen"), _phone),
    st.tuples(st.just("wait"), st.integers(0, 2)),
)


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(_steps, max_size=25),
    then=st.lists(_scopes, max_size=3),
    page_bytes=st.sampled_from([1, 200, SCOPE_PAGE_BYTES_TARGET]),
)
def test_a_part_of_the_sales_gives_all_of_the_stock(
    views: Database, steps: list[tuple[object, ...]], then: list[DeviceScoped], page_bytes: int
) -> None:
    """Whatever is sold, brought back, amended, cancelled, counted and handed over, by whom and in
    whichever order it comes down, a device with a scope counts the stock of its products as one
    that holds every sale, its own unsent work included (OFF-06, OFF-13, CON-09)."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (scoped, first_pages):
            patch.setattr(module, "SCOPE_PAGE_BYTES_TARGET", page_bytes)
        desk = Desk(views)
        for step in steps:
            _do(desk, *step)
        for n in (0, 1):
            while desk.office.push(desk.phones[n]):
                pass
        for n in (0, 1):
            desk.take_in(n)
            assert desk.unlike(n) == set()
            desk.reopen(n)
            assert desk.unlike(n) == set()
            for scope in then:
                desk.grant(n, scope)
                desk.take_in(n)
                assert desk.unlike(n) == set()
        desk.office.level(desk.full)
        assert desk.truth(desk.full) == {one: desk.full.on_hand_e3(one) for one in PRODUCTS}


def _do(desk: Desk, what: object, *how: object) -> None:
    match what, how:
        case "push", (int(n), int(count)):
            desk.office.push(desk.phones[n], count)
        case "pull", (int(n), int(broken), bool(meddle)):
            desk.meddle = meddle
            desk.take_in(n, broken=broken)
            desk.meddle = False
            place = desk.phones[n].journal.place
            arrived = place.base_at == desk.office.log.head(ACCOUNT).position
            if arrived and place.scope != 0 and broken > 5 and desk.level(n):
                assert desk.unlike(n) == set()
        case "count", (int(n), str(product), int(qty_e3)):
            desk.phones[n].append([StockCounted(product, qty_e3)], desk.office.now_ms)
        case name, _:
            getattr(desk, str(name))(*how)


def test_pages_bring_every_sum(views: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sale changes its order and what was sold of each product at one position; pages as small
    as can be leave none of them for the comparison afterwards to find."""
    monkeypatch.setattr(scoped, "SCOPE_PAGE_BYTES_TARGET", 1)
    desk = Desk(views)
    desk.grant(0, DeviceScoped("", 0, customers=("c-1",)))
    desk.take_in(0)
    desk.asked.clear()
    for customer in CUSTOMERS:
        lines = (("1", "p-1", 2, 10_000), ("2", "p-2", 3, 10_000))
        desk.say(OrderCommitted(customer, content(*lines, customer=customer)))
    desk.take_in(0)
    assert set(desk.asked) == {"scope/changes"}
    assert len(desk.asked) > 1
    assert [desk.phones[0].on_hand_e3(one) for one in PRODUCTS] == [-4, -6]


def test_a_sum_is_what_it_is_or_refused() -> None:
    """What was sold of a product reads as it was written; other bytes are said to be none."""
    said = Sold(b"tag", -5)
    assert decode_sold(said.encode()) == said
    for nonsense in (b"", b"\xc0", Document(DocKey("stock", "p")).encode(), said.encode()[:-1]):
        with pytest.raises(Malformed):
            decode_sold(nonsense)


def test_whoever_holds_everything_holds_no_sums() -> None:
    """Sums of sales are for the products of a scope, and nobody else's."""
    key = DocKey(SOLD, "p-1")
    facet = Facet("product:p-1")
    device = identity().device.hex()
    for granted, place in (
        (DeviceScoped(device, 1), Place.OUT),
        (DeviceScoped(device, 1, orders="own"), Place.IN),
        (DeviceScoped(device, 1, products=("p-2",)), Place.OUT),
    ):
        assert Scope(granted).place(key, facet, lambda _: None) is place


def test_a_sale_that_does_not_count_leaves_the_sum(views: Database) -> None:
    """An order that its author seals after somebody else has cancelled it takes nothing from the
    shelf, also where the sum of all sales stays as it was (CON-09)."""
    desk = Desk(views)
    desk.grant(0, DeviceScoped("", 0, orders="own"))
    desk.say(OrderCommitted("o-2", desk.goods("c-2", "p-1", 3)))
    desk.say(OrderCancelled("o-1"))
    desk.take_in(0)
    desk.seal(0, 1, "c-1", "p-1", 5)
    assert desk.phones[0].on_hand_e3("p-1") == -8
    desk.office.push(desk.phones[0])
    desk.take_in(0)
    assert desk.phones[0].on_hand_e3("p-1") == -3


def test_an_answer_to_what_is_here_leaves_the_sum(views: Database) -> None:
    """Work about an order that does not come down, answered after the sum came that counts it, is
    counted once (CON-09)."""
    desk = Desk(views)
    desk.grant(0, DeviceScoped("", 0, without=("c-2",)))
    desk.say(OrderCommitted("o-1", desk.goods("c-2", "p-1", 7)))
    desk.take_in(0)
    desk.wait(1)
    phone = desk.phones[0]
    desk.seal(0, 1, "c-1", "p-1", 5)
    phone.append([OrderCancelled("o-1")], desk.office.now_ms)
    first, second = desk.office.admit(phone, 1, phone.outbox(0, 1 << 20, 2).events)
    phone.settled(1, [first])
    desk.take_in(0)
    phone.settled(2, [second])
    desk.take_in(0)
    assert phone.document(DocKey("order", "o-1")) is None
    assert phone.on_hand_e3("p-1") == 0


def test_work_that_the_server_counts_otherwise_leaves_the_sum(views: Database) -> None:
    """An amendment of an order that does not come down takes its products back to what the server
    says of them, once the server has heard of it (CON-09)."""
    desk = Desk(views)
    desk.grant(0, DeviceScoped("", 0, without=("c-2",)))
    desk.say(OrderCommitted("o-1", desk.goods("c-2", "p-2", 7)))
    desk.say(OrderCommitted("o-2", desk.goods("c-1", "p-1", 2)))
    desk.wait(1)
    phone = desk.phones[0]
    desk.seal(0, 1, "c-1", "p-1", 5)
    desk.take_in(0)
    desk.office.push(phone)
    phone.append([OrderAmended("o-1", desk.goods("c-2", "p-2", 6))], desk.office.now_ms)
    desk.take_in(0)
    desk.office.push(phone)
    desk.take_in(0)
    assert phone.document(DocKey("order", "o-1")) is None
    assert [phone.on_hand_e3(one) for one in PRODUCTS] == [-2, -6]


def test_a_sum_without_its_rest_gets_one(views: Database) -> None:
    """A sum that came while nothing was balanced serves as soon as a sale of the product comes or
    goes (CON-09; first seen in seed 540)."""
    desk = Desk(views)
    desk.grant(0, DeviceScoped("", 0, orders="own"))
    desk.say(OrderCommitted("o-9", desk.goods("c-2", "p-1", 3)))
    desk.take_in(0)
    journal = desk.phones[0].journal
    journal.put_sales([("p-1", kind, name) for kind, name, *_ in journal.sold("p-1")], [])
    desk.sell(0, "c-1", "p-1", 5)
    desk.office.push(desk.phones[0])
    assert desk.phones[0].on_hand_e3("p-1") == -8
