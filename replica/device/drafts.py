"""A sale being put together, until it is sealed: orders, quotes and returns.

The draft lives in memory; :meth:`Draft.commit` seals it whole in one durable append, computes the
total and gives it the next number of this device, which needs no network and collides with no
other device's (requirements ORD-04, ORD-07; docs/decisions/0002).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from replica.errors import MisuseError
from replica.events.event import EventId
from replica.events.money import content_total_minor
from replica.events.payloads import (
    Content,
    OrderCommitted,
    Payload,
    QuoteCommitted,
    ReturnCommitted,
    SealedLine,
)
from replica.limits import NUMBER_CHARS_MAX

SaleType = Literal["order", "quote", "return"]
Quantity = int | str | Decimal

_PREFIX_CHARS = 6
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Sealed(NamedTuple):
    """A committed sale as the receipt shows it. Durable on the device (rung one of the ladder)."""

    type: SaleType
    id: str
    number: str
    total_minor: int
    currency: str
    event: EventId
    offline: bool  # print the note that it was processed offline (OFF-12)


class Sealer(Protocol):
    """What a draft needs of its device."""

    def seal(self, draft: Draft) -> Sealed: ...

    def price_e4(self, product: str) -> int | None: ...


class Draft:
    """One sale in the making. Not thread-safe; made by ``device.order()`` and its siblings.

    Header fields are attributes of :class:`~replica.events.payloads.Content`, given by name at the
    start or with :meth:`set`; a wrong name or value fails there and not at the end.
    """

    def __init__(self, device: Sealer, kind: SaleType, identity: str, fields: dict[str, Any]):
        self._device = device
        self.type: SaleType = kind
        self.id = identity
        self.lines: list[SealedLine] = []
        self._fields: dict[str, Any] = {}
        self._sealed: Sealed | None = None
        self.set(**fields)

    def set(self, **fields: Any) -> Draft:
        """Set header fields by name. Raises ``MisuseError`` for a name no sale has."""
        self._open()
        unknown = set(fields) - (set(Content.__struct_fields__) - {"lines", "total_minor"})
        if unknown:
            raise MisuseError(f"a sale has no field {', '.join(sorted(unknown))}")
        self._fields.update(fields)
        return self

    def add(
        self,
        product: str,
        qty: Quantity = 1,
        *,
        price_e4: int | None = None,
        text: str = "",
        line: str = "",
    ) -> Draft:
        """Add a line. ``qty`` counts whole units, as an integer or exact decimal (``"2.5"``).

        ``price_e4`` is the unit price in ten-thousandths; left out, it is the product's own on this
        device. A return is entered with positive quantities and sealed with negative ones.
        Raises ``MisuseError`` when there is no price or the quantity has more than three decimals.
        """
        self._open()
        price = self._device.price_e4(product) if price_e4 is None else price_e4
        if price is None:
            raise MisuseError(f"product {product} has no price on this device; give price_e4")
        qty_e3 = thousandths(qty)
        if self.type == "return":
            qty_e3 = -abs(qty_e3)
        self.lines.append(
            SealedLine(line or str(len(self.lines) + 1), product, qty_e3, price, text)
        )
        return self

    @property
    def total_minor(self) -> int:
        """The total before tax so far (OFF-25). Needs ``currency``."""
        return content_total_minor(self.content(number="", offline=False))

    def content(self, *, number: str, offline: bool) -> Content:
        """The sealed form, total computed. Raises ``MisuseError`` for what is missing."""
        fields = {"number": number, "offline": offline, **self._fields}
        missing = [name for name in ("customer", "currency", "date") if not fields.get(name)]
        if missing:
            raise MisuseError(f"a sale needs {', '.join(missing)}")
        content = Content(total_minor=0, lines=tuple(self.lines), **fields)
        return msgspec.structs.replace(content, total_minor=content_total_minor(content))

    def commit(self) -> Sealed:
        """Seal and store. Durable when it returns, online or not; a second call says so again.

        Raises ``MisuseError`` for a sale that breaks a rule and ``StorageFull`` when it could not
        be saved; the draft then stays as it was.
        """
        if self._sealed is None:
            self._sealed = self._device.seal(self)
        return self._sealed

    def _open(self) -> None:
        if self._sealed is not None:
            raise MisuseError(f"{self.type} {self._sealed.number} is sealed")


def thousandths(qty: Quantity) -> int:
    """An exact quantity in thousandths. Floats are refused: they cannot hold 0.1."""
    if isinstance(qty, float):
        raise MisuseError("give a quantity as an integer, text or Decimal, not as a float")
    try:
        scaled = Decimal(qty) * 1000
        exact = int(scaled)
    except (ArithmeticError, ValueError) as error:
        raise MisuseError(f"{qty!r} is no quantity") from error
    if exact != scaled:
        raise MisuseError(f"quantity {qty} has more than three decimals")
    return exact


def sale_payload(draft: Draft, content: Content) -> Payload:
    """The payload that seals ``draft`` with ``content``."""
    if draft.type == "order":
        return OrderCommitted(draft.id, content)
    if draft.type == "quote":
        return QuoteCommitted(draft.id, content)
    return ReturnCommitted(return_=draft.id, content=content)


def document_number(device: bytes, epoch: int, first_epoch: int, count: int) -> str:
    """The ``count``-th number of a device: ``7QWMZ3-0001``, and ``7QWMZ3.2-0001`` in epoch 2.

    Thirty bits of the device id keep two devices apart, the epoch keeps two copies of one device
    apart; at most 21 characters, as the accounting system demands.
    """
    value = int.from_bytes(device[:4], "big") >> 2
    prefix = "".join(_ALPHABET[(value >> (5 * place)) & 31] for place in range(_PREFIX_CHARS))
    life = "" if epoch == first_epoch else f".{epoch}"
    number = f"{prefix}{life}-{count:04d}"
    if len(number) > NUMBER_CHARS_MAX:
        raise MisuseError(f"number {number} passes {NUMBER_CHARS_MAX} characters")
    return number
