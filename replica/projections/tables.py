"""The read models as tables: disposable, rebuilt from the log, never migrated.

Every key starts with the account. The values of a row are a function of one document (or, for
stock, of sums over documents), so a row can always be thrown away. When the shape of a table
changes, ``SCHEMA_VERSION`` rises and :func:`open_views` drops and makes all of them; when the fold
changes, the checkpoint's fingerprint differs and the account is rebuilt (reliability §2.3).

Money and quantities are integers with their unit in the name. Names start with ``view_`` because
on PostgreSQL all tables of a server share one database.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    func,
    inspect,
    select,
)

SCHEMA_VERSION = 5
DECIDED_BY_NOBODY = 2**62
"""Above every position."""

metadata = MetaData()


def _key(name: str, kind: type[Text] | type[LargeBinary] | type[BigInteger]) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")


def _table(name: str, *columns: Column[Any]) -> Table:
    """A table clustered by its key where the database can do that: rows of one account together."""
    return Table(
        f"view_{name}", metadata, _key("account", LargeBinary), *columns, sqlite_with_rowid=False
    )


schema = Table("view_schema", metadata, Column("version", Integer, primary_key=True))

# What the fold keeps -----------------------------------------------------------------------------
# A state can be large (a sealed order of 2,000 lines), so this one is not clustered by its key.
documents = Table(
    "view_documents",
    metadata,
    _key("account", LargeBinary),
    _key("type", Text),
    _key("id", Text),
    Column("state", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),  # 32 bytes, what the digest adds up
    Column("position", BigInteger, nullable=False),  # of the newest record that touched it
    # Its facet (replica.crdt.scope), by which a scope tells its members.
    _text("about"),
    Column("authors", LargeBinary, nullable=False),
)
checkpoints = _table(
    "checkpoints",
    _number("position"),
    Column("chain", LargeBinary, nullable=False),  # of the log at ``position``
    Column("fingerprint", LargeBinary, nullable=False),  # of the fold that wrote the rows
    # How far the server has looked for twins: what sinks may read. Without anybody who looks,
    # everything.
    Column("decided", BigInteger, nullable=False, server_default=str(DECIDED_BY_NOBODY)),
    _number("claimed_ms"),  # when a process began to decide; 0 when none does
)
section_totals = _table(
    "section_totals",
    _key("section", Text),
    _number("count"),
    Column("digest", LargeBinary, nullable=False),
)
failures = _table(
    "projection_failures",
    _key("position", BigInteger),
    _text("kind"),
    _text("error"),
)

# What pages and sinks read -----------------------------------------------------------------------
customers = _table(
    "customers",
    _key("id", Text),
    _text("name"),
    _text("status"),  # "customer" or "prospect"
    _text("company"),
    _text("contact"),
    _text("email"),
    _text("phone"),
    _text("country"),
    _text("currency"),
    _text("segment"),
    _text("rep"),
    _number("present"),  # 0: deleted, or known only by an answer of a sink
    _text("deleted_by"),  # "", "office" or "device"
    _number("changed_ms"),
    _text("links"),  # JSON: system → external id
    _text("there"),  # JSON: system → {state, cause, fix} where it does not stand as it was left
)
products = _table(
    "products",
    _key("id", Text),
    _text("name"),
    _text("sku"),
    _text("barcode"),
    _text("description"),
    _text("category"),
    _text("unit"),
    Column("price_e4", BigInteger),
    _text("currency"),
    Column("taxable", Integer),
    _number("present"),
    _text("deleted_by"),
    _number("changed_ms"),
    _text("links"),
    _text("there"),
)
# Classes and departments have one shape: a name, and what it is below of.
labels = _table(
    "labels",
    _key("type", Text),  # "class" or "department"
    _key("id", Text),
    _text("name"),
    _text("parent"),  # id, empty at the top
    _number("present"),
    _text("deleted_by"),
    _number("changed_ms"),
    _text("links"),
    _text("there"),
)
# on_hand = counted + moved - sold; moved and sold only since the newest count (decision 0004).
stock = _table(
    "stock",
    _key("product", Text),
    _number("on_hand_e3"),
    _number("counted_e3"),
    Column("counted_tag", LargeBinary),  # NULL: never counted
    _number("moved_e3"),
    _number("sold_e3"),
)
# What devices with a scope are told of ``sold_e3`` (wire-protocol.md §14.5), of every product that
# was ever sold: rows change and stay, so that followers of the changes miss nothing.
sold = _table(
    "sold",
    _key("product", Text),
    Column("state", LargeBinary, nullable=False),  # replica.crdt.stock.Sold
    Column("hash", LargeBinary, nullable=False),  # as that of a document
    _number("position"),  # of the newest record that changed a sale of it, or counted it
)
Index("ix_view_sold_position", sold.c.account, sold.c.position)
stock_movements = _table(
    "stock_movements",
    _key("product", Text),
    _key("event", LargeBinary),
    Column("tag", LargeBinary, nullable=False),
    _text("kind"),  # "counted" or "moved"
    _number("qty_e3"),
    _text("reason"),
    _text("device"),  # hex
    _number("at_ms"),
    _number("position"),
)


def _sealed(name: str) -> Table:
    """Orders, quotes and returns share one shape: a header, a seal, an answer of the sink."""
    return _table(
        name,
        _key("id", Text),
        _text("number"),
        _text("customer"),
        _text("currency"),
        _text("date"),
        _text("delivery_date"),
        _text("rep"),
        _text("memo"),
        _text("note"),
        _number("total_minor"),
        _number("line_count"),
        _number("offline"),
        # draft, on_server, in_qbo, invoiced, needs_you (ui.md §2); cancelled; withdrawn (a quote);
        # unknown while only a sink has said something.
        _text("state"),
        _number("amendments"),  # edits that wait for review
        # The seal: when on the author's corrected clock, by whom, where in the log and since when.
        # A draft has no seal; its position is that of its newest edit.
        Column("sealed_tag", LargeBinary),
        _number("sealed_ms"),
        _text("device"),  # hex
        _number("received_ms"),
        _number("position"),
        # The newest answer of a sink.
        _text("system"),
        _text("external_id"),
        _text("estimate_number"),
        Column("estimate_total_minor", BigInteger),
        _text("parked_code"),  # or what became of the estimate there
        _text("parked_cause"),
        _text("parked_fix"),
    )


orders = _sealed("orders")
quotes = _sealed("quotes")
returns = _sealed("returns")
SEALED = {"order": orders, "quote": quotes, "return": returns}
# Pages list the newest first, by the place in the log: stable under late arrivals.
for _parent in SEALED.values():
    _order = (_parent.c.position, _parent.c.id)
    Index(f"ix_{_parent.name}_position", _parent.c.account, *_order)
    Index(f"ix_{_parent.name}_state", _parent.c.account, _parent.c.state, *_order)
for _named in (customers, products, labels):
    Index(f"ix_{_named.name}_name", _named.c.account, _named.c.name, _named.c.id)
Index("ix_view_documents_position", documents.c.account, documents.c.position)

# The effective lines of orders, quotes and returns; ``type`` names which.
order_lines = _table(
    "order_lines",
    _key("type", Text),
    _key("id", Text),
    _key("ordinal", BigInteger),
    _text("line"),
    _text("product"),
    _number("qty_e3"),
    _number("price_e4"),
    _number("total_minor"),
    _text("text"),
)
# A new stock-take asks what was sold of one product since.
Index("ix_view_order_lines_product", order_lines.c.account, order_lines.c.product)
payments = _table(
    "payments",
    _key("id", Text),
    _text("order_id"),
    _text("customer"),
    _text("method"),
    _number("amount_minor"),
    _text("currency"),
    _number("recorded_ms"),
)
devices = _table(
    "devices",
    _key("id", Text),  # hex
    _text("name"),
    _text("user_id"),
    _number("active"),
    _number("enrolled_ms"),
    _number("revoked_ms"),  # 0: never
)
# Every value that did not count, with the rule that decided (CON-10), and every edit of a sealed
# order that waits for review.
conflicts = _table(
    "conflicts",
    _key("type", Text),
    _key("id", Text),
    _key("ordinal", BigInteger),
    _number("review"),  # 1: somebody has to decide; 0: decided by the rule
    _text("field"),
    _text("line"),
    _text("value"),  # JSON
    _text("rule"),
    _text("by_tag"),  # hex; the writer's node is its ninth to sixteenth byte
    _number("by_ms"),
    _text("kept"),  # JSON
    _text("kept_tag"),
)
# Names and numbers that are given once, as they are compared (replica.crdt.twins); those who have
# one name stand together, by id.
names = _table(
    "names",
    _key("type", Text),
    _key("field", Text),
    _key("name", Text),
    _key("id", Text),
)
Index("ix_view_names_id", names.c.account, names.c.type, names.c.id)
twins = _table(
    "twins",
    _key("id", Text),
    _text("of_type"),  # "customer" or "product"
    _text("first"),
    _text("second"),
    _text("field"),
    _text("choice"),  # "ask", "apart", "same"
    _text("stays"),
    _text("gone"),  # for whom the other one stands
    _number("found_ms"),
    _number("decided_ms"),
)
for _one in ("first", "second", "gone"):
    Index(f"ix_view_twins_{_one}", twins.c.account, twins.c.of_type, twins.c[_one])
sync_runs = _table(
    "sync_runs",
    _key("id", Text),
    _number("started_ms"),
    _number("finished_ms"),
    _number("pushed"),
    _number("pulled"),
    _number("equal"),
    _text("report"),  # JSON
)

ACCOUNT_TABLES = tuple(table for table in metadata.sorted_tables if table is not schema)


def open_views(engine: Engine) -> None:
    """Make the tables; drop and make them again when they have another shape.

    The caller then catches every account up: the checkpoints went with the rows.
    """
    with engine.begin() as connection:
        if inspect(connection).has_table(schema.name):
            found = connection.execute(select(func.max(schema.c.version))).scalar()
            if found == SCHEMA_VERSION:
                return
        metadata.drop_all(connection)
        metadata.create_all(connection)
        connection.execute(schema.insert().values(version=SCHEMA_VERSION))
