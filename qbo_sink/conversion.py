"""From an estimate to an invoice, and to the customer: commands that become intents of their own.

An invoice is one more document of the order, tied to its estimate; closing the estimate and mailing
the invoice are errands, each done once. All of them go through the ledger like any other write, so
a crash or a lost answer doubles none of them (QB-05, quickbooks.md §1.12, §2.2). One transaction
each; all block.
"""

from __future__ import annotations

from sqlalchemy import Connection, Engine, delete, insert, update

from qbo_sink import schema
from qbo_sink.answers import estimated
from qbo_sink.deciding import bring_in_step
from qbo_sink.followed import Became, followed
from qbo_sink.judge import VOIDED
from qbo_sink.model import (
    CONVERTED,
    ERRANDS,
    UNKNOWN_OUTCOME,
    Entity,
    Errand,
    Key,
    Sale,
    State,
    content_hash,
    decode_wanted,
    encode_wanted,
    target_of,
)
from qbo_sink.plan import Intent
from qbo_sink.reconcile_store import note_drift
from qbo_sink.rows import (
    Answer,
    Attempt,
    Mapping,
    columns,
    compare_and_set,
    is_key,
    is_open,
    load,
    log_attempt,
    reading,
    to_intent,
    to_mapping,
    writing,
)
from qbo_sink.wire import decimal

CONVERT, DELIVER, AGAIN = "convert", "deliver", "invoice_again"
GONE = ("deleted", VOIDED)
"""Drifts of an invoice that is none any more."""
_wanted, _mappings, _intents = schema.wanted, schema.mappings, schema.intents


class Conversions:
    """What may be done about the invoice of an order, and doing it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def may(self, account: bytes, local_type: str, local_id: str) -> dict[str, str]:
        """Command → "" where it may be given now, else why not."""
        with reading(self._engine) as connection:
            return _Case(connection, account, local_type, local_id).may()

    def address(self, account: bytes, local_type: str, local_id: str) -> str:
        """Where the invoice would go: what QuickBooks has on it."""
        with reading(self._engine) as connection:
            found = _Case(connection, account, local_type, local_id).link(Entity.INVOICE)
        return "" if found is None else _address(found)

    def convert(self, account: bytes, local_type: str, local_id: str, now_ms: int) -> str:
        """Queue the invoice of an estimate. Returns "" or why not."""
        with writing(self._engine) as connection:
            case = _Case(connection, account, local_type, local_id)
            problem = case.may()[CONVERT]
            if problem:
                return problem
            sale = case.wanted[Entity.ESTIMATE]
            connection.execute(
                insert(_wanted).values(
                    **columns(account, case.key(Entity.INVOICE)),
                    position=sale.position,
                    hash=sale.hash,
                    content=sale.content,
                    form=CONVERTED,
                )
            )
            bring_in_step(connection, account, [case.key(Entity.INVOICE)], now_ms)
        return ""

    def again(self, account: bytes, local_type: str, local_id: str, now_ms: int) -> str:
        """Queue another invoice in the place of one that was deleted or voided there."""
        with writing(self._engine) as connection:
            case = _Case(connection, account, local_type, local_id)
            problem = case.may()[AGAIN]
            if problem:
                return problem
            key = case.key(Entity.INVOICE)
            for entity in ERRANDS:  # they were done to the invoice that is gone
                for table in (_mappings, _wanted):
                    gone = is_key(table, account, case.key(entity))
                    connection.execute(delete(table).where(gone))
            note_drift(connection, account, key, "", None)
            connection.execute(delete(_mappings).where(is_key(_mappings, account, key)))
            if Entity.ESTIMATE in case.links:
                _drift(connection, account, case.key(Entity.ESTIMATE), "")
            bring_in_step(connection, account, [key], now_ms)
        return ""

    def deliver(
        self, account: bytes, local_type: str, local_id: str, address: str, now_ms: int
    ) -> str:
        """Queue the e-mail with the invoice. Once for each invoice. Returns "" or why not."""
        with writing(self._engine) as connection:
            case = _Case(connection, account, local_type, local_id)
            problem = case.may()[DELIVER]
            if problem:
                return problem
            errand = case.errand(address)
            _want_errand(connection, account, case.key(Entity.DELIVERY), errand, now_ms)
        return ""

    def overtaken(self, account: bytes, intent: Intent, became: Became, attempt: Attempt) -> None:
        """The office converted the estimate while ours was on its way: theirs is the invoice."""
        key = intent.key
        source = key._replace(entity=Entity.ESTIMATE)
        with writing(self._engine) as connection:
            log_attempt(connection, account, intent, attempt)
            if not compare_and_set(connection, intent, state=State.CANCELLED):
                return
            connection.execute(delete(_wanted).where(is_key(_wanted, account, key)))
            _drift(connection, account, source, "invoiced")
            answer = followed(source, "invoiced", became)
            if answer is not None:
                row = {"account": account, **answer._asdict()}
                connection.execute(insert(schema.answers).values(row))


class _Case:
    """Everything the ledger holds about one sale."""

    def __init__(
        self, connection: Connection, account: bytes, local_type: str, local_id: str
    ) -> None:
        self._place = (local_type, local_id)
        keys = [self.key(entity) for entity in _ENTITIES]
        self.wanted = {k.entity: row for k, row in load(connection, _wanted, account, keys).items()}
        self.links = {
            k.entity: to_mapping(row)
            for k, row in load(connection, _mappings, account, keys).items()
        }
        self._open = {
            k.entity: to_intent(row)
            for k, row in load(connection, _intents, account, keys, is_open()).items()
        }

    def key(self, entity: Entity) -> Key:
        return Key(entity, *self._place)

    def link(self, entity: Entity) -> Mapping | None:
        return self.links.get(entity)

    def errand(self, address: str = "") -> Errand:
        return _errand(self.wanted[Entity.INVOICE].content, address)

    def may(self) -> dict[str, str]:
        return {CONVERT: self._convert(), DELIVER: self._deliver(), AGAIN: self._again()}

    def _convert(self) -> str:
        estimate = self.links.get(Entity.ESTIMATE)
        waiting = self._open.get(Entity.INVOICE)
        if waiting is not None:
            removed = waiting.state is State.EXCLUDED
            return _REMOVED if removed else "Its invoice waits in the queue already."
        if Entity.INVOICE in self.wanted or (estimate and estimate.drift == "invoiced"):
            return "It is invoiced already."
        if estimate is None:
            return "It is not in QuickBooks yet; sync first."
        if self._place[0] != "order":
            return "Only an order becomes an invoice."
        if self.wanted[Entity.ESTIMATE].cancelled:
            return "It is cancelled."
        if Entity.ESTIMATE in self._open:
            return "A change of its estimate waits in the queue; sync first."
        if estimate.drift == "accepted":
            return "The estimate counts as the office left it; convert it in QuickBooks."
        if estimate.drift:
            return "Its estimate is another one in QuickBooks now; settle that under Reconcile."
        return ""

    def _deliver(self) -> str:
        invoice = self.links.get(Entity.INVOICE)
        if invoice is None or invoice.drift in GONE:
            return "There is no invoice of it in QuickBooks."
        waiting = self._open.get(Entity.DELIVERY)
        if waiting is not None:
            removed = waiting.state is State.EXCLUDED
            return _REMOVED if removed else "The e-mail waits in the queue already."
        if Entity.DELIVERY in self.wanted or invoice.row.get("EmailStatus") == "EmailSent":
            return "It was sent already; send it once more from QuickBooks."
        return ""

    def _again(self) -> str:
        invoice = self.links.get(Entity.INVOICE)
        if invoice is None or invoice.drift not in GONE:
            return "Its invoice still stands in QuickBooks."
        if any(one.state in UNKNOWN_OUTCOME for one in self._open.values()):
            return "Something about it is being sent right now."
        return "It is cancelled." if self.wanted[Entity.INVOICE].cancelled else ""


_ENTITIES = (Entity.ESTIMATE, Entity.INVOICE, Entity.CLOSING, Entity.DELIVERY)
_REMOVED = "It was removed from the queue; put it back there."


def acknowledged(
    connection: Connection, account: bytes, intent: Intent, done: Mapping, now_ms: int
) -> list[Answer]:
    """What follows from a write that stands, in the same transaction: what to say of an invoice
    that was made, its estimate to be closed, and the newest token of what an errand was done to."""
    key = intent.key
    if key.entity is Entity.INVOICE:
        return _invoiced(connection, account, intent, done, now_ms)
    if key.entity in ERRANDS:
        target = target_of(key)
        connection.execute(
            update(_mappings)
            .where(is_key(_mappings, account, target), _mappings.c.external_id == done.external_id)
            .values(sync_token=done.sync_token, snapshot=done.snapshot)
        )
        link = load(connection, _mappings, account, [target]).get(target)
        if key.entity is Entity.DELIVERY and link is not None:
            sent = f"it was sent to {_address(done)}"
            answer = followed(target, "invoiced", Became(sent, link.external_id, link.number))
            return [answer] if answer else []
    return []


def _invoiced(
    connection: Connection, account: bytes, intent: Intent, done: Mapping, now_ms: int
) -> list[Answer]:
    """The order is invoiced: as an estimate that was converted, or at once."""
    key = intent.key
    sale = decode_wanted(key.entity, intent.content)
    currency = sale.content.currency if isinstance(sale, Sale) else ""
    source = key._replace(entity=Entity.ESTIMATE)
    row = load(connection, _mappings, account, [source]).get(source)
    stands = done if row is None else to_mapping(row)
    if row is not None:
        _leave_estimate(connection, account, source)
        closing = key._replace(entity=Entity.CLOSING)
        if closing not in load(connection, _wanted, account, [closing]):
            _want_errand(connection, account, closing, _errand(intent.content), now_ms)
    differs = "its total is another one than ours" if done.drift == "differs" else ""
    report = followed(key, "invoiced", Became(differs, done.external_id, done.number))
    # The first takes back what was parked; the second says what it is now.
    said = estimated(key, stands.external_id, stands.number, decimal(done.total), currency)
    return [said, report] if report else [said]


def _leave_estimate(connection: Connection, account: bytes, source: Key) -> None:
    """From here on changes go to the invoice: what waits for the estimate is taken back."""
    wanted = load(connection, _wanted, account, [source]).get(source)
    if wanted is not None:
        connection.execute(
            update(_mappings)
            .where(is_key(_mappings, account, source))
            .values(drift="invoiced", hash=wanted.hash)
        )
    found = load(connection, _intents, account, [source], is_open()).get(source)
    waiting = None if found is None else to_intent(found)
    if waiting is not None and waiting.state not in UNKNOWN_OUTCOME:
        compare_and_set(connection, waiting, state=State.CANCELLED)


def _want_errand(
    connection: Connection, account: bytes, key: Key, errand: Errand, now_ms: int
) -> None:
    content = encode_wanted(errand)
    connection.execute(
        insert(_wanted).values(**columns(account, key), hash=content_hash(content), content=content)
    )
    bring_in_step(connection, account, [key], now_ms)


def _errand(content: bytes, address: str = "") -> Errand:
    sale = decode_wanted(Entity.INVOICE, content)
    assert isinstance(sale, Sale)
    said = sale.content
    return Errand(sale.type, sale.id, said.number, said.customer, address)


def _drift(connection: Connection, account: bytes, key: Key, drift: str) -> None:
    connection.execute(update(_mappings).where(is_key(_mappings, account, key)).values(drift=drift))


def _address(link: Mapping) -> str:
    mail = link.row.get("BillEmail")
    return str(mail.get("Address") or "") if isinstance(mail, dict) else ""
