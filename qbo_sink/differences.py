"""The comparison as its users handle it: control totals, differences, and what to do about each.

Every remedy is a command that somebody gives; nothing is recreated or overwritten by itself
(quickbooks.md §2.5).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from qbo_sink import remedies
from qbo_sink.config import there
from qbo_sink.connections import Connections, month_of
from qbo_sink.judge import VOIDED
from qbo_sink.ledger import Ledger
from qbo_sink.model import Entity, Key
from qbo_sink.reconcile import expected_reads
from qbo_sink.reconcile_store import DONE, FETCHING, Kept, Progress, ReconcileStore
from qbo_sink.runner import Parts, Runner
from qbo_sink.session import Session
from replica.errors import ReplicaError
from replica.limits import SINK_ROWS_MAX, SINK_RUN_WAIT_S
from replica.sink import Deed, Difference, MonthTotal, Offer, Reconciliation, Refusal

START = Offer("start", "Compare now", "primary")
GO_ON = Offer("start", "Go on", "primary")
RESEND = Offer("resend", "Send again", "primary")
ACCEPT = Offer("accept", "Accept theirs")
OURS = Offer("ours", "Send ours")
LINK = Offer("link", "Link", asks="Number in QuickBooks")
IGNORE = Offer("ignore", "Ignore", asks="Reason")
WATCH = Offer("watch", "Do not ignore")
_OFFERS = {
    "missing": (RESEND, LINK, IGNORE),
    "deleted": (RESEND, LINK, IGNORE),
    "changed": (ACCEPT, OURS, IGNORE),
    "differs": (ACCEPT, OURS, IGNORE),
    "duplicate": (IGNORE,),
    "orphan": (IGNORE,),
}
_TEXTS = {
    "missing": "It is not in QuickBooks.",
    "deleted": "It was deleted in QuickBooks.",
    "changed": "It was changed in QuickBooks",
    "differs": "The amount in QuickBooks is another one.",
    "duplicate": "A second document in QuickBooks says that it is this one. Delete one there.",
    "orphan": "It says that it came from here, and nothing here is linked to it.",
}
_FIELDS = {
    "TxnDate": "date",
    "DocNumber": "number",
    "TxnStatus": "state",
    "ShipDate": "delivery date",
    "AcceptedBy": "representative",
    "CustomerRef": "customer",
    "ClassRef": "class",
    "DepartmentRef": "department",
    "Line": "lines",
}

Act = Callable[[Session, Key, Ledger], Awaitable[str]]


class Differences:
    """The desk over one sink's comparisons."""

    def __init__(self, parts: Parts, runner: Runner) -> None:
        self._parts = parts
        self._runner = runner
        self._store = ReconcileStore(parts.ledger.engine)
        self._connections: Connections = parts.connections

    async def page(self, account: bytes, kind: str, start: int) -> Reconciliation:
        """Where the comparison stands and a part of what it found."""
        return await asyncio.to_thread(self._page, account, kind, start)

    def _page(self, account: bytes, kind: str, start: int) -> Reconciliation:
        progress = self._store.progress(account)
        links = len(self._store.links(account))
        counts = self._store.counts(account)
        rows = self._store.findings(account, kind=kind, start=max(start, 0), limit=SINK_ROWS_MAX)
        running = self._runner.is_comparing(account)
        state = "running" if running else _state(progress)
        open_ones = sum(number for name, number in counts.items() if name != "ignored")
        return Reconciliation(
            state=state,
            text=_TEXT[state],
            started_ms=progress.started_ms,
            finished_ms=progress.finished_ms,
            fetched=progress.fetched,
            expected=max(progress.fetched, links),
            cost=self._cost(account, progress, links),
            equal=progress.equal,
            foreign=progress.foreign,
            months=[MonthTotal(*month) for month in progress.months],
            counts=counts,
            matching=counts.get(kind, 0) if kind else open_ones,
            rows=[self._row(one) for one in rows],
            offers=() if running else (GO_ON,) if state == "interrupted" else (START,),
        )

    def _cost(self, account: bytes, progress: Progress, links: int) -> str:
        invoices = self._store.has_invoices(account)
        reads = expected_reads(progress, links, invoices=invoices)
        used = self._connections.reads(account, month_of(self._parts.now_ms()))
        return f"about {reads} metered reads; {used} were used this month"

    def _row(self, kept: Kept) -> Difference:
        found = kept.found
        text = _TEXTS[found.kind]
        names = ", ".join(_FIELDS.get(name, name) for name in found.fields.split(",") if name)
        if found.kind == "changed":
            text = f"{text}: {names}." if names else f"{text}."
        if found.kind == "missing" and found.fields == "waits":
            text = "It is not in QuickBooks yet; it waits in the queue."
        if found.fields == VOIDED:
            text = "Its invoice was voided in QuickBooks."
        return Difference(
            id=f"difference:{kept.id}",
            kind=found.kind,
            local_type=found.local_type,
            local_id=found.local_id,
            number=found.number,
            date=found.date,
            currency=found.currency,
            ours_minor=found.ours_minor,
            theirs_minor=found.theirs_minor,
            text=text,
            there=there(self._parts.config, Entity(found.entity).path, found.external_id),
            ignored=f"{kept.reason} ({kept.by})" if kept.at_ms else "",
            offers=(WATCH,) if kept.at_ms else _OFFERS[found.kind],
        )

    # Doing ---------------------------------------------------------------------------------------

    async def start(self, account: bytes) -> None:
        """Begin a comparison, or go on with the one that was cut off. Waits a moment for it."""
        run = asyncio.ensure_future(self._quietly(account))
        done, _ = await asyncio.wait({run}, timeout=SINK_RUN_WAIT_S)
        if done and run.result():
            raise Refusal(run.result())

    async def _quietly(self, account: bytes) -> str:
        try:
            await self._runner.compare(account)
        except ReplicaError as error:
            return str(error)
        return ""

    async def act(self, account: bytes, identity: int | None, action: str, deed: Deed) -> None:
        """Carry out a remedy. Raises ``Refusal`` saying why not."""
        kept = await asyncio.to_thread(self._store.finding, account, identity or 0)
        if kept is None:
            raise Refusal("There is no such difference any more; compare again.")
        offered = (WATCH,) if kept.at_ms else _OFFERS[kept.found.kind]
        if action not in {offer.name for offer in offered}:
            raise Refusal("That cannot be done about this difference.")
        if action in ("ignore", "link") and not deed.text:
            raise Refusal("Say why." if action == "ignore" else "Say which number.")
        if action == "ignore":
            now_ms = self._parts.now_ms()
            await asyncio.to_thread(
                self._store.ignore, account, kept.found, deed.text, deed.by, now_ms
            )
        elif action == "watch":
            await asyncio.to_thread(self._store.watch, account, kept.found)
        else:
            await self._remedy(account, kept, action, deed.text)

    async def _remedy(self, account: bytes, kept: Kept, action: str, text: str) -> None:
        acts: dict[str, Act] = {
            "resend": remedies.resend,
            "accept": remedies.accept_theirs,
            "ours": remedies.send_ours,
            "link": partial(_link, text),
        }
        key = Key(Entity(kept.found.entity), kept.found.local_type, kept.found.local_id)
        problem = await self._runner.remedy(account, key, acts[action])
        if problem:
            raise Refusal(problem[:1].upper() + problem[1:].rstrip(".") + ".")
        await asyncio.to_thread(self._store.drop, account, kept.id)
        await self._runner.answer(account)


def _link(number: str, session: Session, key: Key, ledger: Ledger) -> Awaitable[str]:
    return remedies.link(session, key, ledger, number)


_TEXT = {
    "never": "Nothing was compared yet.",
    "running": "Documents are being compared.",
    "interrupted": "The comparison was cut off; it goes on where it was.",
    "done": "Every committed order and quote was compared with its estimate or invoice.",
}


def _state(progress: Progress) -> str:
    return {FETCHING: "interrupted", DONE: "done"}.get(progress.state, "never")
