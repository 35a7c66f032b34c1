"""How far a comparison has come and what it found. Durable, so that a killed one goes on.

A page that was taken in and the place where the next one begins are one transaction; rows are named
by their id there, so a page that comes twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    RowMapping,
    Select,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
)

from qbo_sink import compare, schema
from qbo_sink.answers import net_total, to_minor
from qbo_sink.judge import DRIFTS, VOIDED, Found, Month, Ours, Place, Theirs, Verdict
from qbo_sink.model import CONVERTED, SALES, Entity, JsonObject, Key, Sale, decode_wanted
from qbo_sink.rows import (
    columns,
    is_open,
    load,
    parts,
    reading,
    same_key,
    to_mapping,
    upsert,
    writing,
)
from replica.limits import QBO_COMPARISON_AGE_MS

FETCHING, DONE = "fetching", "done"
_comparisons, _theirs, _findings, _ignored = (
    schema.comparisons,
    schema.theirs,
    schema.findings,
    schema.ignored,
)
_mappings, _wanted, _intents = schema.mappings, schema.wanted, schema.intents
_bills = schema.mappings.alias()


@dataclass(frozen=True)
class Progress:
    """One account's comparison: the one that is on, or the last one."""

    state: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    fetched: int = 0
    next_start: int = 1
    reads: int = 0
    equal: int = 0
    months: tuple[Month, ...] = ()
    foreign: int = 0
    entity: str = Entity.ESTIMATE  # whose pages are read


@dataclass(frozen=True)
class Kept:
    """A difference as it is kept, with who said that it may be."""

    id: int
    found: Found
    reason: str = ""
    by: str = ""
    at_ms: int = 0


class _Totals(msgspec.Struct):
    months: list[Month]
    foreign: int = 0


class ReconcileStore:
    """Comparisons of all accounts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def progress(self, account: bytes) -> Progress:
        """Where the account's comparison stands."""
        with reading(self._engine) as connection:
            row = connection.execute(select(_comparisons).filter_by(account=account)).first()
        if row is None:
            return Progress()
        names = [one.name for one in fields(Progress) if one.name not in ("months", "foreign")]
        totals = msgspec.json.decode(row.months or '{"months":[]}', type=_Totals)
        values = {name: getattr(row, name) for name in names}
        return Progress(**values, months=tuple(totals.months), foreign=totals.foreign)

    def begin(self, account: bytes, now_ms: int) -> Progress:
        """Go on with the comparison that was cut off, or begin one."""
        known = self.progress(account)
        if known.state == FETCHING and now_ms - known.started_ms < QBO_COMPARISON_AGE_MS:
            return known
        begun = Progress(state=FETCHING, started_ms=max(now_ms, known.started_ms + 1))
        self._write(account, begun)
        return begun

    def take(
        self, account: bytes, progress: Progress, rows: Sequence[Theirs], fetched: int, reads: int
    ) -> Progress:
        """Keep one page; the next one begins behind it."""
        moved = replace(
            progress,
            fetched=progress.fetched + fetched,
            next_start=progress.next_start + fetched,
            reads=progress.reads + reads,
        )
        values = [
            {"account": account, "seen_ms": progress.started_ms, **row._asdict()} for row in rows
        ]
        with writing(self._engine) as connection:
            upsert(connection, _theirs, values, ["account", "entity", "external_id"])
            row = {"account": account, **self._columns(moved)}
            upsert(connection, _comparisons, [row], ["account"])
        return moved

    def turn(self, account: bytes, progress: Progress, entity: Entity) -> Progress:
        """Begin with the pages of ``entity``."""
        turned = replace(progress, entity=entity, next_start=1)
        self._write(account, turned)
        return turned

    def has_invoices(self, account: bytes) -> bool:
        """Whether any order of this account became an invoice or shall: those are compared too."""
        found = select(_wanted.c.account).filter_by(account=account, entity=Entity.INVOICE)
        with reading(self._engine) as connection:
            return connection.execute(found.limit(1)).first() is not None

    def unseen(self, account: bytes, progress: Progress, entity: Entity) -> list[str]:
        """Ids of linked documents that no page showed."""
        seen = and_(
            _theirs.c.account == _mappings.c.account,
            _theirs.c.entity == _mappings.c.entity,
            _theirs.c.external_id == _mappings.c.external_id,
            _theirs.c.seen_ms == progress.started_ms,
        )
        with reading(self._engine) as connection:
            return list(
                connection.scalars(
                    select(_mappings.c.external_id)
                    .where(
                        _mappings.c.account == account,
                        _mappings.c.entity == str(entity),
                        ~select(_theirs.c.account).where(seen).exists(),
                    )
                    .order_by(_mappings.c.external_id)
                )
            )

    def ours(self, account: bytes) -> Iterator[Ours]:
        """Every committed order and quote, and what it is linked to: its invoice once there is one
        or it shall become nothing else, its estimate until then."""
        row_waits = select(_intents.c.id).where(same_key(_intents, _wanted), is_open()).exists()
        billed = and_(_bills.c.entity == str(Entity.INVOICE), _same_document(_bills, _wanted))
        statement = (
            select(
                _wanted.c.entity,
                _wanted.c.content,
                _mappings.c.external_id,
                row_waits.label("waits"),
                _bills.c.external_id.is_not(None).label("billed"),
            )
            .select_from(
                _wanted.outerjoin(_mappings, same_key(_wanted, _mappings)).outerjoin(_bills, billed)
            )
            .where(
                _wanted.c.account == account,
                _wanted.c.entity.in_([str(entity) for entity in SALES]),
                _wanted.c.hash != "",
                # A conversion that is still to come: the estimate stands for the order.
                or_(_wanted.c.form != CONVERTED, _mappings.c.external_id.is_not(None)),
            )
            .order_by(_wanted.c.position)
        )
        with reading(self._engine) as connection:
            for row in connection.execute(statement):
                entity = Entity(row.entity)
                sale = decode_wanted(entity, row.content)
                if isinstance(sale, Sale):
                    one = _document(entity, sale, row.external_id or "", waits=row.waits)
                    is_replaced = entity is Entity.ESTIMATE and row.billed
                    yield one._replace(replaced=True) if is_replaced else one

    def links(self, account: bytes) -> list[tuple[Key, str, str]]:
        """Every linked order and quote: key, id there, the state that was known."""
        names = ("entity", "local_type", "local_id", "external_id", "drift")
        statement = select(*(_mappings.c[name] for name in names)).where(
            _mappings.c.account == account,
            _mappings.c.entity.in_([str(entity) for entity in SALES]),
        )
        with reading(self._engine) as connection:
            return [
                (Key(Entity(entity), kind, identity), external_id, drift)
                for entity, kind, identity, external_id, drift in connection.execute(statement)
            ]

    def theirs(self, account: bytes, progress: Progress) -> dict[Place, Theirs]:
        """Everything that this comparison saw."""
        with reading(self._engine) as connection:
            found = connection.execute(
                select(*(_theirs.c[name] for name in Theirs._fields)).where(
                    _theirs.c.account == account, _theirs.c.seen_ms == progress.started_ms
                )
            )
            rows = (Theirs(*row) for row in found)
            return {(row.entity, row.external_id): row for row in rows}

    def finish(self, account: bytes, progress: Progress, verdict: Verdict, now_ms: int) -> None:
        """The comparison is complete: its findings replace those of the last one."""
        done = Progress(
            state=DONE,
            started_ms=progress.started_ms,
            finished_ms=now_ms,
            fetched=progress.fetched,
            next_start=1,
            reads=progress.reads,
            equal=verdict.equal,
            months=tuple(verdict.months),
            foreign=verdict.foreign,
        )
        rows = [{"account": account, **_values(found)} for found in verdict.found]
        with writing(self._engine) as connection:
            connection.execute(delete(_findings).where(_findings.c.account == account))
            for part in parts(rows):
                connection.execute(insert(_findings), part)
            stale = _theirs.c.seen_ms != progress.started_ms
            connection.execute(delete(_theirs).where(_theirs.c.account == account, stale))
            row = {"account": account, **self._columns(done)}
            upsert(connection, _comparisons, [row], ["account"])

    def _write(self, account: bytes, progress: Progress) -> None:
        with writing(self._engine) as connection:
            row = {"account": account, **self._columns(progress)}
            upsert(connection, _comparisons, [row], ["account"])

    def _columns(self, progress: Progress) -> dict[str, object]:
        names = [one.name for one in fields(Progress) if one.name not in ("months", "foreign")]
        totals = _Totals(list(progress.months), progress.foreign)
        values = {name: getattr(progress, name) for name in names}
        return values | {"months": msgspec.json.encode(totals).decode()}

    # Findings ------------------------------------------------------------------------------------

    def findings(
        self, account: bytes, *, kind: str = "", start: int = 0, limit: int | None = None
    ) -> list[Kept]:
        """Differences with what was said about them; ``kind`` "ignored" for those, "" for the rest.

        In the order in which they were found.
        """
        with reading(self._engine) as connection:
            statement = self._select(account).order_by(_findings.c.id)
            if kind == "ignored":
                statement = statement.where(_ignored.c.at_ms.is_not(None))
            else:
                statement = statement.where(_ignored.c.at_ms.is_(None))
            if kind not in ("", "ignored"):
                statement = statement.where(_findings.c.kind == kind)
            if limit is not None:
                statement = statement.offset(start).limit(limit)
            return [_kept(row) for row in connection.execute(statement).mappings()]

    def finding(self, account: bytes, identity: int) -> Kept | None:
        """One difference."""
        with reading(self._engine) as connection:
            statement = self._select(account).where(_findings.c.id == identity)
            row = connection.execute(statement).mappings().first()
            return None if row is None else _kept(row)

    def counts(self, account: bytes) -> dict[str, int]:
        """How many differences there are of each kind; those that are ignored as "ignored"."""
        ignored = _ignored.c.at_ms.is_not(None)
        with reading(self._engine) as connection:
            found = connection.execute(
                select(_findings.c.kind, ignored, func.count())
                .select_from(self._joined())
                .where(_findings.c.account == account)
                .group_by(_findings.c.kind, ignored)
            )
            counts: dict[str, int] = {}
            for kind, is_ignored, number in found:
                name = "ignored" if is_ignored else kind
                counts[name] = counts.get(name, 0) + number
            return counts

    def drop(self, account: bytes, identity: int) -> None:
        """Something was done about a difference; the next comparison says whether it helped."""
        with writing(self._engine) as connection:
            connection.execute(
                delete(_findings).where(_findings.c.account == account, _findings.c.id == identity)
            )

    def ignore(self, account: bytes, found: Found, reason: str, by: str, now_ms: int) -> None:
        """This difference may be; a later change there is a new one."""
        names = ("local_type", "local_id", "external_id", "kind")
        row = {
            "account": account,
            **{name: getattr(found, name) for name in (*names, "sync_token")},
            "reason": reason,
            "by": by,
            "at_ms": now_ms,
        }
        with writing(self._engine) as connection:
            upsert(connection, _ignored, [row], ["account", *names])

    def watch(self, account: bytes, found: Found) -> bool:
        """Undo :meth:`ignore`."""
        names = ("local_type", "local_id", "external_id", "kind")
        with writing(self._engine) as connection:
            changed = connection.execute(
                delete(_ignored).where(
                    _ignored.c.account == account,
                    *(_ignored.c[name] == getattr(found, name) for name in names),
                )
            )
            return changed.rowcount == 1

    def _joined(self) -> FromClause:
        names = ("account", "local_type", "local_id", "external_id", "kind", "sync_token")
        same = and_(*(_findings.c[name] == _ignored.c[name] for name in names))
        return _findings.outerjoin(_ignored, same)

    def _select(self, account: bytes) -> Select[Any]:
        said = (_ignored.c.reason, _ignored.c.by, _ignored.c.at_ms)
        return (
            select(*_findings.c, *said)
            .select_from(self._joined())
            .where(_findings.c.account == account)
        )


def note_drift(
    connection: Connection, account: bytes, key: Key, drift: str, row: JsonObject | None
) -> None:
    """What became of a document there is a difference as a comparison would find it, at once;
    one that stands as it was left is none any more. ``row`` is what is there now, if anything."""
    found = _drifted(connection, account, key, drift, row)
    place = columns(account, key)
    values = {} if found is None else _values(found)
    known = select(_findings.c.id).filter_by(**(place | values))
    if values and connection.execute(known).first():
        return  # its row keeps its name, somebody may be looking at it
    noted = _findings.c.kind.in_([*DRIFTS, "missing"])
    connection.execute(delete(_findings).filter_by(**place).where(noted))
    if values:
        connection.execute(insert(_findings).values(account=account, **values))


def _drifted(
    connection: Connection, account: bytes, key: Key, drift: str, row: JsonObject | None
) -> Found | None:
    bill = key._replace(entity=Entity.INVOICE)
    links = load(connection, _mappings, account, [key, bill])
    known = links.get(key)
    wanted = load(connection, _wanted, account, [key]).get(key)
    if drift not in (*DRIFTS, VOIDED) or known is None or wanted is None or wanted.cancelled:
        return None
    if key != bill and bill in links:
        return None  # its invoice stands for the order now
    link = to_mapping(known)
    sale = decode_wanted(key.entity, wanted.content) if wanted.content else None
    if not isinstance(sale, Sale):
        return None
    ours = _document(key.entity, sale, link.external_id, waits=False)
    gone = drift == "deleted" or row is None
    fields = ",".join(compare.holds(row, link.row)) if row and drift == "changed" else ""
    return Found(
        kind="deleted" if drift == VOIDED else drift,
        local_type=ours.local_type,
        local_id=ours.local_id,
        external_id=link.external_id,
        sync_token="" if gone or row is None else str(row.get("SyncToken") or "0"),
        number=ours.number,
        date=ours.date,
        currency=ours.currency,
        ours_minor=ours.total_minor,
        theirs_minor=None if gone or row is None else to_minor(net_total(row), ours.currency),
        fields=VOIDED if drift == VOIDED else fields,
        entity=key.entity,
    )


def _same_document(left: FromClause, right: FromClause) -> ColumnElement[bool]:
    names = ("account", "local_type", "local_id")
    return and_(*(left.c[name] == right.c[name] for name in names))


def _document(entity: Entity, sale: Sale, external_id: str, *, waits: bool) -> Ours:
    one = sale.content
    return Ours(
        sale.type,
        sale.id,
        one.number,
        one.date,
        one.currency,
        one.total_minor,
        sale.cancelled,
        external_id,
        bool(waits),
        entity,
    )


def _values(found: Found) -> dict[str, str]:
    values = found._asdict()
    ours, theirs = values.pop("ours_minor"), values.pop("theirs_minor")
    return values | {
        "ours": "" if ours is None else str(ours),
        "theirs": "" if theirs is None else str(theirs),
    }


def _kept(read: RowMapping) -> Kept:
    names = [name for name in Found._fields if not name.endswith("_minor")]
    found = Found(
        **{name: read[name] for name in names},
        ours_minor=int(read["ours"]) if read["ours"] else None,
        theirs_minor=int(read["theirs"]) if read["theirs"] else None,
    )
    at_ms = read["at_ms"] or 0
    return Kept(read["id"], found, read["reason"] or "", read["by"] or "", at_ms)
