"""Records that both sides change: customers, items, classes, departments. Pure.

A record is compared in *our* fields, read from a QuickBooks row and from the row that our own
record would make: so whatever QuickBooks cannot hold (a colon in a name) is no difference. What
both sides agreed on is kept beside the link (``Agreed``); a field that was taken from there counts
as agreed once the event that said so is in our own record, so nothing ever echoes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from qbo_sink.merge3 import Fields, Merged, merge, same
from qbo_sink.model import (
    Entity,
    JsonObject,
    Label,
    Party,
    Product,
    Settings,
    Wanted,
    decode_wanted,
)
from qbo_sink.party import ITEM_NAME_CHARS, customer_fields, tidy_name, to_item
from qbo_sink.rows import Mapping as Link
from qbo_sink.wire import decimal

TWO_WAY = frozenset({Entity.CUSTOMER, Entity.ITEM, Entity.CLASS, Entity.DEPARTMENT})
LABELS = frozenset({Entity.CLASS, Entity.DEPARTMENT})
_GONE = ("deleted", "merged")
_INACTIVE = " (deleted)"
_PARTS = {
    "line1": ("Line1",),
    "line2": ("Line2", "Line3", "Line4", "Line5"),
    "city": ("City",),
    "region": ("CountrySubDivisionCode",),
    "postal_code": ("PostalCode",),
    "country": ("Country",),
}
_PROPERTIES: dict[Entity, dict[str, tuple[str, ...]]] = {
    Entity.CUSTOMER: {
        "name": ("DisplayName",),
        "company": ("CompanyName",),
        "contact": ("GivenName", "FamilyName"),
        "email": ("PrimaryEmailAddr",),
        "phone": ("PrimaryPhone",),
        "address": ("BillAddr",),
        "ship_address": ("ShipAddr",),
        "tax_exempt": ("Taxable",),
    },
    Entity.ITEM: {
        "name": ("Name",),
        "sku": ("Sku",),
        "description": ("Description",),
        "price_e4": ("UnitPrice",),
        "taxable": ("Taxable",),
    },
    Entity.CLASS: {
        "name": ("Name",),
        "parent": ("ParentRef", "SubClass"),
        "active": ("Active",),
    },
    Entity.DEPARTMENT: {
        "name": ("Name",),
        "parent": ("ParentRef", "SubDepartment"),
        "active": ("Active",),
    },
}
_BLANKS: dict[str, Any] = {
    "PrimaryEmailAddr": {"Address": ""},
    "PrimaryPhone": {"FreeFormNumber": ""},
    "BillAddr": {name: "" for names in _PARTS.values() for name in names[:1]},
    "ShipAddr": {name: "" for names in _PARTS.values() for name in names[:1]},
    "Taxable": True,
    "UnitPrice": 0,
}


class Agreed(msgspec.Struct, frozen=True):
    """What our side said when both agreed, and when what was since taken from there was."""

    ours: dict[str, Any] = {}
    taken: dict[str, int] = {}  # field → epoch milliseconds

    def encode(self) -> str:
        return msgspec.json.encode(self, order="sorted").decode()


def agreed_of(link: Link) -> Agreed | None:
    """What was agreed on; None for a link without it."""
    return msgspec.json.decode(link.agreed, type=Agreed) if link.agreed else None


def there(entity: Entity, row: JsonObject) -> dict[str, Any]:
    """What a row says, in our fields. A parent is named by its id here, where the row was given
    it as ``local``; a record that came from there has its id there in its own.
    """
    name = str(row.get("DisplayName" if entity is Entity.CUSTOMER else "Name") or "")
    if not row.get("Active", True):
        name = name.removesuffix(_INACTIVE)
    if entity is Entity.CUSTOMER:
        people = (row.get("GivenName"), row.get("MiddleName"), row.get("FamilyName"))
        return {
            "name": name,
            "company": str(row.get("CompanyName") or ""),
            "contact": " ".join(str(part) for part in people if part),
            "email": str((row.get("PrimaryEmailAddr") or {}).get("Address") or ""),
            "phone": str((row.get("PrimaryPhone") or {}).get("FreeFormNumber") or ""),
            "address": _address(row.get("BillAddr")),
            "ship_address": _address(row.get("ShipAddr")),
            "tax_exempt": not row.get("Taxable", True),
        }
    if entity is Entity.ITEM:
        price = row.get("UnitPrice")
        return {
            "name": name,
            "sku": str(row.get("Sku") or ""),
            "description": str(row.get("Description") or ""),
            "price_e4": None if price is None else round(decimal(price) * 10_000),
            "taxable": bool(row.get("Taxable", False)),
        }
    parent = row.get("ParentRef") or {}
    local = str(parent.get("local") or (f"qb:{parent['value']}" if parent.get("value") else ""))
    return {"name": name, "parent": local, "active": bool(row.get("Active", True))}


def here(wanted: Wanted) -> dict[str, Any]:
    """What our record says, as QuickBooks would say it."""
    if isinstance(wanted, Party):
        return there(Entity.CUSTOMER, customer_fields(wanted))
    if isinstance(wanted, Product):
        return there(Entity.ITEM, to_item(wanted, Settings(), ""))
    if isinstance(wanted, Label):
        name = tidy_name(wanted.name, ITEM_NAME_CHARS)
        return {"name": name, "parent": wanted.parent, "active": wanted.active}
    return {}


def first_agreed(content: bytes, entity: Entity) -> str:
    """The base of a record that was just linked: each side as it stands is taken as agreed."""
    if entity not in TWO_WAY or not content:
        return ""
    return Agreed(here(decode_wanted(entity, content))).encode()


def acknowledged(content: bytes, link: Link | None, entity: Entity) -> str:
    """The base after our record was sent. What was taken and is not in it yet stays taken."""
    wanted = decode_wanted(entity, content)
    known = None if link is None else agreed_of(link)
    taken = {} if known is None else known.taken
    waiting = {name: ms for name, ms in taken.items() if not _heard(wanted, name, ms)}
    return Agreed(here(wanted), waiting).encode()


def meet(wanted: Wanted, link: Link, theirs: Fields, theirs_ms: int) -> Merged:
    """Our record against a row that changed there at ``theirs_ms``, over what was agreed."""
    ours = here(wanted)
    said = getattr(wanted, "said", {})

    def is_newer(name: str) -> bool:
        # An inactivation wins, as a deletion does here (quickbooks.md §1.12, CON-05).
        if name == "active":
            return not ours[name]
        return bool(said.get(name, 0) > theirs_ms)

    base_ours, base_theirs = bases(wanted, link)
    return merge(base_ours or ours, base_theirs or theirs, ours, theirs, is_newer)


def bases(wanted: Wanted, link: Link) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each side said when they last agreed; empty where that is not known."""
    entity = link.key.entity
    base_theirs = there(entity, link.row) if link.snapshot else {}
    known = agreed_of(link)
    if known is None:
        return {}, base_theirs
    base_ours = dict(known.ours)
    for name, ms in known.taken.items():
        if name in base_theirs and _heard(wanted, name, ms):
            base_ours[name] = base_theirs[name]
    return base_ours, base_theirs


def standing(entity: Entity, row: JsonObject, drift: str) -> str:
    """The drift of a record that stands there as ``row``, where ``drift`` was known of it.

    An inactive class or department says so in a field of its own.
    """
    if entity not in LABELS and not row.get("Active", True):
        return "inactive"
    return "" if drift in ("inactive", "deleted") else drift


def pending(wanted: Wanted, link: Link) -> list[str]:
    """Our fields that were changed here since both agreed and do not stand there yet."""
    if link.drift in _GONE:
        return []
    base_ours, base_theirs = bases(wanted, link)
    ours = here(wanted)
    return [
        name
        for name, value in ours.items()
        if name in base_ours
        and not same(value, base_ours[name])
        and not same(value, base_theirs.get(name))
    ]


def changes(
    entity: Entity, full: JsonObject, names: Iterable[str], snapshot: JsonObject
) -> JsonObject:
    """The owned properties of a sparse update of ``names``. ``full`` is the body of a new record.

    A name goes along with every update of a list that is known by it, ours only if it changed.
    """
    found: JsonObject = {}
    for name in names:
        for prop in _PROPERTIES[entity][name]:
            value = full.get(prop, _BLANKS.get(prop, ""))
            blank = _BLANKS.get(prop)
            found[prop] = {**blank, **value} if isinstance(blank, dict) else value
    if entity is not Entity.CUSTOMER and "Name" not in found and snapshot.get("Name"):
        found["Name"] = snapshot["Name"]
    return found


def shows(entity: Entity, row: JsonObject, body: JsonObject) -> bool:
    """Whether ``row`` shows everything that the update ``body`` says."""
    shown, meant = there(entity, row), there(entity, body)
    return all(
        same(shown[name], meant[name])
        for name, properties in _PROPERTIES[entity].items()
        if any(prop in body for prop in properties)
    )


def _heard(wanted: Wanted, name: str, ms: int) -> bool:
    """Whether our record holds the event by which the sink told a field at ``ms``."""
    heard: dict[str, int] = getattr(wanted, "heard", {})
    return heard.get(name, 0) >= ms


def _address(value: Any) -> dict[str, str]:
    given = value if isinstance(value, dict) else {}
    return {
        name: ", ".join(str(given[part]) for part in parts if given.get(part))
        for name, parts in _PARTS.items()
    }
