"""Why a field has its value: the events that count, the ones that do not, and the rule.

An explanation is a function of the document, so every replica that holds the same records gives
the same one (requirements CON-07, CON-10). It names events by their tag: the merge stamp, the
author's node and the event id are in it. The author's own time and the time of receipt stand in
the log; whoever has one adds them (:mod:`replica.projections.why`).

Fields are named as readers name them. ``name`` is a register or a field of a sealed content;
``exists``, ``state`` and ``active`` say whether the thing is there; ``links.<system>`` and
``answers.<system>`` are what a sink said; ``lines.<line>`` and ``lines.<line>.<field>`` are lines;
a pair has the fields of its kinds (``choice``, ``stays``, …).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from replica.crdt import order as orders
from replica.crdt.corrected import Correction, corrections
from replica.crdt.documents import Document, Fact, tag_event, tag_ms, tag_node
from replica.crdt.registers import (
    DELETED_BY_OFFICE,
    DELETED_LATER,
    NEWER_WINS,
    RECORDED_FIRST,
    SEALED_BEFORE,
    SEALED_FIRST,
    UNREADABLE,
    Registers,
    Write,
    content_dict,
    plain,
    read,
    registers,
)
from replica.crdt.view import (
    Named,
    asserting,
    deleted_by,
    lost_to_delete,
    twin_choices,
    view,
)
from replica.events import payloads as p
from replica.events.record import Origin
from replica.limits import LOSERS_PER_FIELD_MAX

NEVER_SAID = "nobody said anything"
SAID_ONCE = "nobody said anything else"
FIRST_SEAL = "the first seal counts"
AMENDED = "an amendment counts over the seal"
ADDED_UP = "the newest count and every movement after it are added up"
MERGED = "all readable edits are merged"
REMOVED = "removed by somebody who had seen it"
CANCELLED = "a cancelled order stays cancelled"
FOUND_EQUAL = "the server found both at once, made without knowing of each other"
DECIDED_BY_SEAL = "the seal's author decided otherwise"


class Said(NamedTuple):
    """What one event said about a field. ``rule`` is why it does not count; empty if it does."""

    kind: str
    fact: Fact
    value: Any
    rule: str = ""


class Why(NamedTuple):
    """One field: its value as :func:`replica.crdt.view.view` gives it, and where it comes from.

    ``winners`` are several where a value is made of several events: a sum, a text, a line.
    ``losers`` are newest first where they are registers, and bounded as in the document.
    """

    field: str
    value: Any
    rule: str
    winners: tuple[Said, ...]
    losers: tuple[Said, ...] = ()


def explain(document: Document, field: str = "") -> list[Why]:
    """Why ``field`` and the fields below it are what they are; every field when it is empty.

    Empty for a field that documents of this type do not have. Never raises for a state that the
    fold made.
    """
    return [
        why
        for why in _EXPLAINED[document.key.type](document)
        if not field or why.field == field or why.field.startswith(f"{field}.")
    ]


def said_values(said: Said) -> dict[str, Any]:
    """``said`` as plain values, the same on every replica; ids and stamps in hex."""
    tag = said.fact.tag
    return {
        "kind": said.kind,
        "value": said.value,
        "rule": said.rule,
        "event": tag_event(tag).hex(),
        "node": tag_node(tag).hex(),
        "origin": Origin(said.fact.origin).name.lower(),
        "merge_stamp": tag[:16].hex(),
        "merged_ms": tag_ms(tag),
    }


def why_values(why: Why) -> dict[str, Any]:
    """``why`` as plain values, the same on every replica."""
    return {
        "field": why.field,
        "value": why.value,
        "rule": why.rule,
        "winners": [said_values(said) for said in why.winners],
        "losers": [said_values(said) for said in why.losers],
    }


# Registers ---------------------------------------------------------------------------------------


def _register(name: str, writes: Sequence[Write]) -> Why:
    """A field where the newest tag wins."""
    if not writes:
        return Why(name, None, NEVER_SAID, ())
    winner, *rest = [Said(write.kind, write.fact, plain(write.value)) for write in writes]
    lost = [said for said in rest[:LOSERS_PER_FIELD_MAX] if said.value != winner.value]
    return Why(
        name,
        winner.value,
        NEWER_WINS if lost else SAID_ONCE,
        (winner,),
        tuple(said._replace(rule=NEWER_WINS) for said in lost),
    )


def _registers(found: Registers, fields: type[msgspec.Struct], under: str = "") -> Iterator[Why]:
    for name in fields.__struct_encode_fields__:
        yield _register(under + name, found.get(name, ()))


def _catalogue(fields: type[Named]) -> _Explained:
    def explained(document: Document) -> Iterator[Why]:
        kind = document.key.type
        edits = read(document, f"{kind}.created", f"{kind}.changed")
        found = registers((name, fact, edit.fields) for name, fact, edit in edits)
        yield _existence(document, found)
        yield from _registers(found, fields)
        for name, fact, link in read(document, f"{kind}.linked"):
            said = Said(name, fact, link.external_id)
            yield Why(f"links.{link.system}", said.value, NEWER_WINS, (said,))
        there = view(document)["there"]
        for name, fact, report in read(document, f"{kind}.followed"):
            said = Said(name, fact, report.state)
            yield Why(f"there.{report.system}", there.get(report.system), NEWER_WINS, (said,))

    return explained


def _existence(document: Document, found: Registers) -> Why:
    """Customers, products and labels: what decides whether they are there (CON-05)."""
    kind = document.key.type
    gates = [
        Said(name, fact, name == f"{kind}.restored")
        for name, fact in reversed(document.of(f"{kind}.deleted", f"{kind}.restored"))
    ]
    deleted = deleted_by(document)
    if deleted is not None:
        rule = DELETED_BY_OFFICE if deleted.origin == Origin.WEB else DELETED_LATER
        lost = [said._replace(rule=rule) for said in gates if said.value]
        for name, write in lost_to_delete(found, deleted):
            lost.append(Said(write.kind, write.fact, {name: plain(write.value)}, rule))
        return Why("exists", False, rule, (Said(f"{kind}.deleted", deleted, False),), tuple(lost))
    asserted = document.of(*asserting(document))
    if not asserted:
        return Why("exists", False, NEVER_SAID, ())
    winner = Said(*asserted[-1], True)
    lost = [said._replace(rule=NEWER_WINS) for said in gates if not said.value]
    return Why("exists", True, NEWER_WINS if lost else SAID_ONCE, (winner,), tuple(lost))


def _stock(document: Document) -> Iterator[Why]:
    """The shelf as counted and moved; sales are in the orders (:mod:`replica.crdt.stock`)."""
    counted = _register("counted_e3", registers(read(document, "stock.counted")).get("qty_e3", ()))
    moved = tuple(
        Said(kind, fact, move.qty_e3) for kind, fact, move in read(document, "stock.moved")
    )
    moved_e3 = sum(said.value for said in moved)
    yield counted
    yield Why("moved_e3", moved_e3, ADDED_UP, moved)
    yield Why(
        "before_sales_e3",
        moved_e3 + (counted.value or 0),
        ADDED_UP,
        counted.winners + moved,
        counted.losers,
    )


def _device(document: Document) -> Iterator[Why]:
    found = registers(read(document, "device.enrolled"))
    yield _register("name", found.get("name", ()))
    yield _register("user", found.get("user", ()))
    gates = [
        Said(kind, fact, kind == "device.enrolled")
        for kind, fact in reversed(document.of("device.enrolled", "device.revoked"))
    ]
    if not gates:
        return
    lost = tuple(
        said._replace(rule=NEWER_WINS) for said in gates[1:] if said.value != gates[0].value
    )
    yield Why("active", gates[0].value, NEWER_WINS if lost else SAID_ONCE, (gates[0],), lost)


# Contents ----------------------------------------------------------------------------------------


class _Version(NamedTuple):
    """A content that somebody sealed, offered or amended; ``rule`` is why it does not count."""

    kind: str
    fact: Fact
    content: dict[str, Any]
    rule: str = ""


def _decided(name: str, rule: str, counts: Said, others: Iterable[Said]) -> Why:
    """A field fixed by one event; of the others those that say something else are losers."""
    lost = tuple(said for said in others if not orders.same(said.value, counts.value))
    return Why(name, counts.value, rule, (counts,), lost)


_Drafted = Callable[[str, str], Iterator[Said]]
"""What a draft said about (line, field)."""


def _no_draft(_: str, __: str) -> Iterator[Said]:
    return iter(())


def _versions(
    rule: str,
    counts: _Version,
    others: Sequence[_Version],
    drafted: _Drafted = _no_draft,
    drafted_lines: Iterable[str] = (),
) -> Iterator[Why]:
    """Every field of the content that counts, and every line that any version or draft has."""
    versions = (counts, *others)

    def decided(field: str, values: Iterable[Any], drafts: Iterable[Said]) -> Why:
        winner, *said = [
            Said(one.kind, one.fact, value, one.rule)
            for one, value in zip(versions, values, strict=True)
        ]
        return _decided(field, rule, winner._replace(rule=""), [*said, *drafts])

    for name in counts.content:
        if name != "lines":
            yield decided(name, [one.content[name] for one in versions], drafted("", name))
    found = [{line["id"]: line for line in one.content["lines"]} for one in versions]
    for line in dict.fromkeys([*(line for lines in found for line in lines), *drafted_lines]):
        rows = [lines.get(line) for lines in found]
        yield decided(f"lines.{line}", rows, drafted(line, ""))
        for name in p.LineFields.__struct_encode_fields__:
            values = [None if row is None else row[name] for row in rows]
            yield decided(f"lines.{line}.{name}", values, drafted(line, name))


def _order(document: Document) -> Iterator[Why]:
    yield _order_state(document)
    sealed = orders.effective(document)
    yield from _draft(document) if sealed is None else _sealed(document, sealed)
    yield from _answers(document)


def _order_state(document: Document) -> Why:
    state = view(document)["state"]
    if cancelled := document.of("order.cancelled"):
        return Why("state", state, CANCELLED, (Said(*cancelled[-1], state),))
    if seals := document.of("order.committed"):
        return Why("state", state, FIRST_SEAL, (Said(*seals[0], state),))
    drafted = document.of(*orders.DRAFT_KINDS)
    if not drafted:
        return Why("state", state, NEVER_SAID, ())
    return Why("state", state, SAID_ONCE, (Said(*drafted[-1], state),))


def _draft(document: Document) -> Iterator[Why]:
    draft = orders.draft(document)
    yield from _registers(draft.header, p.OrderFields)
    removals = list(read(document, "order.line_removed"))
    puts: dict[str, list[Said]] = {}
    for kind, fact, put in read(document, "order.line_put"):
        puts.setdefault(put.line, []).append(Said(kind, fact, plain(put.fields)))
    for line, said in puts.items():
        live = set(draft.puts.get(line, ()))
        lost = tuple(
            one._replace(rule=REMOVED) for one in said if tag_event(one.fact.tag) not in live
        )
        if not live:
            gone = {tag_event(one.fact.tag) for one in lost}
            removed = [Said(kind, fact, None) for kind, fact, one in removals if gone & {*one.seen}]
            yield Why(f"lines.{line}", None, REMOVED, tuple(removed), lost)
            continue
        whys = list(_registers(draft.lines[line], p.LineFields, f"lines.{line}."))
        value = {why.field.rpartition(".")[2]: why.value for why in whys}
        kept = tuple(one for one in said if tag_event(one.fact.tag) in live)
        yield Why(f"lines.{line}", value, NEWER_WINS, kept, lost)
        yield from whys


def _sealed(document: Document, sealed: orders.Effective) -> Iterator[Why]:
    whys = _as_sealed(document, sealed)
    if not sealed.made:
        return whys
    return _corrected(whys, content_dict(sealed.content), sealed.said, sealed.made)


def _as_sealed(document: Document, sealed: orders.Effective) -> Iterator[Why]:
    content = content_dict(sealed.said)
    draft = orders.draft(document)
    waiting = {
        (item["event"], item["line"], item["field"])
        for item in orders.amendments(document, sealed, content, draft)
    }
    first, *later = [
        _Version(kind, fact, content_dict(commit.content), SEALED_FIRST)
        for kind, fact, commit in read(document, "order.committed")
    ]
    amended = [
        _Version(kind, fact, content_dict(amendment.content), NEWER_WINS)
        for kind, fact, amendment in read(document, "order.amended")
    ]
    removals = list(read(document, "order.line_removed"))

    def rule(fact: Fact, line: str, name: str) -> str:
        waits = (tag_event(fact.tag).hex(), line, name) in waiting
        return SEALED_BEFORE if waits else DECIDED_BY_SEAL

    def drafted(line: str, name: str) -> Iterator[Said]:
        if line and not name:
            gone = () if line in draft.lines else removals
            for kind, fact, removal in gone:
                if removal.line == line:
                    yield Said(kind, fact, None, rule(fact, line, ""))
            return
        found = draft.lines.get(line, {}) if line else draft.header
        for at, write in enumerate(found.get(name, [])[: LOSERS_PER_FIELD_MAX + 1]):
            why = NEWER_WINS if at else rule(write.fact, line, name)
            yield Said(write.kind, write.fact, plain(write.value), why)

    if amended:
        others = [*reversed(amended[:-1]), first._replace(rule=AMENDED), *later]
        yield from _versions(AMENDED, amended[-1], others, drafted, draft.lines)
    else:
        yield from _versions(FIRST_SEAL, first, later, drafted, draft.lines)


def _corrected(
    whys: Iterable[Why], content: dict[str, Any], said: p.Content, made: Sequence[Correction]
) -> Iterator[Why]:
    """``whys`` of what the author ``said``, with the server's corrections over them. ``content``
    is what counts."""
    by = {(one.field, one.was): one for one in made if one.now != one.was}
    rows = {line["id"]: line for line in content["lines"]}
    products = {line.id: line.product for line in said.lines}
    for why in whys:
        place, _, name = why.field.rpartition(".")
        line = place.removeprefix("lines.")
        was = products.get(line, "") if place else getattr(said, name, "")
        one = by.get((name, was)) if name in _CORRECTED else None
        if one is not None:
            lost = tuple(said._replace(rule=one.rule) for said in why.winners)
            now = Said(one.kind, one.fact, one.now)
            yield Why(why.field, one.now, one.rule, (now,), (*lost, *why.losers))
        elif why.field.removeprefix("lines.") in rows:
            yield why._replace(value=rows[why.field.removeprefix("lines.")])
        else:
            yield why


_CORRECTED = ("number", "customer", "product")


def _quote(document: Document) -> Iterator[Why]:
    committed = [
        _Version(kind, fact, content_dict(commit.content), NEWER_WINS)
        for kind, fact, commit in read(document, "quote.committed")
    ]
    said = [
        Said(kind, fact, kind.partition(".")[2])
        for kind, fact in reversed(document.of("quote.committed", "quote.withdrawn"))
    ]
    state = view(document)["state"]
    lost = tuple(one._replace(rule=NEWER_WINS) for one in said[1:] if one.value != state)
    rule = NEWER_WINS if lost else SAID_ONCE if said else NEVER_SAID
    yield Why("state", state, rule, tuple(said[:1]), lost)
    if committed:
        *older, newest = committed
        whys = _versions(NEWER_WINS, newest, older[::-1])
        offered = orders.content_of(newest.kind, newest.fact)
        made = corrections(document)
        yield from _corrected(whys, view(document)["content"], offered, made) if made else whys
    yield from _answers(document)


def _return(document: Document) -> Iterator[Why]:
    first, *later = [
        _Version(kind, fact, content_dict(commit.content), SEALED_FIRST)
        for kind, fact, commit in read(document, "return.committed")
    ]
    yield from _versions(FIRST_SEAL, first, later)


def _payment(document: Document) -> Iterator[Why]:
    (kind, fact, payment), *others = read(document, "payment.recorded")
    for name, value in _fields(payment):
        said = [Said(one, by, _field(other, name), RECORDED_FIRST) for one, by, other in others]
        yield _decided(name, RECORDED_FIRST, Said(kind, fact, value), said)


def _sync(document: Document) -> Iterator[Why]:
    ((kind, fact, run),) = read(document, "sync.finished")
    for name, value in _fields(run):
        yield Why(name, value, SAID_ONCE, (Said(kind, fact, value),))


def _twin(document: Document) -> Iterator[Why]:
    for kind, fact, found in read(document, "twin.found"):
        for name, value in _fields(found):
            if name != "twin":
                yield Why(name, value, FOUND_EQUAL, (Said(kind, fact, value),))
    for name, writes in sorted(twin_choices(document).items()):
        yield _register(name, writes)


def _note(document: Document) -> Iterator[Why]:
    seen = view(document)
    unreadable = {*seen["unreadable"]}
    said = [Said(kind, fact, None) for kind, fact in document.of("note.edited")]
    kept = tuple(one for one in said if tag_event(one.fact.tag).hex() not in unreadable)
    lost = tuple(one._replace(rule=UNREADABLE) for one in said if one not in kept)
    yield Why("text", seen["text"], MERGED, kept, lost)


def _answers(document: Document) -> Iterator[Why]:
    """What each sink said: the newest of each kind since its last estimate; older ones lost."""
    kind = document.key.type
    said: dict[str, list[Said]] = {}
    kinds = (f"{kind}.estimated", f"{kind}.parked", f"{kind}.followed")
    for name, fact, answer in read(document, *kinds):
        said.setdefault(answer.system, []).append(Said(name, fact, plain(answer)))
    answers = view(document)["answers"]
    for system, facts in said.items():
        newest_first = facts[::-1]
        estimates = [at for at, one in enumerate(newest_first) if one.kind.endswith(".estimated")]
        since = estimates[0] + 1 if estimates else len(newest_first)
        lost = tuple(one._replace(rule=NEWER_WINS) for one in newest_first[since:])
        rule = NEWER_WINS if len(facts) > 1 else SAID_ONCE
        yield Why(f"answers.{system}", answers[system], rule, tuple(newest_first[:since]), lost)


def _fields(payload: msgspec.Struct) -> list[tuple[str, Any]]:
    return list(plain(payload).items())


def _field(payload: msgspec.Struct, name: str) -> Any:
    return plain(payload).get(name)


_Explained = Callable[[Document], Iterator[Why]]
_EXPLAINED: dict[str, _Explained] = {
    "class": _catalogue(p.LabelFields),
    "department": _catalogue(p.LabelFields),
    "customer": _catalogue(p.CustomerFields),
    "product": _catalogue(p.ProductFields),
    "stock": _stock,
    "order": _order,
    "quote": _quote,
    "return": _return,
    "payment": _payment,
    "note": _note,
    "device": _device,
    "sync": _sync,
    "twin": _twin,
}
