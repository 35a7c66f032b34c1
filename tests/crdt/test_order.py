"""Orders: drafts of several people, the seal, and what waits for review after it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from replica.crdt.documents import DocKey
from replica.crdt.order import effective, line_puts
from replica.crdt.view import View
from replica.events import payloads as p
from replica.events.record import Origin, Record
from replica.limits import CONTENTS_KEPT_MAX
from tests.crdt.samples import Writer, content, folded, seen


def order(*records: Record) -> View:
    """The view, having made sure that no order of arrival gives another one."""
    views = [seen(arrived, "order", "o1") for arrived in permutations(records)]
    assert all(found == views[0] for found in views)
    return views[0]


def put(line: str, **fields: Any) -> p.OrderLinePut:
    return p.OrderLinePut("o1", line, p.LineFields(**fields))


def changed(**fields: Any) -> p.OrderChanged:
    return p.OrderChanged("o1", p.OrderFields(**fields))


def sealed(**fields: Any) -> p.OrderCommitted:
    return p.OrderCommitted("o1", content(**fields))


def amended(**fields: Any) -> p.OrderAmended:
    return p.OrderAmended("o1", content(**fields))


def test_fields_of_a_line_are_registers() -> None:
    """Two people may change quantity and price of one line at once; both count (CON-01)."""
    found = order(
        Writer(1).says(put("l1", product="p1", qty_e3=1_000, price_e4=10_000), 1),
        Writer(2).says(put("l1", qty_e3=3_000), 2),
        Writer(3).says(put("l1", price_e4=9_000), 3),
    )
    assert found["state"] == "draft"
    (line,) = found["lines"]
    assert (line["product"], line["qty_e3"], line["price_e4"]) == ("p1", 3_000, 9_000)
    assert {(loser["line"], loser["field"], loser["value"]) for loser in found["losers"]} == {
        ("l1", "qty_e3", 1_000),
        ("l1", "price_e4", 10_000),
    }


def test_a_removal_takes_what_its_author_saw() -> None:
    """A removal that arrives before its puts removes them all the same (observed-remove)."""
    writer = Writer(1)
    first = writer.says(put("l1", product="p1", qty_e3=1_000), 1)
    second = writer.says(put("l1", qty_e3=2_000), 2)
    named = line_puts(folded([first, second])[DocKey("order", "o1")], "l1")
    assert named == (first.id, second.id)
    found = order(first, second, Writer(2).says(p.OrderLineRemoved("o1", "l1", named), 3))
    assert (found["state"], found["lines"]) == ("draft", [])


def test_a_put_nobody_saw_survives_a_removal() -> None:
    """A change made elsewhere at the same time keeps the line (architecture §5)."""
    first = Writer(1).says(put("l1", product="p1", qty_e3=1_000), 1)
    other = Writer(2).says(put("l1", qty_e3=5_000), 2)
    found = order(first, other, Writer(3).says(p.OrderLineRemoved("o1", "l1", (first.id,)), 3))
    (line,) = found["lines"]
    assert (line["qty_e3"], line["product"], line["puts"]) == (5_000, None, [other.id.hex()])


def test_a_seal_fixes_everything_and_keeps_the_draft_out() -> None:
    """The author's own draft is in the seal; nothing waits for review (I-9)."""
    writer = Writer(1)
    found = order(
        writer.says(changed(memo="draft"), 1),
        writer.says(put("l9", product="p9", qty_e3=1_000), 2),
        writer.says(sealed(memo="final"), 3),
    )
    assert (found["state"], found["content"]["memo"], found["amendments"]) == (
        "sealed",
        "final",
        [],
    )
    assert found["content"]["lines"] == [
        {"id": "l1", "product": "p1", "qty_e3": 1_000, "price_e4": 50_000, "text": ""}
    ]
    assert found["content"]["total_minor"] == 500


def test_the_first_seal_counts() -> None:
    """Of two seals the earlier by tag counts, the other waits for review with its content."""
    first = Writer(1).says(sealed(memo="first"), 1)
    second = Writer(2).says(sealed(memo="second"), 2)
    found = order(first, second)
    assert (found["content"]["memo"], found["sealed"]["tag"]) == ("first", first.tag.hex())
    (item,) = found["amendments"]
    assert (item["value"]["memo"], item["rule"]) == ("second", "another seal was first")


@pytest.mark.parametrize("edit_ms", [1, 9])
def test_an_edit_by_who_had_not_seen_the_seal_waits_for_review(edit_ms: int) -> None:
    """Older or newer, it is neither merged into the sealed content nor lost (architecture §5)."""
    edit = Writer(2).says(changed(memo="please gift-wrap"), edit_ms)
    found = order(edit, Writer(1).says(sealed(memo=""), 5))
    assert found["content"]["memo"] == ""
    (item,) = found["amendments"]
    assert (item["field"], item["value"], item["event"]) == (
        "memo",
        "please gift-wrap",
        edit.id.hex(),
    )
    assert item["rule"] == "sealed before this edit"


def test_an_edit_that_the_seal_says_too_needs_no_review() -> None:
    """What the content says already differs in nothing, nor does clearing what is empty."""
    writer = Writer(2)
    found = order(
        writer.says(changed(memo="same", note=None), 9),
        writer.says(put("l1", qty_e3=1_000), 9),
        Writer(1).says(sealed(memo="same"), 5),
    )
    assert found["amendments"] == []


def test_edits_the_sealer_had_seen_are_decided() -> None:
    """A seal names the newest edit it saw of another device; that and older ones do not wait."""
    office = Writer(2, Origin.WEB)
    older, newer = office.says(changed(memo="a"), 1), office.says(changed(note="b"), 2)
    unseen = office.says(changed(rep="c"), 3)
    seal = Writer(1).says(sealed(), 5, deps=[newer.id])
    found = order(older, newer, unseen, seal)
    assert [item["field"] for item in found["amendments"]] == ["rep"]


def test_line_edits_after_the_seal_wait_too() -> None:
    """A changed quantity, a new line and a removed line each wait under their line."""
    late = Writer(2)
    found = order(
        Writer(1).says(sealed(), 5),
        late.says(put("l1", qty_e3=7_000), 8),
        late.says(put("l2", product="p2"), 8),
    )
    assert [(item["line"], item["field"], item["value"]) for item in found["amendments"]] == [
        ("l1", "qty_e3", 7_000),
        ("l2", "product", "p2"),
    ]
    found = order(Writer(1).says(sealed(), 5), late.says(p.OrderLineRemoved("o1", "l1", ()), 8))
    (item,) = found["amendments"]
    assert (item["kind"], item["line"], item["kept"]["qty_e3"]) == (
        "order.line_removed",
        "l1",
        1_000,
    )


@pytest.mark.parametrize("amend_ms", [3, 9])
def test_an_amendment_replaces_the_content_whatever_its_stamp(amend_ms: int) -> None:
    """Its author saw the seal, so it counts even if a wrong clock put it before the seal."""
    found = order(
        Writer(1).says(sealed(memo="seal"), 5), Writer(2).says(amended(memo="amended"), amend_ms)
    )
    assert found["content"]["memo"] == "amended"
    assert found["amended"]["ms"] == amend_ms


def test_the_newest_amendment_counts_and_older_ones_are_listed() -> None:
    """Superseded contents are kept for whoever lost (CON-10)."""
    first = Writer(2).says(amended(memo="one"), 7)
    second = Writer(3).says(amended(memo="two"), 8)
    found = order(Writer(1).says(sealed(), 5), first, second)
    assert found["content"]["memo"] == "two"
    assert [(loser["field"], loser["value"]["memo"]) for loser in found["losers"]] == [
        ("content", "one")
    ]


def test_an_amendment_settles_what_it_names() -> None:
    """Naming a waiting edit settles it, taken over or not (CON-10)."""
    edit = Writer(2).says(changed(memo="discount!"), 9)
    seal = Writer(1).says(sealed(), 5)
    unnamed = order(seal, edit, Writer(3, Origin.WEB).says(amended(), 20))
    assert len(unnamed["amendments"]) == 1
    named = order(seal, edit, Writer(3, Origin.WEB).says(amended(), 20, deps=[edit.id]))
    assert named["amendments"] == []


def test_an_amendment_waits_for_its_seal() -> None:
    """Before the seal arrives the order is no sealed order, and nothing of it is lost."""
    amendment = Writer(2).says(amended(memo="amended"), 9)
    assert order(amendment)["content"] is None
    assert order(amendment, Writer(1).says(sealed(), 5))["content"]["memo"] == "amended"


def test_cancelling_keeps_the_content_and_says_why() -> None:
    """A cancelled order is still readable; its seal does not count for stock or the sink."""
    records = [Writer(1).says(sealed(), 5), Writer(2).says(p.OrderCancelled("o1", "closed"), 6)]
    found = order(*records)
    assert (found["state"], found["cancelled"]["reason"]) == ("cancelled", "closed")
    standing = effective(folded(records)[DocKey("order", "o1")])
    assert standing is not None
    assert standing.cancelled


def test_the_newest_answer_of_each_sink_is_shown() -> None:
    """A parked order shows cause and fix beside its estimate; a new one clears them (QB-19)."""
    sink = Writer(9, Origin.SINK)
    seal = Writer(1).says(sealed(), 1)
    one = sink.says(p.OrderEstimated("o1", "books", "77", "E-1", 500), 2)
    parked = sink.says(p.OrderParked("o1", "books", "6240", "name in use", "rename it"), 3)
    two = sink.says(p.OrderEstimated("o1", "books", "77", "E-1", 600), 4)
    other = sink.says(p.OrderEstimated("o1", "other", "5", "X", 500), 2)
    answers = order(seal, one, parked, other)["answers"]
    assert answers["books"]["state"] == "parked"
    assert (answers["books"]["external_id"], answers["books"]["fix"]) == ("77", "rename it")
    assert answers["other"]["state"] == "estimated"
    answer = order(seal, one, parked, two)["answers"]["books"]
    assert (answer["state"], answer["total_minor"], "fix" in answer) == ("estimated", 600, False)


def test_contents_kept_for_review_are_bounded() -> None:
    """A device that seals one order again and again cannot grow the document (I-20)."""
    writer = Writer(1)
    records = [writer.says(sealed(memo=str(number)), number) for number in range(50)]
    found = seen(records, "order", "o1")
    assert found["content"]["memo"] == "0"
    assert len(found["amendments"]) == CONTENTS_KEPT_MAX - 1
