"""What waits for the accounting program, as pages show it. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from replica.server.web import marks, words
from replica.server.web.frame import Links, address
from replica.sink import Call, Correction, Guidance, Offer, QueuePage, QueueRow, SinkStatus

STATES = (
    "needs_you",
    "autofixing",
    "retrying",
    "sending",
    "waiting_on",
    "queued",
    "excluded",
)
"""Filters of the queue, the one that needs somebody first."""
_HOMES = {"order": "/orders/", "customer": "/customers/"}
TROUBLES = {"temporary": "Passes by itself", "data": "Somebody has to mend it"}
KINDS = {
    "A": "corrected by itself where that is safe",
    "R": "passes by itself",
    "H": "somebody decides",
    "B": "for support",
    "S": "stops the connection",
}


def connection(status: SinkStatus) -> dict[str, Any]:
    """The connection in words."""
    hints = {
        "not_connected": "Orders wait safely on the server until it is connected.",
        "reconnect_needed": "Connect again under QuickBooks setup; what waits is sent then.",
        "stopped": "Look at the rows below; Sync Now tries again.",
        "failing": "It tries again by itself.",
    }
    return {
        "mark": marks.connection_mark(status.state),
        "text": status.text,
        "last_run_ms": status.last_run_ms,
        "hint": hints.get(status.state, ""),
    }


def queue_row(row: QueueRow) -> dict[str, Any]:
    """One piece of work."""
    home = _HOMES.get(row.local_type)
    amount = "" if row.amount_minor is None else words.money(row.amount_minor, row.currency)
    return {
        "id": row.id,
        "position": row.position,
        "entity": row.entity,
        "becomes": row.becomes,
        "name": row.number or row.customer or row.local_id,
        "title": _title(row),
        "home": home + quote(row.local_id, safe="") if home else "",
        "customer": row.customer,
        "mark": marks.order_mark(row.state),
        "reason": "" if row.code else row.reason,
        "cause": row.cause,
        "fix": row.fix,
        "code": row.code,
        "detail": row.detail,
        "tries": row.tries,
        "trouble": TROUBLES.get(row.trouble, ""),
        "changes": list(row.changes),
        "foreseen": list(row.foreseen),
        "tax": row.tax,
        "amount": amount,
        "since_ms": row.since_ms,
        "next_ms": row.next_ms,
        "offers": [offer(one) for one in row.offers],
    }


def _title(row: QueueRow) -> str:
    """``Order A-0001`` or ``Customer Harbour Deli``: the failing row is always named (QB-20)."""
    return f"{row.local_type.capitalize()} {row.number or row.customer or row.local_id}"


def offer(one: Offer) -> dict[str, Any]:
    """One button."""
    return {
        "name": one.name,
        "label": one.label,
        "tone": one.tone,
        "asks": one.asks,
        "warns": one.warns,
        "value": one.value,
    }


def chips(page: QueuePage, selected: str, text: str, path: str = "/queue") -> list[dict[str, Any]]:
    """The filter above the queue: every state that occurs, with its count."""
    total = sum(page.counts.values())
    shown = [("", "All", "", total)]
    for name in STATES:
        if page.counts.get(name) or name == selected:
            mark = marks.order_mark(name)
            shown.append((name, mark.text, mark.icon, page.counts.get(name, 0)))
    return [
        {
            "href": address(path, _filters(name, text)),
            "text": label,
            "icon": icon,
            "count": f"{number:,}",
            "current": name == selected,
        }
        for name, label, icon, number in shown
    ]


def paging(page: QueuePage, start: int, path: str, filters: Mapping[str, str]) -> Links:
    """Where a list by numbers goes on."""
    following = start + len(page.rows)
    kept = {name: value for name, value in filters.items() if value}
    more = following < page.matching and page.rows
    return Links(
        address(path, kept) if start else None,
        address(path, kept | {"start": str(following)}) if more else None,
    )


def _filters(state: str, text: str) -> dict[str, str]:
    return {name: value for name, value in (("state", state), ("q", text)) if value}


def groups(page: QueuePage, known: Sequence[Guidance]) -> list[dict[str, Any]]:
    """Failing rows by their fault, the most frequent first."""
    by_code = {one.code: one for one in known}
    ordered = sorted(page.codes.items(), key=lambda pair: (-pair[1], pair[0]))
    return [
        {
            "code": code,
            "count": words.count(number, "row"),
            "cause": by_code[code].cause if code in by_code else "QuickBooks refused the record.",
            "fix": by_code[code].fix if code in by_code else "",
            "href": address("/errors", {"code": code}),
        }
        for code, number in ordered
    ]


def call_row(call: Call) -> dict[str, Any]:
    """One call of a row."""
    return {
        "at_ms": call.started_ms,
        "took": f"{max(call.finished_ms - call.started_ms, 0):,} ms",
        "outcome": call.outcome,
        "status": str(call.status) if call.status else "no answer",
        "code": call.code,
        "trace": call.trace,
        "detail": call.detail,
    }


def correction_row(one: Correction) -> dict[str, Any]:
    """One automatic correction with the fields that it changed."""
    before, after = _object(one.before), _object(one.after)
    names = sorted({*before, *after})
    return {
        "id": one.id,
        "at_ms": one.at_ms,
        "record": one.record,
        "text": one.text,
        "changes": [
            {"name": name, "was": _short(before.get(name)), "now": _short(after.get(name))}
            for name in names
            if before.get(name) != after.get(name)
        ],
        "offers": [offer(one) for one in one.offers],
    }


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text) if text else {}
    return value if isinstance(value, dict) else {}


def _short(value: Any) -> str:
    if value is None:
        return "\N{EN DASH}"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else text[:119] + "…"


def guidance_row(one: Guidance) -> dict[str, Any]:
    """One fault of the catalogue."""
    return {
        "code": one.code,
        "cause": one.cause,
        "fix": one.fix,
        "kind": KINDS.get(one.kind, one.kind),
    }
