"""From rows to what a page shows. Pure: money in words, states as marks, who did what by name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from replica.events.money import minor_digits
from replica.limits import HANDED_SHOWN_MAX
from replica.projections.queries import Row
from replica.server.aside import Kept
from replica.server.auth import Principal, Right
from replica.server.devices import DeviceRow
from replica.server.scopes import Handover
from replica.server.web import marks, words
from replica.server.web.marks import Mark
from replica.sink import QueueRow, SinkStatus

CUSTOMER_FIELDS: tuple[tuple[str, str, str, int], ...] = (
    ("name", "Name", "text", 500),
    ("company", "Company", "text", 500),
    ("contact", "Contact person", "text", 500),
    ("email", "E-mail", "email", 500),
    ("phone", "Phone", "tel", 500),
    ("address.line1", "Address", "text", 500),
    ("address.line2", "Address, second line", "text", 500),
    ("address.city", "City", "text", 500),
    ("address.region", "Region", "text", 500),
    ("address.postal_code", "Postal code", "text", 500),
    ("address.country", "Country", "text", 500),
)
"""What the office edits: field, label, kind of input, longest value."""


def order_row(row: Row) -> dict[str, Any]:
    """One order in the list."""
    return {
        "id": row["id"],
        "number": row["number"],
        "customer": row["customer_name"] or row["customer"] or "no customer yet",
        "date": row["date"],
        "mark": marks.order_mark(row["state"]),
        "review": row["amendments"] > 0,
        "estimate": row["estimate_number"],
        "received_ms": row["received_ms"],
        "total": words.money(row["total_minor"], row["currency"]),
    }


def order_chips(
    counts: Mapping[str, int], selected: str, addresses: Mapping[str, str]
) -> list[dict[str, Any]]:
    """The filter above the list: every state that occurs, with its count."""
    chips = [("", "All", "", sum(counts.values()))]
    for name, mark in marks.ORDER_MARKS.items():
        if counts.get(name) or name == selected:
            chips.append((name, mark.text, mark.icon, counts.get(name, 0)))
    return [
        {
            "href": addresses[name],
            "text": text,
            "icon": icon,
            "count": f"{number:,}",
            "current": name == selected,
        }
        for name, text, icon, number in chips
    ]


def order_page(
    row: Row,
    *,
    products: Mapping[str, str],
    devices: Mapping[str, str],
    waiting: QueueRow | None,
    customer: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """One order with its lines and its ladder; ``customer`` is the view of its customer."""
    currency = row["currency"]
    facts = [
        ("Customer", row["customer_name"] or row["customer"]),
        ("Date", row["date"]),
        ("Delivery", row["delivery_date"]),
        ("Sales rep", row["rep"]),
        ("Printed memo", row["memo"]),
        ("Internal note", row["note"]),
        ("Taken", "while offline" if row["offline"] else "while online"),
        ("Order id", row["id"]),
    ]
    lines_minor = sum(line["total_minor"] for line in row["lines"])
    rest_minor = row["total_minor"] - lines_minor
    extras = [("Shipping, fees and discount", words.money(rest_minor, currency))]
    return {
        "id": row["id"],
        "number": row["number"],
        "customer": row["customer_name"] or row["customer"],
        "customer_href": "/customers/" + quote(row["customer"] or "", safe=""),
        "customer_there": [text for _, text in _there(customer["there"] if customer else {})],
        "mark": marks.order_mark(waiting.state if waiting else row["state"]),
        "lines": [_line(line, currency, products) for line in row["lines"]],
        "extras": extras if rest_minor else [],
        "total": words.money(row["total_minor"], currency),
        "ladder": ladder(row, devices=devices, waiting=waiting),
        "facts": [fact for fact in facts if fact[1]],
        "conflicts": [_amendment(conflict) for conflict in row["conflicts"]],
    }


def _line(line: Row, currency: str, products: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": products.get(line["product"]) or line["text"] or line["product"],
        "text": line["text"],
        "qty": words.quantity(line["qty_e3"]),
        "price": words.price(line["price_e4"], currency),
        "amount": words.decimal(line["total_minor"], minor_digits(currency)),
    }


def _amendment(conflict: Row) -> str:
    shown = shorten(_value(conflict["value"]))
    what = "waits for review" if conflict["review"] else conflict["rule"]
    return f"{field_name(conflict['field'])}: {shown} ({what})"


def ladder(
    row: Row, *, devices: Mapping[str, str], waiting: QueueRow | None
) -> list[dict[str, Any]]:
    """How far an order has come: device, server, QuickBooks; each rung done, waiting or stuck."""
    sealed = row["sealed_ms"] > 0
    author = devices.get(row["device"]) or "a device"
    steps = [
        {
            "title": "Committed" if sealed else "Being drafted",
            "text": f"on {author}" + (", offline" if row["offline"] else ""),
            "at_ms": row["sealed_ms"],
            "icon": "phone",
            "tone": "done" if sealed else "",
        },
        {
            "title": "On the server",
            "text": f"position {row['position']:,} of the log, durable",
            "at_ms": row["received_ms"],
            "icon": "cloud",
            "tone": "done" if sealed else "",
        },
    ]
    return [*steps, _last_rung(row, waiting)]


def _last_rung(row: Row, waiting: QueueRow | None) -> dict[str, Any]:
    rung = {"title": "In QuickBooks", "at_ms": 0, "icon": "clock", "tone": "", "text": ""}
    stuck = waiting is not None and bool(waiting.code)
    if row["state"] == "needs_you" or stuck:
        text = f"{row['parked_cause']} {row['parked_fix']}".strip()
        if waiting is not None and stuck:
            text = f"{waiting.cause} {waiting.fix} {waiting.tries}".strip()
        return rung | {
            "title": "QuickBooks needs you",
            "text": text,
            "icon": "alert",
            "tone": "bad",
        }
    if row["state"] == "invoiced":
        text = row["parked_cause"]
        return rung | {"title": "Invoiced", "text": text, "icon": "receipt", "tone": "done"}
    if row["estimate_number"]:
        text = f"Estimate № {row['estimate_number']}"
        return rung | {"text": text, "icon": "check", "tone": "done"}
    if waiting is not None:
        mark = marks.order_mark(waiting.state)
        return rung | {"title": mark.text, "text": waiting.reason, "icon": mark.icon}
    return rung | {"text": "not sent yet"}


def lanes(
    devices: Sequence[DeviceRow], orders: int, position: int, status: SinkStatus
) -> list[dict[str, Any]]:
    """Devices, server, QuickBooks: where the work is."""
    used = [device for device in devices if device.state != "revoked"]
    online = sum(device.state == "online" for device in used)
    pending = sum(device.pending or 0 for device in used)
    held = f"{words.count(pending, 'event')} not sent yet" if pending else "nothing known unsent"
    here = Mark("online", f"{online} online", "check", "ok") if online else marks.OFFLINE
    connection = marks.connection_mark(status.state)
    return [
        {
            "title": "Devices",
            "icon": "phone",
            "href": "/devices",
            "figure": len(used),
            "mark": here if used else marks.NEVER,
            "text": held,
        },
        {
            "title": "Server",
            "icon": "cloud",
            "href": "/orders",
            "figure": words.count(orders, "order"),
            "mark": Mark("healthy", "Durable", "check", "ok"),
            "text": f"{words.count(position, 'event')} in the log",
        },
        {
            "title": "QuickBooks",
            "icon": "book",
            "href": "/queue",
            "figure": f"{status.queued:,} waiting",
            "mark": connection,
            "text": status.text,
        },
    ]


_DEVICE_MARKS = {
    "online": marks.ONLINE,
    "offline": marks.OFFLINE,
    "never": marks.NEVER,
    "revoked": marks.REVOKED,
}


def device_row(row: DeviceRow, who: Principal) -> dict[str, Any]:
    """One device in the list, and what ``who`` may do with it."""
    in_use, may_manage = row.state != "revoked", who.may(Right.MANAGE)
    unknown = {"offline": "unknown while offline", "online": "not reported yet"}.get(row.state, "")
    nothing = "nothing" if row.pending == 0 else words.count(row.pending or 0, "event")
    behind = "up to date" if row.behind == 0 else words.count(row.behind or 0, "event")
    return {
        "id": row.id,
        "short_id": f"{row.id[:8]}…{row.id[-4:]}",
        "name": row.name,
        "mark": _DEVICE_MARKS[row.state],
        "outdated": row.outdated if in_use else "",
        "seen_ms": row.seen_ms,
        "pending": unknown if row.pending is None else nothing,
        "behind": unknown if row.behind is None else behind,
        "skew": words.skew(row.offset_ms),
        "life": row.life if row.life > 1 and in_use else None,
        "may_revoke": in_use and may_manage,
        "may_choose": in_use and (may_manage or who.uses(row.user)),
    }


def handover_row(
    one: Handover, devices: Mapping[str, Mapping[str, Any]], customers: Mapping[str, str]
) -> dict[str, Any]:
    """Customers on their way between two devices, which are :func:`device_row` by id, and what they
    wait for."""
    shown = one.customers[:HANDED_SHOWN_MAX]
    return {
        "customers": [{"id": name, "name": customers.get(name) or name} for name in shown],
        "more": len(one.customers) - len(shown),
        "giver": devices[one.giver],
        "taker": devices[one.taker],
        "granted_ms": one.granted_ms,
    }


def customer_row(row: Row) -> dict[str, Any]:
    """One customer in the list."""
    return {
        "id": row["id"],
        "name": row["name"] or row["id"],
        "contact": row["contact"],
        "email": row["email"],
        "phone": row["phone"],
        "country": row["country"],
        "mark": _link_mark(json.loads(row["links"] or "{}"), json.loads(row["there"] or "{}")),
    }


def customer_page(seen: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """One customer and its editable fields."""
    values = customer_values(seen)
    customer = {
        "id": seen["id"],
        "name": values["name"] or seen["id"],
        "deleted": seen["deleted_by"] is not None,
        "mark": _link_mark(seen["links"], seen["there"]),
        "there": _there(seen["there"]),
    }
    fields = [
        {
            "name": name,
            "label": label,
            "type": kind,
            "limit": limit,
            "value": values[name],
            "required": name == "name",
        }
        for name, label, kind, limit in CUSTOMER_FIELDS
    ]
    return customer, fields


def customer_values(seen: Mapping[str, Any]) -> dict[str, str]:
    """The editable fields of a customer's view as texts."""
    fields: Mapping[str, Any] = seen["fields"]
    place: Mapping[str, Any] = fields.get("address") or {}
    return {
        name: str((place if name.startswith("address.") else fields).get(name.split(".")[-1]) or "")
        for name, *_ in CUSTOMER_FIELDS
    }


_GONE_THERE = {
    "inactive": Mark("inactive", "Inactive in QuickBooks", "minus", "warn"),
    "deleted": Mark("deleted", "Not in QuickBooks any more", "bin", "warn"),
    "merged": Mark("merged", "Merged in QuickBooks", "fork", "info"),
}


def _there(there: Mapping[str, Mapping[str, str]]) -> list[tuple[Mark, str]]:
    """What became of a record in another system, and what to do about it."""
    return [
        (_GONE_THERE[said["state"]], f"{said['cause']} {said['fix']}".strip())
        for said in there.values()
        if said["state"] in _GONE_THERE
    ]


def _link_mark(links: Mapping[str, str], there: Mapping[str, Mapping[str, str]]) -> Mark:
    for mark, _ in _there(there):
        return mark
    return marks.order_mark("in_qbo") if links else Mark("local", "Only here", "cloud", "")


def product_row(row: Row) -> dict[str, Any]:
    """One product in the list."""
    price_e4 = row["price_e4"]
    return {
        "name": row["name"] or row["id"],
        "sku": row["sku"],
        "category": row["category"],
        "on_hand": words.quantity(row["on_hand_e3"]),
        "price": ""
        if price_e4 is None
        else f"{words.price(price_e4, row['currency'])} {row['currency']}",
    }


def conflict_row(
    row: Row, writers: Mapping[str, str], records: Mapping[str, Mapping[str, str]]
) -> dict[str, Any]:
    """One value that did not count: what it was, what counts, why, whose it was.

    ``writers`` are names by node in hex, ``records`` names by type and id.
    """
    name = records.get(row["type"], {}).get(row["id"]) or row["id"]
    paths = {"order": "/orders/", "customer": "/customers/"}
    path = paths.get(row["type"])
    node = row["by_tag"][16:32]
    return {
        "at_ms": row["by_ms"],
        "record": f"{row['type'].capitalize()} {name}",
        "href": path + quote(row["id"], safe="") if path else "",
        "field": field_name(row["field"]) + (f", line {row['line']}" if row["line"] else ""),
        "was": shorten(_value(row["value"])),
        "now": shorten(_value(row["kept"])) or "\N{EN DASH}",
        "rule": "waits for review" if row["review"] else row["rule"],
        "loser": writers.get(node, f"writer {node[:8]}"),
    }


def field_name(name: str) -> str:
    """``delivery_date`` as ``Delivery date``; units are in the values."""
    for suffix in ("_minor", "_e3", "_e4"):
        name = name.removesuffix(suffix)
    return name.replace("_", " ").strip().capitalize()


def _value(text: str) -> str:
    value = json.loads(text) if text else None
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(
            str(part) for part in value.values() if part and not isinstance(part, list | dict)
        )
    return str(value)


def shorten(text: str, most: int = 80) -> str:
    """A long value cut for a table."""
    return text if len(text) <= most else text[: most - 1] + "…"


def kept_row(row: Kept, names: Mapping[str, str]) -> dict[str, Any]:
    """One event that the door kept out of the log."""
    mark = _HELD if row.whole else _REFUSED
    return {
        "at_ms": row.received_ms,
        "device": names.get(row.device.hex(), row.device.hex()[:8]),
        "seq": row.seq,
        "id": row.id.hex()[:16],
        "mark": _SAID_AGAIN if row.said_since else mark,
        "reason": f"{row.detail} ({row.code})",
        "kind": row.kind,
        "about": f"{row.type.capitalize()} {row.document}" if row.document else "",
        "fix": f"Nothing: said again as {row.said_since.hex()[:16]}…"
        if row.said_since
        else row.fix,
        "waiting": f"{words.count(len(row.waiting), 'event')} waiting for it"
        if row.waiting
        else "",
    }


_HELD = Mark("quarantined", "In quarantine", "stop", "warn")
_SAID_AGAIN = Mark("said_again", "Said again since", "check", "ok")
_REFUSED = Mark("refused", "Refused", "cross", "bad")
