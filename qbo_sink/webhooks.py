"""What a webhook says, in both of its formats. Pure. A hint: it names companies, no content."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec


def realms_of(body: bytes) -> set[str]:
    """The companies in which something changed; none for a body in no known format.

    The older format is an object with ``eventNotifications``, the newer one a list of CloudEvents
    (quickbooks.md §1.10). Call it only after the signature was checked.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return set()
    if isinstance(value, dict) and "eventNotifications" in value:
        found = [_text(entry, "realmId") for entry in _dicts(value["eventNotifications"])]
    else:
        events = _dicts(value if isinstance(value, list) else [value])
        found = [_text(entry, "intuitaccountid") for entry in events]
    return {realm for realm in found if realm.isdecimal()}


class Merge(NamedTuple):
    """A name that became part of another there."""

    realm: str
    entity: str  # "Customer", "Item", …
    loser: str
    survivor: str


def merges_of(body: bytes) -> list[Merge]:
    """Names that were merged, as either format tells it; none for a body in no known format.

    What cannot be told from change data capture afterwards: which name is left. Call it only after
    the signature was checked.
    """
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return []
    found = []
    if isinstance(value, dict) and "eventNotifications" in value:
        for notice in _dicts(value["eventNotifications"]):
            change = notice.get("dataChangeEvent")
            entities = change.get("entities") if isinstance(change, dict) else None
            for entry in _dicts(entities):
                if _text(entry, "operation").lower() == "merge":
                    names = (_text(notice, "realmId"), _text(entry, "name"))
                    found.append(Merge(*names, _text(entry, "deletedId"), _text(entry, "id")))
    else:
        for event in _dicts(value if isinstance(value, list) else [value]):
            kind = _text(event, "type").lower().split(".")
            data = event.get("data")
            if kind[2:3] == ["merged"] and isinstance(data, dict):
                names = (_text(event, "intuitaccountid"), kind[1].capitalize())
                found.append(
                    Merge(*names, _text(data, "deletedId"), _text(event, "intuitentityid"))
                )
    return [merge for merge in found if merge.realm.isdecimal() and merge.loser and merge.survivor]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(entry: dict[str, Any], name: str) -> str:
    return str(entry.get(name) or "")
