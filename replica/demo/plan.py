"""What the reps and the office do in the story. Pure: the same company gives the same work.

Three reps lose the network. Each takes orders and a quote; the first also meets a new customer and
sells to them at once; the second and the third change the same customer; the office deletes a
customer that the third was editing.
"""

from __future__ import annotations

from dataclasses import dataclass

from replica.demo.company import CURRENCY, Company
from replica.events.payloads import (
    Address,
    CustomerChanged,
    CustomerCreated,
    CustomerFields,
    Payload,
)

REPS = 3
ORDERS_EACH = 4
LINES_EACH = 3
NEW_CUSTOMER = "c-lakeside"
NEW_CUSTOMER_NAME = "Lakeside Delicatessen"


@dataclass(frozen=True)
class Sale:
    """One order or quote to take: ``lines`` are (product, whole units)."""

    customer: str
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Day:
    """One rep's day without a network, in the order of its doing."""

    customers: tuple[Payload, ...]
    orders: tuple[Sale, ...]
    quotes: tuple[Sale, ...]
    edits: tuple[Payload, ...]


def contested(company: Company) -> str:
    """The customer that two reps change at the same time."""
    return company.customers[0].id


def doomed(company: Company) -> str:
    """The customer that the office deletes while a rep edits it."""
    return company.customers[1].id


def day(company: Company, rep: int) -> Day:
    """The work of rep ``rep`` (from 0)."""
    first = 10 + rep * ORDERS_EACH
    buyers = [customer.id for customer in company.customers[first : first + ORDERS_EACH]]
    if rep == 0:
        buyers[0] = NEW_CUSTOMER
    return Day(
        customers=(_new_customer(),) if rep == 0 else (),
        orders=tuple(
            Sale(buyer, _lines(company, seed=rep * 17 + index * 5))
            for index, buyer in enumerate(buyers)
        ),
        quotes=(Sale(company.customers[30 + rep].id, _lines(company, seed=rep * 11 + 3)),),
        edits=_edits(company, rep),
    )


def _lines(company: Company, *, seed: int) -> tuple[tuple[str, int], ...]:
    products = company.products
    return tuple(
        (products[(seed + step * 7) % len(products)].id, step + 1) for step in range(LINES_EACH)
    )


def _new_customer() -> Payload:
    fields = CustomerFields(
        name=NEW_CUSTOMER_NAME,
        status="prospect",
        phone="555-0142",
        address=Address(line1="1 Shore Road", city="Duluth", region="MN", country="USA"),
        currency=CURRENCY,
    )
    return CustomerCreated(customer=NEW_CUSTOMER, fields=fields)


def _edits(company: Company, rep: int) -> tuple[Payload, ...]:
    if rep == 0:
        return ()
    fields = CustomerFields(phone=f"555-010{rep}")
    edits: list[Payload] = [CustomerChanged(customer=contested(company), fields=fields)]
    if rep == REPS - 1:
        fields = CustomerFields(phone="555-0199")
        edits.append(CustomerChanged(customer=doomed(company), fields=fields))
    return tuple(edits)
