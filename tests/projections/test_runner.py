"""The projector: rows that are a function of the set of records, whatever happens on the way."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replica.crdt.digest import SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.stock import on_hand_e3
from replica.events import payloads as p
from replica.events.event import AccountId, Position
from replica.events.ports import Log
from replica.events.record import Record, Segment
from replica.projections import queries, runner
from replica.projections import tables as t
from replica.projections.rows import sale_of, seal_of
from replica.projections.runner import Projector
from replica.projections.step import Poisoned
from replica.store.engine import Database, open_sqlite
from replica.store.memory import MemoryLog
from tests.crdt.samples import PAYLOADS, Documents, Writer, content, folded, record_sets
from tests.projections.conftest import fresh_account
from tests.projections.logs import commit, contents, log_of

SHARED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LATE = Position(10**9)
LIMITS = st.sampled_from([1, 700, 10**9])
SALES = [kind for kind in PAYLOADS if kind.startswith(("order.", "return."))]


def project(views: Database, account: AccountId, log: Log, *, limit_bytes: int = 10**9) -> None:
    projector = Projector(views, log)
    before = -1
    while (reached := projector.step(account, limit_bytes)) > before:
        before = reached


def sections_of(documents: Documents) -> tuple[object, ...]:
    totals = SectionTotals()
    for key, document in documents.items():
        totals.add(key, document.encode())
    return totals.sections()


@SHARED
@given(records=record_sets(), data=st.data())
def test_rows_are_a_function_of_the_set(
    sqlite_views: Database, records: list[Record], data: st.DataObject
) -> None:
    """Any order, segments and step size give the same rows and digest (CON-07, I-10, I-11)."""
    one, other = fresh_account(), fresh_account()
    project(sqlite_views, one, log_of(one, records))
    shuffled = data.draw(st.permutations(records))
    run, limit_bytes = data.draw(st.integers(1, 5)), data.draw(st.sampled_from([1, 500, 10**9]))
    project(sqlite_views, other, log_of(other, shuffled, run=run), limit_bytes=limit_bytes)
    assert contents(sqlite_views, other, places=False) == contents(sqlite_views, one, places=False)


@SHARED
@given(records=record_sets(), limit_bytes=st.sampled_from([1, 700, 10**9]))
def test_a_rebuild_gives_the_same_rows_and_digest(
    sqlite_views: Database, records: list[Record], limit_bytes: int
) -> None:
    """Folding the log from zero reproduces what steps have stored, to the last column (I-12)."""
    account = fresh_account()
    log = log_of(account, records)
    project(sqlite_views, account, log, limit_bytes=limit_bytes)
    stepped = contents(sqlite_views, account)
    rebuilt = Projector(sqlite_views, log).rebuild(account)
    assert contents(sqlite_views, account) == stepped
    assert rebuilt.sections == sections_of(folded(records))
    assert rebuilt.equal is (True if records else None)


@SHARED
@given(records=record_sets(), limit_bytes=st.sampled_from([1, 10**9]))
def test_stock_kept_in_step_equals_stock_computed_anew(
    sqlite_views: Database, records: list[Record], limit_bytes: int
) -> None:
    """On hand is count plus movements less sales since, however the records came (CON-09)."""
    account = fresh_account()
    project(sqlite_views, account, log_of(account, records), limit_bytes=limit_bytes)
    assert shelves(sqlite_views, account) == computed(folded(records))


@SHARED
@given(records=record_sets(SALES), data=st.data())
def test_sales_meet_stock_takes_in_any_order(
    sqlite_views: Database, records: list[Record], data: st.DataObject
) -> None:
    """Stock-takes between seals, cancellations and amendments leave the right rest (CON-09)."""
    counter = Writer(40)
    counts = [
        counter.says(p.StockCounted(product, data.draw(st.integers(-9, 9))), ms)
        for ms in data.draw(st.lists(st.integers(0, 3), max_size=3))
        for product in ("p1", "p2")
    ]
    mixed = data.draw(st.permutations([*records, *counts]))
    account = fresh_account()
    project(sqlite_views, account, log_of(account, mixed), limit_bytes=data.draw(LIMITS))
    assert shelves(sqlite_views, account) == computed(folded(mixed))


def test_two_offline_devices_sell_from_one_shelf(views: Database, account: AccountId) -> None:
    """Ten on the shelf, three and four sold offline, three are left; a cancelled order gives its
    goods back and a return adds (CON-09)."""
    office, ana, ben = Writer(1), Writer(2), Writer(3)
    log = log_of(
        account,
        [
            office.says(p.StockCounted("p1", 10_000), 1),
            ana.says(p.OrderCommitted("o-ana", content(("l", "p1", 3_000, 10))), 2),
            ben.says(p.OrderCommitted("o-ben", content(("l", "p1", 4_000, 10))), 2),
        ],
    )
    project(views, account, log)
    assert shelves(views, account)["p1"] == 3_000
    commit(log, account, [ana.says(p.OrderCancelled("o-ana"), 3)])
    project(views, account, log)
    assert shelves(views, account)["p1"] == 6_000
    returned = p.ReturnCommitted("r-ben", content(("l", "p1", -1_000, 10)))
    commit(log, account, [ben.says(returned, 4)])
    project(views, account, log)
    assert shelves(views, account)["p1"] == 7_000


def test_accounts_do_not_touch(views: Database) -> None:
    """Rows, totals and a rebuild of one account leave another's as they are (I-16)."""
    one, other = fresh_account(), fresh_account()
    log = log_of(one, [Writer(1).says(p.CustomerDeleted("c"), 1)])
    commit(log, other, [Writer(1).says(p.OrderCommitted("o", content()), 1)])
    projector = Projector(views, log)
    projector.catch_up(other)
    before = contents(views, other)
    projector.catch_up(one)
    projector.rebuild(one)
    assert contents(views, other) == before


class Breaking:
    """A fold that changes the document and then raises for some events."""

    def __init__(self, *events: bytes) -> None:
        self.events = set(events)
        self.error: type[BaseException] = ValueError
        self.calls = 0

    def __call__(
        self, documents: MutableMapping[DocKey, Document], record: Record
    ) -> Sequence[DocKey]:
        self.calls += 1
        changed = fold(documents, record)
        if record.id in self.events:
            raise self.error("broken fold")
        return changed


@SHARED
@given(records=record_sets(), data=st.data())
def test_a_poison_record_is_noted_and_skipped(
    sqlite_views: Database, records: list[Record], data: st.DataObject
) -> None:
    """What the fold cannot take changes nothing but the list of failures (reliability 2.3)."""
    account = fresh_account()
    bad = data.draw(st.lists(st.sampled_from(records), max_size=3)) if records else []
    broken = Breaking(*(record.id for record in bad))
    projector = Projector(sqlite_views, log_of(account, records), fold=broken)
    projector.catch_up(account)
    good = [record for record in records if record.id not in broken.events]
    assert projector.digest(account)[1] == sections_of(folded(good))
    with sqlite_views.reading() as connection:
        noted = queries.failures_page(connection, account, limit=100).rows
    assert len(noted) == sum(record.id in broken.events for record in records)
    assert all("ValueError: broken fold" in row["error"] for row in noted)


def test_a_rebuild_stops_on_poison_and_heals_after_the_repair(
    views: Database, account: AccountId
) -> None:
    """A strict rebuild raises and leaves the rows; with the fold repaired nothing is left out."""
    writer = Writer(1)
    records = [writer.says(p.CustomerDeleted(name), 1) for name in ("a", "b", "c")]
    log = log_of(account, records)
    broken = Breaking(records[1].id)
    projector = Projector(views, log, fold=broken)
    projector.catch_up(account)
    skipped = contents(views, account)
    with pytest.raises(Poisoned, match=r"customer.deleted at position 2: ValueError"):
        projector.rebuild(account)
    assert contents(views, account) == skipped
    assert projector.rebuild(account, strict=False).equal is True
    broken.events.clear()
    assert projector.rebuild(account).equal is False
    assert projector.digest(account)[1] == sections_of(folded(records))
    assert contents(views, account)["view_projection_failures"] == []


def test_rows_and_checkpoint_move_together(views: Database, account: AccountId) -> None:
    """A process that dies in a step leaves the state of the step before (P49, I-9)."""
    writer = Writer(1)
    first = writer.says(p.OrderCommitted("o-1", content()), 1)
    second = writer.says(p.OrderCommitted("o-2", content()), 2)
    log = log_of(account, [first])
    dying = Breaking(second.id)
    dying.error = KeyboardInterrupt
    projector = Projector(views, log, fold=dying)
    projector.catch_up(account)
    before = contents(views, account)
    commit(log, account, [second])
    with pytest.raises(KeyboardInterrupt):
        projector.step(account)
    assert contents(views, account) == before
    assert projector.lag(account) == 1
    dying.events.clear()
    assert projector.catch_up(account) == 2
    assert projector.lag(account) == 0


def test_a_step_makes_room_between_any_two_records(views: Database, account: AccountId) -> None:
    """Whoever is in a hurry is asked for again and again while a step folds and writes, and what
    is written does not depend on it (SYN-18, performance.md W4)."""
    writer = Writer(1)
    said = [writer.says(p.OrderCommitted(f"o-{at}", content()), at) for at in range(1, 9)]
    asked = []
    projector = Projector(views, log_of(account, said))
    projector.step(account, pause=lambda: asked.append(len(asked)))
    assert len(asked) > 3 * len(said), "folding, encoding and rows, a time for each order"
    assert projector.digest(account)[1] == sections_of(folded(said))


def test_an_interrupted_rebuild_goes_on_where_it_was(
    views: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was folded aside before the interruption is not folded again; readers see no part."""
    monkeypatch.setattr(runner, "PROJECTION_STEP_BYTES_MAX", 1)
    writer = Writer(1)
    records = [writer.says(p.OrderCommitted(f"o-{n}", content()), n) for n in range(10)]
    log = log_of(account, records, run=1)
    fold_once = Breaking()
    projector = Projector(views, log, fold=fold_once)
    projector.catch_up(account)
    before = contents(views, account)
    fold_once.events, fold_once.error = {records[6].id}, KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        projector.rebuild(account)
    assert contents(views, account) == before
    fold_once.events, fold_once.calls = set(), 0
    assert projector.rebuild(account).equal is True
    assert fold_once.calls == 4
    assert contents(views, account) == before


def test_another_fold_rebuilds_the_rows(
    views: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events of a kind that was unknown count once the catalogue knows it (I-13)."""
    record = Writer(1).says(p.CustomerDeleted("c"), 1)
    log = log_of(account, [record])
    monkeypatch.setattr(runner, "catalogue_fingerprint", lambda: b"older catalogue")
    old = Projector(views, log, fold=lambda _documents, _record: ())
    assert old.catch_up(account) == 1
    assert old.digest(account)[1] == ()
    monkeypatch.undo()
    new = Projector(views, log)
    assert new.catch_up(account) == 1
    assert new.digest(account)[1] == sections_of(folded([record]))


def test_rows_of_another_history_are_thrown_away(views: Database, account: AccountId) -> None:
    """A log restored from a backup is noticed by its chain and the rows are made anew (I-6)."""
    writer = Writer(1)
    lost = [writer.says(p.OrderCommitted(f"o-{n}", content()), n) for n in range(3)]
    project(views, account, log_of(account, lost))
    kept = [Writer(2).says(p.OrderCommitted("o-9", content()), 1)]
    restored = Projector(views, log_of(account, kept))
    assert restored.catch_up(account) == 1
    assert restored.digest(account)[1] == sections_of(folded(kept))
    assert [row[0] for row in contents(views, account)["view_orders"]] == ["o-9"]


def test_a_projector_that_comes_second_writes_nothing(views: Database, account: AccountId) -> None:
    """Two processes on one account: the checkpoint is compared and set, nothing counts twice."""
    writer = Writer(1)
    log = log_of(account, [writer.says(p.StockMoved("p1", 5), 1)])

    class Overtaking(MemoryLog):
        """Lets the other projector step between this one's reading and writing."""

        def read(self, account: AccountId, after: Position, limit_bytes: int) -> list[Segment]:
            segments = log.read(account, after, limit_bytes)
            Projector(views, log).catch_up(account)
            return segments

    assert Projector(views, Overtaking()).step(account) == 1
    assert shelves(views, account) == {"p1": 5}
    commit(log, account, [writer.says(p.StockMoved("p1", 5), 2)])
    assert Projector(views, log).catch_up(account) == 2
    assert shelves(views, account) == {"p1": 10}


def test_waiting_reads_ones_own_writes(views: Database, account: AccountId) -> None:
    """``wait`` steps towards the position, and gives up at its deadline or the end of the log."""
    writer = Writer(1)
    records = [writer.says(p.CustomerDeleted(f"c-{n}"), n) for n in range(3)]
    log = log_of(account, records)
    projector = Projector(views, log)
    assert not projector.wait(account, Position(3), timeout_s=0.0)
    assert projector.position(account) == 0
    assert projector.wait(account, Position(3), timeout_s=60.0)
    assert projector.position(account) == 3
    assert not projector.wait(account, LATE, timeout_s=60.0)


def test_tables_of_another_shape_are_made_again(
    tmp_path: Path, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new schema version drops the rows and the log fills them again; the same one keeps them."""
    database = open_sqlite(tmp_path / "views.db", profile="rebuildable")
    try:
        t.open_views(database.write)
        log = log_of(account, [Writer(1).says(p.CustomerDeleted("c"), 1)])
        project(database, account, log)
        before = contents(database, account)
        t.open_views(database.write)
        assert contents(database, account) == before
        monkeypatch.setattr(t, "SCHEMA_VERSION", t.SCHEMA_VERSION + 1)
        t.open_views(database.write)
        assert Projector(database, log).position(account) == 0
        project(database, account, log)
        assert contents(database, account) == before
    finally:
        database.close()


def shelves(views: Database, account: AccountId) -> dict[str, int]:
    """On hand of every product that has any."""
    return {row[0]: row[1] for row in contents(views, account)["view_stock"] if row[1]}


def computed(documents: Documents) -> dict[str, int]:
    """On hand of every product that has any, added up from the documents."""
    sales: dict[str, list[tuple[bytes, int]]] = {}
    for document in documents.values():
        if document.key.type in ("order", "return"):
            sale = sale_of(document, seal_of(document))
            for product, qty_e3 in sale.lines if sale else ():
                sales.setdefault(product, []).append((sale.tag if sale else b"", qty_e3))
    stocked = {key.id for key in documents if key.type == "stock"}
    known = documents.get
    found = {
        product: on_hand_e3(known(DocKey("stock", product)), sales.get(product, []))
        for product in stocked | sales.keys()
    }
    return {product: qty_e3 for product, qty_e3 in found.items() if qty_e3}
