"""The books: every object of every company, in one SQLite file, written in transactions.

All calls run on one thread and none of them waits, so a transaction is never interleaved with
another. Queries run over the filterable values of an entity, which are kept in memory once asked
for; bodies stay in the file as the bytes that are sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, StaticPool, bindparam, create_engine, delete, event, func, select
from sqlalchemy.dialects.sqlite import insert

from qbo_sink.sandbox import tables
from qbo_sink.sandbox.clock import Clock
from qbo_sink.sandbox.entities import Entity
from qbo_sink.sandbox.values import Json, read_json, stamp, write_json

Facts = dict[str, Any]
_READ_IDS_AT_ONCE = 500
_ROWS_KEPT_MAX = 2_000

# Statements are built once: building one costs several times what running it does.
_o, _s, _f = tables.objects, tables.sequences, tables.files
_OBJECTS = select(_o).where(_o.c.realm == bindparam("realm"))
_FIND = _OBJECTS.where(_o.c.entity == bindparam("entity"), _o.c.id == bindparam("id"))
_BY_NAME = _OBJECTS.where(
    _o.c.name_space == bindparam("name_space"),
    _o.c.name_key == bindparam("name_key"),
    _o.c.deleted.is_(False),
)
_BY_NUMBER = _OBJECTS.where(
    _o.c.entity == bindparam("entity"),
    _o.c.number_key == bindparam("number_key"),
    _o.c.deleted.is_(False),
)
_PUT = insert(_o)
_PUT = _PUT.on_conflict_do_update(
    index_elements=["realm", "entity", "id"],
    set_={
        name: _PUT.excluded[name]
        for name in ("deleted", "updated_ms", "name_space", "name_key", "number_key", "body")
    },
)
_NEXT = (
    insert(_s)
    .on_conflict_do_update(index_elements=["realm", "name"], set_={"value": _s.c.value + 1})
    .returning(_s.c.value)
)
_RESERVE = insert(_s)
_RESERVE = _RESERVE.on_conflict_do_update(
    index_elements=["realm", "name"], set_={"value": func.max(_s.c.value, _RESERVE.excluded.value)}
)


@dataclass(frozen=True, slots=True)
class Company:
    """A realm: ``country`` decides the tax rules, ``zone`` dates and offsets."""

    realm: str
    country: str
    zone: ZoneInfo
    suspended: bool

    @property
    def is_us(self) -> bool:
        """US companies have sales tax with TAX and NON; all others tax codes per line."""
        return self.country == "US"


@dataclass(frozen=True, slots=True)
class Stored:
    """An object in the books. ``body`` is the caller's to change; the books keep bytes."""

    entity: str
    id: str
    deleted: bool
    updated_ms: int
    body: Json

    @property
    def token(self) -> int:
        """The SyncToken."""
        return int(self.body["SyncToken"])


def name_key(name: str) -> str:
    """Names compare without case and surrounding blanks."""
    return name.strip().casefold()


class Books:
    """Opens or creates the file at ``path`` (``":memory:"`` keeps nothing)."""

    def __init__(self, path: str, clock: Clock) -> None:
        self.clock = clock
        self._engine = create_engine(
            f"sqlite:///{path}",
            poolclass=StaticPool,
            connect_args={"check_same_thread": False},
        )
        event.listen(self._engine, "connect", _open)
        event.listen(self._engine, "begin", _begin)
        self.connection: Connection = self._engine.connect()
        tables.metadata.create_all(self.connection)
        self.connection.commit()
        self._facts: dict[tuple[str, str], dict[int, Facts]] = {}
        self._changed: list[tuple[str, str, int, Facts | None]] = []
        self._singles: dict[tuple[str, str], Json] = {}
        self._rows: dict[tuple[str, str, int], Any] = {}
        self._companies: dict[str, Company] = {}
        self.clock.offset_ms = int(self.setting("clock_offset_ms") or 0)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()
        self._engine.dispose()

    @contextmanager
    def atomic(self) -> Iterator[None]:
        """What happens inside is on disk together when the block ends, or not at all."""
        try:
            yield
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            self._changed.clear()
            self._forget()
            self._companies.clear()
            raise
        for realm, entity, id_, facts in self._changed:
            known = self._facts.get((realm, entity))
            if known is not None and facts is not None:
                known[id_] = facts
            elif known is not None:
                known.pop(id_, None)
        self._changed.clear()

    def _forget(self) -> None:
        self._singles.clear()
        self._rows.clear()

    @contextmanager
    def step(self) -> Iterator[None]:
        """A part of :meth:`atomic` that can fail alone: what it wrote is undone then."""
        mark = len(self._changed)
        try:
            with self.connection.begin_nested():
                yield
        except BaseException:
            del self._changed[mark:]
            self._forget()
            raise

    @contextmanager
    def trial(self) -> Iterator[None]:
        """A part of :meth:`atomic` of which nothing is kept, however it ends."""
        mark = len(self._changed)
        savepoint = self.connection.begin_nested()
        try:
            yield
        finally:
            savepoint.rollback()
            del self._changed[mark:]
            self._forget()

    # Settings and companies -------------------------------------------------------------------

    def setting(self, name: str) -> str | None:
        """A kept value or None."""
        row = self.connection.execute(
            select(tables.settings.c.value).where(tables.settings.c.name == name)
        ).first()
        return None if row is None else str(row.value)

    def keep_setting(self, name: str, value: str) -> None:
        """Inside :meth:`atomic`."""
        statement = insert(tables.settings).values(name=name, value=value)
        self.connection.execute(
            statement.on_conflict_do_update(index_elements=["name"], set_={"value": value})
        )

    def company(self, realm: str) -> Company | None:
        """The company of ``realm``, None if there is none."""
        if realm not in self._companies:
            row = self.connection.execute(
                select(tables.realms).where(tables.realms.c.realm == realm)
            ).first()
            if row is None:
                return None
            self._companies[realm] = Company(
                realm, row.country, ZoneInfo(row.zone), bool(row.suspended)
            )
        return self._companies[realm]

    def realms(self) -> list[str]:
        """Every company, oldest first."""
        return list(self.connection.scalars(select(tables.realms.c.realm)))

    def put_company(self, realm: str, *, country: str, zone: str, suspended: bool) -> None:
        """Create or replace a company's row; inside :meth:`atomic`."""
        row = {"country": country, "zone": zone, "suspended": suspended}
        statement = insert(tables.realms).values(realm=realm, **row)
        self.connection.execute(statement.on_conflict_do_update(index_elements=["realm"], set_=row))
        self._companies.pop(realm, None)

    # Objects ----------------------------------------------------------------------------------

    def find(self, realm: str, entity: str, id_: str) -> Stored | None:
        """The object, deleted or not; None if that id never was."""
        if not id_.isascii() or not id_.isdigit() or len(id_) > 18:
            return None
        key = (realm, entity, int(id_))
        if key not in self._rows:
            if len(self._rows) >= _ROWS_KEPT_MAX:
                self._rows.clear()
            row = {"realm": realm, "entity": entity, "id": int(id_)}
            self._rows[key] = self.connection.execute(_FIND, row).first()
        kept = self._rows[key]
        return None if kept is None else _stored(kept)

    def live(self, realm: str, entity: str, id_: str) -> Stored | None:
        """As :meth:`find`, without deleted ones."""
        found = self.find(realm, entity, id_)
        return None if found is None or found.deleted else found

    def single(self, realm: str, entity: str) -> Json:
        """Body of CompanyInfo or Preferences; kept in memory, so not to be changed."""
        if (realm, entity) not in self._singles:
            found = self.live(realm, entity, "1")
            self._singles[realm, entity] = found.body if found else {}
        return self._singles[realm, entity]

    def by_name(self, realm: str, space: str, name: str) -> list[Stored]:
        """Objects of a name space that bear ``name``, inactive ones included."""
        wanted = {"realm": realm, "name_space": space, "name_key": name_key(name)}
        return [_stored(row) for row in self.connection.execute(_BY_NAME, wanted)]

    def by_number(self, realm: str, entity: str, number: str) -> list[Stored]:
        """Live transactions of ``entity`` with that DocNumber."""
        wanted = {"realm": realm, "entity": entity, "number_key": name_key(number)}
        return [_stored(row) for row in self.connection.execute(_BY_NUMBER, wanted)]

    def count(self, realm: str, entity: str) -> int:
        """How many live objects there are."""
        o = tables.objects
        where = (o.c.realm == realm, o.c.entity == entity, o.c.deleted.is_(False))
        return int(self.connection.scalar(select(func.count()).where(*where)) or 0)

    def facts(self, realm: str, entity: Entity) -> dict[int, Facts]:
        """Filterable values of every live object, by id."""
        key = (realm, entity.name)
        if key not in self._facts:
            o = tables.objects
            rows = self.connection.execute(
                select(o.c.id, o.c.updated_ms, o.c.body)
                .where(o.c.realm == realm, o.c.entity == entity.name, o.c.deleted.is_(False))
                .order_by(o.c.id)
            )
            self._facts[key] = {row.id: _facts(entity, read_json(row.body)) for row in rows}
        return self._facts[key]

    def bodies(self, realm: str, entity: str, ids: Sequence[int]) -> list[bytes]:
        """The stored JSON of ``ids``, in that order."""
        o = tables.objects
        found: dict[int, bytes] = {}
        for start in range(0, len(ids), _READ_IDS_AT_ONCE):
            part = ids[start : start + _READ_IDS_AT_ONCE]
            rows = self.connection.execute(
                select(o.c.id, o.c.body).where(
                    o.c.realm == realm, o.c.entity == entity, o.c.id.in_(part)
                )
            )
            found.update({row.id: row.body for row in rows})
        return [found[id_] for id_ in ids]

    def changed_since(self, realm: str, entity: str, since_ms: int, until_ms: int) -> list[Stored]:
        """Objects written in the window, oldest change first, live before deleted."""
        o = tables.objects
        rows = self.connection.execute(
            select(o)
            .where(
                o.c.realm == realm,
                o.c.entity == entity,
                o.c.updated_ms >= since_ms,
                o.c.updated_ms <= until_ms,
            )
            .order_by(o.c.deleted, o.c.updated_ms, o.c.id)
        )
        return [_stored(row) for row in rows]

    def next_value(self, realm: str, name: str) -> int:
        """The next number of a sequence; inside :meth:`atomic`."""
        row = {"realm": realm, "name": name, "value": 1}
        return int(self.connection.execute(_NEXT, row).scalar_one())

    def reserve(self, realm: str, name: str, value: int) -> None:
        """Let a sequence go on after ``value``; inside :meth:`atomic`."""
        self.connection.execute(_RESERVE, {"realm": realm, "name": name, "value": value})

    def put(
        self,
        company: Company,
        entity: Entity,
        body: Json,
        *,
        deleted: bool = False,
        bump: bool = True,
        quiet: bool = False,
    ) -> Json:
        """Store ``body``, completed: Id and SyncToken "0" if new, SyncToken + 1 if not.

        Without ``bump`` the token stays; ``quiet`` keeps the time of the last change as well, as
        when the server itself moves a balance. Inside :meth:`atomic`. Returns what is stored,
        MetaData and all.
        """
        now = self.clock.now_ms()
        old = self.find(company.realm, entity.name, body["Id"]) if body.get("Id") else None
        if old is None:
            sequence = "transaction" if entity.is_transaction else entity.name
            if body.get("Id"):
                id_ = str(body["Id"])
                self.reserve(company.realm, sequence, int(id_))
            else:
                id_ = str(self.next_value(company.realm, sequence))
            created, token = stamp(now, company.zone), 0
        else:
            id_, token = old.id, old.token + bump
            now = old.updated_ms if quiet else now
            created = old.body["MetaData"]["CreateTime"]
        full = body | {
            "domain": "QBO",
            "sparse": False,
            "Id": id_,
            "SyncToken": str(token),
            "MetaData": {"CreateTime": created, "LastUpdatedTime": stamp(now, company.zone)},
        }
        name: str = full.get(entity.name_property, "") if entity.name_property else ""
        if entity.name_property and entity.child and entity.space != "party":
            name = full.get("FullyQualifiedName", name)
        number = full.get("DocNumber")
        row = {
            "realm": company.realm,
            "entity": entity.name,
            "id": int(id_),
            "deleted": deleted,
            "updated_ms": now,
            "name_space": entity.space or None,
            "name_key": name_key(name) if name else None,
            "number_key": name_key(number) if number else None,
            "body": write_json(full),
        }
        self.connection.execute(_PUT, row)
        self._singles.pop((company.realm, entity.name), None)
        self._rows.pop((company.realm, entity.name, int(id_)), None)
        facts = None if deleted else _facts(entity, full)
        self._changed.append((company.realm, entity.name, int(id_), facts))
        return full

    # Files ------------------------------------------------------------------------------------

    def keep_file(
        self, realm: str, id_: str, token: str, content_type: str, content: bytes
    ) -> None:
        """The bytes of Attachable ``id_``, to be fetched by ``token``; inside :meth:`atomic`."""
        values = {"realm": realm, "id": int(id_), "token": token, "content": content}
        self.connection.execute(insert(_f).values(**values, content_type=content_type))

    def file(self, token: str) -> tuple[str, bytes] | None:
        """Content type and bytes behind ``token``."""
        row = self.connection.execute(select(_f).where(_f.c.token == token)).first()
        return None if row is None else (row.content_type, row.content)

    def drop_file(self, realm: str, id_: str) -> None:
        """Nothing where Attachable ``id_`` has no file; inside :meth:`atomic`."""
        self.connection.execute(delete(_f).where(_f.c.realm == realm, _f.c.id == int(id_)))


def _open(raw: Any, _: object) -> None:
    # The driver would begin transactions by itself, and late: after SAVEPOINT, before INSERT.
    raw.isolation_level = None
    raw.execute("PRAGMA journal_mode=WAL")
    raw.execute("PRAGMA synchronous=FULL")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


def _stored(row: Any) -> Stored:
    return Stored(row.entity, str(row.id), bool(row.deleted), row.updated_ms, read_json(row.body))


def _facts(entity: Entity, body: Json) -> Facts:
    facts: Facts = {}
    for key, (path, _) in entity.filters.items():
        value = _at(body, path.split("."))
        if isinstance(value, dict):
            value = value.get("value", value.get("Address"))
        facts[key] = value
    return facts


def _at(value: Any, parts: list[str]) -> Any:
    """What is found along ``parts``; a list on the way gives the list of what each entry has."""
    for index, part in enumerate(parts):
        if isinstance(value, list):
            return [_at(each, parts[index:]) for each in value]
        value = value.get(part) if isinstance(value, dict) else None
    return value
