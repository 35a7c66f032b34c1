"""Orders: a draft that several people edit, then a seal that fixes everything.

- **Draft**: header fields are registers; lines are an observed-remove set with registers inside. A
  removal names the puts its author saw, so a put nobody saw survives, whatever comes first.
- **Seal**: ``order.committed`` carries the whole content. The first seal by tag counts. Nothing is
  ever merged into a sealed content.
- **Corrections**: what the server decided since (:mod:`replica.crdt.corrected`).
- **Amendments**: edits that the seal's author had not seen, and seals that came second, wait for
  review as long as they say something else than the content. ``order.amended`` replaces the
  content; what it names in ``deps`` is settled, taken over or not.

An amended content counts over the seal whatever their stamps say: its author had seen the seal, so
the order of cause and effect is known without any clock.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from replica.crdt.corrected import Correction, corrected, corrections
from replica.crdt.documents import Document, Fact, tag_event, tag_node
from replica.crdt.registers import (
    NEWER_WINS,
    SEALED_BEFORE,
    SEALED_FIRST,
    Registers,
    content_dict,
    loss,
    plain,
    read,
    registers,
)
from replica.events import payloads as p
from replica.events.kinds import REGISTRY

DRAFT_KINDS = ("order.drafted", "order.changed", "order.line_put", "order.line_removed")
_EMPTY = (None, "", 0)
"""What an absent field of a content looks like; an edit to one of these against another is none."""


class Effective(NamedTuple):
    """What a sealed order says now. ``said`` is the content as its author sealed it, ``content``
    what the server's ``made`` corrections leave of it."""

    content: p.Content
    seal: Fact
    amended: Fact | None
    cancelled: bool
    said: p.Content
    made: list[Correction]

    @property
    def by(self) -> Fact:
        """The seal or the amendment that counts."""
        return self.seal if self.amended is None else self.amended


class Draft(NamedTuple):
    """The editable side of an order: header registers, and registers of every live line."""

    header: Registers
    lines: dict[str, Registers]  # line id → registers, oldest line first
    puts: dict[str, list[bytes]]  # line id → ids of its live puts: what a removal has to name


def effective(document: Document) -> Effective | None:
    """The content that counts, or None while no seal is known."""
    seals = document.facts.get("order.committed")
    if not seals:
        return None
    amended = document.newest("order.amended")
    fact = seals[0] if amended is None else amended
    kind = "order.committed" if amended is None else "order.amended"
    said, made = content_of(kind, fact), corrections(document)
    return Effective(
        corrected(said, made),
        seals[0],
        amended,
        cancelled="order.cancelled" in document.facts,
        said=said,
        made=made,
    )


def content_of(kind: str, fact: Fact) -> p.Content:
    """The content that a seal or an amendment carries."""
    content: p.Content = REGISTRY.read(kind, fact.body).content
    return content


def draft(document: Document) -> Draft:
    """The draft as the newest edits leave it."""
    header = registers(
        (kind, fact, edit.fields)
        for kind, fact, edit in read(document, "order.drafted", "order.changed")
    )
    removed = {
        identity
        for _, _, removal in read(document, "order.line_removed")
        for identity in removal.seen
    }
    puts: dict[str, list[tuple[str, Fact, p.LineFields]]] = {}
    for kind, fact, put in read(document, "order.line_put"):
        if tag_event(fact.tag) not in removed:
            puts.setdefault(put.line, []).append((kind, fact, put.fields))
    return Draft(
        header,
        {line: registers(writes) for line, writes in puts.items()},
        {line: [tag_event(fact.tag) for _, fact, _ in writes] for line, writes in puts.items()},
    )


def line_puts(document: Document, line: str) -> tuple[bytes, ...]:
    """Ids for ``OrderLineRemoved.seen``: the puts of ``line`` that are live here."""
    return tuple(draft(document).puts.get(line, ()))


def amendments(
    document: Document, sealed: Effective, content: dict[str, Any], edited: Draft
) -> Iterator[dict[str, Any]]:
    """Edits and seals that wait for review because they say something else than ``content``.

    ``content`` is ``content_dict`` of what the author said. Each item is a loser (view.py) with
    ``kind`` and ``event`` of the edit; an empty ``field`` means the whole of ``line``.
    """
    seen = _seen(document, sealed.seal)
    for found in _different(document, content, sealed, edited):
        if found.fact.tag > seen.get(tag_node(found.fact.tag), b""):
            yield found.item


def superseded(document: Document) -> Iterator[dict[str, Any]]:
    """Contents that a newer amendment replaced."""
    newest = document.newest("order.amended")
    for _, fact, amended in reversed(list(read(document, "order.amended"))):
        if fact is not newest:
            content = content_dict(amended.content)
            yield loss("content", content, fact, NEWER_WINS, kept_by=newest)


def same(value: Any, sealed: Any) -> bool:
    """Whether plain values of a field say the same; a content has no unset fields, only empty."""
    return bool(value == sealed or (value in _EMPTY and sealed in _EMPTY))


class _Found(NamedTuple):
    fact: Fact
    item: dict[str, Any]


def _seen(document: Document, seal: Fact) -> dict[bytes, bytes]:
    """Per node the tag up to which its edits were before somebody who sealed or amended.

    Authors know what they wrote themselves; of others they name the newest event in ``deps``, and
    a device's events arrive in the order of their making.
    """
    decisions = [seal, *document.facts.get("order.amended", ())]
    named = {identity for fact in decisions for identity in fact.deps}
    seen: dict[bytes, bytes] = {}
    for fact in [*decisions, *(fact for fact in document if tag_event(fact.tag) in named)]:
        node = tag_node(fact.tag)
        seen[node] = max(fact.tag, seen.get(node, b""))
    return seen


def _different(
    document: Document, content: dict[str, Any], sealed: Effective, edited: Draft
) -> Iterator[_Found]:
    """What drafts and other seals say and the content does not."""
    counts = sealed.by
    yield from _different_fields(edited.header, content, counts)
    lines = {line["id"]: line for line in content["lines"]}
    for line_id, fields in sorted(edited.lines.items()):
        yield from _different_fields(fields, lines.get(line_id, {}), counts, line_id)
    for kind, fact, removal in read(document, "order.line_removed"):
        line_id = removal.line
        if line_id in lines and line_id not in edited.lines:
            yield _found(kind, fact, "", None, lines[line_id], counts, line=line_id)
    kind = "order.committed"
    for fact in document.facts[kind][1:]:
        other = content_dict(content_of(kind, fact))
        if other != content:
            yield _found(kind, fact, "content", other, None, counts, rule=SEALED_FIRST)


def _different_fields(
    edited: Registers, content: dict[str, Any], counts: Fact, line: str = ""
) -> Iterator[_Found]:
    for name, writes in sorted(edited.items()):
        write, sealed = writes[0], content.get(name)
        value = plain(write.value)
        if not same(value, sealed):
            yield _found(write.kind, write.fact, name, value, sealed, counts, line=line)


def _found(  # noqa: PLR0917 - what, by whom, instead of what
    kind: str,
    fact: Fact,
    field: str,
    value: Any,
    kept: Any,
    kept_by: Fact,
    *,
    line: str = "",
    rule: str = SEALED_BEFORE,
) -> _Found:
    item = loss(field, value, fact, rule, kept=kept, kept_by=kept_by, line=line)
    return _Found(fact, {**item, "kind": kind, "event": tag_event(fact.tag).hex()})
