"""The author's end of a device chain: facts become events. Pure, so that it can be tested whole.

A chain has one end, the :class:`Head`. Every event takes the next seq, the hash of the event
before it and a stamp greater than the last one (wire-protocol.md §2, reliability I-5). When the
server finds that a chain has two ends (a clone, a restored backup), :func:`remake` says the same
things again under a new epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from replica.errors import MisuseError, TooLarge
from replica.events.clock import ZERO_STAMP, Stamp, make_stamp, stamp_counter, stamp_ms, tick
from replica.events.event import (
    EVENT_FORMAT,
    GENESIS,
    Event,
    EventId,
    device_node,
    encode_event,
    event_id,
)
from replica.events.kinds import decode_payload, encode_payload
from replica.events.payloads import OrderLineRemoved
from replica.limits import EVENT_BYTES_MAX


class Author(NamedTuple):
    """Whose chain it is: 16 bytes each."""

    account: bytes
    device: bytes


class Head(NamedTuple):
    """The end of the chain in ``epoch``. ``stamp`` never goes back, not even with a new epoch."""

    epoch: int
    seq: int = 0
    id: EventId = GENESIS
    stamp: Stamp = ZERO_STAMP


class Fact(NamedTuple):
    """What an event is going to say; ``deps`` are ids of events it builds on."""

    kind: str
    version: int
    payload: bytes
    deps: tuple[bytes, ...] = ()


class Made(NamedTuple):
    """A finished event with its identity and canonical bytes."""

    id: EventId
    data: bytes
    event: Event


def extend(author: Author, head: Head, facts: Iterable[Fact], now_ms: int) -> list[Made]:
    """Events for ``facts`` in order, following ``head``. The caller stores them and moves the head.

    Raises ``TooLarge`` before anything is stored when an event passes ``EVENT_BYTES_MAX``
    (pitfalls P36) and ``MisuseError`` when there is no fact.
    """
    made: list[Made] = []
    for fact in facts:
        made.append(follow(author, head_after(head, made), fact, now_ms))
    if not made:
        raise MisuseError("an append needs at least one payload")
    return made


def follow(author: Author, head: Head, fact: Fact, now_ms: int) -> Made:
    """The event after ``head``. Raises ``TooLarge`` when it passes ``EVENT_BYTES_MAX``."""
    return _make(author, head, fact, tick(head.stamp, now_ms, device_node(author.device)))


def remake(author: Author, head: Head, old: Sequence[Made]) -> list[Made]:
    """The same facts again under ``head``, which is the start of a new epoch.

    Document ids, times and payloads stay; seq, ``prev`` and with them the ids are new, so every
    reference from one remade event to another is renamed too (in ``deps``, and where a line's
    removal names the puts it has seen). Nothing the author said is lost (reliability §2.1).
    """
    made: list[Made] = []
    renamed: dict[bytes, bytes] = {}
    node = device_node(author.device)
    for before in old:
        event = before.event
        raw = Stamp(event.stamp)
        stamp = make_stamp(stamp_ms(raw), stamp_counter(raw), node)
        made.append(_make(author, head_after(head, made), _fact(event, renamed), stamp))
        renamed[before.id] = made[-1].id
    return made


def again(
    author: Author,
    head: Head,
    old: Sequence[tuple[Made, Fact | None]],
    renamed: Mapping[bytes, bytes],
    now_ms: int,
) -> list[Made]:
    """Say ``old`` again at the end of its own chain, each as it was or as the fact beside it.

    References from one of them to another, and those in ``renamed`` (old id to new), name the new
    events.
    """
    made: list[Made] = []
    names = dict(renamed)
    for before, corrected in old:
        fact = corrected or _fact(before.event, names)
        made.append(follow(author, head_after(head, made), fact, now_ms))
        names[before.id] = made[-1].id
    return made


def waiting_on(rows: Mapping[int, Made], cause: bytes) -> dict[int, Made]:
    """``cause`` and those after it that build on it, directly or not; empty if it is not there."""
    found: dict[int, Made] = {}
    ids: set[bytes] = set()
    for n, one in rows.items():
        if one.id == cause or ids.intersection(one.event.deps):
            found[n] = one
            ids.add(one.id)
    return found


def _make(author: Author, head: Head, fact: Fact, stamp: Stamp) -> Made:
    event = Event(
        EVENT_FORMAT,
        author.account,
        author.device,
        head.epoch,
        head.seq + 1,
        head.id,
        stamp,
        fact.kind,
        fact.version,
        fact.deps,
        fact.payload,
    )
    data = encode_event(event)
    if len(data) > EVENT_BYTES_MAX:
        raise TooLarge("event bytes", limit=EVENT_BYTES_MAX, actual=len(data))
    return Made(event_id(data), data, event)


def _fact(event: Event, renamed: Mapping[bytes, bytes]) -> Fact:
    deps = tuple(renamed.get(dep, dep) for dep in event.deps)
    if event.kind == "order.line_removed":
        said = decode_payload(event)
        if isinstance(said, OrderLineRemoved):
            seen = tuple(renamed.get(put, put) for put in said.seen)
            return Fact(*encode_payload(msgspec.structs.replace(said, seen=seen)), deps)
    return Fact(event.kind, event.version, event.payload, deps)


def head_after(head: Head, made: Sequence[Made]) -> Head:
    """Where the chain ends once ``made`` is stored after ``head``."""
    if not made:
        return head
    last = made[-1]
    return Head(last.event.epoch, last.event.seq, last.id, Stamp(last.event.stamp))
