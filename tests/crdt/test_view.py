"""Views of customers, products, quotes, returns, payments, devices and runs: who wins and why."""

from __future__ import annotations

import json
from itertools import permutations

import pytest
from hypothesis import given, settings

from replica.crdt.documents import DocKey
from replica.crdt.view import View, exists, view
from replica.events import payloads as p
from replica.events.record import Origin, Record
from replica.limits import LOSERS_PER_FIELD_MAX
from tests.crdt.samples import Writer, content, folded, record_sets, seen


def named(name: str | None) -> p.CustomerChanged:
    return p.CustomerChanged("c1", p.CustomerFields(name=name))


def customer(*records: Record) -> View:
    """The view, having made sure that no order of arrival gives another one."""
    views = [seen(arrived, "customer", "c1") for arrived in permutations(records)]
    assert all(found == views[0] for found in views)
    return views[0]


def both() -> tuple[Writer, Writer]:
    return Writer(1), Writer(2, Origin.WEB)


@pytest.mark.parametrize(("device_ms", "web_ms", "wins"), [(10, 20, "web"), (20, 10, "device")])
def test_the_newer_value_wins_from_either_side(device_ms: int, web_ms: int, wins: str) -> None:
    """Latest data overrides older data, whichever side it comes from (CON-01, CON-03, CON-04)."""
    device, web = both()
    found = customer(device.says(named("device"), device_ms), web.says(named("web"), web_ms))
    assert found["fields"]["name"] == wins


def test_what_one_side_lacks_appears_at_once() -> None:
    """A customer made on the web is on the device, and one made on a device is on the web, however
    little is known of it (CON-02, CON-06)."""
    for writer in both():
        created = p.CustomerCreated("c1", p.CustomerFields(name="Acme"))
        assert customer(writer.says(created, 1))["exists"]
    assert customer(Writer(1).says(named("an edit that came before the creation"), 1))["exists"]


@pytest.mark.parametrize("edit_ms", [10, 30])
def test_a_delete_by_the_office_counts_over_older_and_newer_edits(edit_ms: int) -> None:
    """Deleted on the web is deleted everywhere, and the edit that was lost is listed (CON-05)."""
    device, web = both()
    created = web.says(p.CustomerCreated("c1", p.CustomerFields(name="Acme")), 1)
    edit = device.says(named("Acme Ltd"), edit_ms)
    deleted = web.says(p.CustomerDeleted("c1"), 20)
    found = customer(created, edit, deleted)
    assert (found["exists"], found["deleted_by"]) == (False, "office")
    lost = [loser for loser in found["losers"] if loser["rule"] == "deleted by the office"]
    assert [(loser["value"], loser["by"]) for loser in lost] == [("Acme Ltd", edit.tag.hex())]
    assert lost[0]["kept_by"] == deleted.tag.hex()


def test_a_device_cannot_bring_back_what_the_office_deleted() -> None:
    """Neither a new creation nor a restore by a device undoes a delete by the web; the tombstone
    stays for ever (CON-05, CON-06, pitfalls P19, P20)."""
    device, web = both()
    found = customer(
        web.says(p.CustomerDeleted("c1"), 10),
        device.says(p.CustomerRestored("c1"), 20),
        device.says(p.CustomerCreated("c1", p.CustomerFields(name="Again")), 30),
    )
    assert not found["exists"]


def test_the_office_restores_what_the_office_deleted() -> None:
    """A restore by the web gives the customer back with every value it has (CON-05)."""
    device, web = both()
    found = customer(
        device.says(named("Acme"), 5),
        web.says(p.CustomerDeleted("c1"), 10),
        web.says(p.CustomerRestored("c1"), 20),
    )
    assert (found["exists"], found["fields"]["name"], found["losers"]) == (True, "Acme", [])


@pytest.mark.parametrize(("delete_ms", "there"), [(10, True), (30, False)])
def test_a_delete_by_a_device_follows_newest_wins(delete_ms: int, there: bool) -> None:
    """A device's delete gives way to a newer edit and takes an older one with it (CON-01)."""
    device, web = both()
    found = customer(web.says(named("Acme"), 20), device.says(p.CustomerDeleted("c1"), delete_ms))
    assert found["exists"] is there
    assert found["deleted_by"] == (None if there else "device")
    assert [loser["rule"] for loser in found["losers"]] == ([] if there else ["deleted later"])


def test_a_device_may_delete_after_the_office_restored() -> None:
    """Once restored, newest wins again (architecture §5)."""
    device, web = both()
    records = [web.says(p.CustomerDeleted("c1"), 10), web.says(p.CustomerRestored("c1"), 20)]
    assert not customer(*records, device.says(p.CustomerDeleted("c1"), 30))["exists"]


def test_an_unset_value_stays_unset() -> None:
    """Clearing a field is a value like any other; the cleared one does not come back (P51)."""
    device, web = both()
    found = customer(device.says(named("Acme"), 1), web.says(named(None), 2))
    assert found["fields"]["name"] is None
    assert [loser["value"] for loser in found["losers"]] == ["Acme"]


def test_the_loser_is_told_what_replaced_it_and_by_whom() -> None:
    """Value, winner, both authors, both times and the rule are listed (CON-10)."""
    device, web = both()
    old = device.says(p.ProductChanged("p1", p.ProductFields(price_e4=50_000)), 1_000)
    new = web.says(p.ProductChanged("p1", p.ProductFields(price_e4=55_000)), 2_000)
    (loser,) = seen([new, old], "product", "p1")["losers"]
    assert loser == {
        "field": "price_e4",
        "line": "",
        "value": 50_000,
        "by": old.tag.hex(),
        "stamp_ms": 1_000,
        "rule": "newer value wins",
        "kept": 55_000,
        "kept_by": new.tag.hex(),
    }


def test_listed_losers_are_bounded() -> None:
    """A field that was edited a thousand times lists the newest overridden values only (I-20)."""
    writer = Writer(1)
    records = [writer.says(named(f"name {number}"), number) for number in range(1_000)]
    documents = folded(records)
    document = documents[DocKey("customer", "c1")]
    assert len(document.encode()) < 2_000
    values = [loser["value"] for loser in view(document)["losers"]]
    assert values == [f"name {number}" for number in range(998, 998 - LOSERS_PER_FIELD_MAX, -1)]


def test_equal_stamps_are_decided_by_the_event() -> None:
    """Two values at one time have one winner, the same everywhere (CON-08, pitfalls P16)."""
    first, second = Writer(1).says(named("a"), 5), Writer(1).says(named("b"), 5)
    winner = max(first, second, key=lambda record: record.id)
    payload = named("a") if winner is first else named("b")
    assert customer(first, second)["fields"]["name"] == payload.fields.name


def test_an_address_is_one_value() -> None:
    """An address is replaced whole and shown with every part of it."""
    address = p.Address(line1="1 Main St", city="Springfield")
    found = customer(Writer(1).says(p.CustomerChanged("c1", p.CustomerFields(address=address)), 1))
    assert found["fields"]["address"] == {
        "line1": "1 Main St",
        "line2": "",
        "city": "Springfield",
        "region": "",
        "postal_code": "",
        "country": "",
    }


def test_a_link_alone_makes_nobody_exist() -> None:
    """A sink's answer about an unknown customer is kept, but creates no customer."""
    sink = Writer(3, Origin.SINK)
    records = [sink.says(p.CustomerLinked("c1", "books", str(number)), number) for number in (2, 1)]
    found = customer(*records)
    assert (found["exists"], found["links"]) == (False, {"books": "2"})
    assert not exists(folded(records)[DocKey("customer", "c1")])


def test_a_quote_follows_its_newest_commit() -> None:
    """A quote may be offered anew; earlier contents are listed (OFF-26)."""
    writer = Writer(1)
    first = writer.says(p.QuoteCommitted("q1", content(memo="first")), 1)
    withdrawn = writer.says(p.QuoteWithdrawn("q1", "too dear"), 2)
    second = writer.says(p.QuoteCommitted("q1", content(memo="second")), 3)
    found = seen([first, withdrawn], "quote", "q1")
    assert (found["state"], found["withdrawn"]["reason"]) == ("withdrawn", "too dear")
    found = seen([second, withdrawn, first], "quote", "q1")
    assert (found["state"], found["content"]["memo"], found["withdrawn"]) == (
        "committed",
        "second",
        None,
    )
    assert [loser["value"]["memo"] for loser in found["losers"]] == ["first"]


def test_a_return_and_a_payment_keep_their_first_record() -> None:
    """What was given back or paid is never overwritten; another record is listed (append-only)."""
    writer = Writer(1)
    back = ("l1", "p1", -1_000, 50_000)
    returns = [
        writer.says(p.ReturnCommitted("r1", content(back, memo=memo)), ms)
        for memo, ms in (("later", 2), ("first", 1))
    ]
    found = seen(returns, "return", "r1")
    assert (found["content"]["memo"], found["content"]["total_minor"]) == ("first", -500)
    assert [loser["rule"] for loser in found["losers"]] == ["another seal was first"]
    payments = [
        writer.says(p.PaymentRecorded("m1", "o1", "c1", "cash", amount, "USD"), ms)
        for amount, ms in ((700, 2), (500, 1), (500, 3))
    ]
    found = seen(payments, "payment", "m1")
    assert found["amount_minor"] == 500
    assert [loser["value"]["amount_minor"] for loser in found["losers"]] == [700]


def test_a_revoked_device_stays_revoked_until_it_is_enrolled_again() -> None:
    """Enrolment and revocation follow newest-wins between themselves (I-18)."""
    web, device = Writer(9, Origin.WEB), "ab" * 16
    enrolled = web.says(p.DeviceEnrolled(device, "Till", "ana"), 1)
    revoked = web.says(p.DeviceRevoked(device), 2)
    again = web.says(p.DeviceEnrolled(device, "Till 2", "ana"), 3)
    found = seen([revoked, enrolled], "device", device)
    assert (found["active"], found["name"], found["revoked"]["ms"]) == (False, "Till", 2)
    found = seen([again, revoked, enrolled], "device", device)
    assert (found["active"], found["name"], found["revoked"]) == (True, "Till 2", None)


def test_a_run_shows_its_report() -> None:
    """The result of Sync Now is read back as it was written."""
    report = {"order": "12 equal", "customer": "3 equal"}
    finished = p.SyncFinished("run1", 5, 9, 2, 3, True, report)
    found = seen([Writer(9, Origin.WEB).says(finished, 1)], "sync", "run1")
    assert (found["report"], found["equal"], found["pushed"]) == (report, True, 2)


@settings(max_examples=60, deadline=None)
@given(records=record_sets())
def test_views_are_plain_values(records: list[Record]) -> None:
    """Every view of any state is what JSON can say, with the common keys."""
    for key, document in folded(records).items():
        found = view(document)
        assert json.loads(json.dumps(found)) == found
        assert (found["type"], found["id"]) == key
        for loser in found["losers"]:
            assert {"field", "value", "by", "stamp_ms", "rule"} <= set(loser)
