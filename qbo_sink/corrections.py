"""The closed catalogue of automatic corrections. Pure.

A correction changes how something is said, never money, quantity, party or period. It is applied
after three unchanged tries, once per intent and rule, by name, so that the same body can be made
again and the correction can be taken back (quickbooks.md §2.6).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from copy import deepcopy
from decimal import ROUND_HALF_UP, Decimal

from qbo_sink.model import Entity, JsonObject
from qbo_sink.party import COMPANY_CHARS, CUSTOMER_NAME_CHARS, ITEM_NAME_CHARS, shorten
from qbo_sink.wire import decimal, plain

DESCRIPTION_CHARS = 1_000
NOTE_CHARS = 1_000
_SUFFIX = " (2)"
_FREE_TEXTS = ("PrivateNote", "Notes", "AcceptedBy", "CompanyName", "GivenName", "FamilyName")

OTHER_NAME = "other_name"
FRESH_REFERENCES = "fresh_references"
TAX_CODES_AGAIN = "tax_codes_again"
_CENT = Decimal("0.01")
_US_CODES = ("TAX", "NON")

Rule = Callable[[JsonObject], None]


def _other_name(body: JsonObject) -> None:
    """A customer keeps its own name as that of its company. An update may leave the name alone."""
    if "DisplayName" in body:
        name = body["DisplayName"]
        body.setdefault("CompanyName", name[:COMPANY_CHARS])
        body["DisplayName"] = name[: CUSTOMER_NAME_CHARS - len(_SUFFIX)] + _SUFFIX
    elif "Name" in body:
        body["Name"] = body["Name"][: ITEM_NAME_CHARS - len(_SUFFIX)] + _SUFFIX


def _shorter_texts(body: JsonObject) -> None:
    for line in body.get("Line", []):
        if "Description" in line:
            line["Description"] = shorten(line["Description"], DESCRIPTION_CHARS)
    if "CustomerMemo" in body:
        body["CustomerMemo"]["value"] = shorten(body["CustomerMemo"]["value"], NOTE_CHARS)
    if "PrivateNote" in body:
        note, _, mark = body["PrivateNote"].rpartition("\n")
        body["PrivateNote"] = f"{shorten(note, NOTE_CHARS)}\n{mark}" if note else mark


def _plain_characters(body: JsonObject) -> None:
    for name in _FREE_TEXTS:
        if name in body:
            body[name] = latin(body[name])
    for line in body.get("Line", []):
        if "Description" in line:
            line["Description"] = latin(line["Description"])
    if "CustomerMemo" in body:
        body["CustomerMemo"]["value"] = latin(body["CustomerMemo"]["value"])
    for name in ("BillAddr", "ShipAddr"):
        if name in body:
            body[name] = {part: latin(text) for part, text in body[name].items()}


def latin(text: str) -> str:
    """Characters of ISO 8859-1 as they are, others by their base letter, the rest left out."""
    kept = []
    for character in text:
        if ord(character) < 256:
            kept.append(character)
        else:
            kept += [c for c in unicodedata.normalize("NFKD", character) if ord(c) < 256]
    return "".join(kept)


def _without_email(body: JsonObject) -> None:
    for name in ("BillEmail", "PrimaryEmailAddr"):
        body.pop(name, None)
    if "Line" in body:
        body["EmailStatus"] = "NotSet"


def _without_custom_fields(body: JsonObject) -> None:
    body.pop("CustomField", None)


def _exact_amounts(body: JsonObject) -> None:
    """The amount that quantity and price give, where it is a cent away; else the line stays."""
    for line in body.get("Line", []):
        detail = line.get("SalesItemLineDetail") or {}
        if "Qty" not in detail or "UnitPrice" not in detail:
            continue
        exact = (decimal(detail["Qty"]) * decimal(detail["UnitPrice"])).quantize(
            _CENT, ROUND_HALF_UP
        )
        if abs(exact - decimal(line.get("Amount"))) <= _CENT:
            line["Amount"] = plain(exact)


def _tax_codes_again(body: JsonObject) -> None:
    """The tax settings were read again for this body; in the US a line has one of two codes."""
    if "GlobalTaxCalculation" in body:
        return
    for line in body.get("Line", []):
        detail = line.get("SalesItemLineDetail") or {}
        code = detail.get("TaxCodeRef")
        if code is not None and code.get("value") not in _US_CODES:
            detail["TaxCodeRef"] = {"value": "NON"}


def _fresh_references(_: JsonObject) -> None:
    """The links were moved for this body (:mod:`qbo_sink.references`): it names what is there."""


RULES: dict[str, Rule] = {
    "exact_amounts": _exact_amounts,
    TAX_CODES_AGAIN: _tax_codes_again,
    FRESH_REFERENCES: _fresh_references,
    OTHER_NAME: _other_name,
    "shorter_texts": _shorter_texts,
    "plain_characters": _plain_characters,
    "without_email": _without_email,
    "without_custom_fields": _without_custom_fields,
}
_BY_CODE = {
    ("2500", Entity.ESTIMATE): FRESH_REFERENCES,
    ("610", Entity.ESTIMATE): FRESH_REFERENCES,
    ("6250", Entity.ESTIMATE): FRESH_REFERENCES,
    ("6070", Entity.ESTIMATE): "exact_amounts",
    ("6100", Entity.ESTIMATE): TAX_CODES_AGAIN,
    ("6160", Entity.ESTIMATE): TAX_CODES_AGAIN,
    ("6170", Entity.ESTIMATE): TAX_CODES_AGAIN,
    ("6240", Entity.CUSTOMER): OTHER_NAME,
    ("6240", Entity.ITEM): OTHER_NAME,
    ("2050", Entity.ESTIMATE): "shorter_texts",
    ("2040", Entity.ESTIMATE): "plain_characters",
    ("2210", Entity.ESTIMATE): "without_email",
    ("2210", Entity.CUSTOMER): "without_email",
    ("6420", Entity.ESTIMATE): "without_email",
    ("3000", Entity.ESTIMATE): "without_custom_fields",
}


_FAMILY_CODES = {"name_used": "6240", "inactive": "6250", "tax": "6100"}


def rule_for(code: str, family: str, entity: Entity) -> str | None:
    """The name of the rule for a fault, None when somebody has to decide."""
    code = _FAMILY_CODES.get(family, code)
    # An invoice is worded as an estimate is.
    return _BY_CODE.get((code, Entity.ESTIMATE if entity is Entity.INVOICE else entity))


def apply(body: JsonObject, names: str) -> JsonObject:
    """``body`` after the rules in ``names`` (comma-separated), in order. The argument is kept."""
    corrected = deepcopy(body)
    for name in names.split(","):
        if name:
            RULES[name](corrected)
    return corrected
