"""Bringing intents in step with what is wanted, inside a transaction of the ledger.

The decision itself is pure (:func:`qbo_sink.plan.decide`); here it is read and written.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, insert, select

from qbo_sink import schema
from qbo_sink.corrections import OTHER_NAME
from qbo_sink.model import Entity, Key, State, decode_wanted
from qbo_sink.plan import Change, Decision, Intent, decide
from qbo_sink.rows import (
    FRESH,
    columns,
    compare_and_set,
    is_key,
    is_open,
    load,
    next_generation,
    to_intent,
    to_mapping,
)
from qbo_sink.twoway import TWO_WAY, pending

_wanted, _intents, _mappings = schema.wanted, schema.intents, schema.mappings


def bring_in_step(connection: Connection, account: bytes, keys: list[Key], now_ms: int = 0) -> None:
    """What is open of these documents becomes what is wanted of them. ``now_ms`` dates new rows."""
    wanted = load(connection, _wanted, account, keys)
    mapped = load(connection, _mappings, account, keys)
    current = {
        key: to_intent(row)
        for key, row in load(connection, _intents, account, keys, is_open()).items()
    }
    added: list[dict[str, Any]] = []
    for key in keys:
        row = wanted.get(key)
        if row is None or not row.hash:
            continue
        mapping = mapped.get(key)
        both = key.entity in TWO_WAY and mapping is not None
        decision = decide(
            row.hash,
            # What both sides change is deleted there by a change of it.
            cancelled=row.cancelled and not both,
            acknowledged_hash=_acknowledged(key, row, mapping),
            current=current.get(key),
        )
        if decision.change is Change.ADD and decision.op is not None:
            added.append(
                {
                    **columns(account, key),
                    "op": decision.op,
                    "generation": next_generation(connection, account, key, row.hash),
                    "hash": row.hash,
                    "state": State.QUEUED,
                    "position": row.position,
                    "body": b"",
                    "queued_ms": now_ms,
                    "corrections": _kept_corrections(connection, account, row, mapping),
                }
            )
        elif key in current:
            kept = _kept_corrections(connection, account, row, mapping)
            _change(connection, account, current[key], decision, row.hash, kept)
    if added:
        connection.execute(insert(_intents), added)


def _acknowledged(key: Key, wanted: Any, mapping: Any) -> str | None:
    """The hash of what stands there; for what both sides change, whether anything is to be sent."""
    if mapping is None or key.entity not in TWO_WAY:
        return None if mapping is None else str(mapping.hash)
    record = decode_wanted(key.entity, wanted.content)
    return "" if pending(record, to_mapping(mapping)) else str(wanted.hash)


def _kept_corrections(connection: Connection, account: bytes, wanted: Any, mapping: Any) -> str:
    """The corrections under which a document stands there: a later change is said in the same way,
    or it would meet the same fault again. A name of ours that is new may be free, and an item's
    name that is not goes along as it stands there."""
    if mapping is None:
        return ""
    key = Key(Entity(wanted.entity), wanted.local_type, wanted.local_id)
    names = connection.scalar(
        select(_intents.c.corrections)
        .where(is_key(_intents, account, key), _intents.c.state == State.ACKED)
        .order_by(_intents.c.id.desc())
        .limit(1)
    )
    kept = [name for name in (names or "").split(",") if name]
    if OTHER_NAME in kept and key.entity in TWO_WAY:
        record = decode_wanted(key.entity, wanted.content)
        if key.entity is Entity.ITEM or "name" in pending(record, to_mapping(mapping)):
            kept.remove(OTHER_NAME)
    return ",".join(kept)


def _change(  # noqa: PLR0917 - one row, and what becomes of it
    connection: Connection,
    account: bytes,
    current: Intent,
    decision: Decision,
    new_hash: str,
    kept: str,
) -> None:
    if decision.change is Change.CANCEL:
        compare_and_set(connection, current, state=State.CANCELLED)
    elif decision.change is Change.REPLACE:
        state = State.EXCLUDED if current.state is State.EXCLUDED else State.QUEUED
        # A content that was sent before must not go out under the id it had then: the company
        # would answer with what it did that time, and do nothing.
        anew = next_generation(connection, account, current.key, new_hash)
        compare_and_set(
            connection,
            current,
            **FRESH,
            op=decision.op,
            hash=new_hash,
            generation=max(anew, current.generation + (current.sends > 0)),
            state=state,
            cycles=0,
            corrections=kept,
            told=False,
        )
