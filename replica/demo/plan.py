"""What the reps and the office do in the story. Pure: the same company gives the same work.

Three reps lose the network. Each takes orders and a quote; the first also meets a new customer and
sells to them at once; the second and the third change the same customer; the office deletes a
customer that the third was editing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from replica.demo.company import CURRENCY, Company, Product
from replica.events.money import line_total_minor
from replica.events.payloads import (
    Address,
    Content,
    CustomerChanged,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    Payload,
    QuoteCommitted,
    SealedLine,
)

REPS = 3
ORDERS_EACH = 4
LINES_EACH = 3
NEW_CUSTOMER = "c-lakeside"
NEW_CUSTOMER_NAME = "Lakeside Delicatessen"


@dataclass(frozen=True)
class Work:
    """One rep's day without a network, in order; ids are listed for the checks afterwards."""

    payloads: tuple[Payload, ...]
    orders: tuple[str, ...]
    quotes: tuple[str, ...]
    customers: tuple[str, ...] = field(default=())


def contested(company: Company) -> str:
    """The customer that two reps change at the same time."""
    return company.customers[0].id


def doomed(company: Company) -> str:
    """The customer that the office deletes while a rep edits it."""
    return company.customers[1].id


def day(company: Company, rep: int, date: str) -> Work:
    """The work of rep ``rep`` (from 0) on ``date`` (YYYY-MM-DD)."""
    payloads: list[Payload] = []
    customers: tuple[str, ...] = ()
    if rep == 0:
        payloads.append(_new_customer())
        customers = (NEW_CUSTOMER,)
    orders: list[str] = []
    for index in range(ORDERS_EACH):
        customer = company.customers[10 + rep * ORDERS_EACH + index].id
        if rep == 0 and index == 0:
            customer = NEW_CUSTOMER
        number = f"R{rep + 1}-{index + 1:04d}"
        content = _content(company, number, customer, date, rep, seed=rep * 17 + index * 5)
        orders.append(f"o-{number.lower()}")
        payloads.append(OrderCommitted(order=orders[-1], content=content))
    number = f"R{rep + 1}-Q001"
    quote = f"q-{number.lower()}"
    customer = company.customers[30 + rep].id
    content = _content(company, number, customer, date, rep, seed=rep * 11 + 3)
    payloads.append(QuoteCommitted(quote=quote, content=content))
    payloads.extend(_edits(company, rep))
    return Work(tuple(payloads), tuple(orders), (quote,), customers)


def _new_customer() -> Payload:
    fields = CustomerFields(
        name=NEW_CUSTOMER_NAME,
        status="prospect",
        phone="555-0142",
        address=Address(line1="1 Shore Road", city="Duluth", region="MN", country="USA"),
        currency=CURRENCY,
    )
    return CustomerCreated(customer=NEW_CUSTOMER, fields=fields)


def _edits(company: Company, rep: int) -> list[Payload]:
    if rep == 0:
        return []
    edits: list[Payload] = [
        CustomerChanged(
            customer=contested(company),
            fields=CustomerFields(phone=f"555-010{rep}", contact=f"Counter {rep}"),
        )
    ]
    if rep == 2:
        edits.append(
            CustomerChanged(customer=doomed(company), fields=CustomerFields(phone="555-0199"))
        )
    return edits


def _content(
    company: Company, number: str, customer: str, date: str, rep: int, *, seed: int
) -> Content:
    lines = tuple(
        _line(company.products[(seed + step * 7) % len(company.products)], step + 1)
        for step in range(LINES_EACH)
    )
    total = sum(line_total_minor(line.qty_e3, line.price_e4, CURRENCY) for line in lines)
    content = Content(
        number=number,
        customer=customer,
        currency=CURRENCY,
        date=date,
        total_minor=total,
        lines=lines,
        rep=f"Rep {rep + 1}",
    )
    return msgspec.structs.replace(content, offline=True)


def _line(product: Product, step: int) -> SealedLine:
    return SealedLine(
        id=str(step),
        product=product.id,
        qty_e3=step * 1_000,
        price_e4=product.price_e4,
        text=product.name,
    )
