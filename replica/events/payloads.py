"""What events say: one struct per kind and version.

A type carries every rule that concerns one value (length, characters, range), so that decoding
checks it in the same pass. Rules between values are in :mod:`replica.events.rules`.

A payload travels as a canonical msgpack map: keys sorted by their bytes, shortest integers, no
floats, no extension types (wire-protocol.md §2.3). An absent field says nothing; ``nil`` unsets.

Units are in the names:

- ``*_minor``  integer minor units of the currency (cents; whole yen)
- ``price_e4`` unit price in ten-thousandths of the currency's major unit
- ``qty_e3``   quantity in thousandths; negative only where a return or a movement says so
- ``*_date``   ``YYYY-MM-DD``, a day in the account's life, without a zone
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from replica.limits import (
    EPOCH_MS_MAX,
    ID_CHARS_MAX,
    NAME_CHARS_MAX,
    NOTE_UPDATE_BYTES_MAX,
    NUMBER_CHARS_MAX,
    ORDER_LINES_MAX,
    REPORT_ENTRIES_MAX,
    SAFE_INTEGER_MAX,
    SCOPE_IDS_MAX,
    SEEN_PUTS_MAX,
    TEXT_CHARS_MAX,
)

# ``\Z`` and not ``$``, which would let a final line break through. Names refuse control
# characters, which no form field holds; texts refuse NUL, which PostgreSQL cannot store.
ID_PATTERN = r"^[A-Za-z0-9._:-]+\Z"
_NAME_PATTERN = r"^[^\x00-\x1f\x7f]*\Z"
_TEXT_PATTERN = r"^[^\x00]*\Z"

Id = Annotated[str, Meta(max_length=ID_CHARS_MAX, pattern=ID_PATTERN)]
OptionalId = Annotated[str, Meta(max_length=ID_CHARS_MAX, pattern=r"^[A-Za-z0-9._:-]*\Z")]
Hex16 = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
HexHash = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z")]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Name = Annotated[str, Meta(max_length=NAME_CHARS_MAX, pattern=_NAME_PATTERN)]
LongText = Annotated[str, Meta(max_length=TEXT_CHARS_MAX, pattern=_TEXT_PATTERN)]
DocNumber = Annotated[str, Meta(max_length=NUMBER_CHARS_MAX, pattern=_NAME_PATTERN)]
Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
Date = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")]
Int = Annotated[int, Meta(ge=-SAFE_INTEGER_MAX, le=SAFE_INTEGER_MAX)]
Count = Annotated[int, Meta(ge=0, le=SAFE_INTEGER_MAX)]
Milliseconds = Annotated[int, Meta(ge=0, le=EPOCH_MS_MAX)]
# Sealed documents are most of the traffic and have the most values. A pattern for each would cost
# more than the rest of decoding, so their characters are checked together (rules.py).
SealedId = Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
SealedName = Annotated[str, Meta(max_length=NAME_CHARS_MAX)]
SealedText = Annotated[str, Meta(max_length=TEXT_CHARS_MAX)]
SealedDay = Annotated[str, Meta(max_length=10)]

IdField = Id | None | UnsetType
NameField = Name | None | UnsetType
TextField = LongText | None | UnsetType
CurrencyField = Currency | None | UnsetType
DateField = Date | None | UnsetType
IntField = Int | None | UnsetType
CountField = Count | None | UnsetType
FlagField = bool | None | UnsetType
Chosen = Annotated[tuple[Id, ...], Meta(max_length=SCOPE_IDS_MAX)]


class Payload(
    msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True, gc=False
):
    """Base of every payload: a tree of values, so the garbage collector has nothing to find."""


class Address(Payload, frozen=True):
    line1: Name = ""
    line2: Name = ""
    city: Name = ""
    region: Name = ""
    postal_code: Name = ""
    country: Name = ""


class CustomerFields(Payload, frozen=True):
    name: NameField = UNSET
    status: Literal["customer", "prospect"] | UnsetType | None = UNSET
    company: NameField = UNSET
    contact: NameField = UNSET
    email: NameField = UNSET
    phone: NameField = UNSET
    address: Address | UnsetType | None = UNSET
    ship_address: Address | UnsetType | None = UNSET
    currency: CurrencyField = UNSET
    segment: NameField = UNSET
    tax_exempt: FlagField = UNSET
    rep: NameField = UNSET


class CustomerCreated(Payload, frozen=True):
    customer: Id
    fields: CustomerFields


class CustomerChanged(Payload, frozen=True):
    customer: Id
    fields: CustomerFields


class CustomerDeleted(Payload, frozen=True):
    customer: Id


class CustomerRestored(Payload, frozen=True):
    customer: Id


class CustomerLinked(Payload, frozen=True):
    """The sink's answer: the customer stands in ``system`` under ``external_id``."""

    customer: Id
    system: Id
    external_id: Name


# What became of a record in another system after it was sent; "standing" takes all others back.
NameState = Literal["standing", "inactive", "deleted", "merged"]
SaleState = Literal["standing", "changed", "differs", "deleted", "rejected", "invoiced"]


class CustomerFollowed(Payload, frozen=True):
    """The sink's report: what became of the customer in ``system``, cause and fix in words."""

    customer: Id
    system: Id
    state: NameState
    cause: LongText = ""
    fix: LongText = ""


class ProductFields(Payload, frozen=True):
    name: NameField = UNSET
    sku: NameField = UNSET
    barcode: NameField = UNSET
    description: TextField = UNSET
    category: NameField = UNSET
    unit: NameField = UNSET
    price_e4: IntField = UNSET
    currency: CurrencyField = UNSET
    taxable: FlagField = UNSET


class ProductCreated(Payload, frozen=True):
    product: Id
    fields: ProductFields


class ProductChanged(Payload, frozen=True):
    product: Id
    fields: ProductFields


class ProductDeleted(Payload, frozen=True):
    product: Id


class ProductRestored(Payload, frozen=True):
    product: Id


class ProductLinked(Payload, frozen=True):
    product: Id
    system: Id
    external_id: Name


class ProductFollowed(Payload, frozen=True):
    """The sink's report: what became of the product in ``system``."""

    product: Id
    system: Id
    state: NameState
    cause: LongText = ""
    fix: LongText = ""


class LabelFields(Payload, frozen=True):
    """A class or a department: what a company sorts its sales by. ``parent`` is one of its kind."""

    name: NameField = UNSET
    parent: IdField = UNSET


class ClassCreated(Payload, frozen=True):
    class_: Id = msgspec.field(name="class")
    fields: LabelFields


class ClassChanged(Payload, frozen=True):
    class_: Id = msgspec.field(name="class")
    fields: LabelFields


class ClassDeleted(Payload, frozen=True):
    class_: Id = msgspec.field(name="class")


class ClassRestored(Payload, frozen=True):
    class_: Id = msgspec.field(name="class")


class ClassLinked(Payload, frozen=True):
    class_: Id = msgspec.field(name="class")
    system: Id
    external_id: Name


class DepartmentCreated(Payload, frozen=True):
    department: Id
    fields: LabelFields


class DepartmentChanged(Payload, frozen=True):
    department: Id
    fields: LabelFields


class DepartmentDeleted(Payload, frozen=True):
    department: Id


class DepartmentRestored(Payload, frozen=True):
    department: Id


class DepartmentLinked(Payload, frozen=True):
    department: Id
    system: Id
    external_id: Name


class StockCounted(Payload, frozen=True):
    """A stock-take: ``qty_e3`` is on the shelf now. Earlier movements no longer count."""

    product: Id
    qty_e3: Int


class StockMoved(Payload, frozen=True):
    """Goods in or out that no order explains (a delivery, a breakage)."""

    product: Id
    qty_e3: Int
    reason: Name = ""


class OrderFields(Payload, frozen=True):
    """The header of an order or quote; each field a register while it is a draft."""

    customer: IdField = UNSET
    number: DocNumber | UnsetType | None = UNSET
    currency: CurrencyField = UNSET
    date: DateField = UNSET
    delivery_date: DateField = UNSET
    delivery_address: Address | UnsetType | None = UNSET
    contact: NameField = UNSET
    rep: NameField = UNSET
    payment_method: NameField = UNSET
    po_number: NameField = UNSET
    memo: TextField = UNSET  # printed, for the customer
    note: TextField = UNSET  # internal
    discount_minor: CountField = UNSET
    shipping_minor: CountField = UNSET
    fees_minor: CountField = UNSET
    department: NameField = UNSET
    class_: NameField = msgspec.field(default=UNSET, name="class")
    signature: HexHash | UnsetType | None = UNSET  # hex SHA-256 of the signature's image


class LineFields(Payload, frozen=True):
    product: IdField = UNSET
    qty_e3: CountField = UNSET
    price_e4: IntField = UNSET
    text: TextField = UNSET


class OrderDrafted(Payload, frozen=True):
    order: Id
    fields: OrderFields


class OrderChanged(Payload, frozen=True):
    """An edit of a draft. Arriving for a sealed order it becomes an amendment for review."""

    order: Id
    fields: OrderFields


class OrderLinePut(Payload, frozen=True):
    """Add line ``line`` or change fields of it."""

    order: Id
    line: Id
    fields: LineFields


class OrderLineRemoved(Payload, frozen=True):
    """Remove line ``line`` as the author saw it: ``seen`` are the ids of the puts it removes.

    A put the author had not seen survives (observed-remove).
    """

    order: Id
    line: Id
    seen: Annotated[tuple[Hash, ...], Meta(max_length=SEEN_PUTS_MAX)]


class SealedLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a sealed document: ``[id, product, qty_e3, price_e4, text]``."""

    id: SealedId
    product: SealedId
    qty_e3: Int
    price_e4: Int
    text: SealedText = ""


class Content(Payload, frozen=True):
    """All of a sealed order, quote or return: what the author saw when it was committed.

    ``total_minor`` is the sum of the lines, each rounded to the minor unit with halves away from
    zero, plus shipping and fees, less the discount, before tax (requirements OFF-25).
    """

    number: Annotated[str, Meta(max_length=NUMBER_CHARS_MAX)]
    customer: SealedId
    currency: Annotated[str, Meta(min_length=3, max_length=3)]
    date: SealedDay
    total_minor: Int
    lines: Annotated[tuple[SealedLine, ...], Meta(min_length=1, max_length=ORDER_LINES_MAX)]
    delivery_date: SealedDay = ""
    delivery_address: Address | None = None
    contact: SealedName = ""
    rep: SealedName = ""
    payment_method: SealedName = ""
    po_number: SealedName = ""
    memo: SealedText = ""
    note: SealedText = ""
    discount_minor: Count = 0
    shipping_minor: Count = 0
    fees_minor: Count = 0
    department: SealedName = ""
    class_: SealedName = msgspec.field(default="", name="class")
    signature: HexHash = ""
    offline: bool = False  # sealed while the device had no connection (OFF-12)


class OrderCommitted(Payload, frozen=True):
    """ "Create order": seals the order whole. The first seal by stamp wins.

    ``deps`` name the newest draft edit of every other device that the author had before him.
    """

    order: SealedId
    content: Content


class OrderAmended(Payload, frozen=True):
    """A deliberate change of a sealed order by somebody who saw the seal.

    ``deps`` name the newest event of every device that waited for review: it and what that device
    wrote to the order before it are settled, taken over or not.
    """

    order: SealedId
    content: Content


class OrderCancelled(Payload, frozen=True):
    order: Id
    reason: LongText = ""


CorrectedField = Literal["number", "customer", "product"]


class OrderCorrected(Payload, frozen=True):
    """The server's decision about a sealed order: what its content says as ``was`` counts as
    ``now``. The newest for each ``was`` counts; one with ``now`` as ``was`` takes it back.

    A number that another order has gets a suffix; a customer or product that another one stands
    for is said as that one (decision 0016). ``was`` and ``now`` are ids but for a number.
    """

    order: Id
    field: CorrectedField
    was: Name
    now: Name


class OrderEstimated(Payload, frozen=True):
    """The sink's answer: the order stands in ``system`` as one estimate."""

    order: Id
    system: Id
    external_id: Name
    number: Name
    total_minor: Int


class OrderParked(Payload, frozen=True):
    """The sink cannot go on with this order until somebody acts: cause and fix, in words."""

    order: Id
    system: Id
    code: Id
    cause: LongText
    fix: LongText


class OrderFollowed(Payload, frozen=True):
    """The sink's report: what became of the order's estimate in ``system`` after it was sent.

    ``document`` and ``number`` name the invoice that it was converted to.
    """

    order: Id
    system: Id
    state: SaleState
    cause: LongText = ""
    fix: LongText = ""
    document: Name = ""
    number: Name = ""


class QuoteCommitted(Payload, frozen=True):
    quote: SealedId
    content: Content


class QuoteWithdrawn(Payload, frozen=True):
    quote: Id
    reason: LongText = ""


class QuoteCorrected(Payload, frozen=True):
    """The server's decision about a quote, as of an order's."""

    quote: Id
    field: CorrectedField
    was: Name
    now: Name


class QuoteEstimated(Payload, frozen=True):
    quote: Id
    system: Id
    external_id: Name
    number: Name
    total_minor: Int


class QuoteParked(Payload, frozen=True):
    quote: Id
    system: Id
    code: Id
    cause: LongText
    fix: LongText


class QuoteFollowed(Payload, frozen=True):
    """The sink's report about the quote's estimate, as of an order's."""

    quote: Id
    system: Id
    state: SaleState
    cause: LongText = ""
    fix: LongText = ""
    document: Name = ""
    number: Name = ""


class ReturnCommitted(Payload, frozen=True):
    """Goods that came back. Quantities are negative; so is the total."""

    return_: SealedId = msgspec.field(name="return")
    content: Content


class PaymentRecorded(Payload, frozen=True):
    payment: Id
    order: OptionalId
    customer: OptionalId
    method: Name
    amount_minor: Int
    currency: Currency


class NoteEdited(Payload, frozen=True):
    """A Yjs update of the note that belongs to document (``about_type``, ``about``)."""

    about_type: Literal["customer", "product", "order", "quote", "return", "payment"]
    about: Id
    update: Annotated[bytes, Meta(min_length=1, max_length=NOTE_UPDATE_BYTES_MAX)]


class DeviceEnrolled(Payload, frozen=True):
    device: Hex16
    name: Name
    user: Name


class DeviceRevoked(Payload, frozen=True):
    device: Hex16


class DeviceScoped(Payload, frozen=True):
    """What a device holds from now on (CFG-01 to CFG-07). Each list of ids ascends; nil is all.

    ``without`` are customers that it serves no more, and ``leaving`` those that it will serve no
    more once its unsent work is in, by the device they go to (handover).
    """

    device: Hex16
    version: Count  # counts the scopes of the device, from 1
    customers: Chosen | None = None
    prospects: Chosen | None = None
    products: Chosen | None = None
    orders: Literal["own", "team"] = "team"
    until_ms: Milliseconds = 0  # 0: no end
    strict: bool = False  # what is held is hidden when it has ended
    locked: bool = False  # only the office changes it
    without: Chosen = ()
    leaving: Annotated[dict[Id, Hex16], Meta(max_length=SCOPE_IDS_MAX)] = {}


class TwinFound(Payload, frozen=True):
    """Two customers or two products have one name, made without knowing of each other: somebody
    has to say whether they are the same. ``first`` is the smaller id; ``twin`` follows from the
    pair (:func:`replica.crdt.twins.twin_id`), so that whoever finds it again says nothing new.
    """

    twin: Id
    of: Literal["customer", "product"]
    first: Id
    second: Id
    field: Literal["name", "sku"]  # what was equal when it was found


class TwinDecided(Payload, frozen=True):
    """What the office says of a pair: two that stay ``apart``, or the ``same``, and then ``stays``
    is the one that stands for both. "ask" takes the decision back."""

    twin: Id
    choice: Literal["ask", "apart", "same"]
    stays: OptionalId = ""


class SyncFinished(Payload, frozen=True):
    """The result of one Sync Now, as shown: per section count and digest, per direction counts."""

    run: Id
    started_ms: Milliseconds
    finished_ms: Milliseconds
    pushed: Count
    pulled: Count
    equal: bool
    report: Annotated[dict[Id, LongText], Meta(max_length=REPORT_ENTRIES_MAX)]
