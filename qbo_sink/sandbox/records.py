"""Rules of records that are neither names nor transactions: notes and files on other objects."""

from __future__ import annotations

from qbo_sink.sandbox.draft import Draft
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.values import Json


def as_transfer(body: Json) -> Json:
    """A payment to a card as the transfer between two accounts that it is."""
    refs = {"FromAccountRef": body["BankAccountRef"], "ToAccountRef": body["CreditCardAccountRef"]}
    kept = ("domain", "sparse", "Id", "SyncToken", "MetaData", "TxnDate", "CurrencyRef", "Amount")
    return {name: body[name] for name in kept if name in body} | refs


def attachment(draft: Draft) -> None:
    """An Attachable holds a note or a file, and what it is attached to exists."""
    body = draft.body
    if "Note" not in body and "FileName" not in body:
        raise refused(2020, "Required parameter Note or FileName is missing", "Note")
    for index, attached in enumerate(body.get("AttachableRef", [])):
        reference = attached.get("EntityRef", {})
        kind, where = reference.get("type", ""), f"AttachableRef[{index}].EntityRef"
        if not reference:
            continue
        name = next((each for each in ENTITIES if each.lower() == kind.lower()), "")
        if not name:
            raise refused(2170, f"{where}.type {kind!r} is no entity", where)
        if draft.get(name, reference) is None:
            detail = f"Invalid Reference Id : {where} {reference['value']} does not exist"
            raise refused(2500, detail, where)
        attached["EntityRef"] = {"value": reference["value"], "type": name}
