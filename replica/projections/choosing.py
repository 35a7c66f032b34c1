"""Customers, prospects and products to choose for a device: filtered, with their ids (CFG-02)."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from replica.events.event import AccountId
from replica.limits import SCOPE_IDS_MAX
from replica.projections import tables as t
from replica.projections.queries import contain


class Filter(NamedTuple):
    """What is looked for. ``sold_ms``: with an order sealed then or later, 0 for any; ``group``:
    the segment of a customer, the category of a product; ``rep`` of a customer."""

    text: str = ""
    sold_ms: int = 0
    group: str = ""
    rep: str = ""


class Choice(NamedTuple):
    """One row to choose."""

    id: str
    name: str
    detail: str
    group: str


def choices(
    connection: Connection, account: AccountId, section: str, wanted: Filter
) -> list[Choice]:
    """Rows of ``section`` (customers, prospects, products) by name, as many as a scope can hold."""
    query = _products(wanted) if section == "products" else _customers(section[:-1], wanted)
    table = t.products if section == "products" else t.customers
    c = table.c
    query = query.where(c.account == account, c.present == 1).order_by(c.name, c.id)
    return [Choice(*row) for row in connection.execute(query.limit(SCOPE_IDS_MAX))]


def _customers(status: str, wanted: Filter) -> Select[Any]:
    c, sold = t.customers.c, t.orders.c
    query = select(c.id, c.name, c.contact, c.segment).where(c.status == status)
    if wanted.text:
        query = query.where(contain(wanted.text, c.name, c.company, c.contact, c.email))
    if wanted.group:
        query = query.where(contain(wanted.group, c.segment))
    if wanted.rep:
        query = query.where(contain(wanted.rep, c.rep))
    if wanted.sold_ms:
        theirs = select(sold.id).where(
            sold.account == c.account, sold.customer == c.id, sold.sealed_ms >= wanted.sold_ms
        )
        query = query.where(theirs.exists())
    return query


def _products(wanted: Filter) -> Select[Any]:
    c, line, sold = t.products.c, t.order_lines.c, t.orders.c
    query = select(c.id, c.name, c.sku, c.category)
    if wanted.text:
        query = query.where(contain(wanted.text, c.name, c.sku, c.barcode))
    if wanted.group:
        query = query.where(contain(wanted.group, c.category))
    if wanted.sold_ms:
        theirs = select(line.id).where(
            line.account == c.account,
            line.product == c.id,
            line.type == "order",
            sold.account == line.account,
            sold.id == line.id,
            sold.sealed_ms >= wanted.sold_ms,
        )
        query = query.where(theirs.exists())
    return query
