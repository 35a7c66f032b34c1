"""Why a field has its value, with all times: the document explains, the log bears witness.

What counts and by which rule is a function of the document (:mod:`replica.crdt.why`). The author's
own stamp, the time of receipt and whether the time was disputed stand in the log and are added
here. Read only, and blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from replica.crdt.documents import Document, tag_event, tag_node
from replica.crdt.why import Said, Why, explain, said_values
from replica.events.clock import STAMP_BYTES, stamp_ms
from replica.events.event import AccountId, DeviceId, Position, device_node, event_stamp
from replica.events.ports import DeviceHead, Log
from replica.events.record import Flag, Record, records
from replica.limits import WHY_EVENTS_MAX


class Witness(NamedTuple):
    """What the log knows of one event. ``record.stamp`` is the merge stamp."""

    position: Position
    record: Record


def explained(
    log: Log, account: AccountId, devices: Sequence[bytes], document: Document, field: str = ""
) -> list[dict[str, Any]]:
    """Each field of ``document`` under ``field``: ``value``, ``rule``, ``winners``, ``losers``.

    ``devices`` are the ids of all that ever wrote in the account. An event is as
    :func:`replica.crdt.why.said_values` gives it, with ``device``, ``position``, ``version``,
    ``raw_stamp``, ``raw_ms``, ``received_ms`` and ``disputed``; they are None for the events after
    the first ``WHY_EVENTS_MAX``, and for one that the log does not hold. Empty for an unknown
    field.
    """
    whys = explain(document, field)
    facts = dict.fromkeys(said.fact.tag for why in whys for said in (*why.winners, *why.losers))
    found = {tag: witness(log, account, devices, tag) for tag in list(facts)[:WHY_EVENTS_MAX]}
    return [_with_times(why, found) for why in whys]


def _with_times(why: Why, found: dict[bytes, Witness | None]) -> dict[str, Any]:
    def told(said: Iterable[Said]) -> list[dict[str, Any]]:
        return [{**said_values(one), **_times(found.get(one.fact.tag))} for one in said]

    return {
        "field": why.field,
        "value": why.value,
        "rule": why.rule,
        "winners": told(why.winners),
        "losers": told(why.losers),
    }


def _times(seen: Witness | None) -> dict[str, Any]:
    record = seen.record if seen else None
    raw = event_stamp(record.event) if record else None
    return {
        "device": record.event.device.hex() if record else None,
        "position": int(seen.position) if seen else None,
        "version": record.event.version if record else None,
        "raw_stamp": raw.hex() if raw else None,
        "raw_ms": stamp_ms(raw) if raw else None,
        "received_ms": record.received_ms if record else None,
        "disputed": bool(record.flags & Flag.DISPUTED) if record else None,
    }


def witness(log: Log, account: AccountId, devices: Iterable[bytes], tag: bytes) -> Witness | None:
    """The record that ``tag`` names; None when none of ``devices`` wrote it.

    Nothing indexes the log by event. But merge stamps rise along the chain of a device, so a
    binary search over its seqs finds the record in a few reads.
    """
    for device in map(DeviceId, devices):
        if device_node(device) == tag_node(tag):
            for head in log.device_heads(account, device):
                if (seen := _search(log, account, device, head, tag)) is not None:
                    return seen
    return None


def _search(
    log: Log, account: AccountId, device: DeviceId, head: DeviceHead, tag: bytes
) -> Witness | None:
    low, high = 1, head.seq
    while low <= high:
        middle = (low + high) // 2
        run: list[tuple[Position, Record]] = []
        at = middle
        while not run and at <= high:  # an event that was kept aside has no place in the order
            segments, _ = log.find(account, device, head.epoch, at, at)
            run = [placed for segment in segments for placed in records(segment)]
            at += 1
        if not run:
            high = middle - 1
        elif tag < run[0][1].tag:
            high = min(middle, run[0][1].event.seq) - 1
        elif run[-1][1].stamp < tag[:STAMP_BYTES]:
            low = run[-1][1].event.seq + 1
        else:
            return next(
                (Witness(*placed) for placed in run if placed[1].id == tag_event(tag)), None
            )
    return None
