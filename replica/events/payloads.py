"""What events say: one struct per kind and version. Shapes only; rules are in ``kinds``.

A payload travels as a canonical msgpack map: keys sorted by their bytes, shortest integers, no
floats, no extension types (wire-protocol.md §2.3). An absent field says nothing; ``nil`` unsets.

Units are in the names:

- ``*_minor``  integer minor units of the currency (cents; whole yen)
- ``price_e4`` unit price in ten-thousandths of the currency's major unit
- ``qty_e3``   quantity in thousandths; negative only where a return or a movement says so
- ``*_date``   ``YYYY-MM-DD``, a day in the account's life, without a zone
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

Text = str | None | UnsetType
Number = int | None | UnsetType
Flag = bool | None | UnsetType


class Payload(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of every payload."""


class Address(Payload, frozen=True):
    line1: str = ""
    line2: str = ""
    city: str = ""
    region: str = ""
    postal_code: str = ""
    country: str = ""


class CustomerFields(Payload, frozen=True):
    name: Text = UNSET
    status: Text = UNSET  # "customer" or "prospect"
    company: Text = UNSET
    contact: Text = UNSET
    email: Text = UNSET
    phone: Text = UNSET
    address: Address | UnsetType | None = UNSET
    ship_address: Address | UnsetType | None = UNSET
    currency: Text = UNSET
    segment: Text = UNSET
    tax_exempt: Flag = UNSET
    rep: Text = UNSET


class CustomerCreated(Payload, frozen=True):
    customer: str
    fields: CustomerFields


class CustomerChanged(Payload, frozen=True):
    customer: str
    fields: CustomerFields


class CustomerDeleted(Payload, frozen=True):
    customer: str


class CustomerRestored(Payload, frozen=True):
    customer: str


class CustomerLinked(Payload, frozen=True):
    """The sink's answer: the customer stands in ``system`` under ``external_id``."""

    customer: str
    system: str
    external_id: str


class ProductFields(Payload, frozen=True):
    name: Text = UNSET
    sku: Text = UNSET
    barcode: Text = UNSET
    description: Text = UNSET
    category: Text = UNSET
    unit: Text = UNSET
    price_e4: Number = UNSET
    currency: Text = UNSET
    taxable: Flag = UNSET


class ProductCreated(Payload, frozen=True):
    product: str
    fields: ProductFields


class ProductChanged(Payload, frozen=True):
    product: str
    fields: ProductFields


class ProductDeleted(Payload, frozen=True):
    product: str


class ProductRestored(Payload, frozen=True):
    product: str


class ProductLinked(Payload, frozen=True):
    product: str
    system: str
    external_id: str


class StockCounted(Payload, frozen=True):
    """A stock-take: ``qty_e3`` is on the shelf now. Earlier movements no longer count."""

    product: str
    qty_e3: int


class StockMoved(Payload, frozen=True):
    """Goods in or out that no order explains (a delivery, a breakage)."""

    product: str
    qty_e3: int
    reason: str = ""


class OrderFields(Payload, frozen=True):
    """The header of an order or quote; each field a register while it is a draft."""

    customer: Text = UNSET
    number: Text = UNSET
    currency: Text = UNSET
    date: Text = UNSET
    delivery_date: Text = UNSET
    delivery_address: Address | UnsetType | None = UNSET
    contact: Text = UNSET
    rep: Text = UNSET
    payment_method: Text = UNSET
    po_number: Text = UNSET
    memo: Text = UNSET  # printed, for the customer
    note: Text = UNSET  # internal
    discount_minor: Number = UNSET
    shipping_minor: Number = UNSET
    fees_minor: Number = UNSET
    department: Text = UNSET
    class_: Text = msgspec.field(default=UNSET, name="class")
    signature: Text = UNSET  # hex SHA-256 of the signature's image


class LineFields(Payload, frozen=True):
    product: Text = UNSET
    qty_e3: Number = UNSET
    price_e4: Number = UNSET
    text: Text = UNSET


class OrderDrafted(Payload, frozen=True):
    order: str
    fields: OrderFields


class OrderChanged(Payload, frozen=True):
    """An edit of a draft. Arriving for a sealed order it becomes an amendment for review."""

    order: str
    fields: OrderFields


class OrderLinePut(Payload, frozen=True):
    """Add line ``line`` or change fields of it."""

    order: str
    line: str
    fields: LineFields


class OrderLineRemoved(Payload, frozen=True):
    """Remove line ``line`` as the author saw it: ``seen`` are the ids of the puts it removes.

    A put the author had not seen survives (observed-remove).
    """

    order: str
    line: str
    seen: tuple[bytes, ...]


class SealedLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a sealed document: ``[id, product, qty_e3, price_e4, text]``."""

    id: str
    product: str
    qty_e3: int
    price_e4: int
    text: str = ""


class Content(Payload, frozen=True):
    """All of a sealed order, quote or return: what the author saw when it was committed.

    ``total_minor`` is the sum of the lines, each rounded to the minor unit with halves away from
    zero, plus shipping and fees, less the discount, before tax (requirements OFF-25).
    """

    number: str
    customer: str
    currency: str
    date: str
    total_minor: int
    lines: tuple[SealedLine, ...]
    delivery_date: str = ""
    delivery_address: Address | None = None
    contact: str = ""
    rep: str = ""
    payment_method: str = ""
    po_number: str = ""
    memo: str = ""
    note: str = ""
    discount_minor: int = 0
    shipping_minor: int = 0
    fees_minor: int = 0
    department: str = ""
    class_: str = msgspec.field(default="", name="class")
    signature: str = ""
    offline: bool = False  # sealed while the device had no connection (OFF-12)


class OrderCommitted(Payload, frozen=True):
    """ "Create order": seals the order whole. The first seal by stamp wins."""

    order: str
    content: Content


class OrderAmended(Payload, frozen=True):
    """A deliberate change of a sealed order by somebody who saw the seal."""

    order: str
    content: Content


class OrderCancelled(Payload, frozen=True):
    order: str
    reason: str = ""


class OrderEstimated(Payload, frozen=True):
    """The sink's answer: the order stands in ``system`` as one estimate."""

    order: str
    system: str
    external_id: str
    number: str
    total_minor: int


class OrderParked(Payload, frozen=True):
    """The sink cannot go on with this order until somebody acts: cause and fix, in words."""

    order: str
    system: str
    code: str
    cause: str
    fix: str


class QuoteCommitted(Payload, frozen=True):
    quote: str
    content: Content


class QuoteWithdrawn(Payload, frozen=True):
    quote: str
    reason: str = ""


class QuoteEstimated(Payload, frozen=True):
    quote: str
    system: str
    external_id: str
    number: str
    total_minor: int


class QuoteParked(Payload, frozen=True):
    quote: str
    system: str
    code: str
    cause: str
    fix: str


class ReturnCommitted(Payload, frozen=True):
    """Goods that came back. Quantities are negative; so is the total."""

    return_: str = msgspec.field(name="return")
    content: Content


class PaymentRecorded(Payload, frozen=True):
    payment: str
    order: str
    customer: str
    method: str
    amount_minor: int
    currency: str


class NoteEdited(Payload, frozen=True):
    """A Yjs update of the note that belongs to document (``about_type``, ``about``)."""

    about_type: str
    about: str
    update: bytes


class DeviceEnrolled(Payload, frozen=True):
    device: str  # hex
    name: str
    user: str


class DeviceRevoked(Payload, frozen=True):
    device: str


class SyncFinished(Payload, frozen=True):
    """The result of one Sync Now, as shown: per section count and digest, per direction counts."""

    run: str
    started_ms: int
    finished_ms: int
    pushed: int
    pulled: int
    equal: bool
    report: dict[str, str]
