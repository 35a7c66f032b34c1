"""Rows of the ledger as values and back, and the statements that several of its steps share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, and_, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from qbo_sink import schema
from qbo_sink.model import OPEN, Entity, JsonObject, Key, Op, State
from qbo_sink.plan import Intent
from qbo_sink.wire import decode_body
from replica.store.faults import translate

_wanted, _intents, _mappings = schema.wanted, schema.intents, schema.mappings
_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Mapping:
    """A document here and its entity there. ``hash`` names the content that was acknowledged."""

    key: Key
    realm: str
    external_id: str
    sync_token: str = ""
    number: str = ""
    hash: str = ""
    total: str = ""
    drift: str = ""
    snapshot: str = ""
    updated_ms: int = 0
    agreed: str = ""  # what both sides agreed on (``twoway.Agreed``)

    @property
    def row(self) -> JsonObject:
        """The entity there as it was acknowledged; empty when only the link is known."""
        return decode_body(self.snapshot.encode()) if self.snapshot else {}


@dataclass(frozen=True)
class Attempt:
    """One call and what came of it; the ``tid`` is what Intuit's support asks for."""

    started_ms: int
    finished_ms: int
    outcome: str
    status: int = 0
    tid: str = ""
    code: str = ""
    detail: str = ""


class Item(NamedTuple):
    """One document as the feed read it.

    ``content`` is empty for one that is needed but not known yet. ``needed`` says that something
    that is sent refers to it; a customer or product that nothing needs is not sent. ``link`` is the
    id there that the document itself names, for a ledger that was lost, ``invoice`` that of the
    invoice that it says it became.
    """

    key: Key
    position: int
    content: bytes
    needed: bool
    cancelled: bool = False
    link: str = ""
    link_number: str = ""
    invoice: str = ""


class Answer(NamedTuple):
    """An event to submit: kind and canonical payload."""

    kind: str
    payload: bytes


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """One durable transaction, in the errors of :mod:`replica.errors`."""
    with _translated(), engine.begin() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One snapshot, in the same errors."""
    with _translated(), engine.connect() as connection:
        yield connection


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        ours = translate(error)
        if ours is None:
            raise
        raise ours from error


FRESH: dict[str, Any] = {
    "body": b"",
    "requestid": "",
    "sends": 0,
    "looks": 0,
    "first_sent_ms": 0,
    "sent_ms": 0,
    "looked_ms": 0,
    "due_ms": 0,
}
CLEAR: dict[str, Any] = {"code": "", "cause": "", "fix": "", "detail": ""}
_INTENT_FIELDS = [
    field.name for field in fields(Intent) if field.name not in ("key", "content", "form")
]


def columns(account: bytes, key: Key) -> dict[str, Any]:
    return {
        "account": account,
        "entity": str(key.entity),
        "local_type": key.local_type,
        "local_id": key.local_id,
    }


def key_tuple(table: Any) -> Any:
    return tuple_(table.c.entity, table.c.local_type, table.c.local_id)


def is_key(table: Any, account: bytes, key: Key) -> Any:
    return and_(
        table.c.account == account,
        table.c.entity == str(key.entity),
        table.c.local_type == key.local_type,
        table.c.local_id == key.local_id,
    )


def same_key(left: Any, right: Any) -> Any:
    names = ("account", "entity", "local_type", "local_id")
    return and_(*(left.c[name] == right.c[name] for name in names))


def is_open() -> Any:
    return _intents.c.state.in_([str(state) for state in OPEN])


def parts(values: list[Any]) -> Iterable[list[Any]]:
    return (values[at : at + _KEYS_AT_ONCE] for at in range(0, len(values), _KEYS_AT_ONCE))


def load(
    connection: Connection, table: Any, account: bytes, keys: list[Key], *conditions: Any
) -> dict[Key, Any]:
    found: dict[Key, Any] = {}
    for part in parts(sorted({(str(k.entity), k.local_type, k.local_id) for k in keys})):
        statement = select(table).where(
            table.c.account == account, key_tuple(table).in_(part), *conditions
        )
        for row in connection.execute(statement):
            found[Key(Entity(row.entity), row.local_type, row.local_id)] = row
    return found


def owner_of(
    connection: Connection, realm: str, entity: str, external_id: str
) -> tuple[bytes, Key] | None:
    row = connection.execute(
        select(_mappings).where(
            _mappings.c.realm == realm,
            _mappings.c.entity == str(entity),
            _mappings.c.external_id == external_id,
        )
    ).first()
    if row is None:
        return None
    return row.account, Key(Entity(row.entity), row.local_type, row.local_id)


def given_up(connection: Connection, realm: str, entity: str, external_id: str) -> bool:
    """Whether somebody gave this entity up as deleted there."""
    table = schema.forgotten
    place = {"realm": realm, "entity": str(entity), "external_id": external_id}
    return connection.execute(select(table.c.realm).filter_by(**place)).first() is not None


def next_generation(connection: Connection, account: bytes, key: Key, hash_: str) -> int:
    """One above what this content was ever sent under: a new intent is a deliberate resend."""
    last = connection.scalar(
        select(func.max(_intents.c.generation)).where(
            is_key(_intents, account, key), _intents.c.hash == hash_
        )
    )
    return 1 if last is None else last + 1


def compare_and_set(connection: Connection, intent: Intent, **values: Any) -> bool:
    """Compare and set: only from the state, generation and send it was read in."""
    changed = connection.execute(
        update(_intents)
        .where(
            _intents.c.id == intent.id,
            _intents.c.state == str(intent.state),
            _intents.c.generation == intent.generation,
            _intents.c.sends == intent.sends,
            _intents.c.hash == intent.hash,
        )
        .values(**values)
    )
    return changed.rowcount == 1


def to_intent(row: Any) -> Intent:
    values = {name: getattr(row, name) for name in _INTENT_FIELDS}
    values["state"], values["op"] = State(row.state), Op(row.op)
    key = Key(Entity(row.entity), row.local_type, row.local_id)
    content, form = getattr(row, "content", b""), getattr(row, "form", "")
    return Intent(**values, key=key, content=content, form=form)


def to_mapping(row: Any) -> Mapping:
    names = [field.name for field in fields(Mapping) if field.name != "key"]
    key = Key(Entity(row.entity), row.local_type, row.local_id)
    return Mapping(key=key, **{name: getattr(row, name) for name in names})


def mapping_values(mapping: Mapping) -> dict[str, Any]:
    return {
        field.name: getattr(mapping, field.name) for field in fields(Mapping) if field.name != "key"
    }


def log_attempt(
    connection: Connection, account: bytes, intent: Intent, attempt: Attempt | None
) -> None:
    if attempt is None:
        return
    connection.execute(
        insert(schema.attempts).values(
            account=account,
            intent=intent.id,
            generation=intent.generation,
            requestid=intent.requestid,
            **{field.name: getattr(attempt, field.name) for field in fields(Attempt)},
        )
    )


def upsert(connection: Connection, table: Any, rows: list[dict[str, Any]], key: list[str]) -> None:
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table)
    changed = {name: statement.excluded[name] for name in rows[0] if name not in key}
    connection.execute(statement.on_conflict_do_update(index_elements=key, set_=changed), rows)
