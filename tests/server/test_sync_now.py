"""Sync Now: both directions, a proof at the end, and the truth about what could not be done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replica.crdt.digest import fingerprint
from replica.device import CustomerCreated, CustomerDeleted, CustomerFields, Device
from replica.device.account_sync import AccountSync
from replica.errors import MisuseError, StoreUnavailable
from replica.events.event import Position
from replica.projections.check import Checked
from replica.server import sync_now
from replica.server.plans import Plan, moved, undone
from replica.server.runs import Compared, Run, Step
from replica.sink import (
    Comparison,
    Incoming,
    Outlook,
    Progress,
    QueueRow,
)
from replica.sync.messages import SectionDigest
from tests.server.pretend import Books, made
from tests.server.raw import RawDevice
from tests.server.test_pages import order, stock
from tests.server.world import Company, World


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
    sink.ahead = Outlook("as the books said", 1)
    sink.come = None
    sink.waiting = [sink.row_()]


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
    assert [step["state"] for step in run["steps"]] == ["done"] * 6
    assert (run["sent"], run["fetched"], run["equal"]) == (1, 2, True)
    assert run["problems"] == []
    (proof,) = run["devices"]
    assert (proof["name"], proof["state"], proof["pending"]) == ("Ana's phone", "equal", 0)
    assert (proof["position"], proof["differing"]) == (run["position"], [])
    counts = {row["section"]: row["count"] for row in run["sections"]}
    assert counts["customer"] == 2
    ours = {one.section: one.digest.hex() for one in device.digest()}
    theirs = {row["section"]: row["digest"] for row in run["sections"]}
    assert {name: ours[name] for name in counts} == theirs
    both = fingerprint(one for one in device.digest() if one.section in counts).hex()
    assert proof["server_fingerprint"] == proof["device_fingerprint"] == both


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
    (proof,) = run["devices"]
    both = f"server {proof['server_fingerprint']} device {proof['device_fingerprint']}"
    assert seen["report"]["equal.0"] == f"at {proof['position']} {both}: {proof['device']}"
    order_seen = device.get("order", "o-1")
    assert order_seen is not None
    assert order_seen["answers"]["books"]["number"] == "1001"


def test_what_was_checked_is_said(
    world: World, company: Company, device: Device, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run folds the log again and says so, with or without a device; it says as plainly when it
    looked at positions only, and when the documents are not what the log says (SYN-13)."""
    stock(world, company)
    run = press(world, company)
    assert run["checked"].endswith("events folded again, the same documents.")
    assert run["checked"] in run["steps"][2]["text"]
    monkeypatch.setattr(sync_now, "SYNC_CHECK_EVENTS_MAX", 3)
    run = press(world, company)
    assert run["checked"].startswith("only their position, ")
    assert run["equal"] is True
    found = Checked(Position(7), folded=True, unlike=("customer", "order"))
    monkeypatch.setattr(world.runtime.sync_now, "_check", lambda *_: found)
    run = press(world, company)
    assert run["checked"] == "7 events folded again, other documents in customer, order."
    assert (run["equal"], run["steps"][2]["state"]) == (False, "attention")
    assert any("replica project rebuild" in text for text in run["problems"])
    device.wait_until(lambda _: device.get("sync", run["run"]) is not None)
    seen = device.get("sync", run["run"])
    assert seen is not None
    assert seen["report"]["checked"] == run["checked"]


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


def test_how_far_the_sinks_are_is_told(
    world: World, company: Company, device: Device, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a queue is pushed the page, the API, a device and whoever listens hear how many of how
    many are done, as often as is allowed and not more (SYN-14)."""
    monkeypatch.setattr(sync_now, "SYNC_PROGRESS_S", 0.01)
    books.held.clear()
    books.come = Progress("Sending", 12, 62)
    heard: list[AccountSync] = []

    def hear(run: AccountSync) -> None:
        heard.append(run)
        if any(step.total for step in run.steps):
            world.on_loop(_release(books))

    told: list[str] = []
    monkeypatch.setattr(world.runtime.live, "tell", lambda _, kind, text: told.append(text))
    with world.operator(company) as office, world.browser(company) as pages:
        office.post("/sync-now")
        while (step := office.get("/sync-now").json()["steps"][3])["text"] != "Sending: 12 of 62":
            pass
        assert (step["state"], step["done"], step["total"]) == ("running", 12, 62)
        assert (
            '<progress max="62" value="12" aria-label="QuickBooks: send and fetch">'
            in pages.text("/sync")
        )
    result = device.sync_now(progress=hear)
    assert not result.running
    seen = [step for run in heard for step in run.steps if step.total]
    assert ("sinks", "Sending: 12 of 62") in {(step.name, step.text) for step in seen}
    assert "QuickBooks: send and fetch: Sending: 12 of 62" in told
    assert result.steps[3].text.startswith("1 sent, 2 fetched")


def test_a_step_says_how_far_it_is() -> None:
    """Words for every kind of progress: counted, counted to an unknown end, not counted at all."""
    step = Step("sinks", "QuickBooks")
    for (done, total, doing), text in {
        (12, 1_062, "Sending"): "Sending: 12 of 1,062",
        (1_200, 0, "Reading QuickBooks"): "Reading QuickBooks: 1,200",
        (0, 0, "Beginning"): "Beginning",
        (3, 4, ""): "3 of 4",
    }.items():
        step.reached(done, total, doing)
        assert step.text == text


def test_a_run_cut_off_by_a_stop_is_taken_up(tmp_path: Path) -> None:
    """A server that ends in the middle of a run goes on with it at the next start, under the same
    id and name and by the same plan, and its result is an event once (architecture.md §9)."""
    first = World(tmp_path / "data", plugins=[Books])
    company = first.company()
    stopped_at = made[-1]
    stopped_at.held.clear()

    async def press() -> Run:
        plan = await first.runtime.planner.propose(company.account, "ana")
        return first.runtime.sync_now.press(company.account, "ana", plan)

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
    assert taken_up.plan is not None
    assert run.plan is not None
    assert taken_up.plan.id == run.plan.id
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
    assert [step["state"] for step in run["steps"]] == [
        "attention" if step["name"] == "sinks" else "done" for step in run["steps"]
    ]


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
    """Each projection step is a hint to the sinks, once twins were looked for (architecture §7)."""
    position = world.write(company, order("o-1", "A-1"))
    world.line(
        lambda line: (
            line["event"] == "projection step"
            and line["account"] == company.account
            and line["last_position"] >= position
        )
    )
    world.on_loop(lambda: world.runtime.deciding.settle(company.account))
    assert (company.account, position) in books.hints


def test_sections_differ_by_count_or_digest() -> None:
    """A section is equal only when both say the same; an empty one is none (architecture §9)."""
    one = SectionDigest("customer", 1, b"a" * 32)
    other = SectionDigest("customer", 1, b"b" * 32)
    empty = SectionDigest("order", 0, bytes(32))
    assert Compared(1, (one, empty), (one,)).unlike == ()
    assert [found.section for found in Compared(1, (one,), (other,)).unlike] == ["customer"]
    (missing,) = Compared(1, (one,), ()).unlike
    assert (missing.server.count, missing.device.count) == (1, 0)
    for ours, theirs in (((one, empty), (one,)), ((one,), (other,)), ((one,), ())):
        compared = Compared(1, ours, theirs)
        assert len(set(compared.fingerprints)) == 1 + bool(compared.unlike)


# The plan -----------------------------------------------------------------------------------------


def waiting(number: int, **other: Any) -> QueueRow:
    said = {"state": "queued", "reason": "", "becomes": "new, Accepted", "changes": (), **other}
    return QueueRow(
        number,
        "Estimate",
        "order",
        f"o-{number}",
        f"A-{number}",
        "Acme",
        998,
        "USD",
        attempts=0,
        id=f"r-{number}",
        **said,
    )


def test_a_plan_says_what_a_run_will_do(
    world: World, company: Company, device: Device, books: Books
) -> None:
    """What goes, what comes, what it overrides, deletes and loses, and what devices are known to
    hold; making it changes nothing (architecture.md §9)."""
    stock(world, company)
    books.waiting = [
        waiting(1),
        waiting(2, becomes="changed", changes=["total 5 → 7"]),
        waiting(3, becomes="marked as rejected"),
        waiting(4, state="needs_you"),
    ]
    ahead = [
        Incoming("customer", "c-1", "Acme", "changed", ["phone: 2"], ["email: a gives way to b"]),
        Incoming("order", "o-9", "A-9", "deleted there"),
    ]
    books.ahead = Outlook("as the books said", 5, ahead)
    runs = books.runs
    with world.operator(company) as office:
        assert office.get("/sync-now/plan").json() == {"plan": None}
        plan = office.post("/sync-now/plan").json()
        assert office.get("/sync-now/plan").json() == plan
    assert (plan["push"]["count"], plan["push"]["staying"], plan["pull"]["count"]) == (3, 1, 2)
    assert plan["overridden"] == ["Estimate A-2: total 5 → 7"]
    assert plan["deleted"] == [
        "Estimate A-3 is marked as rejected there",
        "order A-9 was deleted there",
    ]
    assert plan["lost"] == ["Acme, email: a gives way to b"]
    (one,) = plan["devices"]
    assert (one["name"], one["state"], one["pending"]) == ("Ana's phone", "online", 0)
    assert books.runs == runs
    assert world.caught_up(company) == plan["position"]


def test_a_run_is_bound_to_its_plan(
    world: World, company: Company, device: Device, books: Books
) -> None:
    """A press names the plan that was read; the run says what has changed since and what came out
    otherwise, and its result keeps the plan. A plan that nobody made runs nothing."""
    stock(world, company)
    books.waiting = [waiting(1), waiting(2)]
    books.ahead = Outlook("as the books said", 5, [Incoming("customer", "", "New", "new here")])
    with world.operator(company) as office:
        plan = office.post("/sync-now/plan").json()
        assert office.post("/sync-now?plan=0123456789abcdef").status_code == 404
        world.write(company, CustomerCreated("c-7", CustomerFields(name="Late")))
        books.waiting = [waiting(2, state="retrying", reason="no answer"), waiting(3)]
        run = office.post(f"/sync-now?wait=1&plan={plan['plan']}").json()
    assert run["plan"] == plan
    assert run["moved"] == [
        "1 event came into the log",
        "1 more to send: Estimate A-3",
        "1 not waiting any more: Estimate A-1",
        "1 waiting otherwise: Estimate A-2",
        "1 of 2 planned still wait: Estimate A-2 (no answer)",
        "2 changes came from there, 1 were planned",
    ]
    device.wait_until(lambda _: device.get("sync", run["run"]) is not None)
    seen = device.get("sync", run["run"])
    assert seen is not None
    assert seen["report"]["plan"] == plan["plan"]
    assert seen["report"]["plan.push"] == "2 to send, 0 wait for somebody"
    assert seen["report"]["plan.changed.0"] == "1 event came into the log"


def test_what_is_deleted_while_a_device_waits_is_in_the_plan(
    world: World, company: Company, tmp_path: Path, books: Books
) -> None:
    """A device that takes news only when it is asked to has not heard of a deletion: the plan says
    that edits of it are lost (CON-05, SYN-11)."""
    stock(world, company)
    with Device.open(tmp_path / "fair.db", downstream="manual") as device:
        device.enrol(world.url, world.code(company, "Fair"), "Fair")
        device.sync()
        device.start()
        device.wait_until(lambda status: status.mode == "online")
        world.write(company, CustomerDeleted("c-1"))
        device.wait_until(lambda status: status.waiting > 0)
        with world.operator(company) as office:
            plan = office.post("/sync-now/plan").json()
    assert "customer Acme is deleted on every device" in plan["deleted"]
    assert any(text.startswith("Acme: an edit") for text in plan["lost"])


def test_a_device_plans_and_presses(
    world: World, company: Company, device: Device, books: Books
) -> None:
    """From the SDK: the plan in counts, the run by it, its result and this device's own proof; and
    a plan that is not known is told as such."""
    stock(world, company)
    books.waiting = [waiting(1)]
    plan = device.plan_sync_now()
    assert (plan.push, plan.staying, plan.pull, plan.pull_text) == (1, 0, 0, "as the books said")
    books.waiting = []
    result = device.sync_now(plan.id)
    assert (result.running, result.equal, result.proof, result.sent) == (False, True, "equal", 1)
    assert result.plan == plan.id
    assert len(result.server_fingerprint) == 64
    assert result.server_fingerprint == result.device_fingerprint
    assert result.differing == ()
    assert "1 not waiting any more: Estimate A-1" in result.moved
    with pytest.raises(MisuseError):
        device.sync_now("0123456789abcdef")


def test_the_page_shows_the_plan_and_runs_it(world: World, company: Company, books: Books) -> None:
    """Without scripts: make the plan, read it, run it, read what has changed since (W1, W3)."""
    stock(world, company)
    books.waiting = [waiting(1, foreseen=["No customer there."])]
    with world.browser(company) as pages:
        assert "Make a plan first" in pages.text("/sync")
        pages.post("/sync/plan")
        text = pages.text("/sync")
        assert "Estimate A-1" in text
        assert "No customer there." in text
        plan = text.split('name="plan" value="')[1].split('"', maxsplit=1)[0]
        books.waiting = []
        pages.post("/sync-now", plan=plan)
        world.on_loop(lambda: world.runtime.sync_now.finish(company.account))
        text = pages.text("/sync")
        assert "Changed since the plan" in text
        assert "1 not waiting any more: Estimate A-1" in text


def test_a_long_queue_is_planned_in_counts() -> None:
    """Of a queue that is longer than a plan names nothing false is said of single rows."""
    some = tuple(waiting(number) for number in range(3))
    plan = Plan(1, "ana", 5, rows=some, counts=(("queued", 900),))
    now = Plan(2, "ana", 5, rows=some[1:], counts=(("queued", 901),))
    assert moved(plan, plan) == []
    assert moved(plan, now) == ["901 documents to send, 900 were planned"]
    assert undone(plan, now, []) == ["901 documents still wait"]
    assert plan.id != now.id


def _release(books: Books) -> Any:
    async def release() -> None:
        books.held.set()

    return release
