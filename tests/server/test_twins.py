"""Names and numbers that were given twice, from two devices to the office and back (P57)."""

from __future__ import annotations

import html

import pytest

from replica.crdt.twins import twin_id
from replica.events import payloads as p
from replica.server.stores import new_user
from replica.store.access import Role
from tests.crdt.samples import content
from tests.server.raw import RawDevice
from tests.server.world import PASSWORD, Company, World


def sold(order: str, number: str, customer: str) -> p.OrderCommitted:
    made = content(("l1", "p1", 1_000, 50_000), number=number, customer=customer)
    return p.OrderCommitted(order, made)


def customer(identity: str, name: str, **fields: str) -> p.CustomerCreated:
    return p.CustomerCreated(identity, p.CustomerFields(name=name, **fields))  # type: ignore[arg-type]


def push(world: World, company: Company, name: str, *payloads: p.Payload) -> None:
    """A device that was away comes, says what it has, and goes."""
    device = RawDevice.enrol(world, company, name)
    device.meet()
    device.settle(device.make(*payloads))
    device.close()


def settle(world: World, company: Company) -> None:
    """Wait until the server has decided all that came."""
    world.caught_up(company)
    world.on_loop(lambda: world.runtime.deciding.settle(company.account))


@pytest.fixture
def twice(world: World, company: Company) -> str:
    """Two phones made the same customer; gives the id of the pair."""
    push(world, company, "Ana's phone", customer("a", "Corner Cafe", phone="555-1"))
    push(world, company, "Bo's phone", customer("b", " corner cafe", email="bo@cafe.example"))
    settle(world, company)
    return twin_id("customer", "a", "b")


def test_the_office_is_asked_with_both_side_by_side(
    world: World, company: Company, twice: str
) -> None:
    """The page shows both records, who made them and what tells them apart, and its entry in the
    menu counts the question (P57, CON-10)."""
    with world.browser(company) as pages:
        page = html.unescape(pages.text("/conflicts"))
        for text in (
            "are these the same?",
            "made by Ana's phone",
            "made by Bo's phone",
            "555-1",
            "bo@cafe.example",
            "Waits for you",
        ):
            assert text in page
        assert f'data-twin="{twice}" data-choice="ask"' in page
        assert "for review" in pages.text("/orders")
        assert "found both at once" in pages.text(f"/why/twin/{twice}")


def test_a_pair_is_kept_apart_and_taken_back(world: World, company: Company, twice: str) -> None:
    """One press says that two are two, another one asks again, and what was chosen before is
    listed (P57)."""
    with world.browser(company) as pages:
        assert pages.post(f"/twins/{twice}/apart").status_code == 303
        page = pages.text("/conflicts")
        assert "Two that stay apart" in page
        assert "Keep apart" not in page
        assert pages.post(f"/twins/{twice}/ask").status_code == 303
        assert "Keep apart" in pages.text("/conflicts")
        assert pages.post(f"/twins/{twice}/unheard-of").status_code == 409
        assert pages.post("/twins/nobody/apart").status_code == 409


def test_a_rename_ends_the_question(world: World, company: Company, twice: str) -> None:
    """A new name for one of the two is an edit like any other, and the question is gone (P57)."""
    with world.browser(company) as pages:
        assert pages.post(f"/twins/{twice}/rename_second", text=" ").status_code == 409
        assert pages.post(f"/twins/{twice}/rename_second", text="Cafe North").status_code == 303
        page = pages.text("/conflicts")
        assert "Made twice" not in page
        assert "Cafe North" in pages.text("/customers/b")


def test_programs_decide_too(world: World, company: Company, twice: str) -> None:
    """The API lists pairs, decides them, and refuses what is no choice (P57)."""
    with world.operator(company) as api:
        (row,) = api.get("/twins", params={"asked": "1"}).json()["rows"]
        assert (row["id"], row["first"], row["second"], row["choice"]) == (twice, "a", "b", "ask")
        answer = api.post(f"/twins/{twice}", json={"action": "first"}).json()
        assert (answer["choice"], answer["stays"], answer["gone"]) == ("same", "a", "b")
        assert api.get("/twins", params={"asked": "1"}).json()["rows"] == []
        assert api.post(f"/twins/{twice}", json={"action": "merge"}).status_code == 400
        assert api.post("/twins/nobody", json={"action": "apart"}).status_code == 404


def test_orders_of_the_other_one_follow(world: World, company: Company, twice: str) -> None:
    """After "the same" an order for the one that is gone stands with the one that stays, also when
    it comes from a phone that knows nothing of it (P57)."""
    with world.operator(company) as api:
        api.post(f"/twins/{twice}", json={"action": "first"})
    push(world, company, "Cy's phone", sold("o-1", "C-1", "b"))
    settle(world, company)
    with world.operator(company) as api:
        assert api.get("/orders/o-1").json()["customer"] == "a"


def test_a_number_is_told_apart_and_the_office_has_the_last_word(
    world: World, company: Company
) -> None:
    """The later of two orders with one number gets a suffix, its author is told on the page, and
    the office may choose another number or give the old one back (P57, CON-10)."""
    push(world, company, "Ana's phone", sold("o-1", "1001", "a"))
    push(world, company, "Bo's phone", sold("o-2", "1001", "a"))
    settle(world, company)
    with world.operator(company) as api, world.browser(company) as pages:

        def number() -> str:
            return str(api.get("/orders/o-2").json()["number"])

        assert number() == "1001-2"
        page = html.unescape(pages.text("/conflicts"))
        for text in ("1001-2", "another order has this number", "Bo's phone"):
            assert text in page
        assert pages.post("/numbers/o-2/renumber", text="B-7").status_code == 303
        assert number() == "B-7"
        assert pages.post("/numbers/o-2/give_back").status_code == 303
        settle(world, company)
        assert number() == "1001"
        assert api.put("/orders/o-2/number", json={"number": "B-8"}).json()["number"] == "B-8"
        assert api.put("/orders/nobody/number", json={"number": "1"}).status_code == 404
        assert api.put("/orders/o-2/number", json={"number": "x" * 22}).status_code == 400


def test_only_who_may_edit_decides(world: World, company: Company, twice: str) -> None:
    """A reader sees the question and no buttons (ACC-03)."""
    reader = new_user(f"reads-{company.login}", PASSWORD, Role.VIEWER)
    world.stores.control.add_user(company.account, reader, now_ms=1)
    with world.browser(company, reader.login) as pages:
        page = pages.text("/conflicts")
        assert "Waits for you" in page
        assert "Keep apart" not in page
