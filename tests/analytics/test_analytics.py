"""What analysts are told: the log as it is, state as of a moment, differences, exports, replays."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from replica.analytics import NOW, History, Moment, apply, compare, load_reducer, replay
from replica.analytics.export import EVENT_COLUMNS, columns_of, event_row, flat, write
from replica.analytics.moment import By, parse_moment
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.errors import MisuseError
from replica.events.event import Position
from replica.events.payloads import (
    CustomerChanged,
    CustomerCreated,
    CustomerDeleted,
    CustomerFields,
    OrderCommitted,
    Payload,
)
from replica.events.record import Origin, records
from replica.ingest import Context, Fact, admit, compose, through
from replica.store.memory import MemoryLog
from replica.sync.heads import head_in
from tests.test_ingest import ACCOUNT, DEVICE, GOOD_ORDER, fact
from tests.test_ingest import NOW as START_MS

DAY_MS = 86_400_000


class Office:
    """A log that grows by one device's events; ``late_ms`` is how long they were on the way."""

    def __init__(self) -> None:
        self.log = MemoryLog()
        self.now_ms = START_MS
        self.history = History(self.log, ACCOUNT)

    def say(self, *facts: Fact | Payload, late_ms: int = 0) -> None:
        self.now_ms += 1_000
        context = Context(ACCOUNT, DEVICE, 1, Origin.DEVICE, 2, 0, self.now_ms)
        head = head_in(self.log.device_heads(ACCOUNT, DEVICE), 1)
        made = [one if isinstance(one, Fact) else fact(one) for one in facts]
        events = compose(context._replace(received_ms=self.now_ms - late_ms), head, made)
        through(self.log, admit(context, head, head.seq + 1, events))


def named(customer: str, name: str) -> CustomerCreated:
    return CustomerCreated(customer, CustomerFields(name=name))


def renamed(customer: str, name: str) -> CustomerChanged:
    return CustomerChanged(customer, CustomerFields(name=name))


IDS = st.sampled_from(["c-1", "c-2", "c-3"])
SAID = st.one_of(
    st.builds(named, IDS, st.sampled_from(["Ann", "Bo"])),
    st.builds(renamed, IDS, st.sampled_from(["Cy", "Di"])),
    st.builds(CustomerDeleted, IDS),
)


@given(said=st.lists(SAID, min_size=1, max_size=12), cut=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_snapshot_is_the_fold_and_a_difference_leads_from_one_to_the_next(
    said: list[Payload], cut: int
) -> None:
    """As of any position the state is the fold up to there, and what `diff` says, applied to the
    one, gives the other."""
    office = Office()
    for payload in said:
        office.say(payload)
    before, after = (office.history.snapshot(moment) for moment in (Moment(position=cut), NOW))
    folded: dict[DocKey, Document] = {}
    for segment in office.log.read(ACCOUNT, Position(0), 1_000_000):
        for position, record in records(segment):
            if position <= cut:
                fold(folded, record)
    assert {key: one.encode() for key, one in before.documents.items()} == {
        key: one.encode() for key, one in folded.items()
    }
    rows = before.rows("customer"), after.rows("customer")
    assert apply(compare(*rows), rows[0]) == rows[1]
    assert after.position == after.events == len(said)


ROWS = st.dictionaries(
    st.sampled_from(["a", "b"]),
    st.dictionaries(st.sampled_from("xyz"), st.none() | st.integers(0, 1), max_size=3),
).map(lambda rows: [{"id": key, **rows[key]} for key in sorted(rows)])


@given(before=ROWS, after=ROWS)
def test_a_difference_leads_from_any_table_to_any_other(
    before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> None:
    """A column that only one of two rows has is in the difference, whichever it is."""
    assert apply(compare(before, after), before) == after


def test_two_clocks_answer_two_questions() -> None:
    """An order of Monday that came in on Wednesday is there on Monday by event time, and not by
    receipt."""
    office = Office()
    office.say(named("c-1", "Ann"))
    office.now_ms += 2 * DAY_MS
    office.say(GOOD_ORDER, late_ms=2 * DAY_MS)
    monday_ms = START_MS + DAY_MS
    orders = {
        by: len(office.history.snapshot(Moment(time_ms=monday_ms, by=by)).rows("order"))
        for by in By
    }
    assert orders == {By.RECEIVED: 0, By.EVENT_TIME: 1}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("48211", Moment(position=48211)),
        ("1970-01-02", Moment(time_ms=2 * DAY_MS - 1)),
        ("1970-01-02T00:00Z", Moment(time_ms=DAY_MS)),
        ("1970-01-02T02:00+02:00", Moment(time_ms=DAY_MS)),
        ("1970-01-02T00:00", Moment(time_ms=DAY_MS)),
    ],
)
def test_moments_are_read_as_people_write_them(text: str, moment: Moment) -> None:
    """A day means its end, a time without a zone is UTC, digits are a position."""
    assert parse_moment(text) == moment


@pytest.mark.parametrize("text", ["", "soon", "2026-13-01", "-5", "1e3", "9999-12-31"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    """A typo is told, not guessed at."""
    with pytest.raises(MisuseError):
        parse_moment(text)


def test_what_is_unknown_here_is_counted_and_kept() -> None:
    """Events of a later version stand in every export and in the count, whatever they say."""
    office = Office()
    office.say(named("c-1", "Ann"), Fact("customer.praised", 1, b"\x81\xa4text\xa5great"))
    assert office.history.snapshot()[1:] == (2, 2, 1)
    rows = [event_row(entry) for entry in office.history.entries()]
    assert rows[1]["payload"] == {"text": "great"}
    assert [entry.payload is None for entry in office.history.entries()] == [False, True]


def test_all_formats_hold_the_same_and_the_same_bytes_again(tmp_path: Path) -> None:
    """Integers stay integers, columns keep their order, and a second export is the same file."""
    office = Office()
    office.say(named("c-1", 'Ann, "B" & Ç'), GOOD_ORDER)
    rows = [event_row(entry) for entry in office.history.entries()]
    sums = {}
    for ending in ("jsonl", "csv", "parquet"):
        first, again = (
            write(tmp_path / f"{name}.{ending}", EVENT_COLUMNS, rows) for name in ("a", "b")
        )
        assert first == again
        sums[ending] = first.rows
    assert set(sums.values()) == {2}
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    with (tmp_path / "a.csv").open(newline="") as file:
        from_csv = list(csv.DictReader(file))
    from_parquet = parquet.read_table(tmp_path / "a.parquet")
    assert from_parquet.column_names == list(from_csv[0]) == list(EVENT_COLUMNS)
    for plain, column, row in zip(from_csv, from_parquet.to_pylist(), rows, strict=True):
        assert json.loads(plain["payload"]) == json.loads(column["payload"]) == row["payload"]
        assert int(plain["received_ms"]) == column["received_ms"] == row["received_ms"]
    with pytest.raises(MisuseError, match="no known ending"):
        write(tmp_path / "a.xlsx", EVENT_COLUMNS, rows)


def test_a_table_of_records_has_a_column_for_each_value(tmp_path: Path) -> None:
    """An order's total is a column of integers and not hidden in a text."""
    office = Office()
    office.say(GOOD_ORDER)
    rows = [flat(row) for row in office.history.snapshot().rows("order")]
    write(tmp_path / "orders.parquet", columns_of(rows), rows)
    (order,) = parquet.read_table(tmp_path / "orders.parquet").to_pylist()
    assert (order["content.total_minor"], order["content.currency"]) == (3_000, "USD")


REDUCER = """
def begin():
    return {}

def step(totals, entry):
    if entry.kind == "order.committed":
        content = entry.payload.content
        totals[content.currency] = totals.get(content.currency, 0) + content.total_minor
    return totals
"""


def test_a_reducer_of_ones_own_runs_over_the_log(tmp_path: Path) -> None:
    """Two functions in a file are enough, and the result names the position it is of."""
    office = Office()
    office.say(named("c-1", "Ann"), GOOD_ORDER)
    (tmp_path / "sales.py").write_text(REDUCER)
    reducer = load_reducer(tmp_path / "sales.py")
    assert replay(reducer, office.history.entries()) == ({"USD": 3_000}, 2, 2)
    assert replay(reducer, office.history.entries(Moment(position=1))).result == {}
    kinds = replay(reducer._replace(step=_seen), office.history.entries()).result
    assert kinds == {"customer.created": None, "order.committed": OrderCommitted}


def _seen(state: dict[str, Any], entry: Any) -> dict[str, Any]:
    known = type(entry.payload) if entry.kind.startswith("order") else None
    return {**state, entry.kind: known}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def begin(): return 0", "no function step"),
        ("1/0", "does not run"),
        (REDUCER.replace("entry.kind ==", "entry.knd =="), "failed at position 1"),
    ],
)
def test_a_reducer_that_is_wrong_is_told_where(tmp_path: Path, text: str, says: str) -> None:
    """A missing function, a file that does not run and a step that fails are explained (V)."""
    (tmp_path / "wrong.py").write_text(text)
    office = Office()
    office.say(named("c-1", "Ann"))
    with pytest.raises(MisuseError, match=says):
        replay(load_reducer(tmp_path / "wrong.py"), office.history.entries())
