"""What the office may say of names and numbers that were given twice (decision 0016)."""

from __future__ import annotations

from typing import Any

from replica.crdt.documents import DocKey
from replica.crdt.order import effective
from replica.crdt.twins import correction
from replica.crdt.view import view
from replica.errors import Malformed
from replica.events import payloads as p
from replica.events.event import AccountId
from replica.events.payloads import Payload
from replica.projections import queries
from replica.server.answers import NotFound
from replica.server.runtime import Runtime

APART, FIRST, SECOND, ASK = "apart", "first", "second", "ask"
RENAME = ("rename_first", "rename_second")


async def pair(runtime: Runtime, account: AccountId, identity: str) -> dict[str, Any]:
    """The view of a pair (:mod:`replica.crdt.view`). Raises ``NotFound``."""
    found = await runtime.read(queries.document, account, DocKey("twin", identity))
    if found is None or not (seen := view(found))["of"]:
        raise NotFound("there is no such pair")
    return seen


def decision(pair: dict[str, Any], action: str, text: str = "") -> list[Payload]:
    """What ``action`` says of ``pair``: keep both ``apart``, the ``first`` or the ``second`` stands
    for both, ``ask`` takes a decision back, ``rename_first`` and ``rename_second`` give one of them
    the name ``text``. Raises ``Malformed`` for anything else."""
    if action in RENAME:
        return [_renamed(pair, pair[action.removeprefix("rename_")], text.strip())]
    if action in (APART, ASK):
        return [p.TwinDecided(pair["id"], action)]  # type: ignore[arg-type]
    if action in (FIRST, SECOND):
        return [p.TwinDecided(pair["id"], "same", pair[action])]
    raise Malformed("choose apart, first, second, ask, rename_first or rename_second")


def _renamed(pair: dict[str, Any], record: str, text: str) -> Payload:
    if not text:
        raise Malformed("a new name is needed")
    if pair["of"] == "customer":
        return p.CustomerChanged(record, p.CustomerFields(name=text))
    if pair["field"] == "sku":
        return p.ProductChanged(record, p.ProductFields(sku=text))
    return p.ProductChanged(record, p.ProductFields(name=text))


async def renumbered(
    runtime: Runtime, account: AccountId, order: str, number: str
) -> p.OrderCorrected | p.QuoteCorrected:
    """The correction that gives ``order`` the ``number``; with "" the one that its author gave it,
    although another order has it. Raises ``NotFound`` for an order without a seal."""
    found = await runtime.read(queries.document, account, DocKey("order", order))
    sealed = effective(found) if found is not None else None
    if found is None or sealed is None:
        raise NotFound("there is no such order")
    return correction(found.key, "number", sealed.said.number, number or sealed.said.number)
