"""The push: from an intent to one document there, whatever happens in between.

    look up the token → intent durable as in flight → call → outcome → ledger, with the answer
    → answer submitted → answer marked

A crash at any arrow leaves a row that the next run completes: before the call nothing happened;
after it the row is in flight, hence in doubt, hence looked for before it is sent again under the
same request id (quickbooks.md §2.2). The answer is in the ledger with the acknowledgement, so it is
submitted again if need be, and never makes a second document (reliability I-24).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

import structlog

from qbo_sink import answers, compare, corrections, doubt, faults
from qbo_sink.bodies import Bodies
from qbo_sink.catalogue import Class
from qbo_sink.connections import RECONNECT, STOPPED
from qbo_sink.conversion import Conversions
from qbo_sink.faults import Done, Expired, Outcome, Refused, Throttled, Unknown
from qbo_sink.followed import NOTHING, Became
from qbo_sink.ledger import Ledger
from qbo_sink.look import Looker, LookFailed, holds
from qbo_sink.meeting import Meeting
from qbo_sink.model import Entity, JsonObject, Key, Op, Sale, State, decode_wanted
from qbo_sink.plan import Action, Intent, Step, plan
from qbo_sink.references import References
from qbo_sink.requestid import requestid
from qbo_sink.rows import Attempt, Mapping
from qbo_sink.saying import Submit, say_pending
from qbo_sink.session import Session
from qbo_sink.twoway import TWO_WAY, standing
from qbo_sink.wire import Fault, Lost, Reply, as_json, decode_body, encode_body
from replica.limits import QBO_CYCLES_MAX, QBO_GENERATIONS_MAX, QBO_RUN_LINGER_MS
from replica.sink import Progress

_log = structlog.get_logger()

_LINKED = "620"
_ADOPT_FIRST = ("600", _LINKED, "630", "6140", "6240")
_STALE, _GONE = "5010", "610"


@dataclass
class Tally:
    """What one run did, for its report."""

    sent: int = 0
    created: int = 0
    updated: int = 0
    failed: int = 0
    waiting: int = 0
    pulled: int = 0
    errors: list[str] = field(default_factory=list)
    doing: str = "Beginning"
    seen: set[int] = field(default_factory=set)  # rows that this run was to send
    tried: set[int] = field(default_factory=set)  # of these, those that were

    @property
    def progress(self) -> Progress:
        """How far it has come, for whoever watches."""
        return Progress(self.doing, len(self.tried), len(self.seen))


class Push:
    """Sends the queue of one account. One at a time per account; the runner sees to that."""

    def __init__(
        self,
        session: Session,
        ledger: Ledger,
        bodies: Bodies,
        submit: Submit,
        name: str,
    ) -> None:
        self._session = session
        self._ledger = ledger
        self._bodies = bodies
        self._submit = submit
        self._name = name
        self._look = Looker(session, bodies)
        self._conversions = Conversions(ledger.engine)
        self._references = References(session, ledger, bodies)
        self._meeting = Meeting(session, ledger, bodies.marker_keys)
        self._account = session.account
        self.tally = Tally()

    async def run(self, only: frozenset[int] | None = None) -> Tally:
        """Send what is ready until nothing is. ``only`` limits it to these rows."""
        await self.answer()
        self.tally.doing = "Sending"
        while not self._session.halted:
            steps = await self._steps(only)
            self.tally.seen |= {one.intent.id for one in steps if one.action is not Action.HOLD}
            ready = [step for step in steps if step.action in (Action.SEND, Action.LOOK)]
            if ready:
                await self._match_items([step.intent for step in ready])
                await self._wave(ready)
                await self.answer()
                continue
            dues = [step.due_ms for step in steps if step.due_ms is not None]
            wait_ms = min(dues) - self._session.now_ms() if dues else QBO_RUN_LINGER_MS + 1
            if wait_ms > QBO_RUN_LINGER_MS:
                break
            await self._session.sleep(max(wait_ms, 1) / 1000)
        self.tally.waiting = sum(step.action is Action.WAIT for step in await self._steps(only))
        if self._session.halted:
            self.tally.errors.append(self._session.halted)
        return self.tally

    async def answer(self) -> None:
        """Say here what the ledger has to say."""
        problem = await say_pending(self._ledger, self._submit, self._account, self._name)
        if problem:
            self.tally.errors.append(problem)

    async def _steps(self, only: frozenset[int] | None) -> list[Step]:
        intents = await asyncio.to_thread(self._ledger.open_intents, self._account)
        needs, mapped = await self._bodies.needs(intents)
        steps = plan(
            intents,
            needs,
            mapped,
            self._session.now_ms(),
            strict_order=self._session.settings.strict_order,
        )
        return [step for step in steps if only is None or step.intent.id in only]

    async def _wave(self, ready: list[Step]) -> None:
        """All ready rows in order, as many at once as the company allows."""
        queue = iter(ready)

        async def work() -> None:
            for step in queue:
                if self._session.halted:
                    return
                await self._step(step)
                self.tally.tried.add(step.intent.id)

        width = 1 if self._session.settings.strict_order else self._session.width
        async with asyncio.TaskGroup() as group:
            for _ in range(min(width, len(ready))):
                group.create_task(work())

    async def _step(self, step: Step) -> None:
        if step.action is Action.LOOK:
            await self._look_into(step.intent)
        else:
            await self._send(step.intent)

    # Sending -------------------------------------------------------------------------------------

    async def _send(self, intent: Intent) -> None:
        if intent.generation > QBO_GENERATIONS_MAX:
            await self._refuse(intent, faults.preflight("many_faults"), None)
            return
        if intent.state is State.IN_DOUBT:
            body, request = intent.body, intent.requestid  # byte for byte the same
        else:
            intent = await self._correct(intent)
            if intent.key.entity is Entity.CLOSING and await self._closed_already(intent):
                return
            made = await self._bodies.body(intent)
            if isinstance(made, Refused):
                await self._refuse(intent, made, None)
                return
            body = encode_body(corrections.apply(made, intent.corrections))
            request = requestid(
                self._session.realm, intent.key, intent.op, intent.hash, intent.generation
            )
        if not await self._session.ready():
            return
        now_ms = self._session.now_ms()
        if not await asyncio.to_thread(self._ledger.begin, intent, body, request, now_ms):
            return
        sent = replace(
            intent,
            state=State.IN_FLIGHT,
            body=body,
            requestid=request,
            sends=intent.sends + 1,
            looks=0,
            sent_ms=now_ms,
            first_sent_ms=intent.first_sent_ms or now_ms,
        )
        self.tally.sent += 1
        entity = intent.key.entity
        if entity is Entity.DELIVERY:
            meant = decode_body(body)
            path, address = f"{entity.path}/{meant['Id']}", str(meant["sendTo"])
            reply = await self._session.deliver(path, address, request)
        else:
            reply = await self._session.write(entity.path, body, request)
        outcome = faults.classify(reply, entity.record)
        _log.info(
            "sink step",
            sink=self._name,
            account=self._account.hex(),
            document=f"{sent.key.local_type}:{sent.key.local_id}",
            op=sent.op,
            outcome=type(outcome).__name__.lower(),
            requestid=request,
            tid="" if isinstance(reply, Lost) else reply.tid,
        )
        await self._settle(sent, outcome, self._attempt(sent, reply, outcome))

    async def _settle(self, sent: Intent, outcome: Outcome, attempt: Attempt) -> None:
        now_ms = self._session.now_ms()
        match outcome:
            case Done(row):
                await self._acknowledge(sent, row, attempt)
            case Throttled(wait_ms, _, reason):
                await self._postpone(sent, now_ms + wait_ms, reason, attempt)
                await self._session.pause(now_ms + wait_ms, reason)
            case Expired(reason):
                await self._postpone(sent, now_ms, reason, attempt)
                await self._session.stop(RECONNECT, reason)
            case Unknown(_, code):
                due_ms = now_ms + doubt.wait_ms(sent.sends)
                await asyncio.to_thread(
                    self._ledger.doubt, self._account, sent, attempt, due_ms=due_ms, code=code
                )
            case Refused():
                await self._refused(sent, outcome, attempt)

    async def _refused(self, sent: Intent, refused: Refused, attempt: Attempt) -> None:
        """A definitive no: adopt what is ours already, stop the connection, or say why."""
        if refused.kind is Class.STOP:
            await self._postpone(sent, self._session.now_ms(), refused.cause, attempt)
            await self._session.stop(STOPPED, f"{refused.cause} {refused.fix}")
            return
        ours = sent.sends > 1 or refused.code in _ADOPT_FIRST or refused.family == "name_used"
        if sent.op is Op.CREATE and ours:
            clash = refused.code == "6240" or refused.family == "name_used"
            row = await self._look.find(sent, clash=clash)
            if isinstance(row, LookFailed):
                # It may be ours: nothing is decided, and no new request id, before a look.
                due_ms = self._session.now_ms() + doubt.wait_ms(sent.sends)
                await asyncio.to_thread(
                    self._ledger.doubt, self._account, sent, attempt, due_ms=due_ms, code=""
                )
                return
            if row is not None:
                await self._acknowledge(sent, row, attempt)
                return
        if sent.op is not Op.CREATE and refused.code in (_STALE, _GONE):
            await self._merge(sent, refused, attempt)
            return
        if sent.key.entity is Entity.CLOSING and refused.code == _STALE:
            await asyncio.to_thread(self._ledger.resend, sent)  # it is read again before
            return
        converts = sent.key.entity is Entity.INVOICE and refused.code == _LINKED
        if converts and await self._overtaken(sent, attempt):
            return
        await self._refuse(sent, refused, attempt)

    async def _overtaken(self, sent: Intent, attempt: Attempt) -> bool:
        """Whether somebody there made an invoice of the estimate meanwhile."""
        source = sent.key._replace(entity=Entity.ESTIMATE)
        link = await self._bodies.mapping(source)
        row = None if link is None else await self._look.read(source, link.external_id)
        became = NOTHING if row is None or isinstance(row, LookFailed) else await self._became(row)
        if not became.document:
            return False
        await asyncio.to_thread(self._conversions.overtaken, self._account, sent, became, attempt)
        return True

    async def _became(self, estimate: JsonObject) -> Became:
        """The invoice of an estimate with its number; nothing for one that has none."""
        invoice = compare.invoice_of(estimate)
        if not invoice:
            return NOTHING
        row = await self._look.read(Key(Entity.INVOICE, "", ""), invoice)
        known = None if isinstance(row, LookFailed) else row
        return Became(document=invoice, number=str((known or {}).get("DocNumber") or ""))

    async def _closed_already(self, intent: Intent) -> bool:
        """The one read after a write: QuickBooks closes an estimate with its invoice, or not."""
        row = await self._look.find(intent)
        if isinstance(row, LookFailed):
            due_ms = self._session.now_ms() + doubt.wait_ms(1)
            await self._postpone(intent, due_ms, "QuickBooks did not tell the estimate", None)
            return True
        if row is None:
            return False
        await self._acknowledge(intent, row, None)
        return True

    async def _merge(self, sent: Intent, refused: Refused, attempt: Attempt) -> None:
        """An update met another version there: take it up, send again, or show both (5010)."""
        mapping = await self._bodies.mapping(sent.key)
        row = None if mapping is None else await self._look.read(sent.key, mapping.external_id)
        if isinstance(row, LookFailed):
            await self._postpone(sent, self._session.now_ms() + 2_000, refused.cause, attempt)
            return
        is_invoice = sent.key.entity is Entity.INVOICE
        if mapping is None or row is None:
            await asyncio.to_thread(self._ledger.drifted, self._account, sent.key, "deleted")
            gone = "invoice_gone" if is_invoice else "deleted_there"
            await self._refuse(sent, faults.preflight(gone, refused.detail), attempt)
            return
        if holds(sent.key.entity, row, decode_body(sent.body)):
            await self._acknowledge(sent, row, attempt)
            return
        if sent.key.entity in TWO_WAY:
            # The row goes back before the merge decides whether anything is left to send.
            await asyncio.to_thread(self._ledger.resend, sent)
            drift = standing(sent.key.entity, row, mapping.drift)
            await self._meeting.meet(mapping, row, drift)
            return
        state = compare.drift(row, mapping.row, None)
        if state in ("", "invoiced"):
            there = replace(mapping, drift=state or mapping.drift)
            await self._bodies.refresh(there, row, await self._became(row))
            await asyncio.to_thread(self._ledger.resend, sent)
            return
        await asyncio.to_thread(self._ledger.drifted, self._account, sent.key, "changed", row=row)
        changed = "invoice_changed" if is_invoice else "changed_there"
        await self._refuse(sent, faults.preflight(changed, refused.detail), attempt)

    # Looking -------------------------------------------------------------------------------------

    async def _look_into(self, intent: Intent) -> None:
        """One look for a write whose outcome is unknown."""
        row = await self._look.find(intent)
        now_ms = self._session.now_ms()
        if isinstance(row, LookFailed):
            due_ms = now_ms + doubt.wait_ms(intent.sends)
            await asyncio.to_thread(self._ledger.looked, intent, now_ms, due_ms, found=None)
        elif row is not None:
            attempt = Attempt(now_ms, now_ms, "adopted", detail="found by a look")
            await self._acknowledge(intent, row, attempt)
        elif doubt.is_refusal(intent):
            attempt = Attempt(now_ms, now_ms, "refused", code=intent.code, detail=intent.detail)
            entry, _ = faults.describe(Fault(int(intent.code), intent.detail))
            refused = Refused(Class.HUMAN, intent.code, entry.cause, entry.fix, intent.detail)
            await self._refuse(intent, refused, attempt)
        else:
            await asyncio.to_thread(self._ledger.looked, intent, now_ms, now_ms, found=False)

    async def _match_items(self, intents: list[Intent]) -> None:
        """Products that stand there already are linked, not made again; a name alone is asked
        about."""
        fresh = [
            intent
            for intent in intents
            if intent.key.entity is Entity.ITEM
            and intent.op is Op.CREATE
            and intent.sends == 0
            and not self._bodies.is_asked(intent.key)
        ]
        matched, named = await self._look.match_items(fresh)
        for intent, row in matched:
            await self._acknowledge(intent, row, None)
        await self._bodies.ask(named)

    # Writing down --------------------------------------------------------------------------------

    async def _acknowledge(self, intent: Intent, row: JsonObject, attempt: Attempt | None) -> None:
        meant = decode_body(intent.body) if intent.body else {}
        wanted = decode_wanted(intent.key.entity, intent.content)
        currency, drift, total, became = "", "", "", NOTHING
        if isinstance(wanted, Sale):
            currency = wanted.content.currency
            net = answers.net_total(row)
            total = str(net)
            if "Line" in meant and net != compare.total_of(meant):
                drift = "differs"
            elif intent.key.entity is Entity.ESTIMATE and compare.invoice_of(row):
                drift, became = "invoiced", await self._became(row)
        elif intent.key.entity in TWO_WAY:
            drift = standing(intent.key.entity, row, "")
        mapping = Mapping(
            key=intent.key,
            realm=self._session.realm,
            external_id=str(row["Id"]),
            sync_token=str(row.get("SyncToken") or "0"),
            number=str(row.get("DocNumber") or ""),
            hash=intent.hash,
            total=total,
            drift=drift,
            snapshot=as_json(row),
            updated_ms=self._session.now_ms(),
        )
        answer = answers.done(intent.key, row, currency)
        owner = await asyncio.to_thread(
            self._ledger.acknowledge,
            self._account,
            intent,
            mapping,
            answer=answer,
            attempt=attempt,
            became=became,
        )
        if owner:
            await self._refuse(intent, faults.preflight("already_linked", owner), attempt)
            return
        self._bodies.learned(mapping)
        if intent.op is Op.CREATE:
            self.tally.created += attempt is not None
        else:
            self.tally.updated += 1

    async def _refuse(self, intent: Intent, refused: Refused, attempt: Attempt | None) -> None:
        counts = attempt is not None
        used_up = intent.cycles + counts >= QBO_CYCLES_MAX
        parked = refused.kind is Class.BUG
        if counts and used_up and not parked:
            parked = await self._rule(intent, refused.code, refused.family) is None
        tell = parked or refused.kind is Class.HUMAN
        answer = answers.parked(intent.key, refused)
        told_already = intent.told and intent.code == refused.code
        await asyncio.to_thread(
            self._ledger.refuse,
            self._account,
            intent,
            state=State.PARKED if parked else State.FAULTED,
            code=refused.code,
            cause=refused.cause,
            fix=refused.fix,
            detail=refused.detail,
            counts=counts,
            answer=answer if tell and not told_already else None,
            attempt=attempt,
        )
        self.tally.failed += 1
        name = f"{intent.key.local_type} {intent.key.local_id}"
        self.tally.errors.append(f"{name}: {refused.cause} {refused.fix}")

    async def _correct(self, intent: Intent) -> Intent:
        """After three unchanged tries, the one correction there is for this fault."""
        if intent.cycles < QBO_CYCLES_MAX or not intent.code:
            return intent
        family = faults.family_of(intent.code, intent.detail)
        rule = await self._rule(intent, intent.code, family)
        if rule is None:
            return intent
        names = f"{intent.corrections},{rule}".strip(",")
        made = await self._bodies.body(intent)
        if isinstance(made, Refused):
            return intent
        before = as_json(corrections.apply(made, intent.corrections))
        if rule == corrections.FRESH_REFERENCES:
            await self._references.renew(intent)
        elif rule == corrections.TAX_CODES_AGAIN:
            await self._session.renew_preferences()
        made = await self._bodies.body(intent)
        if isinstance(made, Refused):
            return intent
        await asyncio.to_thread(
            self._ledger.corrected,
            self._account,
            intent,
            rule=rule,
            names=names,
            before=before,
            after=as_json(corrections.apply(made, names)),
            now_ms=self._session.now_ms(),
        )
        return replace(intent, corrections=names)

    async def _rule(self, intent: Intent, code: str, family: str) -> str | None:
        """The correction that may still be tried: each once, and none that somebody took back."""
        rule = corrections.rule_for(code, family, intent.key.entity)
        if rule is None or rule in intent.corrections.split(","):
            return None
        undone = await asyncio.to_thread(self._ledger.undone_rules, self._account, intent.key)
        return None if rule in undone else rule

    async def _postpone(
        self, intent: Intent, due_ms: int, cause: str, attempt: Attempt | None
    ) -> None:
        await asyncio.to_thread(
            self._ledger.postpone, self._account, intent, due_ms, cause, attempt
        )

    def _attempt(self, sent: Intent, reply: Reply, outcome: Outcome) -> Attempt:
        finished_ms = self._session.now_ms()
        status, tid = (0, "") if isinstance(reply, Lost) else (reply.status, reply.tid)
        reason = getattr(outcome, "detail", "") or getattr(outcome, "reason", "")
        return Attempt(
            started_ms=sent.sent_ms,
            finished_ms=finished_ms,
            outcome=type(outcome).__name__.lower(),
            status=status,
            tid=tid,
            code=getattr(outcome, "code", ""),
            detail=reason,
        )
