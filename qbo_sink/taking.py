"""Taking in what documents ask for, inside a transaction of the ledger.

A new order becomes what its account chose, an estimate or an invoice, and stays that: a new default
counts for new documents (QB-04). What changes later goes to the invoice once there is one, to the
estimate until then; while an invoice is on its way, to both.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, update

from qbo_sink import schema, twoway
from qbo_sink.deciding import bring_in_step
from qbo_sink.model import CONVERTED, INVOICE, Entity, Key, Settings, State, content_hash
from qbo_sink.rows import Item, columns, given_up, is_key, is_open, load, owner_of, upsert

_wanted, _mappings, _intents = schema.wanted, schema.mappings, schema.intents


def want(  # noqa: PLR0917 - one transaction's worth
    connection: Connection,
    account: bytes,
    realm: str,
    items: Sequence[Item],
    settings: Settings,
    now_ms: int,
) -> None:
    """Write down what ``items`` ask for, and bring the queue in step with it."""
    items = _placed(connection, account, items, settings)
    known = load(connection, _wanted, account, [item.key for item in items])
    kept: dict[Key, Item] = {}
    for item in items:
        before = known.get(item.key)
        if before is None and not item.needed and item.key not in kept:
            continue
        kept[item.key] = item if item.content or item.key not in kept else kept[item.key]
    if not kept:
        return
    rows = []
    for key, item in kept.items():
        before = known.get(key)
        if before is not None and before.content and not item.content:
            continue
        form = INVOICE if key.entity is Entity.INVOICE else settings.form(key.local_type)
        rows.append(
            {
                **columns(account, key),
                "position": before.position if before is not None else item.position,
                "hash": content_hash(item.content) if item.content else "",
                "content": item.content,
                "cancelled": item.cancelled,
                "form": before.form if before is not None else form,
            }
        )
    upsert(connection, _wanted, rows, ["account", "entity", "local_type", "local_id"])
    if realm:
        _seed(connection, account, realm, kept)
    bring_in_step(connection, account, list(kept), now_ms)


def _placed(
    connection: Connection, account: bytes, items: Sequence[Item], settings: Settings
) -> list[Item]:
    """The same items, each sale under what it is or becomes there."""
    sales = [item.key for item in items if item.key.entity is Entity.ESTIMATE]
    if not sales:
        return list(items)
    bills = [key._replace(entity=Entity.INVOICE) for key in sales]
    wanted = load(connection, _wanted, account, [*sales, *bills])
    linked = load(connection, _mappings, account, bills)
    placed: list[Item] = []
    for item in items:
        bill = item._replace(key=item.key._replace(entity=Entity.INVOICE))
        if item.key.entity is not Entity.ESTIMATE:
            placed.append(item)
        elif bill.key in linked:
            placed.append(bill)
        elif bill.key in wanted:
            placed += [item, bill] if item.key in wanted else [bill]
        elif item.key in wanted:
            placed.append(item)
        elif item.link:  # the ledger was lost; the document says what it became
            placed.append(bill if item.invoice == item.link else item)
        else:
            new_form = settings.form(item.key.local_type)
            placed.append(bill if new_form == INVOICE else item)
    return placed


def _seed(connection: Connection, account: bytes, realm: str, items: dict[Key, Item]) -> None:
    """Mappings that the documents name and the ledger forgot (it was lost or restored)."""
    linked = [item for item in items.values() if item.link]
    known = load(connection, _mappings, account, [item.key for item in linked])
    for item in linked:
        pending_conversion = item.key.entity is Entity.INVOICE and item.invoice != item.link
        if item.key in known or pending_conversion:
            continue
        if owner_of(connection, realm, item.key.entity, item.link) or given_up(
            connection, realm, item.key.entity, item.link
        ):
            continue
        converted = item.key.entity is Entity.ESTIMATE and bool(item.invoice)
        connection.execute(
            insert(_mappings).values(
                **columns(account, item.key),
                realm=realm,
                external_id=item.link,
                number=item.link_number,
                hash=content_hash(item.content) if item.content else "",
                agreed=twoway.first_agreed(item.content, item.key.entity),
                drift="invoiced" if converted else "",
            )
        )


def become_invoices(connection: Connection, account: bytes, marked: Sequence[Key]) -> None:
    """``marked`` carry our markers there. An order with an invoice among them gets it as its own;
    one without an estimate there is not an estimate here either, so it is not sent as one."""
    bills = [key for key in marked if key.entity is Entity.INVOICE]
    sales = [key._replace(entity=Entity.ESTIMATE) for key in bills]
    wanted = load(connection, _wanted, account, [*bills, *sales])
    linked = load(connection, _mappings, account, sales)
    for bill, sale in zip(bills, sales, strict=True):
        row = wanted.get(sale)
        if bill in wanted or row is None:
            continue
        converted = sale in linked or sale in marked
        values = {name: getattr(row, name) for name in ("position", "hash", "content", "cancelled")}
        form = CONVERTED if converted else INVOICE
        connection.execute(insert(_wanted).values(**columns(account, bill), **values, form=form))
        if converted:
            estimate = is_key(_mappings, account, sale)
            connection.execute(update(_mappings).where(estimate).values(drift="invoiced"))
            continue
        connection.execute(
            update(_intents)
            .where(is_key(_intents, account, sale), is_open())
            .values(state=State.CANCELLED)
        )
        connection.execute(delete(_wanted).where(is_key(_wanted, account, sale)))
