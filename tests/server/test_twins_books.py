"""What was decided about twins as QuickBooks sees it: the real sink over the sandbox (P57)."""

from __future__ import annotations

from typing import Any

import pytest

from qbo_sink.wire import equals, select
from replica.crdt.twins import twin_id
from replica.events.payloads import CustomerCreated, CustomerFields, TwinDecided
from tests.server.books import Books, booked, external, order, stock, sync
from tests.server.test_twins import push
from tests.server.world import Company, World

books, world = booked("module")


@pytest.fixture(scope="module")
def company(world: World) -> Company:
    """The sandbox's sample company."""
    made = world.company()
    stock(world, made)
    return made


def row(world: World, company: Company, identity: str) -> Any:
    """The estimate of an order there."""
    estimate = external(world, company, identity)
    desk: Any = world.runtime.sinks.desk

    async def read() -> Any:
        session = await desk.open_session(company.account)
        (found,) = await session.query(select("Estimate", equals("Id", estimate)), "Estimate")
        return found

    return world.on_loop(read)


def test_a_number_given_twice_goes_out_with_its_suffix(
    world: World, company: Company, books: Books
) -> None:
    """The later of two orders with one number stands in QuickBooks under the decided one, and the
    first under its own (P57, QB-02)."""
    push(world, company, "Ana's phone", order("o-10", "1001"))
    push(world, company, "Bo's phone", order("o-11", "1001"))
    sync(world, company)
    numbers = [row(world, company, one)["DocNumber"] for one in ("o-10", "o-11")]
    assert numbers == ["1001", "1001-2"]


def test_an_order_of_the_same_customer_goes_to_the_one_that_stays(
    world: World, company: Company, books: Books
) -> None:
    """Once the office has said that two are the same, an order for the other one becomes an
    estimate of the one that stays, and no second customer is made there (P57, ORD-08)."""
    push(world, company, "Ana's phone", CustomerCreated("c-10", CustomerFields(name="Harbour Inn")))
    push(world, company, "Bo's phone", CustomerCreated("c-11", CustomerFields(name="harbour inn")))
    world.caught_up(company)
    world.on_loop(lambda: world.runtime.deciding.settle(company.account))
    world.write(company, TwinDecided(twin_id("customer", "c-10", "c-11"), "same", "c-10"))
    push(world, company, "Cy's phone", order("o-12", "2001", "c-11"))
    sync(world, company)
    world.caught_up(company)
    stands = row(world, company, "o-12")["CustomerRef"]["value"]
    assert stands == external(world, company, "c-10", "customer")
