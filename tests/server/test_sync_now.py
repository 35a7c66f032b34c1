"""Sync Now: both directions, a proof at the end, and the truth about what could not be done."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from typer import Typer

from replica.device import CustomerCreated, CustomerFields, Device
from replica.errors import StoreUnavailable
from replica.events.event import AccountId
from replica.events.kinds import encode_payload
from replica.events.payloads import OrderEstimated
from replica.server.runs import Run, differing, finished_event
from replica.sink import (
    Comparison,
    Correction,
    Deed,
    Guidance,
    ListAsk,
    ListInfo,
    ListPage,
    QueueAsk,
    QueuePage,
    QueueRow,
    Reconciliation,
    Refusal,
    RowDetail,
    RunReport,
    Setup,
    SinkContext,
    SinkStatus,
)
from replica.sync.messages import SectionDigest
from tests.server.raw import RawDevice
from tests.server.test_pages import order, stock
from tests.server.world import Company, World


class Books:
    """A sink that answers every order with an estimate, and does what a test tells it to."""

    name = "books"

    def __init__(self, context: SinkContext) -> None:
        self.context = context
        self.runs = 0
        self.hints: list[tuple[bytes, int]] = []
        self.broken: Exception | None = None
        self.held = asyncio.Event()
        self.held.set()
        self.found = Comparison(equal=1)
        made.append(self)

    @classmethod
    def from_context(cls, context: SinkContext) -> Books:
        return cls(context)

    @staticmethod
    def cli() -> Typer:
        return Typer(name="books")

    @staticmethod
    def routes() -> Sequence[BaseRoute]:
        async def hello(_: Request) -> Response:
            return PlainTextResponse("books")

        return [Route("/hello", hello)]

    async def start(self) -> None:
        pass

    async def stop(self) -> None:
        pass

    def hint(self, account: AccountId, position: int) -> None:
        self.hints.append((account, position))

    async def run(self, account: AccountId, trigger: str) -> RunReport:
        self.runs += 1
        await self.held.wait()
        if self.broken is not None:
            raise self.broken
        kind, _, body = encode_payload(OrderEstimated("o-1", self.name, "77", "1001", 998))
        await self.context.submit(account, self.name, [(kind, body)])
        return RunReport(sent=1, created=1, pulled=2)

    def row_(self) -> QueueRow:
        return QueueRow(
            1, "Estimate", "order", "o-1", "A-0001", "Acme", 998, "USD", "queued", "next", 0, "r-1"
        )

    async def queue(self, account: AccountId, ask: QueueAsk) -> QueuePage:
        return QueuePage((self.row_(),), 1, {"queued": 1})

    async def row_of(self, account: AccountId, local_type: str, local_id: str) -> QueueRow | None:
        return self.row_() if (local_type, local_id) == ("order", "o-1") else None

    async def row(self, account: AccountId, identity: str) -> RowDetail | None:
        return RowDetail(self.row_()) if identity == "r-1" else None

    async def act(self, account: AccountId, thing: str, action: str, deed: Deed) -> None:
        raise Refusal("Nothing can be done with it.")

    async def corrections(self, account: AccountId) -> Sequence[Correction]:
        return ()

    def guidance(self) -> Sequence[Guidance]:
        return ()

    async def setup(self, account: AccountId) -> Setup:
        return Setup(await self.status(account))

    async def connect(self, account: AccountId, callback: str) -> str:
        return callback

    async def reconciliation(self, account: AccountId, kind: str, start: int) -> Reconciliation:
        return Reconciliation()

    async def status(self, account: AccountId) -> SinkStatus:
        return SinkStatus("healthy", "Connected to the books.", 1, 1_000)

    async def lists(self, account: AccountId) -> Sequence[ListInfo]:
        return ()

    async def rows(self, account: AccountId, name: str, ask: ListAsk) -> ListPage | None:
        return None

    async def compare(self, account: AccountId) -> Comparison:
        return self.found


made: list[Books] = []


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A server with a sink."""
    built = World(tmp_path_factory.mktemp("data"), plugins=[Books])
    yield built
    built.stop()


@pytest.fixture
def books(world: World) -> Iterator[Books]:
    """The sink, well again after each test."""
    sink = made[-1]
    yield sink
    sink.broken = None
    sink.found = Comparison(equal=1)


def press(world: World, company: Company) -> dict[str, Any]:
    """Press and wait for the end."""
    with world.operator(company) as office:
        answer = office.post("/sync-now?wait=1")
        assert answer.status_code == 200
        said: dict[str, Any] = answer.json()
        return said


@pytest.fixture
def device(world: World, company: Company, tmp_path: Path) -> Iterator[Device]:
    """A real device, connected."""
    with Device.open(tmp_path / "phone.db") as made_device:
        made_device.enrol(world.url, world.code(company, "Ana's phone"), "Ana's phone")
        made_device.start()
        made_device.wait_until(lambda status: status.mode == "online")
        yield made_device


def test_a_run_pushes_pulls_and_proves(
    world: World, company: Company, device: Device, books: Books
) -> None:
    """One press sends what devices hold, runs the sinks and proves equality per section (B2)."""
    stock(world, company)
    device.append(CustomerCreated(customer="c-9", fields=CustomerFields(name="New")))
    run = press(world, company)
    assert [step["state"] for step in run["steps"]] == ["done"] * 5
    assert (run["sent"], run["fetched"], run["equal"]) == (1, 2, True)
    assert run["problems"] == []
    (proof,) = run["devices"]
    assert (proof["name"], proof["state"], proof["pending"]) == ("Ana's phone", "equal", 0)
    counts = {row["section"]: row["count"] for row in run["sections"]}
    assert counts["customer"] == 2
    ours = {one.section: one.digest.hex() for one in device.digest()}
    theirs = {row["section"]: row["digest"] for row in run["sections"]}
    assert {name: ours[name] for name in counts} == theirs


def test_the_result_is_an_event_on_every_replica(
    world: World, company: Company, device: Device, books: Books
) -> None:
    """What a run found can be read on a phone too (architecture §9)."""
    stock(world, company)
    run = press(world, company)
    device.wait_until(lambda _: device.get("sync", run["run"]) is not None)
    seen = device.get("sync", run["run"])
    assert seen is not None
    assert seen["equal"] is True
    assert seen["report"]["by"] == "operator"
    assert seen["report"]["sink.books"].startswith("sent 1, fetched 2")
    order_seen = device.get("order", "o-1")
    assert order_seen is not None
    assert order_seen["answers"]["books"]["number"] == "1001"


def test_a_second_press_joins(world: World, company: Company, books: Books) -> None:
    """While a run is on, pressing again starts no other (QB-11)."""
    before = books.runs
    books.held.clear()
    with world.operator(company) as office:
        first = office.post("/sync-now").json()
        second = office.post("/sync-now").json()
        assert (first["run"], first["state"]) == (second["run"], "running")
        assert second["presses"] == 2
        world.on_loop(_release(books))
        world.on_loop(lambda: world.runtime.sync_now.finish(company.account))
        ended = office.get("/sync-now").json()
    assert (ended["run"], ended["state"]) == (first["run"], "done")
    assert books.runs - before == 1


def test_a_run_cut_off_by_a_stop_is_taken_up(tmp_path: Path) -> None:
    """A server that ends in the middle of a run goes on with it at the next start, under the same
    id and name, and its result is an event once (architecture.md §9)."""
    first = World(tmp_path / "data", plugins=[Books])
    company = first.company()
    stopped_at = made[-1]
    stopped_at.held.clear()

    async def press() -> Run:
        return first.runtime.sync_now.press(company.account, "ana")

    run = first.on_loop(press)
    first.line(lambda line: line["event"] == "batch" or stopped_at.runs > 0)
    first.stop()
    second = World(tmp_path / "data", plugins=[Books])

    async def finished() -> Run:
        await second.runtime.sync_now.finish(company.account)
        taken_up = second.runtime.sync_now.current(company.account)
        assert taken_up is not None
        return taken_up

    taken_up = second.on_loop(finished)
    assert (taken_up.id, taken_up.by, taken_up.started_ms) == (run.id, "ana", run.started_ms)
    assert taken_up.taken_up
    assert taken_up.equal
    second.stop()
    third = World(tmp_path / "data", plugins=[Books])

    async def nothing() -> Run | None:
        return third.runtime.sync_now.current(company.account)

    assert third.on_loop(nothing) is None
    third.stop()
    del made[-3:]  # the other tests look at the newest of their own server


def test_who_is_offline_is_named_with_the_time(
    world: World, company: Company, device: Device, books: Books
) -> None:
    """A device that is away is said to be away and since when; the others agree (B2)."""
    away = RawDevice.enrol(world, company, "Till 1")
    away.meet()
    away.close()
    world.line(lambda line: line["event"] == "connection" and line["device"] == away.device)
    world.on_loop(world.runtime._touch)
    stock(world, company)
    run = press(world, company)
    states = {row["name"]: row for row in run["devices"]}
    assert states["Ana's phone"]["state"] == "equal"
    assert states["Till 1"]["state"] == "offline"
    assert states["Till 1"]["seen_ms"] > 0
    assert run["equal"] is True


@pytest.mark.parametrize("error", [StoreUnavailable("books are shut"), KeyError("bug")])
def test_a_sink_that_fails_takes_nothing_with_it(
    world: World, company: Company, books: Books, error: Exception
) -> None:
    """A failing sink is a problem of the run, and the rest of the run is done (architecture §6)."""
    stock(world, company)
    books.broken = error
    run = press(world, company)
    assert run["equal"] is False
    assert any(problem.startswith("books: ") for problem in run["problems"])
    assert [step["state"] for step in run["steps"]] == ["done", "done", "attention", "done", "done"]


def test_differences_with_the_books_are_listed(
    world: World, company: Company, books: Books
) -> None:
    """Missing, changed and deleted estimates are named (ui.md W9)."""
    stock(world, company)
    books.found = Comparison(equal=3, missing=["A-1"], differs=[f"B-{n}" for n in range(9)])
    problems = press(world, company)["problems"]
    assert "books: 1 missing there (A-1)" in problems
    assert any("9 with another amount there (B-0, B-1, B-2, B-3, B-4, …)" in p for p in problems)


def test_the_page_tells_the_result(world: World, company: Company, books: Books) -> None:
    """The button leads to the run; its result stays readable without scripts (SYN-15)."""
    stock(world, company)
    with world.browser(company) as pages:
        answer = pages.post("/sync-now")
        assert (answer.status_code, answer.headers["location"]) == (303, "/sync")
        world.on_loop(lambda: world.runtime.sync_now.finish(company.account))
        text = pages.text("/sync")
        assert "Everything agrees" in text
        assert "Customers" in text
        world.caught_up(company)
        assert "Earlier runs" in pages.text("/sync")


def test_the_queue_page_shows_order_and_reason(
    world: World, company: Company, books: Books
) -> None:
    """What waits is listed in sending order with its reason (QB-15)."""
    stock(world, company)
    with world.browser(company) as pages:
        text = pages.text("/queue")
        assert "Estimate" in text
        assert "A-0001" in text
        assert 'data-state="queued"' in text
        assert "Connected to the books." in text
        assert "Queued" in pages.text("/orders/o-1")
        assert pages.text("/sinks/books/hello") == "books"


def test_a_sink_hears_how_far_the_read_models_are(
    world: World, company: Company, books: Books
) -> None:
    """Each projection step is a hint to the sinks (architecture §7)."""
    position = world.write(company, order("o-1", "A-1"))
    world.line(
        lambda line: (
            line["event"] == "projection step"
            and line["account"] == company.account
            and line["last_position"] >= position
        )
    )
    world.on_loop(lambda: asyncio.sleep(0))
    assert (company.account, position) in books.hints


def test_sections_differ_by_count_or_digest() -> None:
    """A section is equal only when both say the same; an empty one is none (architecture §9)."""
    one = SectionDigest("customer", 1, b"a" * 32)
    other = SectionDigest("customer", 1, b"b" * 32)
    empty = SectionDigest("order", 0, bytes(32))
    assert differing([one, empty], [one]) == ()
    assert differing([one], [other]) == ("customer",)
    assert differing([one], []) == ("customer",)


def test_a_result_fits_into_an_event() -> None:
    """However many devices and problems there are, the event stays within its bounds (I-20)."""
    run = Run("r-1", AccountId(bytes(16)), "ana", 5, problems=["x"] * 1_000)
    event = finished_event(run, 3)
    assert event.finished_ms >= event.started_ms
    assert len(event.report) <= 256
    assert encode_payload(event)


def _release(books: Books) -> Any:
    async def release() -> None:
        books.held.set()

    return release
