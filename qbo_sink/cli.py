"""``replica qbo …``: the sandbox, and what an operator asks of the sink.

Status, queue and errors read beside a running server. Connect, convert, deliver and reconcile write
to the ledger, which a running server holds for itself; then its pages do the same.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from sqlalchemy import Engine, select

from qbo_sink import config as configuration
from qbo_sink import schema
from qbo_sink.choices import effective
from qbo_sink.company import NOT_CONNECTED, facts, state_of
from qbo_sink.config import LOCAL_SANDBOX
from qbo_sink.connections import DISCONNECTED, count_of_reads, month_of, read_link
from qbo_sink.conversion import CONVERT, DELIVER
from qbo_sink.ledger import Ledger
from qbo_sink.lists import LISTS, ListSpec
from qbo_sink.liststore import ListState, ListStore
from qbo_sink.model import State
from qbo_sink.plan import Intent, describe, sending_order
from qbo_sink.port import NAME, QuickBooksSink
from qbo_sink.queue import steps_of
from qbo_sink.queue_store import QueueStore
from replica.errors import MisuseError, ReplicaError
from replica.events.event import AccountId
from replica.events.money import minor_digits
from replica.limits import PAGE_ROWS_MAX
from replica.sink import Deed, MonthTotal, SinkContext
from replica.store.engine import open_database, read_engine

T = TypeVar("T")
NEEDS_ATTENTION = 3
CALLBACK = "http://127.0.0.1:{port}/sinks/quickbooks/callback"
Account = Annotated[str, typer.Option(help="Account id in hex; needed where there are several.")]


def verbs() -> typer.Typer:
    """The verb group ``qbo``."""
    app = typer.Typer(name="qbo", help="QuickBooks Online: the sink and its sandbox.")
    for verb in (sandbox, connect, status, queue, errors, lists, convert, deliver, reconcile):
        app.command()(verb)
    return app


def sandbox(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8850,
    books: Annotated[str, typer.Option(help="SQLite file of the books.")] = "sandbox.db",
    realm: Annotated[str, typer.Option(help="The sample company's id.")] = "",
    country: Annotated[str, typer.Option(help="US or GB.")] = "US",
) -> None:
    """Serve a QuickBooks of our own on this machine, for tests and demonstrations."""
    from qbo_sink.sandbox import Settings, serve  # noqa: PLC0415 - a server of its own

    if country not in ("US", "GB"):
        raise typer.BadParameter("country is US or GB")
    settings = Settings(realm=realm or Settings().realm, country=country)  # type: ignore[arg-type]
    serve(books, settings, host="127.0.0.1", port=port)


def connect(
    account: Account = "",
    port: Annotated[int, typer.Option(help="Port of the server that takes the callback.")] = 8080,
    callback: Annotated[str, typer.Option(help="Its whole address, where it is another.")] = "",
) -> None:
    """Connect a company: at once with a local sandbox, else by the address that is printed.

    The callback has to be one that the app has registered; QBO_REDIRECT_URI counts before both.
    """

    async def act(sink: QuickBooksSink) -> str:
        chosen = _chosen(account, _written_accounts(sink))
        if sink.parts.config.profile == LOCAL_SANDBOX:
            report = await sink.run(chosen, "connect")
            return "; ".join(report.errors) or "Connected."
        return await sink.connect(chosen, callback or CALLBACK.format(port=port))

    _say(_with_sink(act))


def status(account: Account = "") -> None:
    """The connection, its deadlines, metered reads and their forecast, and how much waits."""
    config = configuration.from_env(os.environ)
    now_ms = _now_ms()
    with _reading() as engine:
        for chosen in _accounts(engine, account):
            link = read_link(engine, chosen)
            counts = Ledger(engine).count_open(chosen)
            choices = effective(config, QueueStore(engine).settings(chosen)) if config else None
            every = choices.schedule.every if choices else ""
            state, text = "not_connected", NOT_CONNECTED
            if link is not None and link.state != DISCONNECTED:
                state, text = state_of(link, counts, every, running=False, now_ms=now_ms)
            waiting = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
            _say(f"{chosen.hex()}: {state}")
            _say(f"  {text}")
            _say(f"  Waiting: {waiting}")
            reads = count_of_reads(engine, chosen, month_of(now_ms))
            profile = config.profile if config else "not configured in this shell"
            for fact in facts(link, profile, choices, reads, now_ms):
                at = _when(fact.at_ms) if fact.at_ms else ""
                mark = " (soon)" if fact.tone and fact.at_ms else ""
                _say(f"  {fact.name}: {' '.join(part for part in (fact.text, at) if part)}{mark}")


def queue(account: Account = "") -> None:
    """What will be sent next, in sending order, and what each row waits for."""
    config = configuration.from_env(os.environ)
    with _reading() as engine:
        ledger = Ledger(engine)
        for chosen in _accounts(engine, account):
            kept = QueueStore(engine).settings(chosen)
            strict = effective(config, kept).settings.strict_order if config else False
            steps = steps_of(ledger, chosen, strict_order=strict, now_ms=_now_ms())
            reasons = {step.intent.id: step.reason for step in steps}
            _table(
                [step.intent for step in steps],
                ("state", "why"),
                lambda intent, reasons=reasons: (intent.state, reasons[intent.id]),  # type: ignore[misc]
            )


def errors(account: Account = "") -> None:
    """Rows that need somebody: the cause, what to do, and Intuit's id of the last call.

    Exit code 3 when there are any.
    """
    found = False
    with _reading() as engine:
        ledger = Ledger(engine)
        for chosen in _accounts(engine, account):
            rows = [
                intent
                for intent in sending_order(ledger.open_intents(chosen))
                if intent.state in (State.FAULTED, State.PARKED)
            ]

            def last(intent: Intent, chosen: bytes = chosen) -> tuple[str, ...]:
                calls = QueueStore(engine).attempts(chosen, intent.id)
                tid = calls[-1].tid if calls else ""
                return intent.code, intent.cause, intent.fix, intent.detail, tid

            _table(rows, ("code", "cause", "what to do", "detail", "intuit_tid"), last)
            found = found or bool(rows)
    if found:
        raise typer.Exit(NEEDS_ATTENTION)


def lists(
    name: Annotated[str, typer.Argument(help="Which list; without one, all are named.")] = "",
    find: Annotated[str, typer.Option(help="Only rows with this text.")] = "",
    account: Account = "",
) -> None:
    """The accounting lists as they were last pulled; they are changed in QuickBooks."""
    if name and name not in LISTS:
        raise typer.BadParameter(f"one of {', '.join(LISTS)}")
    with _reading() as engine:
        store = ListStore(engine)
        for chosen in _accounts(engine, account):
            states = store.states(chosen)
            if not name:
                for spec in LISTS.values():
                    state = states.get(spec.name, ListState(spec.name))
                    told = f": {state.reason}" if state.reason else ""
                    _say(f"{spec.name}: {state.rows}, pulled {_when(state.pulled_ms)}{told}")
                continue
            _list_rows(store, chosen, LISTS[name], find)


def _list_rows(store: ListStore, account: bytes, spec: ListSpec, find: str) -> None:
    """Every page of one list as a table."""
    table = Table(*(column.title for column in spec.columns), "")
    after = None
    while True:
        page = store.page(account, spec.name, text=find, after=after, limit=PAGE_ROWS_MAX)
        for row in page.rows:
            table.add_row(*(row.values.get(column.name, "") for column in spec.columns), row.state)
        after = page.after
        if after is None:
            break
    Console().print(table if table.row_count else "Nothing.")


def _when(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="seconds") if ms else "never"


def convert(
    order: Annotated[str, typer.Argument(help="Id of the order.")], account: Account = ""
) -> None:
    """Queue the invoice of an order that stands in QuickBooks as an estimate."""
    _give(account, order, CONVERT, "")


def deliver(
    order: Annotated[str, typer.Argument(help="Id of the order.")],
    to: Annotated[str, typer.Option(help="E-mail address; that of the invoice without it.")] = "",
    account: Account = "",
) -> None:
    """Queue the e-mail with the invoice of an order to its customer."""
    _give(account, order, DELIVER, to)


def _give(account: str, order: str, action: str, text: str) -> None:
    """A command about one order; sent with the next sync."""

    async def act(sink: QuickBooksSink) -> str:
        chosen = _chosen(account, _written_accounts(sink))
        offered = {one.name: one for one in await sink.offers(chosen, "order", order)}
        said = text or (offered[action].value if action in offered else "")
        await sink.act(chosen, f"order:{order}", action, Deed("the operator", said))
        return "Queued; it goes with the next sync."

    _say(_with_sink(act))


def reconcile(
    account: Account = "",
    cost: Annotated[bool, typer.Option("--cost", help="Only say what it will cost.")] = False,
) -> None:
    """Compare every committed order and quote with what it became; control totals by month.

    Goes on where it was when it was cut off. Exit code 3 when something differs.
    """

    async def act(sink: QuickBooksSink) -> bool:
        chosen = _chosen(account, _written_accounts(sink))
        before = await sink.reconciliation(chosen, "", 0)
        _say(f"Comparing costs {before.cost}." + (" It was cut off." if before.fetched else ""))
        if cost:
            return False
        await sink.compare(chosen)
        found = await sink.reconciliation(chosen, "", 0)
        _months(found.months)
        _say(f"{found.equal} equal; {found.foreign} documents there that are not ours")
        for kind, number in found.counts.items():
            _say(f"{number} {kind}")
        for row in found.rows:
            _say(f"  {row.kind} {row.local_type} {row.number or row.local_id}: {row.text}")
        if found.matching > len(found.rows):
            _say(f"  and {found.matching - len(found.rows)} more")
        return found.matching > 0

    if _with_sink(act):
        raise typer.Exit(NEEDS_ATTENTION)


def _months(months: Sequence[MonthTotal]) -> None:
    """The control totals as a table, money in major units."""
    table = Table("month", "here", "amount here", "there", "amount there", "difference")
    for one in months:
        scale = Decimal(1).scaleb(-minor_digits(one.currency))
        amounts = (one.ours_minor, one.theirs_minor, one.theirs_minor - one.ours_minor)
        ours, theirs, difference = (f"{amount * scale:,} {one.currency}" for amount in amounts)
        table.add_row(one.month, str(one.ours), ours, str(one.theirs), theirs, difference)
    if months:
        Console().print(table)


def _with_sink(act: Callable[[QuickBooksSink], Awaitable[T]]) -> T:
    """Run ``act`` on a sink over this machine's ledger, which no server may hold meanwhile."""

    async def work() -> T:
        ledger = open_database(_location(f"ledger-{NAME}.db"))
        try:
            views = open_database(_location("views.db"), profile="rebuildable")
            try:
                context = SinkContext(views.read, ledger.write, _no_submit, _now_ms, os.environ)
                sink = QuickBooksSink(context, config=configuration.from_env(os.environ))
                await sink.start()
                try:
                    return await act(sink)
                finally:
                    await sink.stop()
            finally:
                views.close()
        finally:
            ledger.close()

    try:
        return asyncio.run(work())
    except ReplicaError as error:
        Console().print(f"{error}" + (f" ({error.hint})" if error.hint else ""))
        raise typer.Exit(1) from error


async def _no_submit(_: AccountId, __: str, ___: Sequence[tuple[str, bytes]]) -> None:
    raise MisuseError("answers are recorded by the server; they wait for its next run")


@contextmanager
def _reading() -> Iterator[Engine]:
    location = _location(f"ledger-{NAME}.db")
    if location.startswith("postgresql"):
        database = open_database(location)
        engine, close = database.read, database.close
    elif not Path(location).exists():
        Console().print("The sink has not run here yet.")
        raise typer.Exit(1)
    else:
        engine = read_engine(Path(location))
        close = engine.dispose
    try:
        yield engine
    finally:
        close()


def _location(name: str) -> str:
    url = os.environ.get("REPLICA_DATABASE_URL", "")
    return url or str(Path(os.environ.get("REPLICA_DATA", "") or "var") / name)


def _accounts(engine: Engine, given: str) -> list[bytes]:
    with engine.connect() as connection:
        known = set(connection.scalars(select(schema.checkpoints.c.account)))
        known |= set(connection.scalars(select(schema.connections.c.account)))
    return sorted(known) if not given else [_chosen(given, known)]


def _written_accounts(sink: QuickBooksSink) -> set[bytes]:
    from replica.projections.tables import checkpoints  # noqa: PLC0415

    with sink.parts.views.connect() as connection:
        return set(connection.scalars(select(checkpoints.c.account)))


def _chosen(given: str, known: set[bytes]) -> AccountId:
    if given:
        try:
            return AccountId(bytes.fromhex(given))
        except ValueError as error:
            raise MisuseError("an account is named by 32 hex characters") from error
    if len(known) != 1:
        raise MisuseError("name the account with --account", hint=", ".join(a.hex() for a in known))
    return AccountId(next(iter(known)))


def _table(
    rows: Sequence[Intent], titles: Sequence[str], values: Callable[[Intent], tuple[str, ...]]
) -> None:
    table = Table("#", "what", "document", "try", *titles)
    for place, intent in enumerate(rows, start=1):
        what = f"{intent.op} {intent.key.entity}"
        table.add_row(
            str(place), what, describe(intent.key), str(intent.cycles), *map(str, values(intent))
        )
    Console().print(table if rows else "Nothing.")


def _say(text: str) -> None:
    Console().print(text, markup=False, highlight=False)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
