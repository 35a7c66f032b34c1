"""Names and numbers that were given twice: found in the read models, decided once (P57)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import count, pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, select

from replica.crdt import twins as rules
from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.crdt.why import explain
from replica.events import payloads as p
from replica.events.event import AccountId, Position
from replica.events.payloads import Payload
from replica.events.record import Origin, Record, records
from replica.projections import queries, twins
from replica.projections import tables as t
from replica.projections.runner import Projector
from replica.store.engine import Database
from replica.store.memory import MemoryLog
from tests.crdt.samples import Writer, content
from tests.projections.conftest import fresh_account
from tests.projections.logs import commit, contents

SETTINGS = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Server:
    """A log with its read models, and somebody who decides after every step."""

    def __init__(self, views: Database, log: MemoryLog | None = None) -> None:
        self.account = fresh_account()
        self.log = log or MemoryLog()
        self.views = views
        self.office = Writer(9, Origin.WEB)
        self.clock = count(1_000)
        self.projector = Projector(views, self.log, decides=True)
        self.said: list[Payload] = []

    def take(self, *said: Record) -> None:
        commit(self.log, self.account, said)
        self.projector.catch_up(self.account)

    def says(self, *payloads: Payload) -> None:
        """The office writes."""
        self.take(*(self.office.says(payload, next(self.clock)) for payload in payloads))

    def decide(self) -> None:
        """What the server does after a step, until nothing is left."""
        while (found := self._look()) is not None:
            if found.payloads:
                self.said += found.payloads
                self.says(*found.payloads)
                continue
            with self.views.writing() as connection:
                assert twins.put_decided(connection, self.account, found)

    def _look(self) -> twins.Found | None:
        with self.views.reading() as connection:
            after = twins.decided(connection, self.account)
            return None if after is None else twins.look(connection, self.account, after)

    def asked(self) -> list[tuple[str, str]]:
        with self.views.reading() as connection:
            page = queries.twins_page(connection, self.account, asked=True)
            assert len(page.rows) == queries.asked_count(connection, self.account)
        return sorted((row["first"], row["second"]) for row in page.rows)

    def order(self, identity: str) -> dict[str, object]:
        with self.views.reading() as connection:
            found = queries.document(connection, self.account, DocKey("order", identity))
        assert found is not None
        content: dict[str, object] = view(found)["content"]
        return content


def customer(identity: str, name: str, **fields: str) -> p.CustomerCreated:
    return p.CustomerCreated(identity, p.CustomerFields(name=name, **fields))  # type: ignore[arg-type]


def sold(order: str, number: str, customer: str = "c", product: str = "p1") -> p.OrderCommitted:
    made = content(("l1", product, 1_000, 50_000), number=number, customer=customer)
    return p.OrderCommitted(order, made)


@pytest.fixture
def server(views: Database) -> Server:
    return Server(views)


def test_two_phones_make_one_customer_and_the_office_is_asked_once(server: Server) -> None:
    """The same name, however it is written, is one question; looking again asks nothing, and a
    rebuild keeps what was decided (P57, CON-07)."""
    ana, bo = Writer(1), Writer(2)
    server.take(ana.says(customer("a", "Café  Müller "), 1))
    server.decide()
    assert server.asked() == []
    server.take(bo.says(customer("b", "CAFE\u0301 MÜLLER", status="prospect"), 2))
    server.decide()
    assert server.asked() == [("a", "b")]
    server.says(p.CustomerChanged("a", p.CustomerFields(phone="1")))
    server.decide()
    assert len(server.said) == 1
    before = contents(server.views, server.account)
    server.projector.rebuild(server.account)
    assert contents(server.views, server.account) == before
    server.decide()
    assert len(server.said) == 1


def test_a_clash_ends_and_begins_with_names_and_deletes(server: Server) -> None:
    """A rename or a delete ends the question, a rename or a restore begins one, also between two
    that only had a third one between them (P57, CON-05)."""
    ana = Writer(1)
    server.take(*(ana.says(customer(one, "Tea"), at) for at, one in enumerate("abc")))
    server.decide()
    assert server.asked() == [("a", "b"), ("b", "c")]
    server.says(p.CustomerDeleted("b"))
    server.decide()
    assert server.asked() == [("a", "c")]
    server.says(p.CustomerChanged("c", p.CustomerFields(name="Coffee")))
    server.decide()
    assert server.asked() == []
    server.says(p.CustomerRestored("b"), p.CustomerChanged("c", p.CustomerFields(name="tea")))
    server.decide()
    assert server.asked() == [("a", "b"), ("a", "c"), ("b", "c")]


def test_products_clash_by_name_and_by_sku(server: Server) -> None:
    """A pair of products is one question, whether its name, its SKU or both are equal; two of one
    name with different SKUs are none (P57)."""
    ana, bo = Writer(1), Writer(2)
    server.take(ana.says(p.ProductCreated("p", p.ProductFields(name="Tea", sku="T-1")), 1))
    server.take(bo.says(p.ProductCreated("q", p.ProductFields(name="Mate", sku="t-1")), 1))
    server.take(bo.says(p.ProductCreated("r", p.ProductFields(name="TEA")), 2))
    server.take(bo.says(p.ProductCreated("s", p.ProductFields(name="mate", sku="T-3")), 3))
    server.decide()
    fields = [found.field for found in server.said if isinstance(found, p.TwinFound)]
    assert sorted(fields) == ["name", "sku"]
    assert server.asked() == [("p", "q"), ("p", "r")]


def test_a_number_given_twice_gets_a_suffix_before_a_sink_reads_it(server: Server) -> None:
    """The order that was sealed first keeps its number, whichever came first; sinks read no further
    than the decision, and the author sees it with the rule (P57, QB-02)."""
    ana, bo = Writer(1), Writer(2)
    server.take(bo.says(sold("late", "1001"), 20))
    server.decide()
    server.take(ana.says(sold("early", "1001"), 10))
    with server.views.reading() as connection:
        row = connection.execute(
            select(t.checkpoints).where(t.checkpoints.c.account == server.account)
        ).one()
        assert (row.decided, row.position) == (1, 2)
        early = queries.document(connection, server.account, DocKey("order", "early"))
    assert early is not None
    server.decide()
    assert server.order("early")["number"] == "1001"
    assert server.order("late")["number"] == "1001-2"
    with server.views.reading() as connection:
        late = queries.document(connection, server.account, DocKey("order", "late"))
        shown = queries.sealed_one(connection, server.account, "order", "late")
    assert late is not None
    assert shown is not None
    (lost,) = shown["conflicts"]
    assert (lost["field"], lost["value"], lost["kept"]) == ("number", '"1001"', '"1001-2"')
    (why,) = explain(late, "number")
    assert (why.value, why.rule) == ("1001-2", "another order has this number")
    assert [said.value for said in why.losers] == ["1001"]


def test_an_order_that_stands_elsewhere_keeps_its_number(server: Server) -> None:
    """What a customer or the books know an order by is not changed any more (P57, QB-03)."""
    ana, bo, books = Writer(1), Writer(2), Writer(4, Origin.SINK)
    server.take(bo.says(sold("sent", "1001"), 20))
    server.take(books.says(p.OrderEstimated("sent", "books", "1", "1001", 500), 21))
    server.take(ana.says(sold("new", "1001"), 10))
    server.take(ana.says(sold("other", "1001-2"), 11))
    server.decide()
    assert [server.order(one)["number"] for one in ("sent", "new", "other")] == [
        "1001",
        "1001-3",
        "1001-2",
    ]


def test_the_office_may_give_a_number_back(server: Server) -> None:
    """What the office says of a number stays: the server does not decide over it again (P57)."""
    server.take(Writer(1).says(sold("a", "1"), 1), Writer(2).says(sold("b", "1"), 2))
    server.decide()
    assert server.order("b")["number"] == "1-2"
    server.says(p.OrderCorrected("b", "number", "1", "1"))
    server.decide()
    assert [server.order(one)["number"] for one in "ab"] == ["1", "1"]
    server.says(p.OrderCorrected("b", "number", "1", "B-1"))
    server.decide()
    assert [server.order(one)["number"] for one in "ab"] == ["1", "B-1"]


def test_a_cancelled_order_needs_no_number(server: Server) -> None:
    """A number is free when its order was cancelled (P57)."""
    ana = Writer(1)
    server.take(ana.says(sold("a", "1"), 1), ana.says(p.OrderCancelled("a"), 2))
    server.take(Writer(2).says(sold("b", "1"), 3))
    server.decide()
    assert server.said == []


def test_orders_of_the_same_go_to_the_one_that_stays_and_back(server: Server) -> None:
    """When the office says that two are the same, orders and quotes that stand nowhere else name
    the one that stays, those that come later too; taking it back takes them back (P57)."""
    ana, bo, books = Writer(1), Writer(2), Writer(4, Origin.SINK)
    server.take(ana.says(customer("a", "Tea"), 1), bo.says(customer("b", "Tea"), 2))
    server.take(bo.says(sold("o1", "1", "b"), 3), bo.says(sold("sent", "2", "b"), 4))
    server.take(books.says(p.OrderEstimated("sent", "books", "1", "2", 500), 5))
    server.take(bo.says(p.QuoteCommitted("q1", sold("", "3", "b").content), 6))
    server.decide()
    pair = rules.twin_id("customer", "b", "a")
    server.says(p.TwinDecided(pair, "same", "a"))
    server.decide()
    server.take(bo.says(sold("o2", "4", "b"), 7))
    server.decide()
    with server.views.reading() as connection:
        quote = queries.document(connection, server.account, DocKey("quote", "q1"))
    assert quote is not None
    assert view(quote)["content"]["customer"] == "a"
    assert [server.order(one)["customer"] for one in ("o1", "o2", "sent")] == ["a", "a", "b"]
    server.says(p.TwinDecided(pair, "ask"))
    server.decide()
    assert [server.order(one)["customer"] for one in ("o1", "o2", "sent")] == ["b", "b", "b"]
    assert server.asked() == [("a", "b")]


def test_who_stands_for_whom_goes_in_a_row_and_never_in_a_circle(server: Server) -> None:
    """An order of one that stands for another goes to whom stands in the end (P57)."""
    ana = Writer(1)
    server.take(*(ana.says(customer(one, "Tea"), 1) for one in "abc"))
    server.take(ana.says(sold("o", "1", "c", "x"), 2))
    server.decide()
    server.says(p.TwinDecided(rules.twin_id("customer", "b", "c"), "same", "b"))
    server.decide()
    assert server.order("o")["customer"] == "b"
    server.says(p.TwinDecided(rules.twin_id("customer", "a", "b"), "same", "a"))
    server.decide()
    assert server.order("o")["customer"] == "a"
    circle = {DocKey("customer", "a"): "b", DocKey("customer", "b"): "a"}
    assert rules.standing("customer", "a", circle) == "b"


_ids = st.sampled_from(["a", "b", "c"])
_names = st.sampled_from(["Tea", " tea", "Mate"])
_steps = st.one_of(
    st.builds(customer, _ids, _names),
    st.builds(p.CustomerChanged, _ids, st.builds(p.CustomerFields, name=_names)),
    st.builds(p.CustomerDeleted, _ids),
    st.builds(sold, st.sampled_from(["o1", "o2", "o3"]), st.sampled_from(["1", "1-2"]), _ids),
    st.builds(p.OrderCancelled, st.sampled_from(["o1", "o2", "o3"])),
)


@SETTINGS
@given(st.lists(st.tuples(st.integers(1, 3), _steps), max_size=12), st.integers(0, 99))
def test_no_clash_is_left_whatever_comes_in_which_order(
    sqlite_views: Database, said: Sequence[tuple[int, Payload]], seed: int
) -> None:
    """However the work of devices arrives, with decisions in between: at the end everybody of one
    name is in a pair, no two orders have one number, nothing was said twice, and looking again from
    the beginning finds nothing (CON-07, P57)."""
    writers = {number: Writer(number) for number in (1, 2, 3)}
    made = [(number, writers[number].says(one, at)) for at, (number, one) in enumerate(said, 1)]
    dice = random.Random(seed)
    server = Server(sqlite_views)
    queues = {n: [record for number, record in made if number == n] for n in writers}
    while waiting := [queue for queue in queues.values() if queue]:
        server.take(dice.choice(waiting).pop(0))
        if dice.random() < 0.5:
            server.decide()
    server.decide()
    with server.views.reading() as connection:
        rows = connection.execute(
            select(t.names).where(t.names.c.account == server.account).order_by(*t.names.c)
        ).all()
        pairs = {
            (row.first, row.second)
            for row in connection.execute(
                select(t.twins).where(t.twins.c.account == server.account)
            )
        }
        again = twins.look(connection, server.account, 0)
        assert again is None or not again.payloads
    for one, other in pairwise(rows):
        if (one.type, one.field, one.name) == (other.type, other.field, other.name):
            assert one.type == "customer"
            assert (one.id, other.id) in pairs
    found = [payload for payload in server.said if isinstance(payload, p.TwinFound)]
    assert len(found) == len(set(found))


def test_the_log_says_each_decision_once(server: Server) -> None:
    """One of several processes decides at a time; one that died is not waited for (I-11, P57)."""
    server.take(Writer(1).says(customer("a", "Tea"), 1), Writer(2).says(customer("b", "tea"), 2))
    account = AccountId(server.account)
    with server.views.writing() as connection:
        assert twins.claim(connection, account, 1_000_000)
        assert not twins.claim(connection, account, 1_000_001)
        assert twins.claim(connection, account, 1_020_000)
    server.decide()
    events = [
        one for segment in server.log.read(account, Position(0), 10**6) for one in records(segment)
    ]
    kinds = [record.event.kind for _, record in events]
    assert kinds.count("twin.found") == 1
    with server.views.writing() as connection:
        assert twins.claim(connection, account, 1_020_001)


def test_a_look_at_many_records_asks_no_more_than_at_few(server: Server) -> None:
    """What a look costs does not grow with records that have no twin: the questions of a catalogue
    of two hundred are those of two (performance.md §4 "no per-event round trip")."""
    phone = Writer(1)
    asked: list[str] = []
    costs: list[int] = []
    event.listen(server.views.read, "before_cursor_execute", lambda *said: asked.append(said[2]))
    for first, many in ((0, 2), (2, 200)):
        made = range(first, first + many)
        server.take(*(phone.says(customer(f"c{at}", f"Shop {at}"), at) for at in made))
        asked.clear()
        found = server._look()
        assert found is not None
        assert not found.payloads
        costs.append(len(asked))
        server.decide()
    few, many = costs
    assert few == many
