"""What somebody decides about a difference that a comparison showed (quickbooks.md §2.5).

Each returns "" when it was done, else why it was not. Nothing is ever recreated or overwritten
without such a decision.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from qbo_sink.answers import net_total
from qbo_sink.client import entity_of
from qbo_sink.ledger import Ledger
from qbo_sink.model import JsonObject, Key, content_hash
from qbo_sink.reconcile import ACCEPTED
from qbo_sink.rows import Mapping
from qbo_sink.session import Session, Unanswered
from qbo_sink.wire import Answer, as_json

_GONE = 610


async def send_again(session: Session, key: Key, ledger: Ledger) -> str:
    """Create anew what was deleted there; refused while it still stands there."""
    mapping = await _mapping(session, key, ledger)
    if mapping is None:
        return "it has not been sent yet"
    if await _row(session, mapping) is not None:
        return "it still stands in QuickBooks; sending it again would make a second document"
    await asyncio.to_thread(ledger.forget, session.account, key)
    return ""


async def accept_theirs(session: Session, key: Key, ledger: Ledger) -> str:
    """Take the document as the office left it; only a later change here is sent."""
    mapping = await _mapping(session, key, ledger)
    contents = await asyncio.to_thread(ledger.wanted, session.account, [key])
    row = None if mapping is None else await _row(session, mapping)
    if mapping is None or row is None or key not in contents:
        return "it does not stand in QuickBooks"
    taken = replace(
        mapping,
        sync_token=str(row.get("SyncToken") or "0"),
        hash=content_hash(contents[key]),
        total=str(net_total(row)),
        drift=ACCEPTED,
        snapshot=as_json(row),
    )
    await asyncio.to_thread(ledger.accept, session.account, taken)
    return ""


async def send_ours(session: Session, key: Key, ledger: Ledger) -> str:
    """Put our version over what the office changed, deliberately."""
    mapping = await _mapping(session, key, ledger)
    row = None if mapping is None else await _row(session, mapping)
    if mapping is None or row is None:
        return "it does not stand in QuickBooks"
    # Their version becomes the base, and no content was acknowledged over it.
    token = str(row.get("SyncToken") or "0")
    based = replace(mapping, sync_token=token, hash="", drift="", snapshot=as_json(row))
    await asyncio.to_thread(ledger.accept, session.account, based)
    return ""


async def _mapping(session: Session, key: Key, ledger: Ledger) -> Mapping | None:
    found = await asyncio.to_thread(ledger.mappings, session.account, [key])
    return found.get(key)


async def _row(session: Session, mapping: Mapping) -> JsonObject | None:
    """The entity, None when it is certainly gone. Raises ``Unanswered``."""
    reply = await session.read(f"{mapping.key.entity.path}/{mapping.external_id}")
    row = entity_of(reply, mapping.key.entity)
    if row is not None:
        return None if row.get("status") == "Deleted" else row
    if isinstance(reply, Answer) and any(fault.code == _GONE for fault in reply.faults):
        return None
    raise Unanswered("the record could not be read")
