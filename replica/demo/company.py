"""The Northwind company as payloads. Pure: the same facts give the same events every time."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files

import msgspec

from replica.events.payloads import (
    Address,
    CustomerCreated,
    CustomerFields,
    Payload,
    ProductCreated,
    ProductFields,
    StockCounted,
    StockMoved,
)

CURRENCY = "USD"
DELIVERIES = 2_000  # with the catalogue more than a newcomer takes one by one


class Customer(msgspec.Struct, frozen=True):
    """A customer of the demo company."""

    id: str
    name: str
    phone: str
    address: Address


class Product(msgspec.Struct, frozen=True):
    """A product of the demo company; ``price_e4`` and ``stock_e3`` as in payloads."""

    id: str
    sku: str
    name: str
    category: str
    unit: str
    price_e4: int
    stock_e3: int


class Company(msgspec.Struct, frozen=True):
    """Everything the demo starts from."""

    name: str
    customers: tuple[Customer, ...]
    products: tuple[Product, ...]


def northwind() -> Company:
    """The company that ships with the package (see NOTICE for its source)."""
    data = files("replica.demo").joinpath("northwind.json").read_bytes()
    return msgspec.json.decode(data, type=Company)


def catalogue(company: Company) -> Iterator[Payload]:
    """What the office enters on its first day: customers, products, a stock-take."""
    for customer in company.customers:
        yield CustomerCreated(
            customer=customer.id,
            fields=CustomerFields(
                name=customer.name,
                status="customer",
                phone=customer.phone or msgspec.UNSET,
                address=customer.address,
                currency=CURRENCY,
            ),
        )
    for product in company.products:
        yield ProductCreated(
            product=product.id,
            fields=ProductFields(
                name=product.name,
                sku=product.sku,
                category=product.category,
                unit=product.unit,
                price_e4=product.price_e4,
                currency=CURRENCY,
            ),
        )
    for product in company.products:
        yield StockCounted(product=product.id, qty_e3=product.stock_e3)


def deliveries(company: Company) -> Iterator[Payload]:
    """What the office enters in its first year: one event after the other about the same stock."""
    for number in range(DELIVERIES):
        product = company.products[number % len(company.products)]
        yield StockMoved(product=product.id, qty_e3=1_000 * (1 + number % 9), reason="delivery")
