"""What people do with the rows of the queue, and what was corrected by itself. Durable.

Each method is one transaction. A row changes only from the state it was read in; a row whose
outcome is unknown is left alone, because it may be on its way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from sqlalchemy import Connection, Engine, func, select, update

from qbo_sink import schema, twoway
from qbo_sink.deciding import bring_in_step
from qbo_sink.model import UNKNOWN_OUTCOME, Entity, Key, State, decode_wanted
from qbo_sink.plan import Intent
from qbo_sink.rows import (
    FRESH,
    Attempt,
    compare_and_set,
    is_key,
    is_open,
    load,
    reading,
    to_mapping,
    upsert,
    writing,
)
from replica.limits import SINK_CALLS_SHOWN_MAX, SINK_CORRECTIONS_SHOWN_MAX

_intents, _corrections = schema.intents, schema.corrections


@dataclass(frozen=True)
class Corrected:
    """One automatic correction: which rule changed what of which document."""

    id: int
    key: Key
    rule: str
    code: str
    before: str
    after: str
    at_ms: int
    undone_ms: int = 0
    undone_by: str = ""


class QueueStore:
    """Rows of the queue as people handle them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def retry(self, intent: Intent) -> bool:
        """Send it at the next run. Counts no cycle: the one that a refusal adds is given back."""
        with writing(self._engine) as connection:
            return intent.state in (State.PARKED, State.FAULTED) and compare_and_set(
                connection,
                intent,
                state=State.QUEUED,
                due_ms=0,
                cycles=max(intent.cycles - 1, 0),
            )

    def exclude(self, intent: Intent) -> bool:
        """Take a row out of the queue. Not while its outcome is unknown."""
        with writing(self._engine) as connection:
            return intent.state not in UNKNOWN_OUTCOME and compare_and_set(
                connection, intent, state=State.EXCLUDED
            )

    def include(self, intent: Intent) -> bool:
        """Undo :meth:`exclude`: a new generation."""
        with writing(self._engine) as connection:
            return intent.state is State.EXCLUDED and compare_and_set(
                connection,
                intent,
                **FRESH,
                state=State.QUEUED,
                generation=intent.generation + 1,
            )

    def move_to_bottom(self, account: bytes, intent: Intent) -> bool:
        """Send it after everything that waits now."""
        with writing(self._engine) as connection:
            last = connection.scalar(
                select(func.max(_intents.c.rank)).where(_intents.c.account == account, is_open())
            )
            return compare_and_set(connection, intent, rank=(last or 0) + 1)

    def attempts(self, account: bytes, intent_id: int) -> list[Attempt]:
        """The newest calls of one row, oldest first."""
        table = schema.attempts
        names = [field.name for field in fields(Attempt)]
        with reading(self._engine) as connection:
            found = connection.execute(
                select(*(table.c[name] for name in names))
                .where(table.c.account == account, table.c.intent == intent_id)
                .order_by(table.c.id.desc())
                .limit(SINK_CALLS_SHOWN_MAX)
            )
            return [Attempt(*row) for row in found][::-1]

    # Corrections ---------------------------------------------------------------------------------

    def corrections(self, account: bytes, identity: int | None = None) -> list[Corrected]:
        """The newest corrections, newest first; or one of them."""
        names = [name for name in Corrected.__dataclass_fields__ if name != "key"]
        key = (_intents.c.entity, _intents.c.local_type, _intents.c.local_id)
        statement = (
            select(*(_corrections.c[name] for name in names), *key)
            .join(_intents, _intents.c.id == _corrections.c.intent)
            .where(_corrections.c.account == account)
            .order_by(_corrections.c.id.desc())
            .limit(SINK_CORRECTIONS_SHOWN_MAX)
        )
        if identity is not None:
            statement = statement.where(_corrections.c.id == identity)
        with reading(self._engine) as connection:
            return [
                Corrected(
                    **{name: getattr(row, name) for name in names},
                    key=Key(Entity(row.entity), row.local_type, row.local_id),
                )
                for row in connection.execute(statement)
            ]

    def undo(self, account: bytes, corrected: Corrected, by: str, now_ms: int) -> bool:
        """Take a correction back: the document is said as it was meant, there too if it was sent.

        False when that was done already.
        """
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(_corrections)
                .where(
                    _corrections.c.account == account,
                    _corrections.c.id == corrected.id,
                    _corrections.c.undone_ms == 0,
                )
                .values(undone_ms=now_ms, undone_by=by)
            )
            if changed.rowcount != 1:
                return False
            rows = connection.execute(
                select(_intents.c.id, _intents.c.corrections).where(
                    is_key(_intents, account, corrected.key), _intents.c.corrections != ""
                )
            ).all()
            for row in rows:
                kept = [name for name in row.corrections.split(",") if name != corrected.rule]
                connection.execute(
                    update(_intents)
                    .where(_intents.c.id == row.id)
                    .values(corrections=",".join(kept))
                )
            _reopen(connection, account, corrected.key)
            bring_in_step(connection, account, [corrected.key], now_ms)
        return True

    # Settings ------------------------------------------------------------------------------------

    def settings(self, account: bytes) -> dict[str, str]:
        """What somebody chose for this account."""
        table = schema.settings
        with reading(self._engine) as connection:
            found = connection.execute(
                select(table.c.name, table.c.value).where(table.c.account == account)
            )
            return {row.name: row.value for row in found}

    def is_any(self, name: str, other_than: str) -> bool:
        """Whether any account chose something else than this."""
        table = schema.settings
        with reading(self._engine) as connection:
            statement = select(table.c.name).where(
                table.c.name == name, table.c.value != other_than
            )
            return connection.execute(statement.limit(1)).first() is not None

    def choose(self, account: bytes, chosen: Mapping[str, str]) -> None:
        """Keep what somebody chose."""
        rows = [
            {"account": account, "name": name, "value": value} for name, value in chosen.items()
        ]
        with writing(self._engine) as connection:
            upsert(connection, schema.settings, rows, ["account", "name"])


def _reopen(connection: Connection, account: bytes, key: Key) -> None:
    """What stands there under a correction is not what is wanted: an update follows."""
    mappings = schema.mappings
    row = load(connection, mappings, account, [key]).get(key)
    wanted = load(connection, schema.wanted, account, [key]).get(key)
    if row is None or wanted is None:
        return
    link = to_mapping(row)
    agreed = link.agreed
    if key.entity in twoway.TWO_WAY:
        ours, theirs = twoway.bases(decode_wanted(key.entity, wanted.content), link)
        agreed = twoway.Agreed({name: theirs.get(name, ours[name]) for name in ours}).encode()
    connection.execute(
        update(mappings).where(is_key(mappings, account, key)).values(hash="", agreed=agreed)
    )
