"""Pairs as the office sees them: both records side by side, and what may be said of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from replica.crdt.corrected import NUMBER_TAKEN
from replica.crdt.documents import Document, tag_node
from replica.crdt.view import view
from replica.server import twins
from replica.server.web import words
from replica.sink import Offer

RENUMBER, GIVE_BACK = "renumber", "give_back"


def twin_row(
    row: Mapping[str, Any], pair: Sequence[Document | None], devices: Mapping[str, str]
) -> dict[str, Any]:
    """One pair; ``row`` is of :func:`replica.projections.queries.twins_page`."""
    shown = [_record(one, devices) for one in pair]
    return {
        "id": row["id"],
        "at_ms": row["found_ms"],
        "what": f"{row['of_type'].capitalize()} with one {_FIELD[row['field']]}",
        "pair": shown,
        "choice": row["choice"],
        "decision": _decision(row),
        "decided_ms": row["decided_ms"],
        "offers": _offers(row),
    }


_FIELD = {"name": "name", "sku": "SKU"}


def _record(document: Document | None, devices: Mapping[str, str]) -> dict[str, Any]:
    """A record with what tells it from another of its name."""
    if document is None:
        return {"name": "Not here any more", "href": "", "details": []}
    kind, identity = document.key
    seen = view(document)
    fields = seen["fields"]
    details = [fields[name] for name in _DETAILS[kind] if fields.get(name)]
    if kind == "product" and fields["price_e4"] is not None:
        currency = fields["currency"] or ""
        details.append(f"{words.price(fields['price_e4'], currency)} {currency}".strip())
    if created := document.facts.get(f"{kind}.created"):
        node = tag_node(created[0].tag).hex()
        by = next((name for one, name in devices.items() if one.endswith(node)), "")
        details.append(f"made by {by}" if by else "")
    if seen["links"]:
        details.append(f"in {', '.join(sorted(seen['links']))}")
    return {
        "name": fields["name"] or identity,
        "href": f"/customers/{quote(identity, safe='')}" if kind == "customer" else "",
        "details": [text for text in (*details, identity) if text],
    }


_DETAILS = {
    "customer": ("status", "company", "contact", "email", "phone"),
    "product": ("sku", "barcode", "category"),
}


def _decision(row: Mapping[str, Any]) -> str:
    if row["choice"] == "same":
        stays = "The one" if row["first"] == row["stays"] else "The other"
        return f"The same. {stays} stands for both"
    if row["choice"] == "apart":
        return "Two that stay apart"
    return "Waits for you"


def _offers(row: Mapping[str, Any]) -> list[Offer]:
    if row["choice"] != "ask":
        return [Offer(twins.ASK, "Undo")]
    named = "SKU" if row["field"] == "sku" else "name"
    return [
        Offer(twins.APART, "Keep apart"),
        Offer(twins.FIRST, "The same: keep one"),
        Offer(twins.SECOND, "The same: keep the other"),
        Offer(twins.RENAME[0], "Rename one", asks=f"New {named}"),
        Offer(twins.RENAME[1], "Rename the other", asks=f"New {named}"),
    ]


def number_offers(row: Mapping[str, Any]) -> list[Offer]:
    """What may be done where an order gave its number to another one."""
    if (row["type"], row["field"], row["rule"]) != ("order", "number", NUMBER_TAKEN):
        return []
    return [
        Offer(RENUMBER, "Other number", asks="New number"),
        Offer(GIVE_BACK, "Undo"),
    ]
