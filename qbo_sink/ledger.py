"""The ledger of intents: what was meant, tried, and became of it. Durable before every call.

Each public method is one transaction, so a crash between any two of them leaves a state that the
next run knows how to go on from (reliability §2.4). A row changes only from the state it was read
in (compare and set), so a second process can never send what the first one is sending.

All methods block; the runner calls them off the event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, func, insert, select, update

from qbo_sink import conversion, schema, twoway
from qbo_sink.deciding import bring_in_step
from qbo_sink.followed import NOTHING, STANDING, Became, followed
from qbo_sink.model import DEFAULTS, SALES, Entity, JsonObject, Key, Settings, State
from qbo_sink.opening import lease
from qbo_sink.plan import Intent
from qbo_sink.reconcile_store import note_drift
from qbo_sink.rows import (
    CLEAR,
    FRESH,
    Answer,
    Attempt,
    Item,
    Mapping,
    columns,
    compare_and_set,
    is_key,
    is_open,
    key_tuple,
    load,
    log_attempt,
    mapping_values,
    owner_of,
    parts,
    reading,
    same_key,
    to_intent,
    to_mapping,
    upsert,
    writing,
)
from qbo_sink.taking import become_invoices, want
from replica.limits import QBO_ANSWERS_AT_ONCE

_wanted, _intents, _mappings = schema.wanted, schema.intents, schema.mappings


class Ledger:
    """Intents, mappings and answers of all accounts in one database."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int] = lambda: 0) -> None:
        self._engine = engine
        self._now_ms = now_ms  # dates new rows; nothing is decided by it

    @property
    def engine(self) -> Engine:
        """The database, for the ledger's other halves."""
        return self._engine

    def lease(self, account: bytes) -> AbstractContextManager[bool]:
        """Whether this process alone runs the cycle of ``account`` (:mod:`qbo_sink.opening`)."""
        return lease(self._engine, account)

    # The feed ------------------------------------------------------------------------------------

    def checkpoint(self, account: bytes) -> int:
        """The position of the projections that the feed has worked through."""
        table = schema.checkpoints
        with reading(self._engine) as connection:
            return connection.scalar(select(table.c.position).filter_by(account=account)) or 0

    def take(  # noqa: PLR0917 - one page of the feed
        self,
        account: bytes,
        realm: str,
        before: int,
        through: int,
        items: Sequence[Item],
        settings: Settings = DEFAULTS,
    ) -> bool:
        """Write down what ``items`` ask for, and the checkpoint, in one transaction.

        ``settings`` say what a document that is new here becomes there (QB-04). False when the
        checkpoint is not ``before`` any more: somebody else took them.
        """
        table = schema.checkpoints
        with writing(self._engine) as connection:
            found = connection.scalar(
                select(table.c.position).filter_by(account=account).with_for_update()
            )
            if (found or 0) != before:
                return False
            want(connection, account, realm, items, settings, self._now_ms())
            upsert(connection, table, [{"account": account, "position": through}], ["account"])
        return True

    def want(self, account: bytes, realm: str, items: Sequence[Item]) -> None:
        """Write down what the sink itself needs (items that stand for charges)."""
        with writing(self._engine) as connection:
            want(connection, account, realm, items, DEFAULTS, self._now_ms())

    # Reading -------------------------------------------------------------------------------------

    def open_intents(self, account: bytes) -> list[Intent]:
        """Every row that is not done, in no order; :func:`qbo_sink.plan.sending_order` sorts."""
        with reading(self._engine) as connection:
            found = connection.execute(
                select(*_intents.c, _wanted.c.content, _wanted.c.form)
                .join_from(_intents, _wanted, same_key(_intents, _wanted))
                .where(_intents.c.account == account, is_open())
            )
            return [to_intent(row) for row in found]

    def count_open(self, account: bytes) -> dict[State, int]:
        """How many rows wait, per state."""
        with reading(self._engine) as connection:
            found = connection.execute(
                select(_intents.c.state, func.count())
                .where(_intents.c.account == account, is_open())
                .group_by(_intents.c.state)
            )
            return {State(state): count for state, count in found}

    def intent(self, account: bytes, intent_id: int) -> Intent | None:
        """One row, open or not."""
        with reading(self._engine) as connection:
            row = connection.execute(
                select(*_intents.c, _wanted.c.content, _wanted.c.form)
                .join_from(_intents, _wanted, same_key(_intents, _wanted))
                .where(_intents.c.account == account, _intents.c.id == intent_id)
            ).first()
            return None if row is None else to_intent(row)

    def wanted(self, account: bytes, keys: Iterable[Key]) -> dict[Key, bytes]:
        """The content that is wanted of these documents; absent where it is not known."""
        with reading(self._engine) as connection:
            found = load(connection, _wanted, account, list(keys))
            return {key: row.content for key, row in found.items() if row.content}

    def mappings(self, account: bytes, keys: Iterable[Key]) -> dict[Key, Mapping]:
        """The entities there of these documents."""
        with reading(self._engine) as connection:
            found = load(connection, _mappings, account, list(keys))
            return {key: to_mapping(row) for key, row in found.items()}

    def wanted_keys(self, account: bytes, entity: Entity) -> list[Key]:
        """Every document of ``entity`` whose content is known."""
        with reading(self._engine) as connection:
            found = connection.execute(
                select(_wanted.c.entity, _wanted.c.local_type, _wanted.c.local_id)
                .where(
                    _wanted.c.account == account,
                    _wanted.c.entity == entity,
                    _wanted.c.hash != "",
                )
                .order_by(_wanted.c.position)
            )
            return [Key(Entity(row.entity), row.local_type, row.local_id) for row in found]

    def mapped_by_id(self, realm: str, entity: str, ids: Sequence[str]) -> dict[str, Mapping]:
        """Documents here of these entities there."""
        with reading(self._engine) as connection:
            found: dict[str, Mapping] = {}
            for part in parts(list(ids)):
                for row in connection.execute(
                    select(_mappings).where(
                        _mappings.c.realm == realm,
                        _mappings.c.entity == entity,
                        _mappings.c.external_id.in_(part),
                    )
                ):
                    found[row.external_id] = to_mapping(row)
            return found

    # The steps of a write ------------------------------------------------------------------------

    def recover(self, account: bytes, now_ms: int) -> int:
        """At the start of a run: calls that a crash cut off are in doubt, to be looked up now."""
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(_intents)
                .where(_intents.c.account == account, _intents.c.state == State.IN_FLIGHT)
                .values(state=State.IN_DOUBT, due_ms=now_ms, looks=0, code="")
            )
            return changed.rowcount

    def begin(self, intent: Intent, body: bytes, request: str, now_ms: int) -> bool:
        """Durable before the call: this body goes out now under this request id.

        False when the row moved on meanwhile; then nothing may be sent.
        """
        with writing(self._engine) as connection:
            return compare_and_set(
                connection,
                intent,
                state=State.IN_FLIGHT,
                body=body,
                requestid=request,
                sends=intent.sends + 1,
                looks=0,
                sent_ms=now_ms,
                first_sent_ms=intent.first_sent_ms or now_ms,
            )

    def acknowledge(
        self,
        account: bytes,
        intent: Intent,
        mapping: Mapping,
        *,
        answer: Answer | None,
        attempt: Attempt | None,
        became: Became = NOTHING,
    ) -> str:
        """It stands there: mapping, answer and what follows from later edits, in one transaction.

        Returns "" or, when another document here has that entity already, a description of it;
        then nothing was written and the caller refuses the row with ``already_linked``.
        """
        with writing(self._engine) as connection:
            owner = owner_of(connection, mapping.realm, intent.key.entity, mapping.external_id)
            if owner is not None and owner != (account, intent.key):
                return f"{owner[1].local_type} {owner[1].local_id}"
            # Whoever was faster wrote the answer too; a row is acknowledged once.
            if not compare_and_set(connection, intent, state=State.ACKED, **CLEAR):
                return ""
            log_attempt(connection, account, intent, attempt)
            if intent.key.entity in twoway.TWO_WAY:
                known = load(connection, _mappings, account, [intent.key]).get(intent.key)
                link = None if known is None else to_mapping(known)
                agreed = twoway.acknowledged(intent.content, link, intent.key.entity)
                merged = link is not None and link.drift == "merged" and not mapping.drift
                mapping = replace(
                    mapping, agreed=agreed, drift="merged" if merged else mapping.drift
                )
                _report(connection, account, intent.key, mapping.drift)
            upsert(
                connection,
                _mappings,
                [{**columns(account, intent.key), **mapping_values(mapping)}],
                ["account", "entity", "local_type", "local_id"],
            )
            _say(connection, account, answer)
            if mapping.drift and intent.key.entity is Entity.ESTIMATE:
                _say(connection, account, followed(intent.key, mapping.drift, became))
            for said in conversion.acknowledged(
                connection, account, intent, mapping, self._now_ms()
            ):
                _say(connection, account, said)
            # An edit that came in while this was on its way follows as an update.
            bring_in_step(connection, account, [intent.key], self._now_ms())
        return ""

    def doubt(
        self, account: bytes, intent: Intent, attempt: Attempt, *, due_ms: int, code: str
    ) -> None:
        """The outcome of a call is unknown; look into it at ``due_ms``."""
        with writing(self._engine) as connection:
            log_attempt(connection, account, intent, attempt)
            compare_and_set(
                connection,
                intent,
                state=State.IN_DOUBT,
                due_ms=due_ms,
                code=code,
                detail=attempt.detail,
            )

    def looked(self, intent: Intent, now_ms: int, due_ms: int, *, found: bool | None) -> None:
        """A look found nothing (``found`` False), or could not be made (None)."""
        looks = intent.looks + (found is False)
        with writing(self._engine) as connection:
            compare_and_set(connection, intent, looks=looks, looked_ms=now_ms, due_ms=due_ms)

    def postpone(
        self, account: bytes, intent: Intent, due_ms: int, cause: str, attempt: Attempt | None
    ) -> None:
        """It was certainly not done and may be sent again, unchanged, from ``due_ms``.

        The generation stays. A row that was in doubt before this call stays in doubt: only this
        call is known to have done nothing, not the earlier one.
        """
        first = intent.sends <= 1
        with writing(self._engine) as connection:
            log_attempt(connection, account, intent, attempt)
            compare_and_set(
                connection,
                intent,
                state=State.QUEUED if first else State.IN_DOUBT,
                due_ms=due_ms,
                cause=cause,
                sends=max(intent.sends - 1, 0),
                first_sent_ms=0 if first else intent.first_sent_ms,
            )

    def refuse(
        self,
        account: bytes,
        intent: Intent,
        *,
        state: State,
        code: str,
        cause: str,
        fix: str,
        detail: str,
        counts: bool,
        answer: Answer | None,
        attempt: Attempt | None,
    ) -> None:
        """A definitive fault: the next send is a new generation with a body made anew."""
        with writing(self._engine) as connection:
            log_attempt(connection, account, intent, attempt)
            changed = compare_and_set(
                connection,
                intent,
                **FRESH,
                state=state,
                generation=intent.generation + (intent.sends > 0),
                cycles=intent.cycles + counts,
                code=code,
                cause=cause,
                fix=fix,
                detail=detail,
                told=intent.told or answer is not None,
            )
            if changed:
                _say(connection, account, answer)
            bring_in_step(connection, account, [intent.key], self._now_ms())

    def resend(self, intent: Intent) -> bool:
        """A definitive fault was dealt with: send again, as a new generation."""
        with writing(self._engine) as connection:
            return compare_and_set(
                connection,
                intent,
                **FRESH,
                state=State.QUEUED,
                generation=intent.generation + (intent.sends > 0),
            )

    # Answers -------------------------------------------------------------------------------------

    def pending_answers(self, account: bytes) -> list[tuple[int, Answer]]:
        """Answers that were not certainly submitted, oldest first."""
        table = schema.answers
        with reading(self._engine) as connection:
            found = connection.execute(
                select(table.c.id, table.c.kind, table.c.payload)
                .where(table.c.account == account, table.c.pending.is_(True))
                .order_by(table.c.id)
                .limit(QBO_ANSWERS_AT_ONCE)
            )
            return [(row.id, Answer(row.kind, row.payload)) for row in found]

    def answered(self, ids: Sequence[int]) -> None:
        """These were submitted and are durable."""
        table = schema.answers
        with writing(self._engine) as connection:
            connection.execute(update(table).where(table.c.id.in_(ids)).values(pending=False))

    # What users do with the queue ----------------------------------------------------------------

    def begin_cycle(self, account: bytes) -> None:
        """Data faults get their next unchanged try with every run (QB-23)."""
        with writing(self._engine) as connection:
            connection.execute(
                update(_intents)
                .where(_intents.c.account == account, _intents.c.state == State.FAULTED)
                .values(state=State.QUEUED, due_ms=0)
            )

    def wake(self, account: bytes, keys: Iterable[Key] | None = None) -> int:
        """Try parked rows again, what they wait for changed; all of them without ``keys``."""
        condition = and_(_intents.c.account == account, _intents.c.state == State.PARKED)
        if keys is not None:
            condition = and_(condition, key_tuple(_intents).in_([tuple(key) for key in keys]))
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(_intents)
                .where(condition)
                .values(state=State.QUEUED, due_ms=0, cycles=0, corrections="")
            )
            return changed.rowcount

    def wake_faulted(self, account: bytes, key: Key) -> None:
        """What this row waited for was decided: it is tried with the next run."""
        waiting = _intents.c.state.in_([str(State.FAULTED), str(State.PARKED)])
        with writing(self._engine) as connection:
            connection.execute(
                update(_intents)
                .where(is_key(_intents, account, key), waiting)
                .values(state=State.QUEUED, due_ms=0)
            )

    def corrected(
        self,
        account: bytes,
        intent: Intent,
        *,
        rule: str,
        names: str,
        before: str,
        after: str,
        now_ms: int,
    ) -> None:
        """An automatic correction is about to be sent: remember it, with what it changes."""
        with writing(self._engine) as connection:
            compare_and_set(connection, intent, corrections=names)
            connection.execute(
                insert(schema.corrections).values(
                    account=account,
                    intent=intent.id,
                    rule=rule,
                    code=intent.code,
                    before=before,
                    after=after,
                    at_ms=now_ms,
                )
            )

    def undone_rules(self, account: bytes, key: Key) -> set[str]:
        """Rules that somebody took back for this document: they are not applied to it again."""
        table = schema.corrections
        with reading(self._engine) as connection:
            return set(
                connection.scalars(
                    select(table.c.rule)
                    .join(_intents, _intents.c.id == table.c.intent)
                    .where(is_key(_intents, account, key), table.c.undone_ms > 0)
                )
            )

    # Mappings ------------------------------------------------------------------------------------

    def adopt(self, account: bytes, links: Sequence[tuple[Mapping, Sequence[Answer]]]) -> int:
        """Link documents to entities that carry their marker; how many were new."""
        taken = []
        with writing(self._engine) as connection:
            known = load(connection, _mappings, account, [mapping.key for mapping, _ in links])
            for mapping, answers in links:
                if mapping.key in known or owner_of(
                    connection, mapping.realm, mapping.key.entity, mapping.external_id
                ):
                    continue
                based = _based(connection, account, mapping)
                values = {**columns(account, mapping.key), **mapping_values(based)}
                connection.execute(insert(_mappings).values(**values))
                for answer in answers:
                    _say(connection, account, answer)
                taken.append(mapping.key)
            bring_in_step(connection, account, taken, self._now_ms())
        return len(taken)

    def become_invoices(self, account: bytes, marked: Sequence[Key]) -> None:
        """Orders whose invoices stand there by their marker, and that a lost ledger took for
        something else (:func:`qbo_sink.taking.become_invoices`)."""
        with writing(self._engine) as connection:
            become_invoices(connection, account, marked)

    def accept(self, account: bytes, mapping: Mapping) -> None:
        """Take what stands there as it is: nothing is sent to change it back."""
        with writing(self._engine) as connection:
            _report(connection, account, mapping.key, mapping.drift)
            note_drift(connection, account, mapping.key, "", None)
            connection.execute(
                update(_mappings)
                .where(is_key(_mappings, account, mapping.key))
                .values(**mapping_values(mapping))
            )
            bring_in_step(connection, account, [mapping.key], self._now_ms())

    def forget(self, account: bytes, key: Key) -> None:
        """The entity is gone there: what is wanted is created anew, under a new generation."""
        table = schema.forgotten
        with writing(self._engine) as connection:
            gone = load(connection, _mappings, account, [key]).get(key)
            if gone is not None:
                row = {name: getattr(gone, name) for name in ("realm", "entity", "external_id")}
                connection.execute(delete(table).filter_by(**row))
                connection.execute(insert(table).values(**row))
            note_drift(connection, account, key, "", None)
            connection.execute(delete(_mappings).where(is_key(_mappings, account, key)))
            bring_in_step(connection, account, [key], self._now_ms())

    def drifted_all(self, account: bytes, states: dict[Key, str]) -> None:
        """What became of these entities there, in one transaction."""
        with writing(self._engine) as connection:
            for key, drift in states.items():
                _report(connection, account, key, drift)
                connection.execute(
                    update(_mappings).where(is_key(_mappings, account, key)).values(drift=drift)
                )

    def relink(self, account: bytes, mapping: Mapping, answers: Sequence[Answer | None]) -> str:
        """This document is that entity, whatever it was linked to before.

        Returns "" or who has that entity already.
        """
        with writing(self._engine) as connection:
            owner = owner_of(connection, mapping.realm, mapping.key.entity, mapping.external_id)
            if owner is not None and owner != (account, mapping.key):
                return f"{owner[1].local_type} {owner[1].local_id}"
            mapping = _based(connection, account, mapping)
            values = {**columns(account, mapping.key), **mapping_values(mapping)}
            upsert(connection, _mappings, [values], ["account", "entity", "local_type", "local_id"])
            for answer in answers:
                _say(connection, account, answer)
            bring_in_step(connection, account, [mapping.key], self._now_ms())
        return ""

    def renew(self, account: bytes, key: Key) -> None:
        """What is wanted of this document is queued, if nothing is open about it."""
        with writing(self._engine) as connection:
            bring_in_step(connection, account, [key], self._now_ms())

    def settle(self, account: bytes, key: Key) -> None:
        """A cancelled document is gone there: what waited for that is done."""
        with writing(self._engine) as connection:
            row = load(connection, _wanted, account, [key]).get(key)
            if row is None or not row.cancelled:
                return
            connection.execute(
                update(_mappings).where(is_key(_mappings, account, key)).values(hash=row.hash)
            )
            bring_in_step(connection, account, [key], self._now_ms())

    def open_intent(self, account: bytes, key: Key) -> Intent | None:
        """The open row of one document."""
        with reading(self._engine) as connection:
            row = load(connection, _intents, account, [key], is_open()).get(key)
            return None if row is None else to_intent(row)

    def drifted(
        self,
        account: bytes,
        key: Key,
        drift: str,
        sync_token: str | None = None,
        became: Became = NOTHING,
        *,
        snapshot: str | None = None,
        row: JsonObject | None = None,
    ) -> None:
        """What became of the entity there since it was acknowledged: noted, said if it is news.

        ``row`` is what is there now, for the list of differences.
        """
        values: dict[str, Any] = {"drift": drift}
        if sync_token is not None:
            values["sync_token"] = sync_token
        if snapshot is not None:
            values["snapshot"] = snapshot
        with writing(self._engine) as connection:
            _report(connection, account, key, drift, became)
            if key.entity in SALES:
                note_drift(connection, account, key, drift, row)
            connection.execute(
                update(_mappings).where(is_key(_mappings, account, key)).values(**values)
            )


def _based(connection: Connection, account: bytes, mapping: Mapping) -> Mapping:
    """A new link with what both sides say now as its base, so that neither overwrites the other."""
    row = load(connection, _wanted, account, [mapping.key]).get(mapping.key)
    if row is None or mapping.agreed:
        return mapping
    return replace(mapping, agreed=twoway.first_agreed(row.content, mapping.key.entity))


def _report(
    connection: Connection, account: bytes, key: Key, drift: str, became: Became = NOTHING
) -> None:
    """Say what became of a document there, unless it is as it was known. What is said of an order
    says its invoice each time."""
    known = load(connection, _mappings, account, [key]).get(key)
    if known is None or known.drift == drift or {known.drift, drift} <= set(STANDING):
        return
    if key.entity is Entity.INVOICE:
        became = became._replace(document=known.external_id, number=known.number)
    _say(connection, account, followed(key, drift, became))


def _say(connection: Connection, account: bytes, answer: Answer | None) -> None:
    if answer is not None:
        connection.execute(insert(schema.answers).values(account=account, **answer._asdict()))
