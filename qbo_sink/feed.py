"""The feed: committed documents into the ledger, by checkpoint (architecture.md §7).

It reads the documents that the projections keep, never events, so replaying the log from zero
gives the same wanted documents and sends nothing twice (pitfalls P46). What it read and how far it
got are one transaction of the ledger.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Engine, select

from qbo_sink.model import (
    CHARGE,
    Entity,
    Key,
    Label,
    Party,
    Product,
    Sale,
    encode_wanted,
    sale_needs,
)
from qbo_sink.rows import Item
from replica.crdt.documents import DocKey, Document, tag_ms
from replica.crdt.registers import read, registers
from replica.crdt.view import view
from replica.events.payloads import Address, Content
from replica.events.record import Origin
from replica.limits import QBO_FEED_ROWS
from replica.projections import tables

SYSTEM = "quickbooks"
_SALES = ("order", "quote")
_ENTITIES = {
    "order": Entity.ESTIMATE,
    "quote": Entity.ESTIMATE,
    "customer": Entity.CUSTOMER,
    "product": Entity.ITEM,
    "class": Entity.CLASS,
    "department": Entity.DEPARTMENT,
}
_TYPES = tuple(_ENTITIES)


class Page(NamedTuple):
    """What changed after a checkpoint, and the checkpoint after it."""

    items: list[Item]
    through: int


def read_page(views: Engine, account: bytes, after: int) -> Page | None:
    """The next changed documents of ``account``; None when there is nothing new.

    It reads no further than the server has decided about names and numbers that were given twice:
    an order goes out under the number that was decided. One read transaction, so a page never
    mixes two states of the projections.
    """
    table = tables.documents
    with views.connect() as connection:
        marks = tables.checkpoints.c
        stands = connection.execute(
            select(marks.position, marks.decided).where(marks.account == account)
        ).one_or_none()
        head = min(stands) if stands else after
        if head == after:
            return None
        if head < after:
            # Rebuilt or restored: what comes again is compared by hash, so it costs time only.
            return Page([], head)
        changed = connection.execute(
            select(table.c.type, table.c.id, table.c.state, table.c.position)
            .where(
                table.c.account == account,
                table.c.position > after,
                table.c.position <= head,
                table.c.type.in_(_TYPES),
            )
            .order_by(table.c.position)
            .limit(QBO_FEED_ROWS)
        ).all()
        through = changed[-1].position if len(changed) == QBO_FEED_ROWS else head
        found = {DocKey(row.type, row.id): row for row in changed}
        items = [_item(key, row.state, row.position) for key, row in found.items()]
        needs = {key: item.position for item in items if item for key in _needs(item)}
        missing = [key for key in needs if DocKey(key.local_type, key.local_id) not in found]
        others: dict[DocKey, bytes] = {}
        for at in range(0, len(missing), QBO_FEED_ROWS):
            part = missing[at : at + QBO_FEED_ROWS]
            rows = connection.execute(
                select(table.c.type, table.c.id, table.c.state).where(
                    table.c.account == account,
                    table.c.type.in_(("customer", "product")),
                    table.c.id.in_([key.local_id for key in part]),
                )
            )
            others |= {DocKey(row.type, row.id): row.state for row in rows}
    return Page(_complete(items, needs, others), through)


def _complete(
    items: list[Item | None], needs: Mapping[Key, int], others: Mapping[DocKey, bytes]
) -> list[Item]:
    """The items of a page with what they need, whether that changed too or not."""
    complete = []
    here = set()
    for item in items:
        if item is not None:
            here.add(item.key)
            complete.append(item._replace(needed=True) if item.key in needs else item)
    for key, position in needs.items():
        if key in here:
            continue
        state = others.get(DocKey(key.local_type, key.local_id))
        found = _item(DocKey(key.local_type, key.local_id), state, position) if state else None
        complete.append(
            found._replace(needed=True) if found else Item(key, position, b"", needed=True)
        )
    return complete


def _item(key: DocKey, state: bytes, position: int) -> Item | None:
    """One document as the ledger takes it; None for what is not sealed or says nothing yet."""
    document = Document.decode(key, state)
    seen = view(document)
    entity = _ENTITIES[key.type]
    if key.type in _SALES:
        if seen["content"] is None:
            return None
        sale = to_sale(key.type, key.id, seen)
        answer = seen["answers"].get(SYSTEM) or {}
        there = answer.get("there") or {}
        return Item(
            Key(entity, key.type, key.id),
            position,
            encode_wanted(sale),
            needed=True,
            cancelled=sale.cancelled,
            link=answer.get("external_id", ""),
            link_number=answer.get("number", ""),
            invoice=there.get("document", "") if there.get("state") == "invoiced" else "",
        )
    said, heard = _times(document)
    named: Party | Product | Label
    if key.type in ("class", "department"):
        named = to_label(key.id, seen["fields"], active=seen["exists"])
    else:
        build = to_party if key.type == "customer" else to_product
        named = build(key.id, seen["fields"])
    return Item(
        Key(entity, key.type, key.id),
        position,
        encode_wanted(msgspec.structs.replace(named, said=said, heard=heard)),
        needed=isinstance(named, Label),
        cancelled=isinstance(named, Label) and not named.active,
        link=seen["links"].get(SYSTEM, ""),
    )


def _times(document: Document) -> tuple[dict[str, int], dict[str, int]]:
    """When each field was last said by somebody here, and when by this sink."""
    kind = document.key.type
    edits = read(document, f"{kind}.created", f"{kind}.changed")
    said: dict[str, int] = {}
    heard: dict[str, int] = {}
    found = registers((which, fact, edit.fields) for which, fact, edit in edits)
    for name, writes in found.items():
        for write in reversed(writes):
            times = heard if write.fact.origin == Origin.SINK else said
            times[name] = tag_ms(write.fact.tag)
    for _, fact in document.of(f"{kind}.deleted", f"{kind}.restored"):
        times = heard if fact.origin == Origin.SINK else said
        times["active"] = tag_ms(fact.tag)
    return said, heard


def _needs(item: Item) -> list[Key]:
    """What must stand there before a sale: its customer and its products."""
    if item.key.entity is not Entity.ESTIMATE or item.cancelled:
        return []
    return sale_needs(msgspec.msgpack.decode(item.content, type=Sale))


def to_sale(kind: str, identity: str, seen: Mapping[str, Any]) -> Sale:
    """A sealed order or quote from its view (:mod:`replica.crdt.view`)."""
    content = {name: value for name, value in seen["content"].items() if value is not None}
    content["lines"] = [
        [line["id"], line["product"], line["qty_e3"], line["price_e4"], line.get("text", "")]
        for line in content["lines"]
    ]
    return Sale(
        type=kind,
        id=identity,
        content=msgspec.convert(content, Content),
        cancelled=seen["state"] in ("cancelled", "withdrawn"),
    )


def to_party(identity: str, values: Mapping[str, Any]) -> Party:
    """A customer from its fields; a customer without a name keeps an empty one."""

    def text(name: str) -> str:
        return str(values.get(name) or "")

    def address(name: str) -> Address | None:
        value = values.get(name)
        return msgspec.convert(value, Address) if value else None

    return Party(
        id=identity,
        name=text("name") or text("company"),
        company=text("company"),
        contact=text("contact"),
        email=text("email"),
        phone=text("phone"),
        address=address("address"),
        ship_address=address("ship_address"),
        currency=text("currency"),
        tax_exempt=bool(values.get("tax_exempt")),
    )


def to_product(identity: str, values: Mapping[str, Any]) -> Product:
    """A product from its fields. Taxable only where it says so: tax is never a guess."""
    return Product(
        id=identity,
        name=str(values.get("name") or ""),
        sku=str(values.get("sku") or ""),
        description=str(values.get("description") or ""),
        price_e4=values.get("price_e4"),
        taxable=bool(values.get("taxable")),
    )


def to_label(identity: str, values: Mapping[str, Any], *, active: bool) -> Label:
    """A class or department from its fields."""
    name, parent = str(values.get("name") or ""), str(values.get("parent") or "")
    return Label(id=identity, name=name, parent=parent, active=active)


def charge_item(product: Product) -> Item:
    """An item that stands for a charge, as the sink itself asks for it."""
    key = Key(Entity.ITEM, CHARGE, product.id)
    return Item(key, 0, encode_wanted(product), needed=True)
