"""Records here and there that share a name and nothing else: never linked by themselves.

They are listed when a company is connected, and when a product of ours meets an item of its name.
Until somebody says whether the two are one, ours waits and nothing is made there (§2.1, §2.6).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from sqlalchemy import Engine, and_, select, update

from qbo_sink import schema
from qbo_sink.ledger import Ledger
from qbo_sink.model import CHARGE, Entity, JsonObject, Key, Party, Product, decode_wanted
from qbo_sink.party import (
    CUSTOMER_NAME_CHARS,
    ITEM_NAME_CHARS,
    evidence,
    folded,
    same_sku,
    tidy_name,
)
from qbo_sink.rows import columns, is_key, load, reading, same_key, upsert, writing
from replica.limits import QBO_MATCHES_MAX
from replica.projections import tables

LINK, APART = "link", "apart"
_matches, _mappings = schema.matches, schema.mappings


class Match(NamedTuple):
    """A record of ours and the one of its name there. ``shown`` tells that one from others."""

    key: Key
    external_id: str
    name: str
    shown: str
    decision: str = ""
    by: str = ""


class MatchStore:
    """Pairs of all accounts. One transaction each; all block."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def note(self, account: bytes, found: Iterable[Match]) -> int:
        """List pairs that nobody decided about and that are not linked; how many are new."""
        wanted = {one.key: one for one in list(found)[:QBO_MATCHES_MAX]}
        with writing(self._engine) as connection:
            known = load(connection, _matches, account, list(wanted))
            linked = load(connection, _mappings, account, list(wanted))
            rows = [
                {
                    **columns(account, key),
                    "external_id": one.external_id,
                    "name": one.name,
                    "shown": one.shown,
                }
                for key, one in wanted.items()
                if key not in known and key not in linked
            ]
            upsert(connection, _matches, rows, ["account", "entity", "local_type", "local_id"])
        return len(rows)

    def of(self, account: bytes) -> dict[Key, Match]:
        """Every pair of ours that is not linked meanwhile, decided or not."""
        query = (
            select(_matches)
            .select_from(_matches.outerjoin(_mappings, same_key(_matches, _mappings)))
            .where(and_(_matches.c.account == account, _mappings.c.external_id.is_(None)))
            .order_by(_matches.c.name, _matches.c.local_id)
        )
        with reading(self._engine) as connection:
            return {
                (key := Key(Entity(row.entity), row.local_type, row.local_id)): Match(
                    key, row.external_id, row.name, row.shown, row.decision, row.by
                )
                for row in connection.execute(query)
            }

    def decide(self, account: bytes, key: Key, decision: str, by: str, now_ms: int) -> bool:
        """Keep what somebody said about a pair; False when there is none that is open."""
        mine = is_key(_matches, account, key)
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(_matches)
                .where(mine, _matches.c.decision == "")
                .values(decision=decision, by=by, at_ms=now_ms)
            )
            return changed.rowcount == 1


Named = Mapping[str, tuple[Key, Party | Product]]
"""Name as QuickBooks compares it → the record of ours that has it."""


def ours_by_name(views: Engine, ledger: Ledger, account: bytes, entity: Entity) -> Named:
    """Customers or products of ours that are not linked. Blocks."""
    is_customer = entity is Entity.CUSTOMER
    table = tables.customers if is_customer else tables.products
    unlinked = (table.c.account == account, table.c.present == 1, table.c.links.in_(("", "{}")))
    found: dict[str, tuple[Key, Party | Product]] = {}

    def add(one: Party | Product) -> None:
        kind = "customer" if is_customer else "product"
        limit = CUSTOMER_NAME_CHARS if is_customer else ITEM_NAME_CHARS
        found[folded(tidy_name(one.name, limit))] = (Key(entity, kind, one.id), one)

    with views.connect() as connection:
        for row in connection.execute(select(table).where(*unlinked, table.c.name != "")):
            if is_customer:
                add(Party(row.id, row.name, email=row.email, phone=row.phone))
            else:
                add(Product(row.id, row.name, sku=row.sku))
    # What documents need is known to the ledger, with everything it says.
    keys = [key for key in ledger.wanted_keys(account, entity) if key.local_type != CHARGE]
    for data in ledger.wanted(account, keys).values():
        one = decode_wanted(entity, data)
        if isinstance(one, Party | Product) and one.name:
            add(one)
    return found


def pairs(entity: Entity, rows: Iterable[JsonObject], ours: Named) -> list[Match]:
    """Which active rows there share a name with a record of ours, and nothing else. Pure."""
    column = "DisplayName" if entity is Entity.CUSTOMER else "Name"
    found = []
    for row in rows:
        name = str(row.get(column) or "")
        key, one = ours.get(folded(name), (None, None))
        if key is None or not row.get("Active", True) or row.get("Type") == "Category":
            continue
        known = evidence(one, row) if isinstance(one, Party) else False
        if known or (isinstance(one, Product) and same_sku(one, row)):
            continue
        found.append(Match(key, str(row["Id"]), name, shown(entity, row)))
    return found


def shown(entity: Entity, row: JsonObject) -> str:
    """What tells a record there from others of its name, in words. Pure."""
    if entity is Entity.CUSTOMER:
        place = row.get("BillAddr") or {}
        parts = [
            (row.get("PrimaryEmailAddr") or {}).get("Address"),
            (row.get("PrimaryPhone") or {}).get("FreeFormNumber"),
            " ".join(str(place[name]) for name in ("PostalCode", "City") if place.get(name)),
        ]
    else:
        parts = [row.get("Sku"), row.get("Description"), row.get("Type")]
    return ", ".join(str(part) for part in parts if part) or "nothing else is said there"
