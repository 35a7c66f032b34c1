"""What the sink says back, as events. Pure. They reach the phones by ordinary sync (QB-01)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import ROUND_HALF_UP, Decimal

from qbo_sink.faults import Refused
from qbo_sink.feed import SYSTEM
from qbo_sink.model import CHARGE, ERRANDS, SALES, Entity, JsonObject, Key
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

_LINKED: dict[Entity, Callable[..., Payload]] = {
    Entity.CLASS: ClassLinked,
    Entity.DEPARTMENT: DepartmentLinked,
    Entity.CUSTOMER: CustomerLinked,
    Entity.ITEM: ProductLinked,
}


def net_total(row: JsonObject) -> Decimal:
    """The total before tax of a document there: what our own total says (OFF-25)."""
    tax = (row.get("TxnTaxDetail") or {}).get("TotalTax")
    return decimal(row.get("TotalAmt")) - decimal(tax)


def to_minor(amount: Decimal, currency: str) -> int:
    """Major units to minor units of ``currency``."""
    return int(amount.scaleb(minor_digits(currency)).to_integral_value(ROUND_HALF_UP))


def done(key: Key, row: JsonObject, currency: str) -> Answer | None:
    """The answer to a document that stands there as ``row``; None for an item of a charge, and for
    an invoice and its errands, which are said with their order (:mod:`qbo_sink.conversion`)."""
    if key.local_type == CHARGE:
        return None
    identity = str(row["Id"])
    if key.entity is Entity.ESTIMATE:
        number = str(row.get("DocNumber") or "")
        return estimated(key, identity, number, net_total(row), currency)
    kind = _LINKED.get(key.entity)
    return None if kind is None else _answer(kind(key.local_id, SYSTEM, identity))


def estimated(key: Key, identity: str, number: str, net: Decimal, currency: str) -> Answer:
    """An order or quote stands there as the document ``identity``, with this total before tax."""
    kind = OrderEstimated if key.local_type == "order" else QuoteEstimated
    return _answer(kind(key.local_id, SYSTEM, identity, number, to_minor(net, currency)))


def parked(key: Key, refused: Refused) -> Answer | None:
    """The answer to an order or quote that needs somebody; None for other documents."""
    if key.entity not in SALES | ERRANDS:
        return None
    kind = OrderParked if key.local_type == "order" else QuoteParked
    return _answer(kind(key.local_id, SYSTEM, refused.code, refused.cause, refused.fix))


def _answer(payload: Payload) -> Answer:
    kind, _, body = encode_payload(payload)
    return Answer(kind, body)
