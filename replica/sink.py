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

from replica.events.event import AccountId


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
class SinkStatus:
    """The connection in one word and one sentence (ui.md §2)."""

    state: str  # healthy, running, failing, stopped, manual, not_connected, reconnect_needed
    text: str
    queued: int
    last_run_ms: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Committed documents against their counterparts there (architecture.md §9)."""

    equal: int = 0
    missing: Sequence[str] = ()
    changed: Sequence[str] = ()
    deleted: Sequence[str] = ()
    differs: Sequence[str] = ()


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

    async def queue(self, account: AccountId) -> list[QueueRow]:
        """What will be sent next time, in sending order."""
        ...

    async def status(self, account: AccountId) -> SinkStatus: ...

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
