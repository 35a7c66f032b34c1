"""Registers: the newest tag wins per field, and what it overrode is listed with the reason.

Also how values look to a reader: plain, with the names they have on the wire.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import UNSET

from replica.crdt.documents import Document, Fact, tag_ms
from replica.events.kinds import REGISTRY
from replica.events.payloads import Content
from replica.limits import LOSERS_PER_FIELD_MAX

NEWER_WINS = "newer value wins"
DELETED_BY_OFFICE = "deleted by the office"
DELETED_LATER = "deleted later"
SEALED_BEFORE = "sealed before this edit"
SEALED_FIRST = "another seal was first"
RECORDED_FIRST = "recorded before this"
UNREADABLE = "unreadable"


class Write(NamedTuple):
    """One value that somebody gave to a field."""

    fact: Fact
    kind: str
    value: Any


Registers = dict[str, list[Write]]
"""Field name on the wire to its writes, newest first. The first is the winner."""


def read(document: Document, *kinds: str) -> Iterator[tuple[str, Fact, Any]]:
    """Facts of ``kinds`` with their decoded payloads, oldest tag first."""
    for kind, fact in document.of(*kinds):
        yield kind, fact, REGISTRY.read(kind, fact.body)


def registers(writes: Iterable[tuple[str, Fact, msgspec.Struct]]) -> Registers:
    """Registers from ``(kind, fact, fields)`` in tag order, oldest first."""
    found: Registers = {}
    for kind, fact, fields in reversed(list(writes)):
        for attribute, name in _names(type(fields)):
            value = getattr(fields, attribute)
            if value is not UNSET:
                found.setdefault(name, []).append(Write(fact, kind, value))
    return found


def winners(found: Registers, fields: type[msgspec.Struct]) -> dict[str, Any]:
    """Every field of ``fields`` with its winning value; None when it was never set, or unset."""
    return {
        name: plain(found[name][0].value) if name in found else None for _, name in _names(fields)
    }


def losers(found: Registers, line: str = "") -> Iterator[dict[str, Any]]:
    """What the winners overrode, newest first, at most ``LOSERS_PER_FIELD_MAX`` per field.

    A value equal to the winner lost nothing and is not listed.
    """
    for name, (winner, *rest) in sorted(found.items()):
        for write in rest[:LOSERS_PER_FIELD_MAX]:
            if write.value != winner.value:
                yield loss(
                    name,
                    write.value,
                    write.fact,
                    NEWER_WINS,
                    kept=winner.value,
                    kept_by=winner.fact,
                    line=line,
                )


def loss(
    field: str,
    value: Any,
    fact: Fact,
    rule: str,
    *,
    kept: Any = None,
    kept_by: Fact | None = None,
    line: str = "",
) -> dict[str, Any]:
    """One value that did not count, whose it is, what counts instead and why (CON-10).

    ``by`` and ``kept_by`` are tags in hex: stamp, then event id. Who wrote is in the stamp's node.
    """
    return {
        "field": field,
        "line": line,
        "value": plain(value),
        "by": fact.tag.hex(),
        "stamp_ms": tag_ms(fact.tag),
        "rule": rule,
        "kept": plain(kept),
        "kept_by": kept_by.tag.hex() if kept_by is not None else None,
    }


def plain(value: Any) -> Any:
    """``value`` as dicts, lists, text, whole numbers, booleans and None; bytes as hex."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        fields = [(name, getattr(value, attribute)) for attribute, name in _names(type(value))]
        return {name: plain(item) for name, item in fields if item is not UNSET}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value]


def content_dict(content: Content) -> dict[str, Any]:
    """A sealed content with every field present, lines as dicts in the author's order."""
    found = {name: getattr(content, attribute) for attribute, name in _names(Content)}
    found["delivery_address"] = plain(content.delivery_address)
    # Up to 2,000 lines of five plain values each: spelled out, because readers wait for it.
    found["lines"] = [
        {
            "id": line.id,
            "product": line.product,
            "qty_e3": line.qty_e3,
            "price_e4": line.price_e4,
            "text": line.text,
        }
        for line in content.lines
    ]
    return found


@cache
def _names(struct: type[msgspec.Struct]) -> tuple[tuple[str, str], ...]:
    """Attribute and wire name of every field, in the order of the struct."""
    return tuple(zip(struct.__struct_fields__, struct.__struct_encode_fields__, strict=True))
