"""Looking for twins among the read models: what the server has to decide after a step.

Only what changed is looked at, with the neighbours it has by name: some index lookups for each
document, however many an account has. Whatever is found is a function of the read models, and what
was said before is not found again, so anybody may look at any time. Read only, and blocking.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from replica.crdt import twins as rules
from replica.crdt.corrected import corrections
from replica.crdt.documents import DocKey, Document
from replica.crdt.twins import FIELDS
from replica.events.event import AccountId, Position
from replica.events.payloads import Payload
from replica.limits import (
    LOCAL_EVENTS_MAX,
    NUMBER_SUFFIXES_MAX,
    TWIN_CHAIN_MAX,
    TWIN_CLAIM_MS,
    TWIN_PAGE_DOCUMENTS,
)
from replica.projections import tables as t
from replica.projections.pause import Pause, go_on
from replica.projections.queries import document
from replica.store.statements import chunked

_LOOKED_AT = ("customer", "order", "product", "quote", "twin")
_SALES = ("order", "quote")
_OPEN = ("on_server", "needs_you")
"""States of a sale that stands in no other system, where a correction still costs nothing."""


class Found(NamedTuple):
    """What one look gave: everything from ``after`` through ``position`` needs no more than
    ``payloads``."""

    after: int
    position: Position
    payloads: list[Payload]


def decided(connection: Connection, account: AccountId) -> int | None:
    """Through which position twins were looked for; None before the first step of a projection."""
    c = t.checkpoints.c
    found = connection.execute(
        select(c.decided, c.position).where(c.account == account)
    ).one_or_none()
    return None if found is None else found.decided if found.decided <= found.position else 0


def put_decided(connection: Connection, account: AccountId, found: Found) -> bool:
    """Note that what ``found`` is about was said. False when others were quicker."""
    c = t.checkpoints.c
    beyond = c.decided > c.position  # by nobody so far
    mine = c.decided == found.after if found.after else or_(c.decided == 0, beyond)
    move = update(t.checkpoints).where(c.account == account, c.position >= found.position, mine)
    return connection.execute(move.values(decided=found.position, claimed_ms=0)).rowcount == 1


def claim(connection: Connection, account: AccountId, now_ms: int) -> bool:
    """Whether the caller may decide: of several server processes one at a time does, and one that
    died is waited for no longer than ``TWIN_CLAIM_MS``."""
    c = t.checkpoints.c
    free = update(t.checkpoints).where(c.account == account, c.claimed_ms < now_ms - TWIN_CLAIM_MS)
    return connection.execute(free.values(claimed_ms=now_ms)).rowcount == 1


def look(
    connection: Connection, account: AccountId, after: int, pause: Pause = go_on
) -> Found | None:
    """What has to be decided about the next documents that changed after ``after``; None when
    nothing did. At most ``LOCAL_EVENTS_MAX`` payloads: say them, and look again from ``after`` when
    they are in the read models, until there are none."""
    c = t.documents.c
    head = connection.scalar(
        select(t.checkpoints.c.position).where(t.checkpoints.c.account == account)
    )
    if head is None or head <= after:
        return None
    changed = connection.execute(
        select(c.type, c.id, c.position)
        .where(c.account == account, c.position > after)  # by position, whatever type it is
        .order_by(c.position)
        .limit(TWIN_PAGE_DOCUMENTS)
    ).all()
    through = changed[-1].position if len(changed) == TWIN_PAGE_DOCUMENTS else head
    keys = [DocKey(row.type, row.id) for row in changed if row.type in _LOOKED_AT]
    found = _Look(connection, account, pause).at(keys)
    return Found(after, Position(through), list(islice(found, LOCAL_EVENTS_MAX)))


class _Look:
    def __init__(self, connection: Connection, account: AccountId, pause: Pause) -> None:
        self._connection = connection
        self._account = account
        self._pause = pause
        self._said: set[str] = set()  # pairs of this look

    def at(self, keys: Sequence[DocKey]) -> Iterator[Payload]:
        pairs = [key for key in keys if key.type == "twin"]
        for kind in ("customer", "product"):
            self._pause()
            ids = {key.id for key in keys if key.type == kind}
            yield from self._pairs(kind, ids | self._partners(kind, ids))
        self._pause()
        yield from self._numbers({key.id for key in keys if key.type == "order"})
        self._pause()
        yield from self._moves({key for key in keys if key.type in _SALES} | self._sales(pairs))

    # Names ---------------------------------------------------------------------------------------

    def _partners(self, kind: str, ids: set[str]) -> set[str]:
        """Whose names have new neighbours when one of ``ids`` has lost its own. Few have any."""
        c = t.twins.c
        found: set[str] = set()
        for mine, theirs in ((c.first, c.second), (c.second, c.first)):
            of_kind = (c.account == self._account, c.of_type == kind)
            known, paired = select(theirs).where(*of_kind), select(mine).distinct().where(*of_kind)
            for some in chunked(sorted(ids)):
                for identity in self._connection.scalars(paired.where(mine.in_(some))).all():
                    query = known.where(mine == identity).limit(TWIN_CHAIN_MAX)
                    found.update(self._connection.scalars(query))
        return found

    def _pairs(self, kind: str, ids: set[str]) -> Iterator[Payload]:
        """Neighbours of one name that were not found before. Who has a name is a chain of such
        pairs, by id, so that the last of a thousand costs no more than the first."""
        for held in self._shared(kind, ids):
            self._pause()
            for other in self._neighbours(held):
                if held.field == "name" and self._told_apart(kind, held.id, other.id):
                    continue
                found = rules.twin_found(kind, held.id, other.id, held.field)
                if found.twin not in self._said and not self._known(found.twin):
                    self._said.add(found.twin)
                    yield found

    def _shared(self, kind: str, ids: set[str]) -> list[Row[Any]]:
        """The names of ``ids`` that somebody else has too, the most telling field first."""
        if not ids:
            return []
        mine, theirs = t.names.alias("mine"), t.names.alias("theirs")
        others = select(theirs.c.id).where(
            *(theirs.c[name] == mine.c[name] for name in ("account", "type", "field", "name")),
            theirs.c.id != mine.c.id,
        )
        query = select(mine).where(
            mine.c.account == self._account,
            mine.c.type == kind,
            mine.c.id.in_(sorted(ids)),
            others.exists(),
        )
        rows = self._connection.execute(query).all()
        return sorted(rows, key=lambda row: (FIELDS[kind].index(row.field), row.id))

    def _neighbours(self, held: Row[Any]) -> Iterator[Row[Any]]:
        c = t.names.c
        query = select(t.names).where(
            c.account == self._account,
            c.type == held.type,
            c.field == held.field,
            c.name == held.name,
        )
        for before, order in ((c.id < held.id, c.id.desc()), (c.id > held.id, c.id)):
            yield from self._connection.execute(query.where(before).order_by(order).limit(1))

    def _told_apart(self, kind: str, one: str, other: str) -> bool:
        """Whether two products of one name have different SKUs."""
        c = t.names.c
        query = select(func.count(c.name.distinct())).where(
            c.account == self._account,
            c.type == kind,
            c.field == "sku",
            c.id.in_([one, other]),
        )
        return self._connection.execute(query).scalar_one() > 1

    def _known(self, twin: str) -> bool:
        c = t.twins.c
        query = select(c.id).where(c.account == self._account, c.id == twin)
        return self._connection.execute(query).first() is not None

    # Numbers -------------------------------------------------------------------------------------

    def _numbers(self, ids: set[str]) -> Iterator[Payload]:
        """Of orders with one number the first keeps it; each of the others gets a suffix."""
        given: set[str] = set()
        for name in dict.fromkeys(held.name for held in self._shared("order", ids)):
            self._pause()
            for identity, number in self._others(name):
                spare = self._spare(number, given)
                given.add(rules.normalised(spare))
                yield rules.correction(DocKey("order", identity), "number", number, spare)

    def _others(self, name: str) -> list[tuple[str, str]]:
        """Id and number of the orders that have to give way. What stands elsewhere or was decided
        already keeps its number: somebody knows it by that. Of the rest the seal that was made
        first does, unless one of those has the number."""
        n, o = t.names.c, t.orders.c
        query = (
            select(o.id, o.number, o.state, o.external_id)
            .select_from(t.names.join(t.orders, and_(o.account == n.account, o.id == n.id)))
            .where(n.account == self._account, n.type == "order", n.field == "number")
            .where(n.name == name)
            .order_by(o.sealed_tag)
            .limit(NUMBER_SUFFIXES_MAX)
        )
        rows = []
        for row in self._connection.execute(query).all():
            numbers = self._numbers_of(row.id)
            if (row.number, row.number) not in numbers:  # the office wants it twice
                keeps = row.state not in _OPEN or row.external_id or numbers
                rows.append((row.id, row.number, bool(keeps)))
        free = [(identity, number) for identity, number, keeps in rows if not keeps]
        return free if len(free) < len(rows) else free[1:]

    def _numbers_of(self, order: str) -> list[tuple[str, str]]:
        """What was decided about the number of an order: was, and is."""
        found = self._document(DocKey("order", order))
        made = corrections(found) if found else []
        return [(one.was, one.now) for one in made if one.field == "number"]

    def _spare(self, number: str, given: set[str]) -> str:
        """``number`` with the first suffix that no order has."""
        c = t.names.c
        for first in count(2, NUMBER_SUFFIXES_MAX):
            tried = [
                rules.suffixed(number, one) for one in range(first, first + NUMBER_SUFFIXES_MAX)
            ]
            query = select(c.name).where(
                c.account == self._account,
                c.type == "order",
                c.field == "number",
                c.name.in_([rules.normalised(one) for one in tried]),
            )
            taken = given.union(self._connection.scalars(query))
            for one in tried:
                if rules.normalised(one) not in taken:
                    return one
        raise AssertionError("there is always another number")

    # The same ------------------------------------------------------------------------------------

    def _sales(self, pairs: list[DocKey]) -> set[DocKey]:
        """Sales that name one of a pair about which something was decided, as far as they stand
        nowhere else."""
        records: set[tuple[str, str]] = set()
        c = t.twins.c
        for key in pairs:
            query = select(c.of_type, c.first, c.second).where(
                c.account == self._account, c.id == key.id, c.decided_ms > 0
            )
            for of, first, second in self._connection.execute(query):
                records |= {(of, first), (of, second)}
        found: set[DocKey] = set()
        for of, record in records:
            for kind in _SALES:
                found |= {DocKey(kind, identity) for identity in self._naming(kind, of, record)}
        return found

    def _naming(self, kind: str, of: str, record: str) -> Iterable[str]:
        o, line = t.SEALED[kind].c, t.order_lines.c
        query = select(o.id).where(o.account == self._account, o.state.in_(_OPEN))
        if of == "customer":
            return self._connection.scalars(query.where(o.customer == record))
        lines = select(line.id).where(
            line.account == o.account,
            line.product == record,
            line.type == kind,
            line.id == o.id,
        )
        return self._connection.scalars(query.where(lines.exists()))

    def _moves(self, keys: set[DocKey]) -> Iterator[Payload]:
        """Corrections of sales that name a record for which another one stands."""
        if self._nobody_stands(keys):
            return
        o = {kind: t.SEALED[kind].c for kind in _SALES}
        for key in sorted(keys):
            self._pause()
            c = o[key.type]
            query = select(c.id).where(
                c.account == self._account,
                c.id == key.id,
                c.state.in_(_OPEN),
                c.external_id == "",
            )
            found = self._document(key) if self._connection.scalar(query) else None
            if found is not None:
                yield from rules.moves(found, self._standing(rules.named_by(found)))

    def _nobody_stands(self, keys: set[DocKey]) -> bool:
        """Whether no decision of this account could matter to ``keys``: the common case."""
        c = t.twins.c
        query = select(c.id).where(c.account == self._account, c.decided_ms > 0).limit(1)
        return not keys or self._connection.execute(query).first() is None

    def _standing(self, named: set[DocKey]) -> dict[DocKey, str]:
        """Who stands for each of ``named``, and for who stands for them."""
        c = t.twins.c
        found: dict[DocKey, str] = {}
        asked: set[DocKey] = set()
        for _ in range(TWIN_CHAIN_MAX):
            asked |= named
            for kind in {key.type for key in named}:
                ids = sorted(key.id for key in named if key.type == kind)
                query = (
                    select(c.gone, c.stays)
                    .where(
                        c.account == self._account,
                        c.of_type == kind,
                        c.gone.in_(ids),
                        c.choice == "same",
                    )
                    .order_by(c.decided_ms, c.id)  # of two that stand for one, the newer decision
                )
                for gone, stays in self._connection.execute(query):
                    found[DocKey(kind, gone)] = stays
            named = {DocKey(key.type, stays) for key, stays in found.items()} - asked
            if not named:
                break
        return found

    def _document(self, key: DocKey) -> Document | None:
        return document(self._connection, self._account, key)
