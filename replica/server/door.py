"""The door's edge: every write of this process goes through here, whoever writes.

``replica.ingest`` decides, the group committer makes it durable; an answer exists only after the
commit (architecture.md §4). Devices come with an :class:`Author` that their connection keeps. The
web main app and the sinks are devices that live in the server: each has, per account, an identity
derived from its name, a chain of its own, and the origin that the server knows it has.

An account has ``ACCOUNT_APPENDS_MAX`` batches between deciding and commit; its others wait in the
order they came. So a thousand devices that come back to one account hold up another account by a
few batches and not by a thousand (reliability I-21, pitfalls P41).
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256

from replica.errors import MisuseError
from replica.events.event import UUID_BYTES, AccountId, DeviceId
from replica.events.kinds import REGISTRY, encode_payload
from replica.events.payloads import Payload
from replica.events.ports import AppendRequest, DeviceHead, Log
from replica.events.record import Origin
from replica.ingest import (
    Admitted,
    Context,
    Fact,
    Find,
    Judge,
    Judged,
    Routine,
    admit,
    judge,
    write,
)
from replica.limits import ACCOUNT_APPENDS_MAX, DOOR_QUIET_MS, LOCAL_EVENTS_MAX
from replica.server.logs import Logger, event_ids
from replica.server.metrics import Metrics
from replica.store.writer import GroupCommitter
from replica.sync.effects import Append
from replica.sync.heads import head_in, next_epoch
from replica.sync.verdicts import Settlement

LOCAL_EPOCH = 1
WEB = "web"
SINK_PREFIX = "sink:"


@dataclass
class Author:
    """Who writes, and where that chain ends once everything submitted is committed: a hint, the log
    compares it. Make a new one after a call of the door has raised."""

    account: AccountId
    device: DeviceId
    epoch: int
    origin: Origin
    heads: Sequence[DeviceHead]
    head: DeviceHead = field(init=False)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while events are decided, so that the next ones are decided after them."""

    def __post_init__(self) -> None:
        self.head = head_in(self.heads, self.epoch)


def local_device(account: AccountId, writer: str) -> DeviceId:
    """The identity of a writer inside the server; the same in every process of the account."""
    return DeviceId(sha256(b"replica writer\0" + account + writer.encode()).digest()[:UUID_BYTES])


async def judge_here(question: Judge) -> Judged:
    """Decide at once, in this process."""
    return judge(*question)


class Door:
    """The way in. ``now_ms`` is the wall clock; ``quarantined`` reads the ids kept aside;
    ``judges`` decides what devices pushed."""

    def __init__(
        self,
        log: Log,
        commits: GroupCommitter,
        *,
        quarantined: Callable[[AccountId], set[bytes]],
        now_ms: Callable[[], int],
        metrics: Metrics,
        logger: Logger,
        judges: Callable[[Judge], Awaitable[Judged]] = judge_here,
    ) -> None:
        self._log = log
        self._judges = judges
        self._commits = commits
        self._read_quarantined = quarantined
        self._now_ms = now_ms
        self._metrics = metrics
        self._logger = logger
        self._locals: dict[tuple[AccountId, str], Author] = {}
        self._quarantined: dict[AccountId, set[bytes]] = {}
        self._room: dict[AccountId, asyncio.Semaphore] = {}
        self._under_way = 0
        self._answered_s = 0.0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer, or did a moment ago: more is likely to come."""
        quiet_s = time.monotonic() - self._answered_s
        return self._under_way > 0 or quiet_s < DOOR_QUIET_MS / 1_000

    @property
    def waited_for(self) -> bool:
        """Whether somebody waits for an answer right now."""
        return self._under_way > 0

    async def prepare(self, account: AccountId) -> None:
        """Read what deciding needs to know of ``account``, before its first event is here."""
        await self._held(account)

    async def submit_push(self, author: Author, push: Append) -> Settlement:
        """Decide what a device pushed and make it durable.

        Calls of one author are decided in the order they come, each while the one before it is
        committed. Raises ``StoreUnavailable`` and its kin when nothing can be said,
        ``StoreFailed`` when the process has to end.
        """
        held = await self._held(author.account)
        context = _context(author, push.offset_ms, push.received_ms, held)
        began = partial(admit, context, first_seq=push.first_seq, events=push.events)
        return (await self._run(author, held, began)).settlement

    async def submit_local(
        self, account: AccountId, writer: str, payloads: Sequence[Payload]
    ) -> Admitted:
        """Write ``payloads`` as the server-resident device ``writer``, all or none.

        Durable when it returns. Raises ``Malformed`` or ``Forbidden`` when one of them would not
        be accepted, and what the store raises.
        """
        facts = [Fact(*encode_payload(payload)) for payload in payloads]
        return await self._submit_facts(account, writer, facts)

    async def submit_sink(
        self, account: AccountId, sink: str, bodies: Sequence[tuple[str, bytes]]
    ) -> None:
        """The :data:`replica.sink.Submit` port: kinds and canonical payloads of a sink."""
        facts = [Fact(kind, REGISTRY.newest[kind].version, body) for kind, body in bodies]
        await self._submit_facts(account, SINK_PREFIX + sink, facts)

    async def _submit_facts(
        self, account: AccountId, writer: str, facts: Sequence[Fact]
    ) -> Admitted:
        if not 1 <= len(facts) <= LOCAL_EVENTS_MAX:
            raise MisuseError(f"{len(facts)} events at once, 1 to {LOCAL_EVENTS_MAX} are allowed")
        author = self._locals.get((account, writer))
        if author is None:
            author = await self._local_author(account, writer)
            author = self._locals.setdefault((account, writer), author)
        held = await self._held(account)
        context = _context(author, 0, self._now_ms(), held)
        return await self._run(author, held, partial(write, context, facts=facts))

    async def _local_author(self, account: AccountId, writer: str) -> Author:
        device = local_device(account, writer)
        heads = await asyncio.to_thread(self._log.device_heads, account, device)
        origin = Origin.WEB if writer == WEB else Origin.SINK
        return Author(account, device, LOCAL_EPOCH, origin, heads)

    def look_again(self, account: AccountId) -> None:
        """Read anew what is in quarantine, before the next event of ``account`` is decided.

        A device depends on quarantined events of its own only, as nobody else has seen them. So a
        process that shares its store does this whenever a device comes: it may have been with
        another process before.
        """
        self._quarantined.pop(account, None)

    def _room_of(self, account: AccountId) -> asyncio.Semaphore:
        room = self._room.get(account)
        if room is None:
            room = self._room[account] = asyncio.Semaphore(ACCOUNT_APPENDS_MAX)
        return room

    async def _held(self, account: AccountId) -> set[bytes]:
        """Ids in quarantine: what depends on them waits too."""
        held = self._quarantined.get(account)
        if held is None:
            held = await asyncio.to_thread(self._read_quarantined, account)
            held = self._quarantined.setdefault(account, held)
        return held

    async def _run(
        self, author: Author, held: set[bytes], begin: Callable[[DeviceHead], Routine]
    ) -> Admitted:
        started_s = time.perf_counter()
        request: AppendRequest | None = None
        self._under_way += 1
        try:
            async with self._room_of(author.account), AsyncExitStack() as turn:
                await turn.enter_async_context(author.turn)
                routine = begin(author.head)
                question = next(routine)
                while True:
                    if isinstance(question, Find):
                        question = routine.send(await asyncio.to_thread(self._log.find, *question))
                        continue
                    if isinstance(question, Judge):
                        question = routine.send(await self._judges(question))
                        continue
                    request = question
                    answer = self._commits.submit(request)
                    author.head = request.after
                    held.update(aside.id for aside in request.asides if aside.event)
                    await turn.aclose()
                    question = routine.send(await answer)
        except StopIteration as done:
            admitted: Admitted = done.value
        finally:
            self._under_way -= 1
            self._answered_s = time.monotonic()
        for aside in admitted.asides:
            if aside.event:  # once more: ``look_again`` may have come between
                (await self._held(author.account)).add(aside.id)
        self._note(author, request, admitted, time.perf_counter() - started_s)
        return admitted

    def _note(
        self, author: Author, request: AppendRequest | None, admitted: Admitted, seconds: float
    ) -> None:
        """The canonical line of one batch."""
        outcomes: Counter[str] = Counter()
        for verdict in admitted.settlement.verdicts:
            outcomes[verdict.outcome.name.lower()] += verdict.count
        for outcome, count in outcomes.items():
            self._metrics.events.labels(outcome).inc(count)
        self._metrics.append_seconds.observe(seconds)
        segment, error = admitted.segment, admitted.settlement.error
        self._logger.info(
            "batch",
            account=author.account,
            device=author.device,
            epoch=author.epoch,
            seq=admitted.head.seq,
            first_position=segment.first if segment else None,
            last_position=segment.last if segment else None,
            **outcomes,
            events=event_ids(request.ids) if request else [],
            codes=sorted({v.code for v in admitted.settlement.verdicts if v.code}),
            error=error.code if error else None,
            ms=round(seconds * 1_000, 1),
        )


def _context(author: Author, offset_ms: int, received_ms: int, held: set[bytes]) -> Context:
    return Context(
        account=author.account,
        device=author.device,
        epoch=author.epoch,
        origin=author.origin,
        next_epoch=next_epoch(author.heads, author.epoch),
        offset_ms=offset_ms,
        received_ms=received_ms,
        quarantined=held,
    )
