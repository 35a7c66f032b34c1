"""Classes and departments over the real sink: there when tracked, added, edited, deleted."""

from __future__ import annotations

import html
import re
from typing import Any

from qbo_sink.wire import BOTH_STATES, select
from tests.server.books import Books, booked, sync
from tests.server.world import Company, Pages, World

books, world = booked("module")


def rows(pages: Pages, path: str) -> dict[str, str]:
    """Name → id."""
    found = re.findall(r'<tr data-row="([^"]+)"><td data-label="Name">([^<]*)<', pages.text(path))
    return {html.unescape(name): identity for identity, name in found}


def settle(world: World, company: Company) -> None:
    sync(world, company)
    world.caught_up(company)


def test_lists_that_are_tracked_are_edited_here_and_there(world: World, books: Books) -> None:
    """Absent with an explanation until the company tracks them; then what is added, renamed, put
    below another, deleted and restored here is so there (ACC-04, ACC-05, ACC-06)."""
    company = world.company()
    names = ("ClassTrackingPerTxn", "ClassTrackingPerTxnLine", "TrackDepartments")
    books.do("preferences", {"changes": {"AccountingInfoPrefs": dict.fromkeys(names, False)}})
    with world.browser(company) as pages:
        settle(world, company)
        assert "/classes" not in pages.text("/queue")
        assert pages.get("/departments").status_code == 404
        setup = html.unescape(pages.text("/company"))
        assert "not tracked. QuickBooks does not track them" in setup
        on = {"ClassTrackingPerTxn": True, "TrackDepartments": True}
        wanted = {**on, "DepartmentTerminology": "Store"}
        books.do("preferences", {"changes": {"AccountingInfoPrefs": wanted}})
        renew(world, company)
        menu = pages.text("/queue")
        assert '<a href="/classes">Classes' in menu
        assert '<a href="/departments">Departments' in menu
        page = html.unescape(pages.text("/departments"))
        assert "QuickBooks calls a department a location, in this company a store." in page
        for path in ("/classes", "/departments"):
            edit_everything(world, company, pages, path)


def edit_everything(world: World, company: Company, pages: Pages, path: str) -> None:
    for name in ("North", "South"):
        assert pages.post(path, name=name).status_code == 303
    ids = rows(pages, path)
    north = f"{path}/{ids['North']}"
    same = {"name": "North", "was.name": "North", "was.parent": ""}
    assert pages.post(north, **same, parent=ids["North"]).status_code == 409
    assert pages.post(path, name=" ").status_code == 400
    assert pages.post(f"{path}/nobody/delete").status_code == 404
    assert pages.post(f"{north}/erase").status_code == 404
    settle(world, company)
    moved = {"name": "Far North", "was.name": "North", "was.parent": "", "parent": ids["South"]}
    assert pages.post(north, **moved).status_code == 303
    settle(world, company)
    found = there(world, company, path)
    assert found["Far North"]["ParentRef"]["value"] == found["South"]["Id"]
    assert pages.post(f"{north}/delete").status_code == 303
    settle(world, company)
    assert "Far North" not in rows(pages, path)
    assert rows(pages, f"{path}?deleted=1")["Far North"] == ids["North"]
    gone = [row["Id"] for row in there(world, company, path).values() if not row["Active"]]
    assert gone == [found["Far North"]["Id"]]
    assert pages.post(f"{north}/restore").status_code == 303
    settle(world, company)
    assert there(world, company, path)["Far North"]["Active"]


def renew(world: World, company: Company) -> None:
    """What the company allows is read again, as once a day."""
    sink = world.runtime.sinks.desk

    async def read() -> None:
        session = await sink.open_session(company.account)  # type: ignore[attr-defined]
        await session.renew_preferences()

    world.on_loop(read)
    settle(world, company)


def there(world: World, company: Company, path: str) -> dict[str, dict[str, Any]]:
    """The list as it stands there, by name."""
    entity = {"/classes": "Class", "/departments": "Department"}[path]
    sink = world.runtime.sinks.desk

    async def read() -> dict[str, dict[str, Any]]:
        session = await sink.open_session(company.account)  # type: ignore[attr-defined]
        rows = await session.query(select(entity, BOTH_STATES), entity)
        return {row["Name"]: row for row in rows}

    return world.on_loop(read)
