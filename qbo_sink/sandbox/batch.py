"""Batches (section 1.8): up to thirty independent items, each with its own answer or fault."""

from __future__ import annotations

from typing import Any

from qbo_sink.sandbox import feed, search
from qbo_sink.sandbox.books import Company
from qbo_sink.sandbox.entities import BY_ELEMENT, Entity, shown
from qbo_sink.sandbox.faults import Refused, refused
from qbo_sink.sandbox.operations import perform
from qbo_sink.sandbox.query import parse
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, read_json, write_json

ITEMS_MAX = 30
BATCH_ITEM_ID_CHARS_MAX = 10
_ENVELOPE = frozenset({"bId", "operation", "optionsData"})


def run(sandbox: Sandbox, company: Company, raw: Any, *, has_request_id: bool) -> list[Json]:
    """The value of ``BatchItemResponse``; inside ``books.atomic()``. Raises ``Refused``.

    With a request id every bId is bounded (section 1.6); without, clients send what they like.
    """
    items = raw.get("BatchItemRequest") if isinstance(raw, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise refused(2020, "Required parameter BatchItemRequest is missing", "BatchItemRequest")
    if len(items) > ITEMS_MAX:
        raise refused(1040, f"A batch has at most {ITEMS_MAX} items, {len(items)} were sent")
    longest = max((len(str(item.get("bId") or "")) for item in items), default=0)
    if has_request_id and longest > BATCH_ITEM_ID_CHARS_MAX:
        limit = f"min 1, max {BATCH_ITEM_ID_CHARS_MAX}"
        raise refused(2050, f"bId: {limit}, supplied length {longest}", "bId")
    return [_answered(sandbox, company, item) for item in items]


def _answered(sandbox: Sandbox, company: Company, item: Json) -> Json:
    head = {"bId": str(item["bId"])} if item.get("bId") is not None else {}
    try:
        with sandbox.books.step():
            return head | _item(sandbox, company, item)
    except Refused as fault:
        return head | {"Fault": fault.as_json()}


def _item(sandbox: Sandbox, company: Company, item: Json) -> Json:
    if "Query" in item:
        select = parse(str(item["Query"]))
        found = search.run(sandbox.books, company, select, sandbox.switches)
        return {"QueryResponse": read_json(found)}
    if "CDCQuery" in item:
        query = item["CDCQuery"] if isinstance(item["CDCQuery"], dict) else {}
        names, since = str(query.get("Entities", "")), str(query.get("ChangedSince", ""))
        value = feed.changes(
            sandbox.books, company, names, since, lag_ms=sandbox.switches.cdc_lag_ms
        )
        return {"CDCResponse": [value]}
    entity, body = _payload(item)
    options = frozenset(str(item.get("optionsData", "")).lower().split(","))
    writer = sandbox.writer(company, options)
    operation = str(item.get("operation") or "create").lower()
    written = perform(writer, entity, operation, body, write_json(body))
    sandbox.announce(company, written.changes)
    return {entity.element: shown(entity, written.reply)}


def _payload(item: Json) -> tuple[Entity, Any]:
    for name, body in item.items():
        entity = BY_ELEMENT.get(name.lower())
        if name not in _ENVELOPE and entity is not None:
            return entity, body
    raise refused(500, "A batch item names no known entity")
