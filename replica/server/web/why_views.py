"""An explanation in words: who said what, when, and why it counts or does not. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from replica.server.web import words
from replica.server.web.marks import Mark
from replica.server.web.views import field_name, shorten

COUNTS = Mark("counts", "Counts", "check", "ok")
LOST = Mark("lost", "Does not count", "cross", "")
_HOMES = {"order": "/orders/", "customer": "/customers/"}
_ORIGINS = {"device": "a device", "web": "the office", "sink": "a sink", "import": "an import"}


def why_page(found: Mapping[str, Any], field: str) -> dict[str, Any]:
    """What :func:`replica.server.why.why` says, as a page shows it.

    Without ``field`` only what somebody said something about, and of lines only those on which
    somebody lost: an order may have thousands.
    """
    fields = found["fields"]
    currency = next((one["value"] for one in fields if one["field"] == "currency"), None) or ""
    shown = [
        one
        for one in fields
        if field or (one["winners"] and (one["losers"] or not one["field"].startswith("lines.")))
    ]
    kind, identity = found["type"], found["id"]
    return {
        "title": f"{kind.capitalize()} {identity}",
        "home": _HOMES[kind] + quote(identity, safe="") if kind in _HOMES else "",
        "position": f"{found['position']:,}",
        "sections": [_section(one, currency) for one in shown],
    }


def _section(one: Mapping[str, Any], currency: str) -> dict[str, Any]:
    name = one["field"]
    return {
        "name": _title(name),
        "rule": one["rule"],
        "value": value_words(name, one["value"], currency),
        "rows": [_row(name, said, currency) for said in [*one["winners"], *one["losers"]]],
    }


def _title(field: str) -> str:
    """``lines.l1.qty_e3`` as ``Line l1, qty``."""
    head, _, rest = field.partition(".")
    if head != "lines":
        return field_name(head) + (f", {rest}" if rest else "")
    line, _, name = rest.partition(".")
    return f"Line {line}" + (f", {field_name(name).lower()}" if name else "")


def _row(field: str, said: Mapping[str, Any], currency: str) -> dict[str, Any]:
    writer = said["by"] or f"writer {said['node'][:8]}"
    return {
        "mark": LOST if said["rule"] else COUNTS,
        "value": value_words(field, said["value"], currency),
        "by": f"{writer}, {_ORIGINS[said['origin']]}",
        "kind": said["kind"],
        "clock_ms": said["raw_ms"],
        "merged_ms": said["merged_ms"],
        "received_ms": said["received_ms"],
        "disputed": bool(said["disputed"]),
        "rule": said["rule"],
        "event": said["event"],
    }


def said_by(found: Mapping[str, Any], field: str, value: Any, before_ms: int) -> str:
    """Who on our side said ``value`` of a field, or said it last until then; "" for nobody."""
    sayings = [
        said
        for one in found["fields"]
        if one["field"] == field
        for said in (*one["winners"], *one["losers"])
        if said["origin"] != "sink" and said["merged_ms"] <= before_ms
    ]
    exact = [said for said in sayings if said["value"] == value]
    last = max(exact or sayings, key=lambda said: int(said["merged_ms"]), default=None)
    if last is None:
        return ""
    writer, origin = last["by"] or f"writer {last['node'][:8]}", _ORIGINS[last["origin"]]
    return writer if writer == origin else f"{writer}, {origin}"


def value_words(field: str, value: Any, currency: str) -> str:
    """A value in its unit; an empty one as a dash."""
    if value is None or value == "":
        return "\N{EN DASH}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        parts = [(name, part) for name, part in value.items() if part not in (None, "")]
        text = ", ".join(
            f"{field_name(name).lower()} {value_words(name, part, currency)}"
            for name, part in parts
        )
        return shorten(text, 200)
    if isinstance(value, int):
        if field.endswith("_e3"):
            return words.quantity(value)
        if field.endswith("_e4"):
            return words.price(value, currency)
        if field.endswith("_minor") and currency:
            return words.money(value, currency)
    return shorten(str(value), 200)
