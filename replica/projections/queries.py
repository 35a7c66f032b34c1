"""What pages, the API and sinks read. Read only; every call is one or two statements.

Rows are plain dicts with the names and units of :mod:`replica.projections.tables`, without the
account and without tags. Lists come in pages by key, never by offset: a page costs the same
wherever it is, and nothing is shown twice or left out because something arrived in between.
Take ``connection`` from ``Database.reading``; never write on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    and_,
    func,
    literal,
    or_,
    select,
    tuple_,
)

from replica.crdt.digest import SectionTotal
from replica.crdt.documents import DocKey, Document
from replica.errors import MisuseError
from replica.events.event import AccountId, Position
from replica.limits import PAGE_ROWS_MAX
from replica.projections import tables as t
from replica.store.statements import chunked

Row = dict[str, Any]
Key = tuple[Any, ...]

_HIDDEN = {"account", "sealed_tag", "counted_tag", "tag", "event"}


class Page(NamedTuple):
    """Some rows, and the key to ask for the next ones with; None after the last."""

    rows: list[Row]
    after: Key | None


class Rung(NamedTuple):
    """One step of an order's way: ``name`` is "device", "server" or the name of a sink.

    ``at_ms`` is None where no time is known; ``ref`` is what the order is called there.
    """

    name: str
    done: bool
    at_ms: int | None
    ref: str
    text: str


# Orders, quotes, returns -------------------------------------------------------------------------


def sealed_page(
    connection: Connection,
    account: AccountId,
    kind: str = "order",
    *,
    state: str = "",
    customer: str = "",
    text: str = "",
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Orders, quotes or returns, newest in the log first, each with ``customer_name``.

    ``state`` is a word of ui.md §2 as derived from documents; a sink lays its queue's states over
    ``on_server``. ``text`` is looked for in the number, the estimate's number and the customer.
    """
    table = _sealed(kind)
    c = table.c
    query = _with_customer(table).where(c.account == account)
    if state:
        query = query.where(c.state == state)
    if customer:
        query = query.where(c.customer == customer)
    if text:
        query = query.where(contain(text, c.number, c.estimate_number, t.customers.c.name))
    return _page(connection, query, (c.position, c.id), after, limit, newest_first=True)


def sealed_one(connection: Connection, account: AccountId, kind: str, identity: str) -> Row | None:
    """One order, quote or return with ``lines``, ``conflicts`` and ``ladder``; None if unknown."""
    table = _sealed(kind)
    query = _with_customer(table).where(table.c.account == account, table.c.id == identity)
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    found = dict(row)
    found["lines"] = _part(connection, t.order_lines, account, DocKey(kind, identity))
    found["conflicts"] = _part(connection, t.conflicts, account, DocKey(kind, identity))
    found["ladder"] = ladder(found)
    return found


def ladder(row: Row) -> list[Rung]:
    """How far an order has come: sealed on a device, durable on the server, answered by a sink."""
    rungs = [
        Rung(
            "device", row["sealed_ms"] > 0, row["sealed_ms"] or None, row["device"], row["number"]
        ),
        Rung("server", row["sealed_ms"] > 0, row["received_ms"], str(row["position"]), ""),
    ]
    if row["system"]:
        parked = row["state"] == "needs_you"
        text = f"{row['parked_cause']} {row['parked_fix']}".strip() if parked else ""
        number = row["estimate_number"]
        rungs.append(Rung(row["system"], bool(number) and not parked, None, number, text))
    return rungs


def state_counts(connection: Connection, account: AccountId) -> dict[str, dict[str, int]]:
    """How many orders, quotes and returns are in which state: ``{"order": {"on_server": 2}, …}``.

    What waits is ``on_server`` and ``needs_you``; the same counts as the lists have.
    """
    counts = {}
    for kind, table in t.SEALED.items():
        c = table.c
        query = select(c.state, func.count()).where(c.account == account).group_by(c.state)
        counts[kind] = {row[0]: row[1] for row in connection.execute(query)}
    return counts


# Customers, products, stock ----------------------------------------------------------------------


def customers_page(
    connection: Connection,
    account: AccountId,
    *,
    status: str = "",
    text: str = "",
    deleted: bool = False,
    only_deleted: bool = False,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Customers by name, prospects among them (``status`` picks); deleted ones on request,
    among the others or alone.

    ``text`` is looked for in the name, the company, the contact and the e-mail address.
    """
    c = t.customers.c
    query = select(*_shown(t.customers)).where(c.account == account)
    if text:
        query = query.where(contain(text, c.name, c.company, c.contact, c.email))
    if only_deleted:
        query = query.where(c.deleted_by != "")
    elif not deleted:
        query = query.where(c.present == 1)
    if status:
        query = query.where(c.status == status)
    return _page(connection, query, (c.name, c.id), after, limit)


def products_page(
    connection: Connection,
    account: AccountId,
    *,
    text: str = "",
    deleted: bool = False,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Products by name with ``on_hand_e3`` and ``counted`` (if there was a stock-take).

    ``text`` is looked for in the name, the SKU and the barcode.
    """
    c, stock = t.products.c, t.stock.c
    query = (
        select(
            *_shown(t.products),
            func.coalesce(stock.on_hand_e3, 0).label("on_hand_e3"),
            stock.counted_tag.is_not(None).label("counted"),
        )
        .select_from(
            t.products.outerjoin(t.stock, and_(stock.account == c.account, stock.product == c.id))
        )
        .where(c.account == account)
    )
    if text:
        query = query.where(contain(text, c.name, c.sku, c.barcode))
    if not deleted:
        query = query.where(c.present == 1)
    return _page(connection, query, (c.name, c.id), after, limit)


def labels_page(
    connection: Connection,
    account: AccountId,
    kind: str,
    *,
    deleted: bool = False,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Classes or departments (``kind``) by name; deleted ones on request."""
    c = t.labels.c
    query = select(*_shown(t.labels)).where(c.account == account, c.type == kind)
    if not deleted:
        query = query.where(c.present == 1)
    return _page(connection, query, (c.name, c.id), after, limit)


def names(
    connection: Connection, account: AccountId, kind: str, ids: Sequence[str]
) -> dict[str, str]:
    """Names of some customers, products or labels (``kind``) by id; unknown ones are left out."""
    table = {"customer": t.customers, "product": t.products}.get(kind, t.labels)
    c = table.c
    ours = (c.account == account, *([c.type == kind] if table is t.labels else []))
    found: dict[str, str] = {}
    for part in chunked(sorted(set(ids))):
        query = select(c.id, c.name).where(*ours, c.id.in_(part))
        found.update((row.id, row.name) for row in connection.execute(query))
    return found


def deleted_after(
    connection: Connection, account: AccountId, position: int, limit: int
) -> list[Row]:
    """Customers and products that are deleted and that a record after ``position`` touched."""
    found: list[Row] = []
    for kind, table in (("customer", t.customers), ("product", t.products)):
        d, c = t.documents.c, table.c
        query = (
            select(literal(kind).label("type"), c.id, c.name)
            .join(t.documents, (d.account == c.account) & (d.type == kind) & (d.id == c.id))
            .where(c.account == account, c.present == 0, c.deleted_by != "", d.position > position)
            .order_by(d.position.desc())
        )
        found.extend(_rows(connection, query.limit(limit - len(found))))
    return found


def on_hand_e3(connection: Connection, account: AccountId, product: str) -> int:
    """Thousandths on the shelf; 0 for what nobody counted, moved or sold."""
    c = t.stock.c
    query = select(c.on_hand_e3).where(c.account == account, c.product == product)
    return connection.execute(query).scalar() or 0


def movements_page(
    connection: Connection,
    account: AccountId,
    product: str,
    *,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Counts and movements of a product, newest in the log first. Sales are in its order lines."""
    c = t.stock_movements.c
    query = select(*_shown(t.stock_movements)).where(c.account == account, c.product == product)
    return _page(connection, query, (c.position,), after, limit, newest_first=True)


# The rest ----------------------------------------------------------------------------------------


def conflicts_page(
    connection: Connection,
    account: AccountId,
    *,
    review: bool | None = None,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """What did not count and why (CON-10); with ``review`` only what somebody has to decide."""
    c = t.conflicts.c
    query = select(*_shown(t.conflicts)).where(c.account == account)
    if review is not None:
        query = query.where(c.review == int(review))
    return _page(connection, query, (c.type, c.id, c.ordinal), after, limit)


def review_count(connection: Connection, account: AccountId) -> int:
    """How many edits wait for somebody to decide."""
    c = t.conflicts.c
    query = select(func.count()).where(c.account == account, c.review == 1)
    return connection.execute(query).scalar_one()


def _clashes() -> ColumnElement[bool]:
    """Whether the two of a pair have a name in common now, and no SKUs that tell them apart."""
    one, other, c = t.names.alias("one"), t.names.alias("other"), t.twins.c
    both = and_(
        one.c.account == c.account,
        one.c.type == c.of_type,
        one.c.id == c.first,
        other.c.account == c.account,
        other.c.type == c.of_type,
        other.c.id == c.second,
        one.c.field == other.c.field,
    )
    equal = select(one.c.id).where(both, one.c.name == other.c.name)
    apart = select(one.c.id).where(both, one.c.field == "sku", one.c.name != other.c.name)
    return and_(equal.exists(), ~apart.exists())


def twins_page(
    connection: Connection,
    account: AccountId,
    *,
    asked: bool = False,
    after: Key | None = None,
    limit: int = 50,
) -> Page:
    """Pairs that clash or were decided, each with ``clashes``; with ``asked`` only what waits for
    the office. Newest found first."""
    c = t.twins.c
    clashes = _clashes()
    query = select(*_shown(t.twins), clashes.label("clashes")).where(c.account == account)
    waits, shown = and_(clashes, c.choice == "ask"), or_(clashes, c.choice != "ask")
    query = query.where(waits if asked else shown)
    return _page(connection, query, (c.found_ms, c.id), after, limit, newest_first=True)


def asked_count(connection: Connection, account: AccountId) -> int:
    """How many pairs wait for the office."""
    c = t.twins.c
    query = select(func.count()).where(c.account == account, c.choice == "ask", _clashes())
    return connection.execute(query).scalar_one()


def payments_of(connection: Connection, account: AccountId, order: str) -> list[Row]:
    c = t.payments.c
    query = (
        select(*_shown(t.payments))
        .where(c.account == account, c.order_id == order)
        .order_by(c.id)
        .limit(PAGE_ROWS_MAX)
    )
    return _rows(connection, query)


def devices_page(
    connection: Connection, account: AccountId, *, after: Key | None = None, limit: int = 50
) -> Page:
    """Enrolled devices by name."""
    c = t.devices.c
    query = select(*_shown(t.devices)).where(c.account == account)
    return _page(connection, query, (c.name, c.id), after, limit)


def sync_runs_page(
    connection: Connection, account: AccountId, *, after: Key | None = None, limit: int = 50
) -> Page:
    """Runs of Sync Now, newest first. Further events of a long result have ids like ``<run>.2``."""
    c = t.sync_runs.c
    query = select(*_shown(t.sync_runs)).where(c.account == account, c.id.not_like("%.%"))
    return _page(connection, query, (c.started_ms, c.id), after, limit, newest_first=True)


def sync_run(connection: Connection, account: AccountId, identity: str) -> Row | None:
    """One result of Sync Now, or one of its further events."""
    c = t.sync_runs.c
    query = select(*_shown(t.sync_runs)).where(c.account == account, c.id == identity)
    return next(iter(_rows(connection, query)), None)


def failures_page(
    connection: Connection, account: AccountId, *, after: Key | None = None, limit: int = 50
) -> Page:
    """Records that could not be folded, oldest first; empty on a good day."""
    c = t.failures.c
    query = select(*_shown(t.failures)).where(c.account == account)
    return _page(connection, query, (c.position,), after, limit)


def sections(
    connection: Connection, account: AccountId
) -> tuple[Position, tuple[SectionTotal, ...]]:
    """The position the rows stand at, and each section's count and digest (SYN-13)."""
    p, s = t.checkpoints.c, t.section_totals.c
    query = (
        select(p.position, s.section, s.count, s.digest)
        .select_from(t.checkpoints.outerjoin(t.section_totals, p.account == s.account))
        .where(p.account == account)
        .order_by(s.section)
    )
    rows = connection.execute(query).all()  # one statement, so both come from one snapshot
    return Position(rows[0][0] if rows else 0), tuple(
        SectionTotal(section, count, bytes(digest))
        for _, section, count, digest in rows
        if section is not None
    )


def document(connection: Connection, account: AccountId, key: DocKey) -> Document | None:
    """The merge state itself, for :func:`replica.crdt.view.view` and for sinks."""
    c = t.documents.c
    query = select(c.state).where(c.account == account, c.type == key.type, c.id == key.id)
    state = connection.execute(query).scalar()
    return None if state is None else Document.decode(key, bytes(state))


def changed_after(
    connection: Connection,
    account: AccountId,
    position: Position,
    *,
    types: Sequence[str] = (),
    limit: int = PAGE_ROWS_MAX,
) -> list[tuple[Position, DocKey]]:
    """Documents whose newest record lies after ``position``, oldest first: what a sink works off.

    A document that changes again moves to the end, so whoever goes on from the last position given
    misses nothing.
    """
    c = t.documents.c
    query = select(c.position, c.type, c.id).where(c.account == account, c.position > position)
    if types:
        query = query.where(c.type.in_(types))
    query = query.order_by(c.position).limit(_limited(limit))
    return [
        (Position(position), DocKey(kind, identity))
        for position, kind, identity in connection.execute(query)
    ]


def _sealed(kind: str) -> Table:
    if kind not in t.SEALED:
        raise MisuseError(f"{kind!r} is none of {', '.join(t.SEALED)}")
    return t.SEALED[kind]


def contain(text: str, *columns: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a column holds ``text``, whatever the case; a scan of the account's rows."""
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _shown(table: Table) -> list[ColumnElement[Any]]:
    return [column for column in table.c if column.name not in _HIDDEN]


def _with_customer(table: Table) -> Select[Any]:
    names = t.customers.c
    joined = table.outerjoin(
        t.customers, and_(names.account == table.c.account, names.id == table.c.customer)
    )
    name = func.coalesce(names.name, "").label("customer_name")
    return select(*_shown(table), name).select_from(joined)


def _part(connection: Connection, table: Table, account: AccountId, key: DocKey) -> list[Row]:
    """All rows of one document; a document's size bounds them."""
    c = table.c
    query = (
        select(*(column for column in _shown(table) if column.name not in ("type", "id")))
        .where(c.account == account, c.type == key.type, c.id == key.id)
        .order_by(c.ordinal)
    )
    return _rows(connection, query)


def _page(
    connection: Connection,
    query: Select[Any],
    key: Sequence[ColumnElement[Any]],
    after: Key | None,
    limit: int,
    *,
    newest_first: bool = False,
) -> Page:
    limit = _limited(limit)
    if after is not None:
        if len(after) != len(key):
            raise MisuseError(f"a key of this list has {len(key)} parts, not {len(after)}")
        here, there = tuple_(*key), tuple_(*after)
        query = query.where(here < there if newest_first else here > there)
    query = query.order_by(*(column.desc() if newest_first else column for column in key))
    rows = _rows(connection, query.limit(limit + 1))
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], tuple(last[column.name] for column in key))


def _limited(limit: int) -> int:
    if not 1 <= limit <= PAGE_ROWS_MAX:
        raise MisuseError(f"a page has 1 to {PAGE_ROWS_MAX} rows, not {limit}")
    return limit


def _rows(connection: Connection, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in connection.execute(query).mappings()]
