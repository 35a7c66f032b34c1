"""Corrections: what the server decided about a sealed order or quote after it was sealed.

A seal is never edited. A correction says beside it that one value counts as another: a number that
another order has as one with a suffix, a customer or a product as the one that stands for it. It
holds for that value alone, so an amendment that says something else is not touched by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from replica.crdt.documents import Document, Fact
from replica.crdt.registers import loss, read
from replica.events.payloads import Content

NUMBER_TAKEN = "another order has this number"
STANDS_FOR = "another record stands for this one"


class Correction(NamedTuple):
    """``was`` in ``field`` (number, customer, product) counts as ``now``."""

    kind: str
    fact: Fact
    field: str
    was: str
    now: str

    @property
    def rule(self) -> str:
        return NUMBER_TAKEN if self.field == "number" else STANDS_FOR


def corrections(document: Document) -> list[Correction]:
    """What was decided about an order or quote, the newest for each value, oldest first. One that
    was taken back says the value itself."""
    found = {}
    for kind, fact, said in read(document, f"{document.key.type}.corrected"):
        found[said.field, said.was] = Correction(kind, fact, said.field, said.was, said.now)
    return list(found.values())


def corrected(content: Content, made: Sequence[Correction]) -> Content:
    """``content`` as it counts."""
    if not made:
        return content
    now = {(one.field, one.was): one.now for one in made}
    return msgspec.structs.replace(
        content,
        number=now.get(("number", content.number), content.number),
        customer=now.get(("customer", content.customer), content.customer),
        lines=tuple(
            msgspec.structs.replace(line, product=now.get(("product", line.product), line.product))
            for line in content.lines
        ),
    )


def given_way(said: Content, made: Sequence[Correction], seal: Fact) -> Iterator[dict[str, Any]]:
    """The values of ``said`` that do not count, as losers (view.py) of ``seal``."""
    for one in made:
        if one.now == one.was:
            continue
        if one.field == "product":
            places = [line.id for line in said.lines if line.product == one.was]
        else:
            places = [""] if getattr(said, one.field) == one.was else []
        for line in places:
            yield loss(
                one.field, one.was, seal, one.rule, kept=one.now, kept_by=one.fact, line=line
            )
