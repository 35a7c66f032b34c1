"""What somebody decides about a difference that a comparison showed (quickbooks.md §2.5).

Each returns "" when it was done, else why it was not. Nothing is ever recreated or overwritten
without such a decision.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from qbo_sink.answers import net_total
from qbo_sink.client import entity_of
from qbo_sink.compare import is_voided
from qbo_sink.conversion import Conversions
from qbo_sink.judge import ACCEPTED, VOIDED
from qbo_sink.ledger import Ledger
from qbo_sink.model import (
    UNKNOWN_OUTCOME,
    Entity,
    JsonObject,
    Key,
    Sale,
    State,
    content_hash,
    decode_wanted,
)
from qbo_sink.reconcile import linked, said
from qbo_sink.rows import Mapping
from qbo_sink.session import Session, Unanswered
from qbo_sink.wire import BOTH_STATES, Answer, as_json, equals, select

_GONE = 610


async def send_again(session: Session, key: Key, ledger: Ledger) -> str:
    """Create anew what was deleted there; refused while it still stands there."""
    mapping = await _mapping(session, key, ledger)
    if mapping is None:
        return "it has not been sent yet"
    row = await _row(session, mapping)
    voided = row is not None and key.entity is Entity.INVOICE and is_voided(row)
    if row is not None and not voided:
        return "it still stands in QuickBooks; sending it again would make a second document"
    if key.entity is not Entity.INVOICE:
        await asyncio.to_thread(ledger.forget, session.account, key)
        return ""
    gone = VOIDED if voided else "deleted"
    await asyncio.to_thread(ledger.drifted, session.account, key, gone, row=row)
    conversions = Conversions(ledger.engine)
    return await asyncio.to_thread(conversions.again, session.account, *key[1:], session.now_ms())


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


async def resend(session: Session, key: Key, ledger: Ledger) -> str:
    """Bring a document there that is missing there: queued again, or created anew."""
    mapping = await _mapping(session, key, ledger)
    if mapping is not None:
        return await send_again(session, key, ledger)
    waiting = await asyncio.to_thread(ledger.open_intent, session.account, key)
    if waiting is None:
        await asyncio.to_thread(ledger.renew, session.account, key)
        return ""
    if waiting.state is State.EXCLUDED:
        return "it was removed from the queue; put it back there"
    return "it waits in the queue already"


async def link(session: Session, key: Key, ledger: Ledger, number: str) -> str:
    """This document is the estimate or invoice with the number or id ``number``: nothing is sent
    for it.

    Refused where another document here stands for that one, or may be sent at this moment.
    """
    waiting = await asyncio.to_thread(ledger.open_intent, session.account, key)
    if waiting is not None and waiting.state in UNKNOWN_OUTCOME:
        return "it is being sent right now; what came of that is looked up first"
    contents = await asyncio.to_thread(ledger.wanted, session.account, [key])
    wanted = decode_wanted(key.entity, contents[key]) if key in contents else None
    if not isinstance(wanted, Sale):
        return "it is not known here"
    rows = await session.query(select(key.entity, equals("DocNumber", number)), key.entity)
    if not rows:
        rows = await session.query(select(key.entity, equals("Id", number)), key.entity)
    if len(rows) != 1:
        found = f"{len(rows) or 'no'} {key.entity.path}s"
        return f"QuickBooks has {found} with the number or id {number}"
    mapping = linked(session.realm, key, rows[0], contents[key])
    source = await _mapping(session, wanted.key, ledger)
    answers = said(key, rows[0], wanted.content.currency, of_estimate=source is not None)
    owner = await asyncio.to_thread(ledger.relink, session.account, mapping, answers)
    return f"that {key.entity.path} belongs to {owner}" if owner else ""


async def link_record(session: Session, key: Key, ledger: Ledger, external_id: str) -> str:
    """This customer or product is that record there. Costs one metered read."""
    contents = await asyncio.to_thread(ledger.wanted, session.account, [key])
    rows = await session.query(
        select(key.entity, equals("Id", external_id), BOTH_STATES), key.entity
    )
    if not rows or key not in contents:
        return "it is not there any more"
    mapping = linked(session.realm, key, rows[0], contents[key])
    answers = said(key, rows[0], "", of_estimate=False)
    owner = await asyncio.to_thread(ledger.relink, session.account, mapping, answers)
    return f"that record belongs to {owner}" if owner else ""
