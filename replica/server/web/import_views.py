"""What a carried file holds, as its page says it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from replica.server.web import words
from replica.server.web.marks import Mark

KIND_TITLES = {
    "customer.created": "New customers",
    "customer.changed": "Changes to customers",
    "customer.deleted": "Deleted customers",
    "customer.restored": "Restored customers",
    "product.created": "New products",
    "product.changed": "Changes to products",
    "product.deleted": "Deleted products",
    "product.restored": "Restored products",
    "class.created": "New classes",
    "class.changed": "Changes to classes",
    "class.deleted": "Deleted classes",
    "class.restored": "Restored classes",
    "department.created": "New departments",
    "department.changed": "Changes to departments",
    "department.deleted": "Deleted departments",
    "department.restored": "Restored departments",
    "stock.counted": "Stock counts",
    "stock.moved": "Stock movements",
    "order.drafted": "Orders begun",
    "order.changed": "Changes to orders that were begun",
    "order.line_put": "Lines put into orders that were begun",
    "order.line_removed": "Lines taken out of orders that were begun",
    "order.committed": "Orders",
    "order.amended": "Amended orders",
    "order.cancelled": "Cancelled orders",
    "quote.committed": "Quotes",
    "quote.withdrawn": "Withdrawn quotes",
    "return.committed": "Returns",
    "payment.recorded": "Payments",
    "note.edited": "Edits of notes",
}
"""What a device may say, kind by kind."""

_PREVIEW = Mark("preview", "Not imported yet", "clock", "wait")
_IMPORTED = Mark("imported", "Imported", "check", "ok")
_ATTENTION = Mark("needs_you", "Imported; something needs attention", "cross", "bad")
_SORTS = (
    ("new", "plus", "New", "will be taken in", "were taken in"),
    ("known", "check", "Known already", "add nothing", "added nothing"),
    ("invalid", "cross", "Not acceptable", "will be set aside", "were set aside"),
)


def import_page(found: Mapping[str, Any], *, done: bool) -> dict[str, Any]:
    """A preview, or with ``done`` what an import answered."""
    troubled = found["invalid"] or found["stopped"]
    told = sum(found[sort] for sort, *_ in _SORTS)
    return {
        "device": found["name"],
        "made_ms": found["made_ms"],
        "software": found["software"],
        "file": found["file"],
        "events": words.count(found["events"], "event"),
        "mark": (_ATTENTION if troubled else _IMPORTED) if done else _PREVIEW,
        "revoked": found["revoked"],
        "lanes": [
            {
                "title": title,
                "icon": icon,
                "figure": f"{found[sort]:,}",
                "text": did if done else will,
            }
            for sort, icon, title, will, did in _SORTS
        ],
        "kinds": [
            {"title": _title(kind), **_figures(counts)} for kind, counts in found["kinds"].items()
        ],
        "problems": [{**one, "title": _title(one["kind"])} for one in found["problems"]],
        "unnamed": found["invalid"] - len(found["problems"]),
        "stopped": found["stopped"],
        "unseen": words.count(found["events"] - told, "event"),
        "button": _button(found),
    }


def _button(found: Mapping[str, Any]) -> str:
    if found["revoked"]:
        return "Import the work of a revoked device"
    if found["new"]:
        return f"Import {words.count(found['new'], 'new event')}"
    return "Nothing is new: make the receipt"


def _title(kind: str) -> str:
    return KIND_TITLES.get(kind, kind or "Cannot be read")


def _figures(counts: Mapping[str, int]) -> dict[str, str]:
    return {sort: f"{counts[sort]:,}" if counts[sort] else "" for sort, *_ in _SORTS}
