"""One account's company as its users see it: the connection, its deadlines, what it costs, choices.

States: not connected → connected → reconnect needed (the grant ended), stopped (our credentials or
the subscription), disconnected (by somebody here). Connecting leads out of each; the queue goes on
filling in all of them (quickbooks.md §1.2).
"""

from __future__ import annotations

import asyncio
import secrets
from calendar import monthrange
from dataclasses import replace
from datetime import UTC, datetime

from qbo_sink import choices, schedule
from qbo_sink.choices import Choices
from qbo_sink.config import LOCAL_SANDBOX
from qbo_sink.connections import CONNECTED, DISCONNECTED, RECONNECT, Link, month_of
from qbo_sink.model import Preferences, State
from qbo_sink.queue_store import QueueStore
from qbo_sink.reconcile_store import ReconcileStore
from qbo_sink.runner import Parts, Runner
from qbo_sink.tokens import authorize_url
from replica.errors import MisuseError
from replica.limits import QBO_DEADLINE_NEAR_MS, QBO_READS_PER_MONTH
from replica.sink import Deed, Fact, Offer, Refusal, Setup, SinkStatus, Tracked

NOT_CONNECTED = "No QuickBooks company is connected. Orders queue up meanwhile."
DISCONNECT = Offer(
    "disconnect",
    "Disconnect",
    "danger",
    warns="Nothing is sent or fetched until a company is connected again. What waits is kept.",
)


class Company:
    """The desk over one sink's connections."""

    def __init__(self, parts: Parts, runner: Runner) -> None:
        self._parts = parts
        self._runner = runner
        self._store = QueueStore(parts.ledger.engine)
        self._reconcile = ReconcileStore(parts.ledger.engine)

    async def choices(self, account: bytes) -> Choices:
        """What counts for this account."""
        chosen = await asyncio.to_thread(self._store.settings, account)
        return choices.effective(self._parts.config, chosen)

    async def is_scheduled(self) -> bool:
        """Whether any account may want an automatic run."""
        every = choices.defaults(self._parts.config)["every"]
        return every != "never" or await asyncio.to_thread(self._store.is_any, "every", "never")

    async def status(self, account: bytes) -> SinkStatus:
        """The connection in one word and one sentence."""
        status, link = await self._status(account)
        differences = await asyncio.to_thread(self._reconcile.counts, account)
        number = sum(count for kind, count in differences.items() if kind != "ignored")
        known = tracked(None if link is None else link.preferences)
        return replace(status, differences=number, tracked=known)

    async def _status(self, account: bytes) -> tuple[SinkStatus, Link | None]:
        parts = self._parts
        link = await asyncio.to_thread(parts.connections.get, account)
        counts = await asyncio.to_thread(parts.ledger.count_open, account)
        queued = sum(counts.values())
        if link is None and parts.config.profile == LOCAL_SANDBOX:
            text = "The local sandbox is connected at the next run."
            return SinkStatus("manual", text, queued), link
        if link is None or link.state == DISCONNECTED:
            return SinkStatus("not_connected", NOT_CONNECTED, queued), link
        running = self._runner.is_running(account)
        every = (await self.choices(account)).schedule.every
        state, text = state_of(link, counts, every, running=running, now_ms=parts.now_ms())
        return SinkStatus(state, text, queued, link.last_run_ms or None), link

    async def setup(self, account: bytes) -> Setup:
        """Connection, deadlines, costs and choices."""
        status = await self.status(account)
        return await asyncio.to_thread(self._setup, account, status)

    def _setup(self, account: bytes, status: SinkStatus) -> Setup:
        parts = self._parts
        link = parts.connections.get(account)
        chosen = self._store.settings(account)
        now_ms = parts.now_ms()
        counts = choices.effective(parts.config, chosen)
        reads = parts.connections.reads(account, month_of(now_ms))
        connected = link is not None and link.state != DISCONNECTED
        can_connect = parts.config.profile != LOCAL_SANDBOX or bool(parts.config.authorize_url)
        return Setup(
            status=status,
            facts=facts(link, parts.config.profile, counts, reads, now_ms),
            settings=choices.offered(parts.config, chosen),
            connect=("Connect again" if connected else "Connect QuickBooks") if can_connect else "",
            offers=(DISCONNECT,) if connected else (),
        )

    async def act(self, account: bytes, thing: str, action: str, deed: Deed) -> None:
        """Disconnect, or keep a choice. Raises ``Refusal``."""
        if (thing, action) == ("company", "disconnect"):
            await self._disconnect(account)
        elif thing.startswith("setting:") and action == "save":
            name = thing.removeprefix("setting:")
            try:
                value = choices.check(self._parts.config, name, deed.text)
            except MisuseError as error:
                raise Refusal(str(error), hint=error.hint) from error
            await asyncio.to_thread(self._store.choose, account, {name: value})
        else:
            raise Refusal("That cannot be done with the company.")

    async def _disconnect(self, account: bytes) -> None:
        if self._runner.is_running(account):
            raise Refusal("A sync is going on; disconnect when it has ended.")
        # Theirs first: a grant that is forgotten here could not be ended any more.
        await self._parts.keeper.revoke(account)
        await asyncio.to_thread(self._parts.connections.disconnect, account)

    # Connecting ----------------------------------------------------------------------------------

    async def connect(self, account: bytes, callback: str, state: str = "") -> str:
        """Where to send the browser of somebody who may connect ``account``.

        ``callback`` is this server's own address of the callback, used where none is configured.
        """
        parts = self._parts
        state = state or secrets.token_urlsafe(32)
        address = parts.config.redirect_uri or callback
        await asyncio.to_thread(
            parts.connections.begin_authorisation, account, state, parts.now_ms(), address
        )
        return authorize_url(parts.config, state, address)

    async def finish_connect(self, state: str, code: str, realm: str) -> None:
        """The callback of Intuit. Raises ``Forbidden`` for a state that was not begun here."""
        parts = self._parts
        account, address = await asyncio.to_thread(
            parts.connections.end_authorisation, state, parts.now_ms()
        )
        tokens = await parts.keeper.exchange(code, address)
        await asyncio.to_thread(parts.connections.connect, account, realm, tokens)
        parts.keeper.forget(account)


def state_of(
    link: Link, counts: dict[State, int], every: str, *, running: bool, now_ms: int
) -> tuple[str, str]:
    """A connection that was made, in one word and one sentence. Pure."""
    if running:
        return "running", "Sending to QuickBooks now."
    if link.state == RECONNECT:
        return "reconnect_needed", f"Reconnect the company: {link.reason}."
    if link.state != CONNECTED:
        return "stopped", link.reason or "The connection is stopped."
    faulted = counts.get(State.FAULTED, 0) + counts.get(State.PARKED, 0)
    if faulted:
        word = "row needs" if faulted == 1 else "rows need"
        state = "stopped" if counts.get(State.PARKED) else "failing"
        return state, f"{faulted} {word} attention; the rest goes on."
    if link.paused_until_ms > now_ms:
        return "failing", "QuickBooks asked for a pause; it goes on within a minute or so."
    if link.last_failed:
        return "failing", "The last run did not finish; it is tried again."
    ends_ms = deadline_ms(link)
    if ends_ms and ends_ms - now_ms < QBO_DEADLINE_NEAR_MS:
        days = max((ends_ms - now_ms) // 86_400_000, 0)
        return "healthy", f"Connected; connect again within {days} days, the permission ends then."
    if every == "never":
        return "manual", "Sync Now sends what is queued."
    return "healthy", f"Connected; sends {every}."


def tracked(preferences: Preferences | None) -> list[Tracked]:
    """Classes and departments, as the company tracks them (ACC-04). Pure."""
    known = preferences or Preferences()
    word = known.department_word
    here = f", in this company a {word.lower()}" if word.lower() not in ("", "location") else ""
    first = "Whether the company tracks them is known after the first sync."
    off = (
        "QuickBooks does not track them in this company; switch it on there under Account and "
        "settings, Advanced, Categories, and they appear with the next sync."
    )
    names = {"class": known.tracks_classes, "department": known.departments}
    texts = {
        "class": "Deleting one makes it inactive in QuickBooks.",
        "department": f"QuickBooks calls a department a location{here}. "
        "Deleting one makes it inactive there.",
    }
    found = []
    for kind, on in names.items():
        text = texts[kind] if on else off if preferences else first
        found.append(Tracked(kind, _TITLES[kind], on, text))
    return found


_TITLES = {"class": "Classes", "department": "Departments"}


def deadline_ms(link: Link) -> int:
    """When the permission ends unless somebody connects again; zero when nothing is known."""
    known = [ms for ms in (link.refresh_expires_ms, link.hard_expires_ms) if ms]
    return min(known, default=0)


def forecast(reads: int, now_ms: int) -> int:
    """Metered calls by the end of the month, at the pace of the days so far."""
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    days = monthrange(now.year, now.month)[1]
    elapsed = now.day - 1 + (now.hour + 1) / 24
    return round(reads * days / elapsed)


def facts(
    link: Link | None, profile: str, chosen: Choices | None, reads: int, now_ms: int
) -> list[Fact]:
    """What there is to know about a connection, deadlines with their times. Pure.

    ``chosen`` is None where nothing is configured, which only an operator's shell can be.
    """
    if link is None:
        return [Fact("Company", "none yet"), Fact("Profile", profile)]
    near = now_ms + QBO_DEADLINE_NEAR_MS
    last_ms = link.last_run_ms or now_ms
    due_ms = chosen and schedule.next_due(chosen.schedule, chosen.zone, last_ms, now_ms)
    expected = forecast(reads, now_ms)
    found = [
        Fact("Company", link.realm),
        Fact("Profile", profile),
        Fact("Last sync", "", link.last_run_ms),
        Fact("Next automatic sync", "" if due_ms else "none: by hand only", due_ms or 0),
        Fact("Access renewed by itself", "before it ends", link.access_expires_ms),
        _deadline("Permission ends if unused", link.refresh_expires_ms, near),
        _deadline("Permission ends for good", link.hard_expires_ms, near),
        Fact(
            "Metered reads this month",
            f"{reads:,}, about {expected:,} by its end; {QBO_READS_PER_MONTH:,} are included",
            tone="warn" if expected > QBO_READS_PER_MONTH else "",
        ),
    ]
    found += [Fact(one.title, _track_words(one)) for one in tracked(link.preferences)]
    if link.paused_until_ms > now_ms:
        found.append(Fact("Pause asked for by QuickBooks", "until", link.paused_until_ms, "warn"))
    return [fact for fact in found if fact.text or fact.at_ms]


def _track_words(one: Tracked) -> str:
    return f"tracked. {one.text}" if one.on else f"not tracked. {one.text}"


def _deadline(name: str, at_ms: int, near_ms: int) -> Fact:
    return Fact(name, "", at_ms, "warn" if at_ms and at_ms < near_ms else "")
