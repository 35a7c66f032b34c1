"""Why a field has its value: the same answer everywhere, and always the value that is shown."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from replica.crdt import why as w
from replica.crdt.documents import DocKey, Document
from replica.crdt.registers import (
    DELETED_BY_OFFICE,
    NEWER_WINS,
    RECORDED_FIRST,
    SEALED_BEFORE,
    SEALED_FIRST,
)
from replica.crdt.view import View, view
from replica.crdt.why import Why, explain, why_values
from replica.events import payloads as p
from replica.events.record import Origin, Record
from tests.crdt.samples import Writer, content, folded, record_sets

# The first note that is read imports the text library, which takes a while.
SETTINGS = settings(max_examples=100, deadline=None)


def shown(seen: View, field: str) -> Any:
    """What the view shows under the name that an explanation gives to a field."""
    head, _, rest = field.partition(".")
    if seen["type"] == "order" and head not in ("state", "answers"):
        return shown_order(seen, head, rest)
    if head in ("links", "answers"):
        return seen[head][rest]
    if head == "there":
        return seen[head].get(rest)
    for place in (seen, seen.get("fields") or {}, seen.get("content") or {}):
        if field in place:
            return place[field]
    return shown_line(seen["content"]["lines"], rest)


def shown_order(seen: View, head: str, rest: str) -> Any:
    sealed = seen["content"]
    if head != "lines":
        return sealed[head] if sealed else seen["fields"][head]
    lines = sealed["lines"] if sealed else seen["lines"]
    names = p.LineFields.__struct_encode_fields__
    if not sealed:
        lines = [{"id": line["id"]} | {name: line[name] for name in names} for line in lines]
    found = shown_line(lines, rest)
    if not sealed and isinstance(found, dict):
        del found["id"]
    return found


def shown_line(lines: list[dict[str, Any]], path: str) -> Any:
    line, _, field = path.partition(".")
    row = next((row for row in lines if row["id"] == line), None)
    return row if row is None or not field else row[field]


EMPTY = (None, "", 0)


def lost(whys: list[Why]) -> set[str]:
    """Tags of every event that lost somewhere."""
    return {said.fact.tag.hex() for why in whys for said in why.losers}


def one(records: list[Record], key: tuple[str, str], field: str) -> Why:
    (why,) = [
        found for found in explain(folded(records)[DocKey(*key)], field) if found.field == field
    ]
    return why


@given(record_sets(size_min=1))
@SETTINGS
def test_what_is_explained_is_what_is_shown(records: list[Record]) -> None:
    """The value of every explanation is the value of the view, whatever was recorded (CON-10)."""
    for document in folded(records).values():
        seen = view(document)
        for why in explain(document):
            assert why.value == shown(seen, why.field), why.field


@given(record_sets(size_min=1))
@SETTINGS
def test_whoever_is_listed_as_a_loser_is_explained(records: list[Record]) -> None:
    """Every loser that readers are shown is a loser of some explanation too, and nobody wins and
    loses the same field (CON-10)."""
    for document in folded(records).values():
        whys, seen = explain(document), view(document)
        losing = {item["by"] for item in [*seen["losers"], *seen.get("amendments", ())]}
        beaten = lost(whys)
        # A whole content that was replaced by an equal one lost nothing, and an amendment counts
        # for nothing before there is a seal.
        whole = [item for item in seen["losers"] if item["field"] == "content"]
        idle = {item["by"] for item in whole if seen["content"] in (None, item["value"])}
        # Nor did a draft that lost to another draft, when the seal says what it had said.
        sealed = {why.field: why.value for why in whys if seen.get("content")}
        idle |= {
            item["by"]
            for item in seen["losers"]
            if item["value"] in EMPTY and sealed.get(item["field"], item) in EMPTY
        }
        assert losing - idle <= beaten
        for why in whys:
            winning = {said.fact.tag for said in why.winners}
            assert why.field == "exists" or not winning & {said.fact.tag for said in why.losers}


@given(record_sets(size_min=1), st.randoms(use_true_random=False))
@SETTINGS
def test_the_order_of_arrival_does_not_matter(records: list[Record], random: Any) -> None:
    """Replicas that hold the same records give the same answer, after storing too (CON-07)."""
    arrived = list(records)
    random.shuffle(arrived)
    here, there = folded(records), folded(arrived)
    for key, document in here.items():
        stored = Document.decode(key, there[key].encode())
        assert [why_values(why) for why in explain(document)] == [
            why_values(why) for why in explain(stored)
        ]


@given(record_sets(size_min=1))
@SETTINGS
def test_every_value_says_where_it_comes_from(records: list[Record]) -> None:
    """A value that is there has a winner, every loser has a rule, and a winner has none."""
    for document in folded(records).values():
        for why in explain(document):
            assert why.rule
            assert why.winners or why.value in (None, False, 0, "", "unknown")
            assert all(said.rule for said in why.losers)
            assert not any(said.rule for said in why.winners)


def test_a_register_names_winner_loser_and_rule() -> None:
    """The newer price counts; the older one is listed with its author and the rule (CON-01)."""
    device, web = Writer(1), Writer(2, Origin.WEB)
    old = device.says(p.ProductChanged("p1", p.ProductFields(price_e4=50_000)), 10)
    new = web.says(p.ProductChanged("p1", p.ProductFields(price_e4=55_000)), 20)
    found = why_values(one([new, old], ("product", "p1"), "price_e4"))
    assert (found["value"], found["rule"]) == (55_000, NEWER_WINS)
    (winner,), (loser,) = found["winners"], found["losers"]
    assert (winner["event"], winner["origin"], winner["merged_ms"]) == (new.id.hex(), "web", 20)
    assert (loser["event"], loser["value"], loser["rule"]) == (old.id.hex(), 50_000, NEWER_WINS)
    assert loser["node"] == device.device[8:].hex()


def test_a_field_that_nobody_wrote_says_so() -> None:
    """An empty field is explained as never said, and an unknown field not at all."""
    made = [Writer(1).says(p.CustomerCreated("c1", p.CustomerFields(name="Acme")), 1)]
    assert one(made, ("customer", "c1"), "email").rule == w.NEVER_SAID
    assert one(made, ("customer", "c1"), "name").rule == w.SAID_ONCE
    assert explain(folded(made)[DocKey("customer", "c1")], "shoe_size") == []


def test_existence_names_the_delete_that_counts() -> None:
    """A customer deleted by the office is gone because of that delete; the later edit of a device
    is the loser, with what it said (CON-05)."""
    device, web = Writer(1), Writer(2, Origin.WEB)
    created = web.says(p.CustomerCreated("c1", p.CustomerFields(name="Acme")), 1)
    deleted = web.says(p.CustomerDeleted("c1"), 20)
    edit = device.says(p.CustomerChanged("c1", p.CustomerFields(name="Acme Ltd")), 30)
    found = one([created, deleted, edit], ("customer", "c1"), "exists")
    assert (found.value, found.rule) == (False, DELETED_BY_OFFICE)
    assert [said.fact.tag for said in found.winners] == [deleted.tag]
    assert [(said.fact.tag, said.value) for said in found.losers] == [
        (edit.tag, {"name": "Acme Ltd"})
    ]


def test_a_seal_decides_and_what_it_had_not_seen_waits() -> None:
    """The first seal counts for each field; a later seal and an edit that it had not seen are
    listed with their rules; so are lines (architecture.md §5)."""
    one_device, other, third = Writer(1), Writer(2), Writer(3)
    edit = other.says(p.OrderChanged("o1", p.OrderFields(memo="ring twice")), 10)
    first = one_device.says(
        p.OrderCommitted("o1", content(("l1", "p1", 1_000, 50_000), memo="ring")), 20
    )
    second = third.says(p.OrderCommitted("o1", content(("l1", "p1", 2_000, 50_000))), 30)
    records, order = [second, first, edit], ("order", "o1")
    memo = one(records, order, "memo")
    assert (memo.value, memo.rule) == ("ring", w.FIRST_SEAL)
    assert {(said.fact.tag, said.rule) for said in memo.losers} == {
        (edit.tag, SEALED_BEFORE),
        (second.tag, SEALED_FIRST),
    }
    line = one(records, order, "lines.l1.qty_e3")
    assert (line.value, [said.value for said in line.losers]) == (1_000, [2_000])
    amended = one_device.says(p.OrderAmended("o1", content(memo="ring twice")), 40, [edit.id])
    memo = one([*records, amended], order, "memo")
    assert (memo.value, memo.rule) == ("ring twice", w.AMENDED)
    assert (first.tag, w.AMENDED) in {(said.fact.tag, said.rule) for said in memo.losers}


def test_a_removed_line_names_who_removed_it() -> None:
    """A line of a draft that is gone points to the removal and lists the puts it had seen."""
    writer = Writer(1)
    put = writer.says(p.OrderLinePut("o1", "l1", p.LineFields(product="p1", qty_e3=1_000)), 10)
    removal = writer.says(p.OrderLineRemoved("o1", "l1", (put.id,)), 20)
    found = one([put, removal], ("order", "o1"), "lines.l1")
    assert (found.value, found.rule) == (None, w.REMOVED)
    assert [said.fact.tag for said in found.winners] == [removal.tag]
    assert [said.fact.tag for said in found.losers] == [put.tag]


def test_stock_is_the_count_and_what_moved_since() -> None:
    """The shelf names the newest count and every movement after it; nothing older (CON-09)."""
    writer = Writer(1)
    first = writer.says(p.StockCounted("p1", 5_000), 10)
    early = writer.says(p.StockMoved("p1", 1_000), 20)
    count = writer.says(p.StockCounted("p1", 9_000), 30)
    late = writer.says(p.StockMoved("p1", -2_000), 40)
    found = one([late, first, count, early], ("stock", "p1"), "before_sales_e3")
    assert (found.value, found.rule) == (7_000, w.ADDED_UP)
    assert [said.fact.tag for said in found.winners] == [count.tag, late.tag]
    assert [said.fact.tag for said in found.losers] == [first.tag]


def test_a_payment_said_twice_counts_as_first_recorded() -> None:
    """Payments are never merged: the first record counts and the other is listed (I-10)."""
    one_device, other = Writer(1), Writer(2)
    first = one_device.says(p.PaymentRecorded("y1", "o1", "c1", "cash", 500, "USD"), 10)
    second = other.says(p.PaymentRecorded("y1", "o1", "c1", "cash", 700, "USD"), 20)
    found = one([second, first], ("payment", "y1"), "amount_minor")
    assert (found.value, found.rule) == (500, RECORDED_FIRST)
    assert [said.value for said in found.losers] == [700]


def test_a_sinks_answer_names_the_estimate_under_a_parking() -> None:
    """What a sink said last counts; the estimate it had made before stays part of it (QB-13)."""
    sink = Writer(9, Origin.SINK)
    made = sink.says(p.OrderEstimated("o1", "books", "17", "E-17", 500), 10)
    parked = sink.says(p.OrderParked("o1", "books", "6000", "closed book", "open it"), 20)
    found = one([parked, made], ("order", "o1"), "answers.books")
    assert (found.value["state"], found.value["number"]) == ("parked", "E-17")
    assert [said.fact.tag for said in found.winners] == [parked.tag, made.tag]
    again = sink.says(p.OrderEstimated("o1", "books", "17", "E-17", 500), 30)
    found = one([parked, made, again], ("order", "o1"), "answers.books")
    assert [said.fact.tag for said in found.winners] == [again.tag]
    assert [said.fact.tag for said in found.losers] == [parked.tag]
