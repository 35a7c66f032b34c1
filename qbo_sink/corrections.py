"""The closed catalogue of automatic corrections. Pure.

A correction changes how something is said, never money, quantity, party or period. It is applied
after three unchanged tries, once per intent and rule, by name, so that the same body can be made
again and the correction can be taken back (quickbooks.md §2.6).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from copy import deepcopy

from qbo_sink.model import Entity, JsonObject
from qbo_sink.party import COMPANY_CHARS, CUSTOMER_NAME_CHARS, shorten

DESCRIPTION_CHARS = 1_000
NOTE_CHARS = 1_000
_SUFFIX = " (2)"
_FREE_TEXTS = ("PrivateNote", "Notes", "AcceptedBy", "CompanyName", "GivenName", "FamilyName")

Rule = Callable[[JsonObject], None]


def _other_name(body: JsonObject) -> None:
    name = body.get("DisplayName")
    if name is None:  # an update that leaves the name alone
        return
    body.setdefault("CompanyName", name[:COMPANY_CHARS])
    body["DisplayName"] = name[: CUSTOMER_NAME_CHARS - len(_SUFFIX)] + _SUFFIX


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


RULES: dict[str, Rule] = {
    "other_name": _other_name,
    "shorter_texts": _shorter_texts,
    "plain_characters": _plain_characters,
    "without_email": _without_email,
    "without_custom_fields": _without_custom_fields,
}
_BY_CODE = {
    ("6240", Entity.CUSTOMER): "other_name",
    ("2050", Entity.ESTIMATE): "shorter_texts",
    ("2040", Entity.ESTIMATE): "plain_characters",
    ("2210", Entity.ESTIMATE): "without_email",
    ("2210", Entity.CUSTOMER): "without_email",
    ("6420", Entity.ESTIMATE): "without_email",
    ("3000", Entity.ESTIMATE): "without_custom_fields",
}


def rule_for(code: str, family: str, entity: Entity) -> str | None:
    """The name of the rule for a fault, None when somebody has to decide."""
    if family == "name_used":
        code = "6240"
    return _BY_CODE.get((code, entity))


def apply(body: JsonObject, names: str) -> JsonObject:
    """``body`` after the rules in ``names`` (comma-separated), in order. The argument is kept."""
    corrected = deepcopy(body)
    for name in names.split(","):
        if name:
            RULES[name](corrected)
    return corrected
