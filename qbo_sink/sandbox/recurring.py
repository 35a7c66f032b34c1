"""Recurring transactions: a document's template with a schedule, wrapped in the document's name.

A template is completed by the rules of the document that it is for: it is saved as such a document,
the document is undone, and what it had become is kept. Nothing here is ever sent or posted.
"""

from __future__ import annotations

from typing import Any

from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.faults import Refused, refused
from qbo_sink.sandbox.shape import shape
from qbo_sink.sandbox.values import Json
from qbo_sink.sandbox.writes import Change, Writer, Written

KINDS = frozenset(
    {
        "Bill",
        "CreditMemo",
        "Deposit",
        "Estimate",
        "Invoice",
        "JournalEntry",
        "Purchase",
        "PurchaseOrder",
        "RefundReceipt",
        "SalesReceipt",
        "Transfer",
        "VendorCredit",
    }
)
_ENTITY = ENTITIES["RecurringTransaction"]
# What a document has and its template has not.
_OWN = ("Id", "SyncToken", "MetaData", "LinkedTxn", "Balance", "DocNumber", "sparse", "domain")


def save(writer: Writer, raw: Any, source: bytes) -> Written:
    """Create, or replace where the document in ``raw`` has an Id. Raises ``Refused``."""
    kind, sent = _document(raw)
    shaped = shape(kind, sent, source)
    if shaped.problems:
        raise Refused(*shaped.problems)
    info = shaped.body.get("RecurringInfo")
    if not isinstance(info, dict) or not info.get("Name"):
        raise refused(2020, "Required parameter RecurringInfo.Name is missing", "RecurringInfo")
    body = {name: value for name, value in sent.items() if name not in _OWN}
    if shaped.body.get("Id"):
        old = writer.current(_ENTITY, str(shaped.body["Id"]), str(shaped.body.get("SyncToken", "")))
        if old.body["Type"] != kind:
            raise refused(2600, f"The template is of {old.body['Type']}, not {kind}", kind)
        if shaped.body.get("sparse"):
            kept = {name: value for name, value in old.body.items() if name not in (*_OWN, "Type")}
            body = kept | body
    completed = _completed(writer, kind, body, source)
    if shaped.body.get("Id"):
        completed["Id"] = str(shaped.body["Id"])
    stored = writer.books.put(writer.company, _ENTITY, completed | {"Type": kind})
    change = Change(_ENTITY.name, stored["Id"], "Update" if "Id" in completed else "Create")
    return Written(stored, [change])


def delete(writer: Writer, raw: Any) -> Written:
    """Forget a template; the reply wraps its stub like everything else here."""
    kind, sent = _document(raw)
    old = writer.current(_ENTITY, str(sent.get("Id", "")), str(sent.get("SyncToken", "")))
    stub = {"status": "Deleted", "Id": old.id}
    writer.books.put(writer.company, _ENTITY, old.body | stub, deleted=True)
    reply = {**stub, "domain": "QBO", "Type": kind}
    return Written(reply, [Change(_ENTITY.name, old.id, "Delete")])


def _document(raw: Any) -> tuple[str, Json]:
    """The document in the wrapper and what it is."""
    found = [name for name in raw if name in KINDS] if isinstance(raw, dict) else []
    if len(found) != 1 or not isinstance(raw[found[0]], dict):
        raise refused(2020, f"One of {', '.join(sorted(KINDS))} is needed", _ENTITY.name)
    return found[0], raw[found[0]]


def _completed(writer: Writer, kind: str, body: Json, source: bytes) -> Json:
    with writer.books.trial():
        done = writer.save(ENTITIES[kind], body, source).reply
    return {name: value for name, value in done.items() if name not in _OWN}
