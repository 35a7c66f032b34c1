"""What the sink says back, as events. Pure. They reach the phones by ordinary sync (QB-01)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from qbo_sink.faults import Refused
from qbo_sink.feed import SYSTEM
from qbo_sink.model import CHARGE, Entity, JsonObject, Key
from qbo_sink.rows import Answer
from qbo_sink.wire import decimal
from replica.events.kinds import encode_payload
from replica.events.money import minor_digits
from replica.events.payloads import (
    ClassLinked,
    CustomerLinked,
    DepartmentLinked,
    OrderEstimated,
    OrderParked,
    Payload,
    ProductLinked,
    QuoteEstimated,
    QuoteParked,
)


def net_total(row: JsonObject) -> Decimal:
    """The total before tax of a document there: what our own total says (OFF-25)."""
    tax = (row.get("TxnTaxDetail") or {}).get("TotalTax")
    return decimal(row.get("TotalAmt")) - decimal(tax)


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units to minor units of ``currency``."""
    return int(amount.scaleb(minor_digits(currency)).to_integral_value(ROUND_HALF_UP))


def done(key: Key, row: JsonObject, currency: str) -> Answer | None:
    """The answer to a document that stands there as ``row``; None for an item of a charge."""
    identity, number = str(row["Id"]), str(row.get("DocNumber") or "")
    payload: Payload
    if key.local_type == CHARGE:
        return None
    if key.entity is Entity.CLASS:
        payload = ClassLinked(key.local_id, SYSTEM, identity)
    elif key.entity is Entity.DEPARTMENT:
        payload = DepartmentLinked(key.local_id, SYSTEM, identity)
    elif key.entity is Entity.CUSTOMER:
        payload = CustomerLinked(key.local_id, SYSTEM, identity)
    elif key.entity is Entity.ITEM:
        payload = ProductLinked(key.local_id, SYSTEM, identity)
    else:
        kind = OrderEstimated if key.local_type == "order" else QuoteEstimated
        total_minor = to_minor(net_total(row), currency)
        payload = kind(key.local_id, SYSTEM, identity, number, total_minor)
    return _answer(payload)


def parked(key: Key, refused: Refused) -> Answer | None:
    """The answer to an order or quote that needs somebody; None for other documents."""
    if key.entity is not Entity.ESTIMATE:
        return None
    kind = OrderParked if key.local_type == "order" else QuoteParked
    return _answer(kind(key.local_id, SYSTEM, refused.code, refused.cause, refused.fix))


def _answer(payload: Payload) -> Answer:
    kind, _, body = encode_payload(payload)
    return Answer(kind, body)
