"""The seven accounting lists: pulled, kept up to date, viewed only (ACC-01, ACC-02)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from qbo_sink.lists import BY_ENTITY, LISTS, to_row, with_rates
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.injection import FaultRule
from replica.sink import ListAsk, ListInfo, ListPage
from tests.qbo_sink.test_push import do, watch
from tests.qbo_sink.world import ACCOUNT, World

SEVEN = [
    "accounts",
    "bills",
    "credit-memos",
    "employees",
    "journal-entries",
    "purchases",
    "tax-codes",
]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def ask(world: World, call: Any) -> Any:
    """What the sink's port answers to ``call``."""

    async def work() -> Any:
        sink = world.make_sink()
        await sink.start()
        try:
            return await call(sink)
        finally:
            await sink.stop()

    return asyncio.run(work())


def infos(world: World) -> dict[str, ListInfo]:
    return {info.name: info for info in ask(world, lambda sink: sink.lists(ACCOUNT))}


def page(world: World, name: str, **asked: Any) -> ListPage:
    found = ask(world, lambda sink: sink.rows(ACCOUNT, name, ListAsk(**asked)))
    assert isinstance(found, ListPage)
    return found


def test_the_seven_lists_are_offered_before_anything_was_pulled(world: World) -> None:
    """Each is there, empty, with its columns and no time of a pull (ACC-01)."""
    found = infos(world)
    assert list(found) == SEVEN
    assert {(info.rows, info.pulled_ms, info.complete) for info in found.values()} == {
        (0, 0, False)
    }
    assert all(info.columns for info in found.values())


def test_a_run_pulls_every_list_with_the_time(world: World) -> None:
    """After one run each shows what stands there and when it was asked (ACC-01)."""
    asyncio.run(world.run())
    found = infos(world)
    assert {info.name for info in found.values() if not info.rows} == set()
    assert {info.pulled_ms >= world.clock.ms - 60_000 for info in found.values()} == {True}
    assert {(info.complete, info.reason) for info in found.values()} == {(True, "")}
    (bill,) = page(world, "bills").rows
    assert bill.values["vendor"] == "Dairy Cooperative"
    assert bill.values["total"] == "84.50"
    (entry,) = page(world, "journal-entries").rows
    assert entry.values["total"] == "20.00"
    percents = {row.values["name"]: row.values["percent"] for row in page(world, "tax-codes").rows}
    assert percents["California"] == "8"
    assert percents["NON"] == ""


def test_nothing_but_the_columns_is_kept_of_an_employee() -> None:
    """Numbers of social security and dates of birth are dropped before anything is stored."""
    row = {"Id": "7", "DisplayName": "Rep Seven", "SSN": "078-05-1120", "BirthDate": "1990-01-01"}
    kept = repr(to_row(BY_ENTITY["Employee"], row))
    assert "Rep Seven" in kept
    assert "078-05" not in kept
    assert "1990" not in kept


def test_a_change_a_deletion_and_an_inactivation_there_show(world: World) -> None:
    """Change data capture brings them with one metered call; a deleted row stays, marked."""
    asyncio.run(world.run())
    world.clock.ms += 600_000
    do(world, "edit", {"entity": "Account", "id": "42", "changes": {"Name": "Diesel Card"}})
    do(world, "delete", {"entity": "Bill", "id": page(world, "bills").rows[0].id})
    do(world, "inactivate", {"entity": "Employee", "id": page(world, "employees").rows[0].id})
    watches = watch(world)
    asyncio.run(world.run())
    reads = [request for request in watches[0].sent if request.method == "GET"]
    assert [request.url.path.rsplit("/", 1)[1] for request in reads] == ["cdc"]
    assert "Diesel Card" in {row.values["name"] for row in page(world, "accounts").rows}
    assert [row.state for row in page(world, "bills").rows] == ["deleted"]
    assert infos(world)["bills"].rows == 0
    assert sorted(row.state for row in page(world, "employees").rows) == ["", "inactive"]


def test_what_capture_is_silent_about_is_polled_at_most_hourly(world: World) -> None:
    """Tax codes are read again after an hour, not with every run (§1.9)."""
    asyncio.run(world.run())
    watches = watch(world)
    asyncio.run(world.run())
    world.clock.ms += 3_600_000
    asyncio.run(world.run())
    asked = [
        sum("TaxCode" in request.url.params.get("query", "") for request in each.sent)
        for each in watches
    ]
    assert asked[0] == 0
    assert asked[1] > 0


def test_a_list_that_is_refused_says_why_and_the_others_go_on(world: World) -> None:
    """A user who may not see employees sees the other six lists (§1.12)."""
    rule = FaultRule(kind="status", match="Employee", status=400, format="json", count=99)
    world.sandbox.plan.add(rule)
    asyncio.run(world.run())
    found = infos(world)
    assert found["employees"].reason
    assert {info.complete for info in found.values() if info.name != "employees"} == {True}
    watches = watch(world)
    asyncio.run(world.run())
    sent = [str(request.url) for request in watches[0].sent]
    assert not any("Employee" in url for url in sent)
    world.sandbox.plan.rules.clear()
    world.clock.ms += 86_400_000
    asyncio.run(world.run())
    assert infos(world)["employees"].complete


def test_a_gap_longer_than_intuit_keeps_reads_the_lists_anew(world: World) -> None:
    """After a month without a run deletions show all the same."""
    asyncio.run(world.run())
    do(world, "delete", {"entity": "Bill", "id": page(world, "bills").rows[0].id})
    world.clock.ms += 31 * 86_400_000
    asyncio.run(world.run())
    assert [row.state for row in page(world, "bills").rows] == ["deleted"]


def test_more_changes_than_one_answer_holds_are_all_told(world: World) -> None:
    """A full answer is asked again entity by entity and on from its newest time (§1.9)."""
    asyncio.run(world.run())
    company = world.sandbox.books.company(world.sandbox.settings.realm)
    bill = world.rows("Bill")[0]
    with world.sandbox.books.atomic():
        for at in range(1_200):
            world.clock.ms += 10
            body = {**bill, "Id": str(10_000 + at), "DocNumber": f"B-{at}"}
            world.sandbox.books.put(company, ENTITIES["Bill"], body)
    asyncio.run(world.run())
    assert infos(world)["bills"].rows == 1_201


def test_a_reading_cut_off_goes_on_where_it_stopped(world: World) -> None:
    """Pages that were taken are not asked again; what is gone shows only after the last."""
    world.sandbox.plan.add(FaultRule(kind="drop_before", match="query", skip=1, count=1))
    asyncio.run(world.run())
    world.clock.ms += 86_400_000
    asyncio.run(world.run())
    assert {info.complete for info in infos(world).values()} == {True}


def test_a_list_is_filtered_sorted_and_paged(world: World) -> None:
    """By text without case, by any sort both ways, in pages that neither repeat nor omit."""
    asyncio.run(world.run())
    everything = page(world, "accounts").rows
    names = [row.values["name"] for row in everything]
    assert names == sorted(names)
    one = page(world, "accounts", limit=5)
    two = page(world, "accounts", limit=5, after=one.after)
    assert [row.id for row in [*one.rows, *two.rows]] == [row.id for row in everything[:10]]
    (found,) = page(world, "accounts", text="FUEL c").rows
    assert found.values["name"] == "Fuel Card"
    assert page(world, "accounts", text="100%").rows == []
    assert page(world, "accounts", sort="no such").rows == everything
    assert page(world, "accounts", sort="-amount").rows


def test_percents_of_a_code_with_two_rates_add_up() -> None:
    """A code of a state and a county shows the sum; one that names an unknown rate shows none."""
    rates: list[dict[str, Any]] = [{"Id": "1", "RateValue": "6.25"}, {"Id": "2", "RateValue": 1.5}]

    def code(*ids: str) -> dict[str, Any]:
        return {"SalesTaxRateList": {"TaxRateDetail": [{"TaxRateRef": {"value": i}} for i in ids]}}

    found = with_rates([code("1", "2"), code("9"), {}], rates)
    assert [row["Percent"] for row in found] == ["7.75", "", ""]


def test_every_list_reads_any_row_without_breaking() -> None:
    """A row that says nothing but its id is shown empty."""
    for spec in LISTS.values():
        row = to_row(spec, {"Id": "1"})
        assert row.external_id == "1"
        assert set(row.values) == {column.name for column in spec.columns}
