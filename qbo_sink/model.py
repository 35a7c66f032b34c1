"""The values the sink decides over: what is meant to stand in QuickBooks, and what does.

A *wanted* document is the sink's own copy of a committed document, taken by the feed; its hash
names the content, so that "has this been sent" is a comparison of hashes and never of events
(pitfalls P46). A *mapping* ties one wanted document to one entity there, unique both ways.
"""

from __future__ import annotations

from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

from replica.events.payloads import Address, Content

JsonObject = dict[str, Any]


class Entity(StrEnum):
    """What we write there, in the order in which one may depend on another (quickbooks.md §2.3)."""

    CLASS = "Class"
    DEPARTMENT = "Department"
    CUSTOMER = "Customer"
    ITEM = "Item"
    ESTIMATE = "Estimate"
    INVOICE = "Invoice"
    # Deeds: done once to a document that stands there, under an intent of their own.
    CLOSING = "Closing"  # of the estimate that an invoice was made of
    DELIVERY = "Delivery"  # of the invoice, to the customer by e-mail

    @property
    def record(self) -> str:
        """What the record is called there, which is what an answer names."""
        return _RECORDS.get(self.value, self.value)

    @property
    def path(self) -> str:
        return self.record.lower()


_RECORDS = {"Closing": "Estimate", "Delivery": "Invoice"}


ENTITY_ORDER = {entity: place for place, entity in enumerate(Entity)}
SALES = frozenset({Entity.ESTIMATE, Entity.INVOICE})
"""What an order or quote becomes there."""
ERRANDS = frozenset({Entity.CLOSING, Entity.DELIVERY})


class Op(StrEnum):
    """What a write does."""

    CREATE = "create"
    UPDATE = "update"
    REJECT = "reject"  # TxnStatus Rejected: cancelled here after it was sent


class State(StrEnum):
    """Where an intent stands. ``IN_FLIGHT`` is committed before the call leaves."""

    QUEUED = "queued"
    IN_FLIGHT = "in_flight"
    IN_DOUBT = "in_doubt"
    FAULTED = "faulted"
    PARKED = "parked"
    EXCLUDED = "excluded"
    ACKED = "acked"
    CANCELLED = "cancelled"


OPEN = (
    State.QUEUED,
    State.IN_FLIGHT,
    State.IN_DOUBT,
    State.FAULTED,
    State.PARKED,
    State.EXCLUDED,
)
"""At most one intent of a document is in one of these."""

UNKNOWN_OUTCOME = (State.IN_FLIGHT, State.IN_DOUBT)
"""It may have happened there: nothing about it may change until that is known."""


class Key(NamedTuple):
    """One document: what it becomes there, its type and its id here."""

    entity: Entity
    local_type: str
    local_id: str


def target_of(errand: Key) -> Key:
    """The document that an errand is done to."""
    return errand._replace(entity=Entity(errand.entity.record))


class Party(msgspec.Struct, frozen=True):
    """A customer as QuickBooks shall know it."""

    id: str
    name: str
    company: str = ""
    contact: str = ""
    email: str = ""
    phone: str = ""
    address: Address | None = None
    ship_address: Address | None = None
    currency: str = ""
    tax_exempt: bool = False
    said: dict[str, int] = {}  # field → when somebody here said it last, epoch milliseconds
    heard: dict[str, int] = {}  # field → when this sink did


class Product(msgspec.Struct, frozen=True):
    """A product, or a charge (shipping, fees, a discount) that needs an item."""

    id: str
    name: str
    sku: str = ""
    description: str = ""
    price_e4: int | None = None
    taxable: bool = False
    said: dict[str, int] = {}
    heard: dict[str, int] = {}


class Label(msgspec.Struct, frozen=True):
    """A class or a department (a "location" there); deleted here is inactive there."""

    id: str
    name: str
    parent: str = ""  # id here
    active: bool = True
    said: dict[str, int] = {}
    heard: dict[str, int] = {}


class Sale(msgspec.Struct, frozen=True):
    """A sealed order or quote with its effective content; a withdrawn quote is ``cancelled``."""

    type: str  # "order" or "quote"
    id: str
    content: Content
    cancelled: bool = False

    @property
    def key(self) -> Key:
        return Key(Entity.ESTIMATE, self.type, self.id)


class Errand(msgspec.Struct, frozen=True):
    """What is done once to the invoice of an order. ``address`` is where an e-mail goes."""

    type: str
    id: str
    number: str = ""
    customer: str = ""
    address: str = ""

    @property
    def name(self) -> str:
        """How rows of the queue call it."""
        return self.number or self.id


Wanted = Party | Product | Label | Sale | Errand

_encode = msgspec.msgpack.Encoder(order="sorted").encode
_decoders: dict[Entity, msgspec.msgpack.Decoder[Any]] = {
    Entity.CLASS: msgspec.msgpack.Decoder(Label),
    Entity.DEPARTMENT: msgspec.msgpack.Decoder(Label),
    Entity.CUSTOMER: msgspec.msgpack.Decoder(Party),
    Entity.ITEM: msgspec.msgpack.Decoder(Product),
    Entity.ESTIMATE: msgspec.msgpack.Decoder(Sale),
    Entity.INVOICE: msgspec.msgpack.Decoder(Sale),
    Entity.CLOSING: msgspec.msgpack.Decoder(Errand),
    Entity.DELIVERY: msgspec.msgpack.Decoder(Errand),
}


def encode_wanted(wanted: Wanted) -> bytes:
    """Canonical bytes: equal values give equal bytes, so their hash names the content."""
    return _encode(wanted)


def decode_wanted(entity: Entity, data: bytes) -> Wanted:
    """What ``encode_wanted`` gave for this entity."""
    value: Wanted = _decoders[entity].decode(data)
    return value


def content_hash(data: bytes) -> str:
    """Sixty-four hex characters naming the content of a wanted document."""
    return sha256(data).hexdigest()


class Preferences(msgspec.Struct, frozen=True):
    """What the company allows, as far as bodies depend on it (quickbooks.md §1.12)."""

    country: str = "US"
    home_currency: str = "USD"
    multi_currency: bool = False
    custom_numbers: bool = False
    allow_discount: bool = False
    allow_shipping: bool = False
    sales_tax: bool = False
    class_per_document: bool = False
    class_per_line: bool = False
    departments: bool = False
    custom_fields: dict[str, str] = {}  # lower-case name → DefinitionId
    book_close_date: str = ""
    department_word: str = ""  # what the company calls a location
    automated_tax: bool = False  # QuickBooks works out the tax from addresses

    @property
    def tracks_classes(self) -> bool:
        return self.class_per_document or self.class_per_line

    @property
    def is_us(self) -> bool:
        return self.country in ("US", "")


def read_preferences(preferences: JsonObject, company: JsonObject) -> Preferences:
    """From the ``Preferences`` and ``CompanyInfo`` objects; what is absent counts as off."""
    forms = preferences.get("SalesFormsPrefs") or {}
    accounting = preferences.get("AccountingInfoPrefs") or {}
    currency = preferences.get("CurrencyPrefs") or {}
    home = currency.get("HomeCurrency") or {}
    return Preferences(
        country=str(company.get("Country") or "US").upper().replace("USA", "US"),
        home_currency=str(home.get("value") or "USD"),
        multi_currency=_flag(currency, "MultiCurrencyEnabled"),
        custom_numbers=_flag(forms, "CustomTxnNumbers"),
        allow_discount=_flag(forms, "AllowDiscount"),
        # AllowShipping is a flag in some companies and the name of the shipping account in others.
        allow_shipping=str(forms.get("AllowShipping", "false")).lower() != "false",
        sales_tax=_flag(preferences.get("TaxPrefs") or {}, "UsingSalesTax"),
        class_per_document=_flag(accounting, "ClassTrackingPerTxn"),
        class_per_line=_flag(accounting, "ClassTrackingPerTxnLine"),
        departments=_flag(accounting, "TrackDepartments"),
        custom_fields=_custom_fields(forms.get("CustomField") or []),
        book_close_date=str(accounting.get("BookCloseDate") or ""),
        department_word=str(accounting.get("DepartmentTerminology") or ""),
        automated_tax=_flag(preferences.get("TaxPrefs") or {}, "PartnerTaxEnabled"),
    )


def _flag(values: JsonObject, name: str) -> bool:
    return str(values.get(name, False)).lower() == "true"


def _custom_fields(groups: list[JsonObject]) -> dict[str, str]:
    """Names of the sales-form fields: ``SalesFormsPrefs.SalesCustomName2`` belongs to id 2."""
    found: dict[str, str] = {}
    for group in groups:
        for entry in group.get("CustomField") or []:
            name, value = str(entry.get("Name", "")), entry.get("StringValue")
            if "SalesCustomName" in name and value:
                found[str(value).strip().lower()] = name[-1]
    return found


ACCEPTED, PENDING, INVOICE = "Accepted", "Pending", "Invoice"
"""What a document is made as there: an estimate in one of two states, or an invoice (QB-04)."""
CONVERTED = "Converted"
"""An invoice that is made of an estimate of ours."""


class Settings(msgspec.Struct, frozen=True):
    """The account's choices, from the environment (``config``)."""

    order_status: str = ACCEPTED
    quote_status: str = PENDING
    item_type: str = "NonInventory"  # or "Service": both need no stock account
    income_account: str = ""  # Id there; empty: the first suitable income account is used
    tax_code: str = ""  # outside the US: the TaxCode Id of taxable lines
    exempt_code: str = ""  # outside the US: the TaxCode Id of exempt lines
    strict_order: bool = False

    def form(self, local_type: str) -> str:
        """What a new document of this type becomes."""
        return self.quote_status if local_type == "quote" else self.order_status


DEFAULTS = Settings()


class Fixed(NamedTuple):
    """A charge that needs an item of its own when the company has no form field for it."""

    id: str
    name: str


GOODS = Fixed("goods", "Goods")  # a line that names no product
FEES = Fixed("fees", "Fees")
SHIPPING = Fixed("shipping", "Shipping")
DISCOUNT = Fixed("discount", "Discount")
CHARGES = {charge.id: charge for charge in (GOODS, FEES, SHIPPING, DISCOUNT)}
CHARGE = "charge"
"""The local type of items that stand for a charge."""


def charge_product(charge: Fixed) -> Product:
    return Product(charge.id, charge.name, taxable=False)


def sale_needs(sale: Sale) -> list[Key]:
    """The customer and the products that a sale refers to, each once."""
    content = sale.content
    keys = [Key(Entity.CUSTOMER, "customer", content.customer)]
    keys += [Key(Entity.ITEM, "product", line.product) for line in content.lines if line.product]
    return list(dict.fromkeys(keys))
