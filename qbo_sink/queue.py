"""The queue as its users handle it: what will be sent, what fails and why, what may be done.

It reads the ledger and the plan and makes no call (QB-15 … QB-28).
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime

from qbo_sink import foresee, shown
from qbo_sink.bodies import invoiced
from qbo_sink.catalogue import CATALOGUE, PREFLIGHT
from qbo_sink.choices import effective
from qbo_sink.connections import Link
from qbo_sink.ledger import Ledger
from qbo_sink.matching import Matching
from qbo_sink.model import (
    CONVERTED,
    UNKNOWN_OUTCOME,
    Entity,
    Errand,
    Key,
    Op,
    Party,
    Product,
    Sale,
    State,
    Wanted,
    decode_wanted,
    sale_needs,
)
from qbo_sink.plan import Intent, Step, describe, plan
from qbo_sink.queue_store import QueueStore
from qbo_sink.rows import Mapping
from qbo_sink.runner import Parts, Runner
from qbo_sink.taxes import predicted, rates_of
from replica.limits import SINK_RUN_WAIT_S, SYNC_PLAN_ROWS_MAX
from replica.sink import (
    Call,
    Correction,
    Deed,
    Guidance,
    QueueAsk,
    QueuePage,
    QueueRow,
    Refusal,
    RowDetail,
)

FAILING = (State.FAULTED, State.PARKED)
_MOVED_ON = "The row has moved on meanwhile; look at it again."


class Queue:
    """The desk over one sink's queue."""

    def __init__(self, parts: Parts, runner: Runner) -> None:
        self._parts = parts
        self._runner = runner
        self.store = QueueStore(parts.ledger.engine)

    async def steps(self, account: bytes) -> list[Step]:
        """The whole queue as the plan sees it, in sending order."""
        return await asyncio.to_thread(self._steps, account)

    def _steps(self, account: bytes) -> list[Step]:
        chosen = effective(self._parts.config, self.store.settings(account))
        strict, now_ms = chosen.settings.strict_order, self._parts.now_ms()
        return steps_of(self._parts.ledger, account, strict_order=strict, now_ms=now_ms)

    async def page(self, account: bytes, ask: QueueAsk) -> QueuePage:
        """A part of the queue; the failing row that stands first comes with every part (QB-21)."""
        await self._runner.feed(account)
        return await asyncio.to_thread(self._page, account, ask)

    def _page(self, account: bytes, ask: QueueAsk) -> QueuePage:
        steps = list(enumerate(self._steps(account), start=1))
        counts = Counter(shown.shown_state(step) for _, step in steps)
        faults = Counter(step.intent.code for _, step in steps if step.intent.state in FAILING)
        found = [(at, step) for at, step in steps if _asked_for(step, ask)]
        if ask.text:
            found = self._holding(account, found, ask.text)
        start, limit = max(ask.start, 0), max(1, min(ask.limit, SYNC_PLAN_ROWS_MAX))
        top = [pair for pair in steps[:1] if pair[1].intent.state in FAILING]
        part = [*top, *found[start : start + limit]]
        rows = self._rows(account, part, [step for _, step in steps])
        return QueuePage(
            rows=rows[len(top) :],
            matching=len(found),
            counts=dict(counts),
            codes=dict(faults),
            top=rows[0] if top else None,
        )

    def _holding(
        self, account: bytes, found: list[tuple[int, Step]], text: str
    ) -> list[tuple[int, Step]]:
        """Rows whose number, name or id holds ``text``."""
        wanted = {step.intent.id: _wanted(step.intent) for _, step in found}
        names = self._names(account, wanted.values())
        folded = text.strip().casefold()

        def says(intent: Intent) -> bool:
            parts = (*shown.document(wanted[intent.id], names), intent.key.local_id)
            return any(folded in part.casefold() for part in parts)

        return [(at, step) for at, step in found if says(step.intent)]

    def _rows(
        self, account: bytes, found: list[tuple[int, Step]], steps: list[Step]
    ) -> list[QueueRow]:
        link = self._parts.connections.get(account)
        wanted = {step.intent.id: _wanted(step.intent) for _, step in found}
        customers = [key for value in wanted.values() if (key := _customer_key(value))]
        needed = [step.waits_for for _, step in found if step.waits_for is not None]
        sold = [
            Key(Entity.ITEM, "product", line.product)
            for value in wanted.values()
            if isinstance(value, Sale)
            for line in value.content.lines
            if line.product
        ]
        contents = self._parts.ledger.wanted(account, [*customers, *needed, *sold])
        mappings = self._parts.ledger.mappings(
            account, [*customers, *(step.intent.key for _, step in found)]
        )
        parties = {key: decode_wanted(key.entity, data) for key, data in contents.items()}
        waiting = _waiting(steps)
        tax = self._tax(account, parties, link) if customers else None

        def name_of(identity: str) -> str:
            party = parties.get(Key(Entity.CUSTOMER, "customer", identity))
            return party.name if isinstance(party, Party) else identity

        rows = []
        for at, step in found:
            value = wanted[step.intent.id]
            foreseen, changes = self._ahead(step.intent, value, parties, mappings, link)
            rows.append(
                shown.to_row(
                    at,
                    _named(step, parties),
                    value,
                    name_of=name_of,
                    dependants=waiting.get(step.intent.key, ()),
                    changes=changes,
                    foreseen=foreseen,
                    tax="" if tax is None else tax(value),
                )
            )
        return rows

    def _tax(
        self, account: bytes, known: dict[Key, Wanted], link: Link | None
    ) -> Callable[[Wanted | None], str]:
        """What QuickBooks will add to a document, as far as the lists tell it."""
        settings = effective(self._parts.config, self.store.settings(account)).settings
        codes = self._parts.lists.contents(account, "tax-codes")
        rates = {
            code: rates_of(values["rates"]) for code, values in codes.items() if "rates" in values
        }
        products = {key.local_id: one for key, one in known.items() if isinstance(one, Product)}

        def tax(value: Wanted | None) -> str:
            if not isinstance(value, Sale) or value.cancelled:
                return ""
            party = known.get(Key(Entity.CUSTOMER, "customer", value.content.customer))
            customer = party if isinstance(party, Party) else None
            preferences = None if link is None else link.preferences
            return predicted(
                value, customer, products, rates, preferences=preferences, settings=settings
            )

        return tax

    def _ahead(
        self,
        intent: Intent,
        value: Wanted | None,
        parties: dict[Key, Wanted],
        mappings: dict[Key, Mapping],
        link: Link | None,
    ) -> tuple[list[str], list[str]]:
        """What can be foreseen of one row, and what it changes."""
        if value is None:
            return [], []
        key = _customer_key(value) or intent.key
        party = parties.get(key)
        foreseen = foresee.foresee(
            value,
            intent.op,
            customer=party if isinstance(party, Party) else None,
            customer_there=mappings.get(key),
            preferences=None if link is None else link.preferences,
            settings=self._parts.config.settings,
        )
        refused = None if intent.op is Op.CREATE else invoiced(intent, mappings.get(intent.key))
        if refused is not None and isinstance(value, Sale):
            foreseen.append(f"{refused.cause} {refused.fix}")
        if intent.op is not Op.UPDATE:
            return foreseen, []
        return foreseen, foresee.changes(value, mappings.get(intent.key))

    def _names(self, account: bytes, values: Iterable[Wanted | None]) -> Callable[[str], str]:
        keys = {key for value in values if (key := _customer_key(value))}
        found = self._parts.ledger.wanted(account, keys)
        names = {
            key.local_id: party.name
            for key, data in found.items()
            if isinstance(party := decode_wanted(key.entity, data), Party)
        }
        return lambda identity: names.get(identity, identity)

    async def row_of(self, account: bytes, local_type: str, local_id: str) -> QueueRow | None:
        """The row of one document with its place in the whole queue."""

        def find() -> QueueRow | None:
            steps = self._steps(account)
            place = (local_type, local_id)
            for at, step in enumerate(steps, start=1):
                if (step.intent.key.local_type, step.intent.key.local_id) == place:
                    return self._rows(account, [(at, step)], steps)[0]
            return None

        return await asyncio.to_thread(find)

    async def row(self, account: bytes, identity: str) -> RowDetail | None:
        """Everything about one row: its calls, who waits for it, what would be sent."""
        return await asyncio.to_thread(self._detail, account, _number(identity, "row"))

    def _detail(self, account: bytes, intent_id: int | None) -> RowDetail | None:
        steps = self._steps(account)
        found = [
            (at, step) for at, step in enumerate(steps, start=1) if step.intent.id == intent_id
        ]
        if not found or intent_id is None:
            return None
        intent = found[0][1].intent
        row = self._rows(account, found, steps)[0]
        calls = [
            Call(
                one.started_ms,
                one.finished_ms,
                one.outcome,
                one.status,
                one.tid,
                one.code,
                one.detail,
            )
            for one in self.store.attempts(account, intent_id)
        ]
        link = self._parts.connections.get(account)
        facts = [
            {
                "started": datetime.fromtimestamp(call.started_ms / 1000, UTC).isoformat(),
                "outcome": call.outcome,
                "status": call.status,
                "code": call.code or "none",
                "trace": call.trace or "none",
            }
            for call in calls
        ]
        realm = link.realm if link else "none"
        return RowDetail(
            row=row,
            calls=calls,
            dependants=_waiting(steps).get(intent.key, ()),
            body=json.dumps(json.loads(intent.body), indent=2) if intent.body else "",
            support=shown.support_text(row, realm, intent.requestid, facts),
        )

    # Doing ---------------------------------------------------------------------------------------

    async def act(self, account: bytes, thing: str, action: str, deed: Deed) -> None:
        """Carry out an offer on a row or a correction. Raises ``Refusal``."""
        if thing.startswith("correction:"):
            await self._undo(account, _number(thing, "correction"), deed)
            return
        intent_id = _number(thing, "row")
        found = (
            None
            if intent_id is None
            else await asyncio.to_thread(self._parts.ledger.intent, account, intent_id)
        )
        if found is None:
            raise Refusal("There is no such row.")
        actions: dict[str, Callable[[Intent], Awaitable[bool]]] = {
            "retry": lambda intent: asyncio.to_thread(self.store.retry, intent),
            "exclude": lambda intent: asyncio.to_thread(self.store.exclude, intent),
            "include": lambda intent: asyncio.to_thread(self.store.include, intent),
            "bottom": lambda intent: asyncio.to_thread(self.store.move_to_bottom, account, intent),
            "only": lambda intent: self._only(account, intent),
        }
        if found.code == "same_name" and action in ("same", "apart"):
            await Matching(self._parts, self._runner).act(
                account, ":".join(found.key), action, deed
            )
            return
        if action not in actions:
            raise Refusal("That cannot be done with a row.")
        if not await actions[action](found):
            unknown = found.state in UNKNOWN_OUTCOME
            raise Refusal("It is being sent right now." if unknown else _MOVED_ON)

    async def _only(self, account: bytes, intent: Intent) -> bool:
        """Send this row alone, now. Waits a moment for it; the run goes on if it takes longer."""
        if intent.state in FAILING:
            await asyncio.to_thread(self.store.retry, intent)
        run = asyncio.ensure_future(self._runner.run(account, only=frozenset({intent.id})))
        await asyncio.wait({run}, timeout=SINK_RUN_WAIT_S)
        return True

    async def _undo(self, account: bytes, identity: int | None, deed: Deed) -> None:
        found = await asyncio.to_thread(self.store.corrections, account, identity or 0)
        if not found:
            raise Refusal("There is no such correction.")
        (corrected,) = found
        steps = await self.steps(account)
        if any(
            step.intent.key == corrected.key and step.intent.state in UNKNOWN_OUTCOME
            for step in steps
        ):
            raise Refusal("The document is being sent right now; try again in a moment.")
        now_ms = self._parts.now_ms()
        if not await asyncio.to_thread(self.store.undo, account, corrected, deed.by, now_ms):
            raise Refusal("It was taken back already.")

    async def corrections(self, account: bytes) -> list[Correction]:
        """The newest automatic corrections, newest first."""

        def read() -> list[Correction]:
            found = self.store.corrections(account)
            contents = self._parts.ledger.wanted(account, {one.key for one in found})
            wanted = {key: decode_wanted(key.entity, data) for key, data in contents.items()}
            names = self._names(account, wanted.values())

            def name(key: Key) -> str:
                return " · ".join(filter(None, shown.document(wanted.get(key), names)))

            return [shown.to_correction(one, name(one.key)) for one in found]

        return await asyncio.to_thread(read)


def steps_of(ledger: Ledger, account: bytes, *, strict_order: bool, now_ms: int) -> list[Step]:
    """The whole queue as the plan sees it, in sending order."""
    intents = ledger.open_intents(account)
    needs = {intent.id: _needs(intent) for intent in intents}
    mapped = ledger.mappings(account, {key for found in needs.values() for key in found})
    return plan(intents, needs, set(mapped), now_ms, strict_order=strict_order)


def guidance() -> list[Guidance]:
    """Every fault of the catalogue, those found before a call first (QB-28)."""
    own = [Guidance(code, one.cause, one.fix, one.kind) for code, one in PREFLIGHT.items()]
    known = [Guidance(str(code), one.cause, one.fix, one.kind) for code, one in CATALOGUE.items()]
    return [*own, *known]


def _named(step: Step, known: dict[Key, Wanted]) -> Step:
    """The same step, its reason with a name in place of an id."""
    need = step.waits_for
    wanted = None if need is None else known.get(need)
    if need is None or wanted is None or isinstance(wanted, Sale) or not wanted.name:
        return step
    named = f"{need.local_type} {wanted.name}"
    return replace(step, reason=step.reason.replace(describe(need), named))


def _asked_for(step: Step, ask: QueueAsk) -> bool:
    intent = step.intent
    if ask.code and (intent.code != ask.code or intent.state not in FAILING):
        return False
    if ask.state == "failing":
        return intent.state in FAILING
    return ask.state in ("", shown.shown_state(step))


def _waiting(steps: list[Step]) -> dict[Key, list[str]]:
    """Which rows wait for each, in words."""
    found: dict[Key, list[str]] = {}
    for step in steps:
        for need in _needs(step.intent):
            found.setdefault(need, []).append(_name(step.intent))
    return found


def _name(intent: Intent) -> str:
    value = _wanted(intent)
    number = shown.document(value, str)[0]
    return f"{intent.key.local_type} {number}" if number else describe(intent.key)


def _wanted(intent: Intent) -> Wanted | None:
    return decode_wanted(intent.key.entity, intent.content) if intent.content else None


def _needs(intent: Intent) -> list[Key]:
    wanted = _wanted(intent)
    if isinstance(wanted, Errand):
        return [intent.key._replace(entity=Entity.INVOICE)]
    if not isinstance(wanted, Sale) or wanted.cancelled:
        return []
    return [*sale_needs(wanted), *([wanted.key] if intent.form == CONVERTED else [])]


def _customer_key(wanted: Wanted | None) -> Key | None:
    """The customer of a document; None for a record."""
    if isinstance(wanted, Sale):
        return Key(Entity.CUSTOMER, "customer", wanted.content.customer)
    if isinstance(wanted, Errand):
        return Key(Entity.CUSTOMER, "customer", wanted.customer)
    return None


def _number(identity: str, kind: str) -> int | None:
    head, _, tail = identity.partition(":")
    return int(tail) if head == kind and tail.isdecimal() and len(tail) < 19 else None
