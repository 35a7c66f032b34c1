"""Every committed document against its estimate, over one paged query (architecture.md §9).

The same pages show documents that carry our marker without a mapping: a lost ledger is rebuilt from
them before anything is sent (quickbooks.md §2.2 layer 4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal

from qbo_sink import answers, compare, marker
from qbo_sink.estimate import meant_total
from qbo_sink.ledger import Ledger
from qbo_sink.model import Entity, JsonObject, Key, Sale, content_hash, decode_wanted, encode_wanted
from qbo_sink.rows import Mapping
from qbo_sink.session import Session
from qbo_sink.wire import as_json, decode_body
from replica.sink import Comparison

ACCEPTED = "accepted"
"""The drift of an entity that somebody took as the office left it."""


async def fetch_estimates(session: Session) -> dict[str, JsonObject]:
    """Every estimate there by id. Raises ``Unanswered``; costs a metered read per 1,000 rows."""
    found: dict[str, JsonObject] = {}
    async for page in session.pages("Estimate"):
        found |= {str(row["Id"]): row for row in page}
    return found


async def compare_all(session: Session, ledger: Ledger) -> Comparison:
    """Each committed order and quote against its estimate. Raises ``Unanswered``."""
    theirs = await fetch_estimates(session)
    keys = await asyncio.to_thread(ledger.wanted_keys, session.account, Entity.ESTIMATE)
    mapped = await asyncio.to_thread(ledger.mappings, session.account, keys)
    contents = await asyncio.to_thread(ledger.wanted, session.account, keys)
    found: dict[str, list[str]] = {
        name: [] for name in ("missing", "changed", "deleted", "differs")
    }
    equal = 0
    for key in keys:
        sale = decode_wanted(key.entity, contents[key])
        if not isinstance(sale, Sale):
            continue
        mapping = mapped.get(key)
        state = _state(sale, mapping, theirs)
        if state is None:
            continue
        if state in found:
            found[state].append(key.local_id)
        else:
            equal += 1
        was = "" if mapping is None or mapping.drift == ACCEPTED else mapping.drift
        if mapping is not None and state != was:
            await asyncio.to_thread(ledger.drifted, session.account, key, state)
    return Comparison(equal=equal, **found)


def _state(sale: Sale, mapping: Mapping | None, theirs: dict[str, JsonObject]) -> str | None:
    """``missing`` or a drift; None for a document that is rightly not there."""
    if mapping is None:
        return None if sale.cancelled else "missing"
    row = theirs.get(mapping.external_id)
    if sale.cancelled and row is None:
        return None
    snapshot = decode_body(mapping.snapshot.encode()) if mapping.snapshot else {}
    sent = mapping.hash == content_hash(encode_wanted(sale))
    # An amendment that is still on its way differs from what stands there, and rightly so.
    ours = sent and not sale.cancelled and mapping.drift != ACCEPTED
    meant = meant_total(sale) if ours else _decimal(mapping.total)
    return compare.drift(row, snapshot, meant)


def _decimal(text: str) -> Decimal | None:
    return Decimal(text) if text else None


async def adopt_marked(session: Session, ledger: Ledger, marker_keys: Sequence[bytes]) -> int:
    """Link what carries our marker and has no mapping, and say so; how many those were.

    Raises ``Unanswered``. Of two documents with one marker the older is linked; the other shows as
    an orphan in the comparison.
    """
    found: dict[Key, JsonObject] = {}
    for entity, column, name in (
        (Entity.CUSTOMER, "Notes", "Customer"),
        (Entity.ESTIMATE, "PrivateNote", "Estimate"),
    ):
        async for page in session.pages(name):
            for row in page:
                marked = marker.find(marker_keys, row.get(column))
                if marked is not None:
                    found.setdefault(Key(entity, *marked), row)
    contents = await asyncio.to_thread(ledger.wanted, session.account, found)
    links = []
    for key, row in found.items():
        if key in contents:
            wanted = decode_wanted(key.entity, contents[key])
            currency = wanted.content.currency if isinstance(wanted, Sale) else ""
            mapping = _adopted(session.realm, key, row, contents[key])
            links.append((mapping, answers.done(key, row, currency)))
    return await asyncio.to_thread(ledger.adopt, session.account, links)


def _adopted(realm: str, key: Key, row: JsonObject, content: bytes) -> Mapping:
    is_estimate = key.entity is Entity.ESTIMATE
    return Mapping(
        key=key,
        realm=realm,
        external_id=str(row["Id"]),
        sync_token=str(row.get("SyncToken") or "0"),
        number=str(row.get("DocNumber") or ""),
        hash=content_hash(content),
        total=str(answers.net_total(row)) if is_estimate else "",
        snapshot=as_json(row),
    )
