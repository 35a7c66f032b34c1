"""Sync Now: one press, both directions, a plan, and a proof at the end (architecture.md §9).

One run per account; a second press joins the run that is on. A run never fails as a whole: what
could not be done is said in its step and in the result. The result is stored as an event, so every
replica can show it. A run that a crash or a stop of the server cut off is taken up at the next
start: every step looks at how things are, so doing one again does nothing twice.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from replica.errors import ReplicaError
from replica.events.event import AccountId
from replica.events.ids import RANDOM_BYTES, make_id
from replica.limits import (
    SYNC_CHECK_EVENTS_MAX,
    SYNC_DEVICE_WAIT_S,
    SYNC_MEND_ROUNDS_MAX,
    SYNC_PROGRESS_S,
    SYNC_PROJECTION_WAIT_S,
    SYNC_PROOF_ROUNDS_MAX,
    SYNC_PROOF_WAIT_S,
)
from replica.projections.check import Checked
from replica.server.connection import Connection
from replica.server.connections import Connections
from replica.server.devices import DeviceRow, Devices, parse_device
from replica.server.door import WEB, Door
from replica.server.live import Live
from replica.server.logs import Logger
from replica.server.metrics import Metrics
from replica.server.planning import Planner
from replica.server.plans import Plan, decode_plan, encode_plan, moved, undone
from replica.server.projecting import Projecting
from replica.server.results import finished_events
from replica.server.runs import (
    Compared,
    DeviceProof,
    Run,
    Step,
    device_problems,
    disagreements,
)
from replica.server.sinks import Sinks
from replica.server.web.words import count
from replica.store.runs import OpenRun, OpenRuns
from replica.sync.messages import Digest, SectionDigest

T = TypeVar("T")


class SyncNow:
    """The runs of all accounts; the newest of each is kept for its page.

    ``head`` reads the position of an account's log and ``check`` folds it again up to a number of
    events, both blocking; ``digest`` gives what a connected device is to hold.
    """

    def __init__(
        self,
        *,
        connections: Connections,
        devices: Devices,
        planner: Planner,
        projecting: Projecting,
        digest: Callable[[Connection, int], Awaitable[tuple[int, Sequence[SectionDigest]]]],
        sinks: Sinks,
        door: Door,
        live: Live,
        open_runs: OpenRuns,
        head: Callable[[AccountId], int],
        check: Callable[[AccountId, int], Checked],
        now_ms: Callable[[], int],
        metrics: Metrics,
        logger: Logger,
    ) -> None:
        self._connections = connections
        self._devices = devices
        self._planner = planner
        self._projecting = projecting
        self._digest = digest
        self._sinks = sinks
        self._door = door
        self._live = live
        self._open_runs = open_runs
        self._head = head
        self._check = check
        self._now_ms = now_ms
        self._metrics = metrics
        self._logger = logger
        self._runs: dict[AccountId, Run] = {}
        self._tasks: dict[AccountId, asyncio.Task[None]] = {}

    def current(self, account: AccountId) -> Run | None:
        """The run that is on, or the last one of this process."""
        return self._runs.get(account)

    def press(self, account: AccountId, by: str, plan: Plan | None = None) -> Run:
        """Start a run, by ``plan`` where somebody read one, or join the one that is on. Returns at
        once."""
        run = self._runs.get(account)
        if run is not None and run.running:
            run.presses += 1
            return run
        now_ms = self._now_ms()
        identity = make_id(now_ms, secrets.token_bytes(RANDOM_BYTES))
        return self._start(Run(identity, account, by, now_ms, plan=plan))

    async def take_up(self) -> None:
        """Go on with the runs that the last process left. Call once the sinks have started."""
        for left in await asyncio.to_thread(self._open_runs.left):
            self._logger.info("sync now taken up", account=left.account, run=left.run)
            plan = decode_plan(left.plan) if left.plan else None
            run = Run(left.run, left.account, left.by, left.started_ms, taken_up=True, plan=plan)
            self._start(run)

    def _start(self, run: Run) -> Run:
        self._runs[run.account] = run
        self._tasks[run.account] = asyncio.create_task(self._guarded(run))
        return run

    async def finish(self, account: AccountId) -> None:
        """Wait for the run that is on, if one is."""
        if account in self._tasks:
            await asyncio.shield(self._tasks[account])

    async def stop(self) -> None:
        """Break off what is on; the next start takes it up."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _guarded(self, run: Run) -> None:
        try:
            await self._run(run)
        except ReplicaError as error:
            run.problems.append(f"The run could not be completed: {error}")
        except Exception:
            self._logger.exception("sync now broke", account=run.account, run=run.id)
            run.problems.append("The run could not be completed; see the log of the server.")
        finally:
            run.finished_ms = self._now_ms()
        self._metrics.syncs.labels("equal" if run.equal else "attention").inc()
        self._logger.info(
            "sync now",
            account=run.account,
            run=run.id,
            position=run.position,
            received=run.received,
            sent=run.sent,
            fetched=run.fetched,
            equal=run.equal,
            devices={proof.row.id: proof.state for proof in run.devices},
            plan=run.plan.id if run.plan else "",
            moved=run.moved,
            problems=run.problems,
            ms=run.finished_ms - run.started_ms,
        )
        said = "Sync finished" if run.equal else "Sync finished; something needs attention"
        self._live.tell(run.account, "run", said)

    async def _run(self, run: Run) -> None:
        plan = encode_plan(run.plan) if run.plan else None
        remembered = OpenRun(run.account, run.id, run.by, run.started_ms, plan)
        await asyncio.to_thread(self._open_runs.begin, remembered)
        await self._do(run)
        result = finished_events(run, self._now_ms())
        await self._door.submit_local(run.account, WEB, result)
        # Whoever hears that it has ended can read what it found.
        end = await asyncio.to_thread(self._head, run.account)
        await self._projecting.wait(run.account, end, SYNC_PROJECTION_WAIT_S)
        await asyncio.to_thread(self._open_runs.end, remembered)

    async def _do(self, run: Run) -> None:
        work: tuple[Callable[[Run, Step], Awaitable[str]], ...] = (
            self._plan,
            self._ask_devices,
            self._look_at_views,
            self._run_sinks,
            self._compare,
            self._prove,
        )
        for step, do in zip(run.steps, work, strict=True):
            step.state, run.told_s = "running", time.monotonic()
            self._live.tell(run.account, "run", step.title)
            problems = len(run.problems)
            step.text = await do(run, step)
            step.state = "attention" if len(run.problems) > problems else "done"

    def _tell(self, run: Run, step: Step) -> None:
        """Open pages hear how far ``step`` is, not more often than anybody could read."""
        if time.monotonic() - run.told_s >= SYNC_PROGRESS_S:
            run.told_s = time.monotonic()
            self._live.tell(run.account, "run", f"{step.title}: {step.text}")

    async def _counted(self, run: Run, step: Step, calls: Iterable[Awaitable[T]]) -> list[T]:
        """The results of ``calls``, and how many have come meanwhile."""
        waiting = list(calls)
        done = 0

        async def one(call: Awaitable[T]) -> T:
            nonlocal done
            result = await call
            done += 1
            step.reached(done, len(waiting))
            self._tell(run, step)
            return result

        return await asyncio.gather(*map(one, waiting))

    async def _watched(self, run: Run, step: Step, call: Awaitable[T]) -> T:
        """The result of what the sinks do, and how far they say that they are meanwhile."""
        watcher = asyncio.create_task(self._watch(run, step))
        try:
            return await call
        finally:
            watcher.cancel()

    async def _watch(self, run: Run, step: Step) -> None:
        while True:
            await asyncio.sleep(SYNC_PROGRESS_S)
            found = await self._sinks.progress(run.account)
            if found is not None:
                step.reached(found.done, found.total, found.doing)
                self._tell(run, step)

    # Steps: each says in words what came of it ---------------------------------------------------

    async def _plan(self, run: Run, _: Step) -> str:
        """What was planned against how things stand now; without a plan, that is the plan."""
        now = await self._planner.look(run.account, run.by)
        if run.plan is None:
            run.plan = now
        run.moved.extend(moved(run.plan, now))
        send, hold = count(run.plan.pushed, "document"), count(run.plan.held, "event")
        since = f" Changed since the plan: {'; '.join(run.moved)}." if run.moved else ""
        return f"{send} to send, {hold} known to be on devices.{since}"

    async def _ask_devices(self, run: Run, step: Step) -> str:
        before = await asyncio.to_thread(self._head, run.account)
        here = [one for one in self._connections.of(run.account) if one.met]
        run.asked = {one.device.hex() for one in here}
        answers = await self._counted(
            run, step, (_answer(one.ask_sync(run.id), SYNC_DEVICE_WAIT_S) for one in here)
        )
        run.received = await asyncio.to_thread(self._head, run.account) - before
        if not here:
            return "No device is connected."
        answered = sum(answer is not None for answer in answers)
        devices, events = count(len(here), "device"), count(run.received, "event")
        return f"{answered} of {devices} answered, {events} came in."

    async def _look_at_views(self, run: Run, _: Step) -> str:
        text = await self._catch_up(run)
        found = await asyncio.to_thread(self._check, run.account, SYNC_CHECK_EVENTS_MAX)
        events = count(found.position, "event")
        if not found.folded:
            run.checked = (
                f"only their position, {found.position}: {events} are too many to fold again."
            )
        elif found.unlike:
            run.checked = f"{events} folded again, other documents in {', '.join(found.unlike)}."
            run.problems.append(
                "The lists are not what the log says; nothing is lost, and"
                " `replica project rebuild` makes them anew."
            )
        else:
            run.checked = f"{events} folded again, the same documents."
        return f"{text} Checked: {run.checked}"

    async def _catch_up(self, run: Run) -> str:
        run.position = await asyncio.to_thread(self._head, run.account)
        if await self._projecting.wait(run.account, run.position, SYNC_PROJECTION_WAIT_S):
            return f"They show position {run.position} of the log."
        run.problems.append("The lists could not catch up in time; they will by themselves.")
        return "Not caught up in time."

    async def _run_sinks(self, run: Run, step: Step) -> str:
        if not self._sinks.names:
            return "No accounting program is installed."
        run.reports = await self._watched(run, step, self._sinks.run(run.account, "sync now"))
        for name, report in run.reports.items():
            run.problems.extend(f"{name}: {text}" for text in report.errors)
        if run.plan is not None:
            left = await self._planner.look(run.account, run.by)
            run.moved.extend(undone(run.plan, left, run.reports.values()))
        waiting = sum(report.waiting for report in run.reports.values())
        failed = sum(report.failed for report in run.reports.values())
        return f"{run.sent} sent, {run.fetched} fetched, {failed} failed, {waiting} waiting."

    async def _compare(self, run: Run, step: Step) -> str:
        run.comparisons = await self._watched(run, step, self._sinks.compare(run.account))
        if not run.comparisons:
            return "Nothing to compare with."
        found = disagreements(run.comparisons)
        run.problems.extend(found)
        equal = sum(comparison.equal for comparison in run.comparisons.values())
        return f"{equal} equal, " + ("; ".join(found) if found else "none differs") + "."

    async def _prove(self, run: Run, step: Step) -> str:
        await self._catch_up(run)
        rows = [row for row in await self._devices.rows(run.account) if row.state != "revoked"]
        proofs = await self._counted(run, step, (self._prove_one(run, row) for row in rows))
        run.devices = proofs
        position, run.sections = await self._projecting.digest(run.account)
        run.position = position
        run.problems.extend(device_problems(proofs))
        equal = sum(proof.state == "equal" for proof in proofs)
        offline = sum(proof.state == "offline" for proof in proofs)
        devices = count(len(rows), "device")
        return f"{equal} of {devices} hold the same as the server, {offline} offline."

    async def _prove_one(self, run: Run, row: DeviceRow) -> DeviceProof:
        """A device that was asked and differs, or has gone, may be mending itself: it leaves for
        that, and comes back."""
        proof = await self._look_at(run, row)
        for _ in range(SYNC_MEND_ROUNDS_MAX):
            if row.id not in run.asked or proof.state not in ("differs", "offline"):
                break
            await asyncio.sleep(SYNC_PROOF_WAIT_S)
            proof = await self._look_at(run, row)
        return proof

    async def _look_at(self, run: Run, row: DeviceRow) -> DeviceProof:
        connection = self._connections.find(run.account, parse_device(row.id))
        if connection is None or not connection.met:
            return DeviceProof(row, "offline")
        pending, compared = 0, None
        for _ in range(SYNC_PROOF_ROUNDS_MAX):
            last = await _answer(connection.ask_digest(), SYNC_DEVICE_WAIT_S)
            if last is None:
                still_here = self._connections.find(run.account, connection.device) is connection
                return DeviceProof(row, "silent" if still_here else "offline")
            pending = last.pending
            position, ours = await self._digest(connection, last.position)
            if position == last.position:
                compared = Compared(position, tuple(ours), last.sections)
                if not pending:
                    return DeviceProof(row, "differs" if compared.unlike else "equal", 0, compared)
            # One side is behind; the log brings them together, so look again in a moment.
            await asyncio.sleep(SYNC_PROOF_WAIT_S)
        return DeviceProof(row, "pending" if pending else "moving", pending, compared)


async def _answer(asked: asyncio.Future[Digest], timeout_s: float) -> Digest | None:
    """The device's answer; None when it went away or did not answer in time."""
    try:
        async with asyncio.timeout(timeout_s):
            return await asked
    except (TimeoutError, ReplicaError):
        return None
