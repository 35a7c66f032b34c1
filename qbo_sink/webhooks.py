"""What a webhook says, in both of its formats. Pure. A hint: it names companies, no content."""

from __future__ import annotations

from typing import Any

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


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _text(entry: dict[str, Any], name: str) -> str:
    return str(entry.get(name) or "")
