"""The port of a sink: another system that receives committed work, such as an accounting program.

The port belongs to ``replica``; implementations are found through the entry-point group
``replica.sinks`` and are never imported by name, so another accounting system can stand beside
the first (architecture.md §6). A sink is a device in spirit: it answers in events through the same
door as everybody else, so its answers reach phones by ordinary sync.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import Engine
from starlette.routing import BaseRoute
from typer import Typer

from replica.errors import PeerError
from replica.events.event import AccountId
from replica.limits import SINK_ROWS_MAX


class Refusal(PeerError):
    """What was asked of a sink cannot be done; the message says why, for the person who asked."""

    code = "refused"


@dataclass(frozen=True)
class Offer:
    """Something a person may do about one thing: a button that a page shows (QB-16).

    ``name`` is what :meth:`Sink.act` is told. ``asks`` names the text that goes with it ("Reason"),
    empty for none, ``value`` is what it most likely is. ``warns`` is what to know first: a page
    shows it before it acts.
    """

    name: str
    label: str
    tone: str = ""  # "", "primary" or "danger"
    asks: str = ""
    warns: str = ""
    value: str = ""


@dataclass(frozen=True)
class QueueRow:
    """One piece of work that waits to be sent, in sending order (requirements QB-15)."""

    position: int
    entity: str  # what it will become there: "Estimate", "Customer", …
    local_type: str  # document type here: "order", "quote", "customer", …
    local_id: str
    number: str
    customer: str
    amount_minor: int | None
    currency: str
    state: str  # one of ui.md §2: queued, waiting_on, sending, retrying, needs_you, …
    reason: str  # why it waits or what failed, in words; empty when nothing is to be said
    attempts: int
    id: str = ""  # names the row to ``act`` and ``row``
    becomes: str = ""  # "new, Accepted", "changed", "rejected", …
    since_ms: int = 0  # when it was queued; zero when that is not known
    next_ms: int = 0  # when it is tried again by itself; zero for "at the next run"
    code: str = ""  # of the fault, with its page of guidance
    cause: str = ""
    fix: str = ""
    detail: str = ""  # the other system's own words
    tries: str = ""  # "try 2 of 3, …" (QB-23)
    trouble: str = ""  # "temporary" passes by itself, "data" needs somebody (QB-22)
    changes: Sequence[str] = ()  # what a change changes, in words
    foreseen: Sequence[str] = ()  # faults that can be seen before anything is sent
    tax: str = ""  # what the other system will add, per rate, or that it cannot be known
    offers: Sequence[Offer] = ()


@dataclass(frozen=True)
class QueueAsk:
    """Which part of a queue is wanted: rows in ``state``, holding ``text``, from ``start`` on.

    ``limit`` may be as much as a plan names (``SYNC_PLAN_ROWS_MAX``).
    The state ``failing`` stands for every row that has a fault, the code for those of one fault.
    """

    text: str = ""
    state: str = ""
    code: str = ""
    start: int = 0
    limit: int = SINK_ROWS_MAX


@dataclass(frozen=True)
class QueuePage:
    """A part of a queue. ``top`` is the failing row that stands first, whatever is filtered."""

    rows: Sequence[QueueRow] = ()
    matching: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)  # state → rows, unfiltered
    codes: Mapping[str, int] = field(default_factory=dict)  # code of a fault → rows
    top: QueueRow | None = None


@dataclass(frozen=True)
class Call:
    """One call of a row and what came of it. ``trace`` is what the other side's support wants."""

    started_ms: int
    finished_ms: int
    outcome: str
    status: int
    trace: str
    code: str
    detail: str


@dataclass(frozen=True)
class RowDetail:
    """Everything about one row. ``support`` is a text without secrets, to hand on (QB-26)."""

    row: QueueRow
    calls: Sequence[Call] = ()
    dependants: Sequence[str] = ()
    body: str = ""
    support: str = ""


@dataclass(frozen=True)
class Correction:
    """One automatic correction, with what it changed (QB-24)."""

    id: str
    at_ms: int
    record: str
    rule: str
    text: str
    before: str
    after: str
    offers: Sequence[Offer] = ()


@dataclass(frozen=True)
class Guidance:
    """What one fault means and what to do about it (QB-28)."""

    code: str
    cause: str
    fix: str
    kind: str


@dataclass(frozen=True)
class Deed:
    """Who asked for something, and the text that an offer asked for."""

    by: str
    text: str = ""


@dataclass(frozen=True)
class Fact:
    """One thing to know about a connection: a text, a time, or both."""

    name: str
    text: str
    at_ms: int = 0
    tone: str = ""  # "warn" where somebody should do something


@dataclass(frozen=True)
class Setting:
    """One choice of an account. Without ``choices`` it is a text. ``source`` is "default" where
    nobody chose."""

    name: str
    label: str
    value: str
    choices: Sequence[tuple[str, str]] = ()
    hint: str = ""
    source: str = ""


@dataclass(frozen=True)
class RunReport:
    """What one push-and-pull did."""

    sent: int = 0
    created: int = 0
    updated: int = 0
    failed: int = 0
    waiting: int = 0
    pulled: int = 0
    errors: Sequence[str] = ()


@dataclass(frozen=True)
class Progress:
    """How far a run or a comparison has come: what it does, in words, and ``done`` of ``total``;
    ``total`` is zero while nobody knows. Both only grow."""

    doing: str
    done: int = 0
    total: int = 0


@dataclass(frozen=True)
class Incoming:
    """One change there that a pull would bring. Values are shown as words, never interpreted."""

    local_type: str
    local_id: str  # empty for what is not here yet
    name: str
    becomes: str  # "changed", "new here", "deleted there", …
    changes: Sequence[str] = ()  # fields that are taken from there
    gives_way: Sequence[str] = ()  # edits here that are lost to newer ones there
    goes_over: Sequence[str] = ()  # edits there that are lost to newer ones here


@dataclass(frozen=True)
class Outlook:
    """What a pull would bring, as the other side said at ``at_ms``; zero when it was not asked."""

    text: str
    at_ms: int = 0
    rows: Sequence[Incoming] = ()


@dataclass(frozen=True)
class Tracked:
    """Whether the other system sorts sales by ``type`` ("class", "department"), and in words what
    it calls that, or how to switch it on (ACC-04, ACC-06)."""

    type: str
    title: str
    on: bool
    text: str


@dataclass(frozen=True)
class SinkStatus:
    """The connection in one word and one sentence (ui.md §2).

    ``differences`` counts documents that are another there than here and that nobody dealt with.
    """

    state: str  # healthy, running, failing, stopped, manual, not_connected, reconnect_needed
    text: str
    queued: int
    last_run_ms: int | None = None
    differences: int = 0
    tracked: Sequence[Tracked] = ()


@dataclass(frozen=True)
class Namesake:
    """A record of ours and one there of the same name; nothing else says that they are one.

    ``there`` tells the one there from others; ``decided`` is what somebody said, with who.
    """

    id: str
    local_type: str
    local_id: str
    name: str
    there: str
    decided: str = ""
    offers: Sequence[Offer] = ()


@dataclass(frozen=True)
class Setup:
    """An account's connection: what is known of it, what may be chosen, what may be done."""

    status: SinkStatus
    facts: Sequence[Fact] = ()
    settings: Sequence[Setting] = ()
    connect: str = ""  # the label of the way to connect, empty where there is none
    offers: Sequence[Offer] = ()
    namesakes: Sequence[Namesake] = ()


@dataclass(frozen=True)
class Overruled:
    """A field that was changed on both sides to different values: what counts, what was given up.

    ``ours`` and ``theirs`` are plain values. ``other`` are the events (kind, payload) by which
    somebody here says the value that was given up; empty where the field has moved on since.
    """

    id: str
    at_ms: int
    local_type: str
    local_id: str
    field: str
    ours: Any
    theirs: Any
    kept: str  # "ours" or "theirs"
    settled: str = ""  # by whom; empty until somebody dealt with it
    other: Sequence[tuple[str, bytes]] = ()
    offers: Sequence[Offer] = ()


@dataclass(frozen=True)
class Comparison:
    """Committed documents against their counterparts there (architecture.md §9)."""

    equal: int = 0
    missing: Sequence[str] = ()
    changed: Sequence[str] = ()
    deleted: Sequence[str] = ()
    differs: Sequence[str] = ()
    extra: Sequence[str] = ()  # ids there that carry our mark and that nothing here stands for


@dataclass(frozen=True)
class MonthTotal:
    """Control totals of one month in one currency, ours and theirs; money in minor units."""

    month: str
    currency: str
    ours: int
    ours_minor: int
    theirs: int
    theirs_minor: int


@dataclass(frozen=True)
class Difference:
    """One difference between a document here and its counterpart, and what may be done about it."""

    id: str
    kind: str  # missing, deleted, differs, changed, duplicate, orphan
    local_type: str
    local_id: str
    number: str
    date: str
    currency: str
    ours_minor: int | None
    theirs_minor: int | None
    text: str
    there: str = ""  # a link into the other system
    ignored: str = ""  # why it may be, by whom; empty when nobody said so
    offers: Sequence[Offer] = ()


@dataclass(frozen=True)
class Reconciliation:
    """The comparison that is on, or the last one, with a part of its differences."""

    state: str = "never"  # never, running, interrupted, done
    text: str = ""
    started_ms: int = 0
    finished_ms: int = 0
    fetched: int = 0
    expected: int = 0  # rows that are expected there
    cost: str = ""  # metered reads that another one will cost, and how many were used
    equal: int = 0
    foreign: int = 0  # documents there that are not ours
    months: Sequence[MonthTotal] = ()
    counts: Mapping[str, int] = field(default_factory=dict)  # kind → differences
    matching: int = 0
    rows: Sequence[Difference] = ()
    offers: Sequence[Offer] = ()


@dataclass(frozen=True)
class ListColumn:
    """One column of a list. ``kind`` is text, date or money (a decimal number as text)."""

    name: str
    title: str
    kind: str = "text"


@dataclass(frozen=True)
class ListInfo:
    """One of the other system's lists as it was last pulled (requirements ACC-01)."""

    name: str
    title: str
    columns: Sequence[ListColumn]
    rows: int = 0  # that stand there
    pulled_ms: int = 0  # 0: never
    complete: bool = False  # read through at least once
    reason: str = ""  # why it was not told last time; empty when it was
    there: str = ""  # where it is changed: a link into the other system


@dataclass(frozen=True)
class ListRow:
    """One row. ``state`` is empty, inactive or deleted; ``values`` by the name of the column."""

    id: str
    values: Mapping[str, str]
    state: str = ""


@dataclass(frozen=True)
class ListAsk:
    """Which rows of a list are wanted: with ``text`` in them, in ``state`` (None: any), by
    ``sort``: label, number, date or amount, with a minus for the greatest first."""

    text: str = ""
    state: str | None = None
    sort: str = ""
    after: tuple[str | int, str] | None = None
    limit: int = 50


@dataclass(frozen=True)
class ListPage:
    """Some rows of a list, and the key to ask for the next ones with; None after the last."""

    info: ListInfo
    rows: Sequence[ListRow] = ()
    after: tuple[str | int, str] | None = None


Submit = Callable[[AccountId, str, Sequence[tuple[str, bytes]]], Awaitable[None]]
"""``submit(account, writer, [(kind, canonical payload bytes), …])``: through the one door, durable
when it returns. ``writer`` names the server-resident device, for a sink its own name."""


@dataclass(frozen=True)
class SinkContext:
    """What the composition root hands to a sink. Values, not a config object.

    ``views`` is the read-models engine (read only for a sink); ``ledger`` is an engine on durable
    storage of the sink's own; ``now_ms`` is the wall clock; ``environ`` is the process
    environment, read once in ``from_context``.
    """

    views: Engine
    ledger: Engine
    submit: Submit
    now_ms: Callable[[], int]
    environ: Mapping[str, str] = field(default_factory=dict)


class Sink(Protocol):
    """One sink for all accounts of a server."""

    name: str

    async def start(self) -> None:
        """Open what is needed. Migrates the ledger. Called once inside the event loop."""
        ...

    async def stop(self) -> None:
        """Finish the step at hand and close."""
        ...

    def hint(self, account: AccountId, position: int) -> None:
        """The projections of ``account`` reached ``position``. Cheap; never blocks."""
        ...

    async def run(self, account: AccountId, trigger: str) -> RunReport:
        """Push what is queued and pull what changed. A second call joins the run that is on."""
        ...

    async def progress(self, account: AccountId) -> Progress | None:
        """How far the run or the comparison that is on has come, whoever began it; None when
        neither is. Cheap: it is asked about once a second."""
        ...

    async def queue(self, account: AccountId, ask: QueueAsk) -> QueuePage:
        """What will be sent next time, in sending order, failing rows on top (QB-21)."""
        ...

    async def outlook(self, account: AccountId) -> Outlook:
        """What a pull would bring. Asks the other side and changes nothing anywhere."""
        ...

    async def row_of(self, account: AccountId, local_type: str, local_id: str) -> QueueRow | None:
        """The row of one document, None when nothing waits for it."""
        ...

    async def offers(self, account: AccountId, local_type: str, local_id: str) -> Sequence[Offer]:
        """What may be done there about one document, named ``<type>:<id>`` to ``act`` (QB-05)."""
        ...

    async def row(self, account: AccountId, identity: str) -> RowDetail | None:
        """Everything about one row; None when there is no such row."""
        ...

    async def act(self, account: AccountId, thing: str, action: str, deed: Deed) -> None:
        """Carry out an offer on what ``thing`` names. Raises ``Refusal`` saying why not."""
        ...

    async def corrections(self, account: AccountId) -> Sequence[Correction]:
        """The newest automatic corrections, newest first."""
        ...

    async def overruled(self, account: AccountId) -> Sequence[Overruled]:
        """The newest values that gave way between both sides, newest first."""
        ...

    def guidance(self) -> Sequence[Guidance]:
        """Every fault the sink knows, with cause and fix."""
        ...

    async def setup(self, account: AccountId) -> Setup:
        """The connection, its deadlines, what it costs, and what may be chosen (QB-14)."""
        ...

    async def connect(self, account: AccountId, callback: str) -> str:
        """Where to send the browser of somebody who may connect this account.

        ``callback`` is the address of the sink's own callback on this server.
        """
        ...

    async def reconciliation(self, account: AccountId, kind: str, start: int) -> Reconciliation:
        """Where the comparison stands, with differences of ``kind`` from ``start`` on."""
        ...

    async def status(self, account: AccountId) -> SinkStatus: ...

    async def lists(self, account: AccountId) -> Sequence[ListInfo]:
        """The other system's lists that are shown here and changed there, in order."""
        ...

    async def rows(self, account: AccountId, name: str, ask: ListAsk) -> ListPage | None:
        """Some rows of one list; None when there is no such list."""
        ...

    async def compare(self, account: AccountId) -> Comparison:
        """Every committed document against its counterpart there."""
        ...


class SinkPlugin(Protocol):
    """What an entry point of the group ``replica.sinks`` names."""

    name: str

    @classmethod
    def from_context(cls, context: SinkContext) -> Sink: ...

    @staticmethod
    def cli() -> Typer:
        """Verbs mounted as ``replica <verb group> …``."""
        ...

    @staticmethod
    def routes() -> Sequence[BaseRoute]:
        """HTTP routes mounted under ``/sinks/<name>/``."""
        ...


JsonObject = dict[str, Any]
