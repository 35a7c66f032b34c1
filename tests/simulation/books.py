"""A model of QuickBooks, and the sink's decisions driven over it.

What is decided (what to send, when, under which request id, when to look first) is the product's;
what is here is the other company, the weather on the way there, and a ledger that survives a
crash at every arrow: written down → called → settled → answered → marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from qbo_sink import answers, doubt, estimate, marker, plan, requestid
from qbo_sink.faults import Refused
from qbo_sink.feed import to_sale
from qbo_sink.model import (
    Entity,
    JsonObject,
    Key,
    Op,
    Party,
    Preferences,
    Sale,
    Settings,
    State,
    content_hash,
    decode_wanted,
    encode_wanted,
)
from qbo_sink.plan import Action, Change, Intent
from qbo_sink.rows import Answer
from qbo_sink.wire import decode_body, encode_body
from replica.crdt.documents import DocKey, Document
from replica.crdt.view import view
from replica.ingest import Fact
from replica.limits import QBO_REQUESTID_TRUST_MS
from tests.simulation.dice import Dice

REALM = "9130"
MARK_KEY = b"the key of the account"
_PARTY = Party("c", "Customer")
_CHARGES = {"goods": "91", "fees": "92", "shipping": "93", "discount": "94"}
_ITEMS = {"p-1": "81", "p-2": "82"}
_PREFERENCES, _SETTINGS = Preferences(), Settings()


class SinkCrash(BaseException):
    """The sink's process stopped here."""


class Books:
    """The company there: documents by id, and what it answered to which request id."""

    def __init__(self) -> None:
        self.rows: dict[str, JsonObject] = {}
        self.answered: dict[str, tuple[int, str]] = {}
        self.late: list[tuple[int, bytes, str]] = []
        self.weather = "fair"

    def write(self, body: bytes, request: str, now_ms: int) -> JsonObject | None:
        """The row, or None when no answer came: it may have happened, or may still happen."""
        weather, self.weather = self.weather, "fair"
        self.hurry(now_ms)
        if weather == "lost before":
            return None
        if weather == "late":
            self.late.append((now_ms + 60_000, body, request))
            return None
        row = self._take(body, request, now_ms)
        return None if weather == "lost after" else row

    def hurry(self, now_ms: int) -> None:
        """Requests that were under way all the time take effect now."""
        due = [one for one in self.late if one[0] <= now_ms]
        self.late = [one for one in self.late if one[0] > now_ms]
        for _, body, request in due:
            self._take(body, request, now_ms)

    def _take(self, data: bytes, request: str, now_ms: int) -> JsonObject:
        seen = self.answered.get(request)
        if seen is not None and now_ms - seen[0] <= QBO_REQUESTID_TRUST_MS:
            return self.rows[seen[1]]
        body = decode_body(data)
        identity = str(body.pop("Id", "") or len(self.rows) + 1)
        self.rows[identity] = {**self.rows.get(identity, {}), **body, "Id": identity}
        self.answered[request] = (now_ms, identity)
        return self.rows[identity]

    def find(self, local_type: str, local_id: str) -> list[JsonObject]:
        wanted = (local_type, local_id)
        return [
            row
            for row in self.rows.values()
            if marker.find([MARK_KEY], row.get("PrivateNote")) == wanted
        ]


class Standing(NamedTuple):
    external_id: str
    hash: str


class Sink:
    """The ledger and one run at a time over it."""

    def __init__(self) -> None:
        self.books = Books()
        self.intents: dict[Key, Intent] = {}
        self.acknowledged: dict[Key, Standing] = {}
        self.unsaid: list[Fact] = []
        self.crash_in = 0
        self._ids = 0
        self._generations: Counter[tuple[Key, str]] = Counter()
        self._sales: dict[bytes, tuple[Sale, bytes, str] | None] = {}  # what a state means; pure

    def arrow(self) -> None:
        if self.crash_in:
            self.crash_in -= 1
            if not self.crash_in:
                raise SinkCrash

    # What is wanted -------------------------------------------------------------------------------

    def feed(self, documents: Mapping[DocKey, Document]) -> None:
        """Compare what is wanted with what was acknowledged, document by document."""
        for key in sorted(documents):
            if key.type not in ("order", "quote"):
                continue
            state = documents[key].encode()
            if state not in self._sales:
                seen = view(documents[key])
                content = seen["content"]
                self._sales[state] = _wanted(to_sale(key.type, key.id, seen)) if content else None
            wanted = self._sales[state]
            if wanted is not None:
                self._want(*wanted)

    def _want(self, sale: Sale, content: bytes, digest: str) -> None:
        mapping = self.acknowledged.get(sale.key)
        current = self.intents.get(sale.key)
        decision = plan.decide(
            digest,
            cancelled=sale.cancelled,
            acknowledged_hash=mapping.hash if mapping else None,
            current=current,
        )
        if decision.change is Change.CANCEL:
            del self.intents[sale.key]
        elif decision.change is not Change.NONE:
            assert decision.op is not None
            self._ids += 1
            self._generations[sale.key, digest] += 1
            generation = self._generations[sale.key, digest]
            self.intents[sale.key] = Intent(
                self._ids,
                sale.key,
                decision.op,
                generation,
                digest,
                content,
                State.QUEUED,
                self._ids,
            )

    # Sending --------------------------------------------------------------------------------------

    def run(self, dice: Dice, now_ms: int, submit: Callable[[list[Fact]], None]) -> bool:
        """One round over the queue. False when nothing is left to do before somebody acts."""
        self._say(submit)
        self.books.hurry(now_ms)
        steps = plan.plan(list(self.intents.values()), {}, set(), now_ms)
        waits = any(step.action is Action.WAIT for step in steps)
        ready = [step for step in steps if step.action in (Action.SEND, Action.LOOK)]
        for step in ready:
            if step.action is Action.LOOK:
                self._look(step.intent, now_ms)
            else:
                self._send(step.intent, now_ms)
        self._say(submit)
        return bool(ready) or waits

    def _say(self, submit: Callable[[list[Fact]], None]) -> None:
        if self.unsaid:
            facts = list(self.unsaid)
            self.arrow()
            submit(facts)
            self.arrow()
            del self.unsaid[: len(facts)]

    def _send(self, intent: Intent, now_ms: int) -> None:
        if intent.state is State.IN_DOUBT:
            body = intent.body
        else:
            made = self._body(intent)
            if isinstance(made, Refused):
                self._refuse(intent, made)
                return
            body = encode_body(made)
        request = self._request(intent)
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
        self.arrow()
        self.intents[intent.key] = sent
        self.arrow()
        row = self.books.write(body, request, now_ms)
        self.arrow()
        if row is None:
            due_ms = now_ms + doubt.wait_ms(sent.sends)
            self.intents[intent.key] = replace(sent, state=State.IN_DOUBT, due_ms=due_ms)
        else:
            self._acknowledge(sent, row)

    def _request(self, intent: Intent) -> str:
        """The id that a repeated call repeats too."""
        return intent.requestid or requestid.requestid(
            REALM, intent.key, intent.op, intent.hash, intent.generation
        )

    def _body(self, intent: Intent) -> JsonObject | Refused:
        sale = decode_wanted(Entity.ESTIMATE, intent.content)
        assert isinstance(sale, Sale)
        mapping = self.acknowledged.get(intent.key)
        if intent.op is Op.REJECT:
            assert mapping is not None
            return {"Id": mapping.external_id, "TxnStatus": "Rejected"}
        refused = estimate.check(sale, _PARTY, _PREFERENCES, _SETTINGS)
        if refused is not None:
            return refused
        mark = marker.sign(MARK_KEY, sale.type, sale.id)
        refs = estimate.Refs("71", _ITEMS, _CHARGES, mark)
        body = estimate.to_estimate(
            sale, _PARTY, {}, refs, preferences=_PREFERENCES, settings=_SETTINGS
        )
        return body if mapping is None else {**body, "Id": mapping.external_id}

    def _look(self, intent: Intent, now_ms: int) -> None:
        """One look for a write whose outcome is unknown."""
        if intent.state is State.IN_FLIGHT:  # a crash left it so
            intent = replace(intent, state=State.IN_DOUBT)
        rows = self.books.find(intent.key.local_type, intent.key.local_id)
        body = decode_body(intent.body)
        for row in rows:
            if all(row.get(name) == value for name, value in body.items()):
                self._acknowledge(intent, row)
                return
        self.intents[intent.key] = replace(
            intent, looks=intent.looks + 1, looked_ms=now_ms, due_ms=now_ms
        )

    def _acknowledge(self, intent: Intent, row: JsonObject) -> None:
        """The mapping, the end of the intent and what is to be said, in one commit."""
        del self.intents[intent.key]
        self.acknowledged[intent.key] = Standing(str(row["Id"]), intent.hash)
        total = {**row, "TotalAmt": estimate_total(row)}
        self._tell(answers.done(intent.key, total, "USD"))
        self.arrow()

    def _refuse(self, intent: Intent, refused: Refused) -> None:
        self.intents[intent.key] = replace(
            intent, state=State.FAULTED, code=refused.code, cause=refused.cause, fix=refused.fix
        )
        self._tell(answers.parked(intent.key, refused))

    def _tell(self, answer: Answer | None) -> None:
        if answer is not None:
            self.unsaid.append(Fact(answer.kind, 1, answer.payload))


def _wanted(sale: Sale) -> tuple[Sale, bytes, str]:
    content = encode_wanted(sale)
    return sale, content, content_hash(content)


def estimate_total(row: JsonObject) -> Decimal:
    """What the company adds up: the amounts of all lines."""
    return sum((Decimal(str(line["Amount"])) for line in row.get("Line", [])), Decimal(0))
