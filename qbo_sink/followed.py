"""What became of a document there after it was sent, said as an event. Pure.

Nothing that the office does to a document of ours stays silent: the report reaches the pages and
the phones by ordinary sync, and "standing" takes it back (quickbooks.md §2.5, QB-05).
"""

from __future__ import annotations

from typing import NamedTuple

from qbo_sink.feed import SYSTEM
from qbo_sink.model import CHARGE, SALES, Entity, Key
from qbo_sink.rows import Answer
from replica.events.kinds import encode_payload
from replica.events.payloads import (
    CustomerFollowed,
    OrderFollowed,
    Payload,
    ProductFollowed,
    QuoteFollowed,
)
from replica.limits import NAME_CHARS_MAX, TEXT_CHARS_MAX

STANDING = ("", "accepted")
"""Drifts that leave nothing to be said."""


class Became(NamedTuple):
    """What is known beyond the word: what differs, and the invoice made of an estimate."""

    detail: str = ""
    document: str = ""
    number: str = ""


NOTHING = Became()
_DECIDE = "Compare both versions under Reconcile; take theirs or send ours."
_SALES = {
    "changed": ("The estimate was changed in QuickBooks", _DECIDE),
    "differs": ("The total in QuickBooks is another one", _DECIDE),
    "deleted": (
        "The estimate was deleted in QuickBooks",
        "Send it again, cancel it here, or ignore it with a reason under Reconcile.",
    ),
    "invoiced": ("The estimate was converted to an invoice in QuickBooks{number}", ""),
}
_INVOICE = "It stands in QuickBooks as invoice{number}"
_INVOICES = {
    **dict.fromkeys(("", "accepted", "invoiced", "changed", "differs"), (_INVOICE, "")),
    "deleted": (
        "The invoice{number} was deleted in QuickBooks",
        "Make it again here, or cancel the order.",
    ),
    "voided": (
        "The invoice{number} was voided in QuickBooks",
        "Make another one here, or cancel the order.",
    ),
}
_GONE = {"deleted": "deleted", "voided": "deleted"}
"""What an order is said to be when its invoice is gone; else it is invoiced, whatever the office
changed of what it has booked."""
_NAMES = {
    "inactive": (
        "The record was made inactive in QuickBooks",
        "Documents for it wait; make it active there, or choose another here.",
    ),
    "deleted": (
        "The record is not in QuickBooks any more",
        "Documents for it wait; restore it there, or choose another here.",
    ),
    "merged": (
        "The record was merged into another one in QuickBooks",
        "Nothing has to be done: documents go to the one that is left.",
    ),
}


def words(entity: Entity, drift: str, became: Became = NOTHING) -> tuple[str, str]:
    """Cause and fix of a drift, as a person reads them; empty where there is nothing to say."""
    known = {Entity.ESTIMATE: _SALES, Entity.INVOICE: _INVOICES}.get(entity, _NAMES)
    cause, fix = known.get(drift, ("", ""))
    cause = cause.format(number=f" {became.number}" if became.number else "")
    if became.detail:
        cause = f"{cause}: {became.detail}"
    return (f"{cause}." if cause else ""), fix


def followed(key: Key, drift: str, became: Became = NOTHING) -> Answer | None:
    """The report of ``drift`` about the document ``key``; None where there is no kind for it."""
    state = "standing" if drift in STANDING else drift
    cause, fix = words(key.entity, drift, became)
    said = {"cause": cause[:TEXT_CHARS_MAX], "fix": fix}
    payload: Payload
    if key.entity in SALES:
        if key.entity is Entity.INVOICE:
            state = _GONE.get(drift, "invoiced")
        kind = OrderFollowed if key.local_type == "order" else QuoteFollowed
        invoice = {
            "document": became.document[:NAME_CHARS_MAX],
            "number": became.number[:NAME_CHARS_MAX],
        }
        payload = kind(key.local_id, SYSTEM, state, **said, **invoice)  # type: ignore[arg-type]
    elif key.entity is Entity.CUSTOMER:
        payload = CustomerFollowed(key.local_id, SYSTEM, state, **said)  # type: ignore[arg-type]
    elif key.entity is Entity.ITEM and key.local_type != CHARGE:
        payload = ProductFollowed(key.local_id, SYSTEM, state, **said)  # type: ignore[arg-type]
    else:
        return None
    name, _, body = encode_payload(payload)
    return Answer(name, body)
