"""Bodies of customers and items, and the words they may hold. Pure.

Names: no colon, tab or line break there; compared without case and outer blanks; a customer's name
is shared with vendors and employees (quickbooks.md §1.12).
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

from qbo_sink import marker
from qbo_sink.model import JsonObject, Label, Party, Preferences, Product, Settings
from qbo_sink.wire import plain
from replica.events.payloads import Address

CUSTOMER_NAME_CHARS = 500
ITEM_NAME_CHARS = 100
COMPANY_CHARS = 100
PERSON_CHARS = 100
EMAIL_CHARS = 100
PHONE_CHARS = 30
SKU_CHARS = 100
TEXT_CHARS = 4_000
NOTES_CHARS = 2_000
_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PRICE_SCALE = Decimal(10_000)


def clean(text: str) -> str:
    """Without control characters other than line breaks, which forms print as such."""
    return "".join(c for c in text if c == "\n" or unicodedata.category(c) != "Cc")


def shorten(text: str, limit: int) -> str:
    """At most ``limit`` characters, an ellipsis where something was left out."""
    text = clean(text).strip()
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def tidy_name(text: str, limit: int) -> str:
    """A name QuickBooks accepts. A long one keeps its beginning and gets no ellipsis."""
    spaced = re.sub(r"[\t\r\n]+", " ", text).replace(":", "-")
    return re.sub(r" {2,}", " ", clean(spaced)).strip()[:limit].rstrip()


def folded(name: str) -> str:
    """A name as QuickBooks compares it: without case and outer blanks."""
    return name.strip().casefold()


def same_name(left: str, right: str) -> bool:
    """QuickBooks' own comparison of names."""
    return folded(left) == folded(right)


def valid_email(text: str) -> bool:
    return len(text) <= EMAIL_CHARS and _EMAIL.fullmatch(text.strip()) is not None


def to_address(address: Address) -> JsonObject:
    """A ``PhysicalAddress``; absent parts are left out."""
    parts = {
        "Line1": address.line1,
        "Line2": address.line2,
        "City": address.city,
        "CountrySubDivisionCode": address.region,
        "PostalCode": address.postal_code,
        "Country": address.country,
    }
    return {
        name: shorten(text, 30 if name == "PostalCode" else 255)
        for name, text in parts.items()
        if text
    }


def to_customer(party: Party, preferences: Preferences, mark: str) -> JsonObject:
    """The body of a new customer. ``mark`` is the last line of its notes."""
    body = customer_fields(party)
    body["Notes"] = marker.append("", mark, NOTES_CHARS)
    if preferences.multi_currency and party.currency:
        body["CurrencyRef"] = {"value": party.currency}
    return body


def customer_fields(party: Party) -> JsonObject:
    """What we own of a customer: the fields of an update, and of a new one."""
    body: JsonObject = {"DisplayName": tidy_name(party.name, CUSTOMER_NAME_CHARS)}
    if party.company:
        body["CompanyName"] = shorten(party.company, COMPANY_CHARS)
    if party.contact:
        given, _, family = clean(party.contact).strip().rpartition(" ")
        body["GivenName"] = (given or family)[:PERSON_CHARS]
        if given:
            body["FamilyName"] = family[:PERSON_CHARS]
    if valid_email(party.email):
        body["PrimaryEmailAddr"] = {"Address": party.email.strip()}
    if party.phone:
        body["PrimaryPhone"] = {"FreeFormNumber": shorten(party.phone, PHONE_CHARS)}
    if party.address and (address := to_address(party.address)):
        body["BillAddr"] = address
    if party.ship_address and (address := to_address(party.ship_address)):
        body["ShipAddr"] = address
    if party.tax_exempt:
        body["Taxable"] = False
    return body


def to_item(product: Product, settings: Settings, income_account: str) -> JsonObject:
    """The body of a new item. Never an Inventory item: that needs accounts and a stock count."""
    body: JsonObject = {
        "Name": tidy_name(product.name, ITEM_NAME_CHARS),
        "Type": settings.item_type,
        "IncomeAccountRef": {"value": income_account},
        "Taxable": product.taxable,
    }
    if product.sku:
        body["Sku"] = shorten(product.sku, SKU_CHARS)
    if product.description:
        body["Description"] = shorten(product.description, TEXT_CHARS)
    if product.price_e4 is not None:
        body["UnitPrice"] = plain(Decimal(product.price_e4) / _PRICE_SCALE)
    return body


def to_label_body(label: Label, child: str, parent: str) -> JsonObject:
    """The body of a new class or department. ``child`` is the flag that says that it has a parent,
    whose id there is ``parent``."""
    body: JsonObject = {"Name": tidy_name(label.name, ITEM_NAME_CHARS), child: bool(parent)}
    if parent:
        body["ParentRef"] = {"value": parent}
    return {**body, "Active": label.active}


def same_sku(product: Product, row: JsonObject) -> bool:
    """Whether an item there has this product's SKU."""
    sku = product.sku.strip()
    return bool(sku) and same_name(sku, str(row.get("Sku") or ""))


def matches_item(product: Product, row: JsonObject) -> bool:
    """Whether an item there is this product: equal SKU, else equal name where no SKUs differ."""
    sku, theirs = product.sku.strip(), str(row.get("Sku") or "").strip()
    if sku and theirs:
        return same_name(sku, theirs)
    return same_name(tidy_name(product.name, ITEM_NAME_CHARS), str(row.get("Name") or ""))


def evidence(party: Party, row: JsonObject) -> bool:
    """Whether e-mail, phone or post code say that a customer there is this one.

    A name alone never links two customers (quickbooks.md §2.6).
    """
    email = str((row.get("PrimaryEmailAddr") or {}).get("Address") or "")
    phone = str((row.get("PrimaryPhone") or {}).get("FreeFormNumber") or "")
    code = str((row.get("BillAddr") or {}).get("PostalCode") or "")
    ours = party.address.postal_code if party.address else ""
    pairs = (
        (party.email.strip().casefold(), email.strip().casefold()),
        (_digits(party.phone), _digits(phone)),
        (_letters(ours), _letters(code)),
    )
    return any(left and left == right for left, right in pairs)


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _letters(text: str) -> str:
    return re.sub(r"\W", "", text).casefold()
