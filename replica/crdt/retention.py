"""Which facts of a document can still matter, and which are dropped.

Every rule here keeps the state a function of the set of records: a fact is dropped only when no
record that may still arrive could bring it back. "The newest n" and "the oldest n" of a growing
set have that property; "all that nobody has removed" has not, which is why the puts of order lines
are never dropped for being superseded.

The log keeps every event for ever; what is dropped here is only no longer listed (CON-10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from msgspec import UNSET

from replica.crdt.documents import Document, Fact
from replica.events.kinds import Registry
from replica.events.record import Origin
from replica.limits import (
    CONTENTS_KEPT_MAX,
    DRAFT_EDITS_MAX,
    LOSERS_PER_FIELD_MAX,
    NOTE_EDITS_MAX,
)

Facts = list[tuple[str, Fact]]
"""Kind and fact, oldest tag first."""

VALUES_KEPT_MAX = LOSERS_PER_FIELD_MAX + 1


Keep = Callable[[Facts, Registry], Facts]


class Rule(NamedTuple):
    """How the facts of ``kinds``, looked at together, are thinned."""

    kinds: tuple[str, ...]
    thin: Callable[[Document, Registry], None]


def thin(document: Document, kind: str, registry: Registry) -> None:
    """Drop what no longer matters after a fact of ``kind`` was inserted into ``document``."""
    RULES[kind].thin(document, registry)


def _rule(kinds: tuple[str, ...], spared: int, keep: Keep) -> Rule:
    """``keep`` is asked only when there are more than ``spared`` facts: fewer are all kept."""

    def thin_kinds(document: Document, registry: Registry) -> None:
        if sum(len(document.facts.get(name, ())) for name in kinds) <= spared:
            return
        facts = document.of(*kinds)
        kept = keep(facts, registry)
        if len(kept) < len(facts):
            document.replace(kinds, kept)

    return Rule(kinds, thin_kinds)


def _newest(count: int) -> Keep:
    return lambda facts, _: facts[-count:]


def _oldest(count: int) -> Keep:
    return lambda facts, _: facts[:count]


def _written_fields(facts: Facts, registry: Registry) -> Facts:
    """The newest ``VALUES_KEPT_MAX`` facts, and those that hold one of as many newest values of
    some field.

    A dropped fact has that many newer ones in each of its fields, all of them kept. One without
    fields has that many newer ones of any sort, and these are kept as well.
    """
    written: Counter[str] = Counter()
    kept: Facts = []
    for kind, fact in reversed(facts):
        fields = registry.read(kind, fact.body).fields
        names = [name for name in fields.__struct_fields__ if getattr(fields, name) is not UNSET]
        recent = len(kept) < VALUES_KEPT_MAX
        if recent or any(written[name] < VALUES_KEPT_MAX for name in names):
            kept.append((kind, fact))
        written.update(names)
    kept.reverse()
    return kept


def _newest_by_side(facts: Facts, _: Registry) -> Facts:
    """The newest deletes and restores of the office, and the newest of everybody else."""
    counts: Counter[bool] = Counter()
    kept: Facts = []
    for kind, fact in reversed(facts):
        side = fact.origin == Origin.WEB
        counts[side] += 1
        if counts[side] <= VALUES_KEPT_MAX:
            kept.append((kind, fact))
    kept.reverse()
    return kept


def _newest_per_system(facts: Facts, registry: Registry) -> Facts:
    """The newest answer of each sink."""
    newest = {registry.read(kind, fact.body).system: (kind, fact) for kind, fact in facts}
    return sorted(newest.values(), key=lambda pair: pair[1].tag)


def _newest_per_value(facts: Facts, registry: Registry) -> Facts:
    """The newest correction of each value of a field."""
    newest = {}
    for kind, fact in facts:
        said = registry.read(kind, fact.body)
        newest[said.field, said.was] = (kind, fact)
    return sorted(newest.values(), key=lambda pair: pair[1].tag)


def _since_count(document: Document, _: Registry) -> None:
    """The newest stock-takes, and the movements after the newest of them.

    Movements are not gone through one by one: a busy shelf has thousands between two counts.
    """
    counts = document.facts.get("stock.counted")
    if counts:
        del counts[:-VALUES_KEPT_MAX]
        document.drop_before("stock.moved", counts[-1].tag)


_RULES = (
    *(
        rule
        for name in ("customer", "product", "class", "department")
        for rule in (
            _rule((f"{name}.created", f"{name}.changed"), VALUES_KEPT_MAX, _written_fields),
            _rule((f"{name}.deleted", f"{name}.restored"), VALUES_KEPT_MAX, _newest_by_side),
            _rule((f"{name}.linked",), 1, _newest_per_system),
        )
    ),
    _rule(("customer.followed",), 1, _newest_per_system),
    _rule(("product.followed",), 1, _newest_per_system),
    Rule(("stock.counted", "stock.moved"), _since_count),
    _rule(("order.drafted", "order.changed"), VALUES_KEPT_MAX, _written_fields),
    _rule(("order.line_put", "order.line_removed"), DRAFT_EDITS_MAX, _oldest(DRAFT_EDITS_MAX)),
    _rule(("order.committed",), CONTENTS_KEPT_MAX, _oldest(CONTENTS_KEPT_MAX)),
    _rule(("order.amended",), CONTENTS_KEPT_MAX, _newest(CONTENTS_KEPT_MAX)),
    _rule(("order.cancelled",), 1, _newest(1)),
    _rule(("order.corrected",), 1, _newest_per_value),
    _rule(("order.estimated",), 1, _newest_per_system),
    _rule(("order.parked",), 1, _newest_per_system),
    _rule(("order.followed",), 1, _newest_per_system),
    _rule(("quote.committed",), CONTENTS_KEPT_MAX, _newest(CONTENTS_KEPT_MAX)),
    _rule(("quote.withdrawn",), 1, _newest(1)),
    _rule(("quote.corrected",), 1, _newest_per_value),
    _rule(("quote.estimated",), 1, _newest_per_system),
    _rule(("quote.parked",), 1, _newest_per_system),
    _rule(("quote.followed",), 1, _newest_per_system),
    _rule(("return.committed",), CONTENTS_KEPT_MAX, _oldest(CONTENTS_KEPT_MAX)),
    _rule(("payment.recorded",), VALUES_KEPT_MAX, _oldest(VALUES_KEPT_MAX)),
    _rule(("note.edited",), NOTE_EDITS_MAX, _oldest(NOTE_EDITS_MAX)),
    _rule(("device.enrolled",), VALUES_KEPT_MAX, _newest(VALUES_KEPT_MAX)),
    _rule(("device.revoked",), 1, _newest(1)),
    _rule(("device.scoped",), 1, _newest(1)),
    _rule(("sync.finished",), 1, _newest(1)),
    _rule(("twin.found",), 1, _oldest(1)),
    _rule(("twin.decided",), VALUES_KEPT_MAX, _newest(VALUES_KEPT_MAX)),
)

RULES = {kind: rule for rule in _RULES for kind in rule.kinds}
"""The retention rule of every kind that the fold knows."""
