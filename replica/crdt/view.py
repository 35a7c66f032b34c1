"""Views: what a document says, as plain values for readers (pages, phones, projections).

Every view is a dict with ``type``, ``id``, ``changed_ms`` (merge time of the newest fact that
counts towards the document) and ``losers``, the values that did not count, each as

    {field, line, value, by, stamp_ms, rule, kept, kept_by}

with ``by`` and ``kept_by`` as tags in hex and ``rule`` in words (requirements CON-10). Values keep
the names and units of :mod:`replica.events.payloads`; bytes are hex. What each type adds stands at
its function. Views are computed, never stored as truth.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from replica.crdt import order as orders
from replica.crdt.corrected import corrected, corrections, given_way
from replica.crdt.documents import Document, Fact, tag_event, tag_ms, tag_node
from replica.crdt.registers import (
    DELETED_BY_OFFICE,
    DELETED_LATER,
    NEWER_WINS,
    RECORDED_FIRST,
    SEALED_FIRST,
    UNREADABLE,
    Registers,
    Write,
    content_dict,
    losers,
    loss,
    plain,
    read,
    registers,
    winners,
)
from replica.crdt.text import note_text
from replica.events import payloads as p
from replica.events.kinds import REGISTRY
from replica.events.record import Origin

View = dict[str, Any]
Named = p.CustomerFields | p.ProductFields | p.LabelFields


def view(document: Document) -> View:
    """Plain values of ``document``. Never raises for a state that the fold made."""
    found = _VIEWS[document.key.type](document)
    changed_ms = max((tag_ms(fact.tag) for fact in document), default=0)
    return {
        "type": document.key.type,
        "id": document.key.id,
        "changed_ms": changed_ms,
        **found,
        "losers": list(found.get("losers", ())),
    }


def exists(document: Document) -> bool:
    """Whether a customer, product, class or department is there (architecture.md §5, CON-05).

    A delete by the office counts over everything but a later restore by the office. Short of that
    the newest of all creations, edits, deletes and restores decides. A document that only a sink
    has answered for is not there yet.
    """
    return deleted_by(document) is None and document.newest(*asserting(document)) is not None


def asserting(document: Document) -> tuple[str, str, str]:
    """Kinds that say that a named record is there."""
    kind = document.key.type
    return f"{kind}.created", f"{kind}.changed", f"{kind}.restored"


def deleted_by(document: Document) -> Fact | None:
    """The delete that counts, if one does."""
    kind = document.key.type
    gates = document.of(f"{kind}.deleted", f"{kind}.restored")
    of_office = [pair for pair in gates if pair[1].origin == Origin.WEB]
    if of_office and of_office[-1][0] == f"{kind}.deleted":
        return of_office[-1][1]
    if not gates or gates[-1][0] != f"{kind}.deleted":
        return None
    deleted = gates[-1][1]
    newest = document.newest(*asserting(document))
    return deleted if newest is None or deleted.tag > newest.tag else None


def _catalogue(fields: type[Named]) -> Callable[..., View]:
    def look(document: Document) -> View:
        """``exists``, ``deleted_by`` (None, "office", "device"), ``fields``, ``links``, and per
        system what became of it ``there`` ({state, cause, fix}) unless it stands as it was left.
        """
        kind = document.key.type
        found = registers(
            (name, fact, edit.fields)
            for name, fact, edit in read(document, f"{kind}.created", f"{kind}.changed")
        )
        deleted = deleted_by(document)
        links = read(document, f"{kind}.linked")
        side = None if deleted is None else ("office" if deleted.origin == Origin.WEB else "device")
        return {
            "exists": exists(document),
            "deleted_by": side,
            "fields": winners(found, fields),
            "links": {link.system: link.external_id for _, _, link in links},
            "there": {
                said.system: {"state": said.state, "cause": said.cause, "fix": said.fix}
                for _, _, said in read(document, f"{kind}.followed")
                if said.state != "standing"
            },
            "losers": [*losers(found), *_lost_to_delete(found, deleted)],
        }

    return look


def lost_to_delete(found: Registers, deleted: Fact) -> Iterator[tuple[str, Write]]:
    """Edits by others that a delete took with it, older and newer ones, by field (CON-05)."""
    for name, (write, *_) in sorted(found.items()):
        if write.kind.endswith(".changed") and tag_node(write.fact.tag) != tag_node(deleted.tag):
            yield name, write


def _lost_to_delete(found: Registers, deleted: Fact | None) -> Iterator[View]:
    if deleted is None:
        return
    rule = DELETED_BY_OFFICE if deleted.origin == Origin.WEB else DELETED_LATER
    for name, write in lost_to_delete(found, deleted):
        yield loss(name, write.value, write.fact, rule, kept_by=deleted)


def _stock(document: Document) -> View:
    """``counted_e3``, ``counted_tag``, ``counted_ms`` of the newest stock-take (None before the
    first), ``moved_e3`` since, and their sum ``before_sales_e3`` (:mod:`replica.crdt.stock`).
    """
    counted = registers(read(document, "stock.counted"))
    counted.pop("product", None)
    last = counted["qty_e3"][0] if counted else None
    moved_e3 = sum(move.qty_e3 for _, _, move in read(document, "stock.moved"))
    return {
        "counted_e3": last.value if last else None,
        "counted_tag": last.fact.tag.hex() if last else None,
        "counted_ms": tag_ms(last.fact.tag) if last else None,
        "moved_e3": moved_e3,
        "before_sales_e3": moved_e3 + (last.value if last else 0),
        "losers": losers(counted),
    }


def _order(document: Document) -> View:
    """``state`` (unknown, draft, sealed, cancelled), ``fields`` and ``lines`` of the draft,
    ``content`` (None until sealed), ``sealed`` and ``amended`` ({tag, node, ms} or None),
    ``cancelled`` ({reason, tag, ms} or None), ``answers`` per sink, and ``amendments``: like
    losers, but waiting for review (:func:`replica.crdt.order.amendments`).
    """
    draft = orders.draft(document)
    sealed = orders.effective(document)
    cancelled = document.newest("order.cancelled")
    drafted = any(kind in document.facts for kind in orders.DRAFT_KINDS)
    lost = list(losers(draft.header))
    for line, fields in sorted(draft.lines.items()):
        lost.extend(losers(fields, line))
    content = content_dict(sealed.content) if sealed else None
    waiting: list[View] = []
    if sealed:
        said = content_dict(sealed.said)
        waiting.extend(orders.amendments(document, sealed, said, draft))
        lost.extend(given_way(sealed.said, sealed.made, sealed.by))
    state = "sealed" if sealed else "draft" if drafted else "unknown"
    return {
        "state": "cancelled" if cancelled else state,
        "fields": winners(draft.header, p.OrderFields),
        "lines": [
            {
                "id": line,
                **winners(fields, p.LineFields),
                "puts": [identity.hex() for identity in draft.puts[line]],
            }
            for line, fields in draft.lines.items()
        ],
        "content": content,
        "sealed": _when(sealed.seal) if sealed else None,
        "amended": _when(sealed.amended) if sealed and sealed.amended else None,
        "cancelled": _withdrawal("order.cancelled", cancelled),
        "answers": _answers(document),
        "amendments": waiting,
        "losers": [*lost, *orders.superseded(document)],
    }


def _quote(document: Document) -> View:
    """``state`` (unknown, committed, withdrawn), ``content`` of the newest commit, ``committed``
    ({tag, node, ms}), ``withdrawn`` ({reason, tag, ms} or None), ``answers`` per sink.
    """
    committed = list(read(document, "quote.committed"))
    last = committed[-1][1] if committed else None
    withdrawn = document.newest("quote.withdrawn")
    if withdrawn and last and last.tag > withdrawn.tag:
        withdrawn = None  # offered anew
    state = "committed" if committed else "unknown"
    content, lost = None, list(_other_contents(reversed(committed[:-1]), last, NEWER_WINS))
    if last:
        said, made = committed[-1][2].content, corrections(document)
        content = content_dict(corrected(said, made))
        lost.extend(given_way(said, made, last))
    return {
        "state": "withdrawn" if withdrawn else state,
        "content": content,
        "committed": _when(last) if last else None,
        "withdrawn": _withdrawal("quote.withdrawn", withdrawn),
        "answers": _answers(document),
        "losers": lost,
    }


def _return(document: Document) -> View:
    """``state`` "committed", ``content`` of the first commit, ``committed`` ({tag, node, ms})."""
    committed = list(read(document, "return.committed"))
    _, first, seal = committed[0]
    return {
        "state": "committed",
        "content": content_dict(seal.content),
        "committed": _when(first),
        "losers": _other_contents(committed[1:], first, SEALED_FIRST),
    }


def _payment(document: Document) -> View:
    """The fields of the first record of this payment, and ``recorded`` ({tag, node, ms})."""
    (_, first, payment), *others = read(document, "payment.recorded")
    lost = [
        loss("payment", other, fact, RECORDED_FIRST, kept_by=first)
        for _, fact, other in others
        if other != payment
    ]
    return {**plain(payment), "recorded": _when(first), "losers": lost}


def _note(document: Document) -> View:
    """``about_type``, ``about``, ``text``, and ``unreadable``: events that count nothing."""
    about_type, _, about = document.key.id.partition(":")
    edits = list(read(document, "note.edited"))
    text, indexes = note_text([edit.update for _, _, edit in edits])
    unreadable = [edits[index][1] for index in indexes]
    return {
        "about_type": about_type,
        "about": about,
        "text": text,
        "unreadable": [tag_event(fact.tag).hex() for fact in unreadable],
        "losers": [loss("text", None, fact, UNREADABLE) for fact in unreadable],
    }


def _device(document: Document) -> View:
    """``name``, ``user``, ``enrolled`` and ``revoked`` ({tag, node, ms} or None), ``active``, and
    ``scope``: the fields of ``DeviceScoped`` with its ``ms``, None for a device that holds all.
    """
    enrolled = registers(read(document, "device.enrolled"))
    first = document.newest("device.enrolled")
    revoked = document.newest("device.revoked")
    standing = first is not None and (revoked is None or first.tag > revoked.tag)
    values = winners(enrolled, p.DeviceEnrolled)
    return {
        "name": values["name"],
        "user": values["user"],
        "enrolled": _when(first) if first else None,
        "revoked": _when(revoked) if revoked and not standing else None,
        "active": standing,
        "scope": _scope(document),
        "losers": losers(enrolled),
    }


def _scope(document: Document) -> View | None:
    scoped = document.newest("device.scoped")
    if scoped is None:
        return None
    return {**plain(REGISTRY.read("device.scoped", scoped.body)), "ms": tag_ms(scoped.tag)}


def _sync(document: Document) -> View:
    """The fields of ``SyncFinished``."""
    ((_, _, run),) = read(document, "sync.finished")
    found: View = plain(run)
    return found


def _twin(document: Document) -> View:
    """Two records that were made twice: ``of`` ("customer", "product"), ``first`` and ``second``,
    the ``field`` that was equal, ``choice`` ("ask", "apart", "same"), ``stays`` and ``gone`` (""
    but for the same), ``found`` and ``decided`` ({tag, node, ms} or None). Whether they clash still
    is in the two records (:func:`replica.crdt.twins.clash`).
    """
    found = _pair(document)
    choices = twin_choices(document)
    stays = choices["stays"][0].value if choices else ""
    pair = (found.first, found.second) if found else ("", "")
    seen = document.newest("twin.found")
    return {
        "of": found.of if found else "",
        "first": pair[0],
        "second": pair[1],
        "field": found.field if found else "",
        "choice": choices["choice"][0].value if choices else "ask",
        "stays": stays,
        "gone": pair[1 - pair.index(stays)] if stays else "",
        "found": _when(seen) if seen else None,
        "decided": _when(choices["choice"][0].fact) if choices else None,
        "losers": losers(choices),
    }


def twin_choices(document: Document) -> Registers:
    """What was decided of a pair, ``choice`` and ``stays`` as registers; a decision that names
    somebody else counts nothing."""
    found = _pair(document)
    possible = ("", found.first, found.second) if found else ("",)
    decided = registers(
        said for said in read(document, "twin.decided") if said[2].stays in possible
    )
    decided.pop("twin", None)
    return decided


def _pair(document: Document) -> p.TwinFound | None:
    return next((found for _, _, found in read(document, "twin.found")), None)


def _answers(document: Document) -> View:
    """What each sink said last: ``state`` (estimated, parked) with the fields of either kind, and
    ``there``, what became of the estimate since ({state, cause, fix, document, number, tag, ms}).

    An order that is parked after it was estimated keeps the fields of its estimate.
    """
    answers: View = {}
    kind = document.key.type
    for name, fact, answered in read(
        document, f"{kind}.estimated", f"{kind}.parked", f"{kind}.followed"
    ):
        said = plain(answered)
        del said[kind]
        answer = answers.setdefault(said.pop("system"), {})
        when = {"tag": fact.tag.hex(), "ms": tag_ms(fact.tag)}
        if name.endswith(".followed"):
            answers[answered.system] = {"state": "estimated", **when, **answer}
            answers[answered.system]["there"] = {**said, **when}
            continue
        if name.endswith(".estimated"):
            answer.clear()
        answer.update(said, state=name.partition(".")[2], **when)
    return answers


def _other_contents(
    others: Iterable[tuple[str, Fact, Any]], kept_by: Fact | None, rule: str
) -> Iterator[View]:
    for _, fact, commit in others:
        yield loss("content", content_dict(commit.content), fact, rule, kept_by=kept_by)


def _when(fact: Fact) -> View:
    return {"tag": fact.tag.hex(), "node": tag_node(fact.tag).hex(), "ms": tag_ms(fact.tag)}


def _withdrawal(kind: str, fact: Fact | None) -> View | None:
    if fact is None:
        return None
    return {"reason": REGISTRY.read(kind, fact.body).reason, **_when(fact)}


_VIEWS: dict[str, Callable[[Document], View]] = {
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
