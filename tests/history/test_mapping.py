"""A retail history as events: counts and totals equal those of a separate computation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.events import payloads as p
from replica.events.kinds import REGISTRY
from replica.history import mapping as mapping_module
from replica.history.mapping import Contradiction, Counts, Mapping, Work
from replica.history.rows import KeptAside, Line, RawRow, read
from replica.history.source import Columns, rows
from replica.history.survey import survey
from tests.history.independent import Expected, expected, read_file
from tests.history.oddities import BAD, FIELDS, GOOD, UK, WHEN, as_rows, write

REAL_FILE = Path(__file__).parents[3] / "shared/data/online_retail_II_2009_2010_raw.parquet"


def mapped(
    found: Iterable[RawRow], *, devices: int = 4
) -> tuple[list[Work], list[KeptAside | Contradiction], Counts]:
    """All events of ``found``, what was kept aside, and the counts."""
    read_rows = [read(row) for row in found]
    lines = [line for line in read_rows if isinstance(line, Line)]
    aside: list[KeptAside | Contradiction] = [
        row for row in read_rows if isinstance(row, KeptAside)
    ]
    mapping = Mapping(survey(lines), devices=devices, currency="GBP")
    works = []
    for line in lines:
        for made in mapping.add(line):
            if isinstance(made, Work):
                works.append(made)
            else:
                aside.append(made)
    return works, aside, mapping.finish()


def raw(cells: Iterable[tuple[Any, ...]]) -> list[RawRow]:
    return [RawRow(number, *row) for number, row in enumerate(cells, 1)]


def check_kinds(works: Iterable[Work]) -> None:
    """Every payload survives what the door does to it."""
    for work in works:
        kind, _, body = REGISTRY.encode(work.payload)
        payload = REGISTRY.read(kind, body)
        REGISTRY.newest[kind].check([payload])
        assert payload == work.payload


def as_expected(counts: Counts) -> Expected:
    return Expected(
        counts.lines,
        counts.invoices,
        counts.orders,
        counts.returns,
        counts.customers,
        counts.products,
        counts.total_minor,
    )


def contents(works: Iterable[Work]) -> dict[str, p.Content]:
    found = {}
    for work in works:
        if isinstance(work.payload, p.OrderCommitted):
            found[work.payload.order] = work.payload.content
        if isinstance(work.payload, p.ReturnCommitted):
            found[work.payload.return_] = work.payload.content
    return found


def test_every_oddity_is_carried_and_the_totals_are_exact() -> None:
    """Counts and pennies equal a separate decimal computation, whatever the lines hold."""
    works, aside, counts = mapped(raw(GOOD))
    assert aside == []
    assert as_expected(counts) == expected(as_rows(GOOD))
    assert counts.events == len(works)
    assert sum(content.total_minor for content in contents(works).values()) == counts.total_minor
    check_kinds(works)


def test_each_case_becomes_what_the_decision_says() -> None:
    """Scattered, free, adjusted, unnamed and both-signed invoices land where decision 0010 says."""
    found = contents(mapped(raw(GOOD))[0])
    assert [line.id for line in found["o-489434"].lines] == ["1", "2", "3", "5"]
    assert found["o-489434"].customer == "c-13085"
    assert (found["o-489434"].date, found["o-489434"].note) == (WHEN[:10], WHEN)
    assert found["o-489435"].customer == "w-EIRE"
    assert found["o-489435"].total_minor == 13 + 1_500 + 335
    assert found["o-489461"].total_minor == 0
    assert found["r-489464"].total_minor == 0
    assert found["o-A506401"].total_minor == -5_359_436
    assert found["o-C496350"].total_minor == 37_357
    assert found["r-C489449"].lines[0].qty_e3 == -12_000
    assert (found["o-489500"].total_minor, found["r-489500"].total_minor) == (1_275, -510)
    assert found["o-489500"].number == found["r-489500"].number == "489500"
    assert found["o-489435"].lines[1].product == "p-BANK.20CHARGES"
    assert {found["o-489501"].lines[0].product, found["o-C496350"].lines[0].product} == {
        "p-m",
        "p-M",
    }


def test_products_and_customers_are_created_once_before_their_first_use() -> None:
    """Whoever sells something has created it, or another device has, exactly once."""
    works, _, _ = mapped(raw(GOOD), devices=3)
    known: Counter[str] = Counter()
    for work in works:
        if isinstance(work.payload, p.ProductCreated):
            known[work.payload.product] += 1
        elif isinstance(work.payload, p.CustomerCreated):
            known[work.payload.customer] += 1
        elif isinstance(work.payload, p.OrderCommitted | p.ReturnCommitted):
            content = work.payload.content
            assert {content.customer, *(line.product for line in content.lines)} <= known.keys()
    assert set(known.values()) == {1}


def test_a_product_is_named_by_a_priced_line_and_lines_keep_other_words() -> None:
    """Remarks of unpriced lines are no names, and nothing a line says is lost."""
    works, _, _ = mapped(raw(GOOD))
    made = [work.payload for work in works if isinstance(work.payload, p.ProductCreated)]
    heart = next(product.fields for product in made if product.product == "p-21733")
    assert (heart.name, heart.sku, heart.price_e4) == ("HEART T-LIGHT", "21733", 25_500)
    found = contents(works)
    assert found["r-489464"].lines[0].text == "85123a mixed"
    assert found["o-489461"].lines[0].text == ""
    cafe = next(product.fields for product in made if product.product.startswith("p-47503J"))
    assert (cafe.name, cafe.sku) == ("Café “Gift” £10.00 日本", "47503J ")


def test_bad_rows_are_kept_aside_with_their_reason() -> None:
    """Each malformed row is given back with its number and why; the good ones are not touched."""
    cells = [*GOOD, *(bad for bad, _reason in BAD)]
    works, aside, counts = mapped(raw(cells))
    reasons = [kept.reason for kept in aside]
    assert len(aside) == len(BAD)
    for reason, (_row, expected_reason) in zip(reasons, BAD, strict=True):
        assert expected_reason in reason
    assert as_expected(counts) == expected(as_rows(GOOD))
    assert contents(works) == contents(mapped(raw(GOOD))[0])


_cells = st.none() | st.text(max_size=12) | st.integers() | st.floats() | st.booleans()


@settings(max_examples=200)
@given(st.lists(st.tuples(*([_cells] * len(FIELDS))), max_size=5))
def test_no_cell_can_crash_the_reading(cells: list[tuple[Any, ...]]) -> None:
    """Whatever a file holds, each row becomes a line or is kept aside, and lines make events."""
    works, aside, counts = mapped(raw(cells))
    assert counts.lines + len(aside) == len(cells)
    check_kinds(works)


_sane = st.tuples(
    st.sampled_from(["1", "2", "C3", "A4"]),
    st.sampled_from(["85123A", "85123a", "POST", "m"]),
    st.sampled_from([None, "LAMP", "damaged?"]),
    st.integers(-50, 50).filter(bool),
    st.just(WHEN),
    st.integers(-20_000, 90_000).map(lambda price: price / 1_000),
    st.none(),
    st.just(UK),
)


@settings(max_examples=150)
@given(st.lists(_sane, max_size=30), st.integers(1, 6))
def test_counts_and_totals_hold_for_any_history(cells: list[tuple[Any, ...]], devices: int) -> None:
    """For random histories the totals are those of the decimal computation, on any device count."""
    good = [row for row in cells if not (row[3] < 0 and row[5] < 0)]
    works, aside, counts = mapped(raw(cells), devices=devices)
    assert len(aside) == len(cells) - len(good)
    assert as_expected(counts) == expected(as_rows(tuple(good)))
    assert {work.device for work in works} <= set(range(devices))
    check_kinds(works)


def test_an_invoice_too_large_for_an_event_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts carry the number with a suffix, fit the bounds, and lose no line."""
    monkeypatch.setattr(mapping_module, "ORDER_LINES_MAX", 10)
    monkeypatch.setattr(mapping_module, "_PAYLOAD_BYTES_MAX", 700)
    cells = [("900", "A", f"{'word ' * 20}{n}", 1, WHEN, 1.0, None, UK) for n in range(25)]
    works, _, counts = mapped(raw(cells))
    found = contents(works)
    lines = [line.id for content in found.values() for line in content.lines]
    assert lines == [str(number) for number in range(1, 26)]
    assert counts.orders == len(found) > 3
    assert counts.invoices == 1
    assert list(found)[:2] == ["o-900", "o-900:2"]
    assert [content.number for content in found.values()][:2] == ["900", "900/2"]
    assert all(len(msgspec.msgpack.encode(content)) <= 700 for content in found.values())


def test_a_file_maps_like_its_rows(tmp_path: Path) -> None:
    """Reading the Parquet file gives the same events as its cells."""
    works, aside, counts = mapped(rows(write(tmp_path / "odd.parquet"), Columns()))
    assert len(aside) == len(BAD)
    assert as_expected(counts) == expected(as_rows(GOOD))
    check_kinds(works)


@pytest.mark.timeout(300)
def test_the_real_history_adds_up() -> None:
    """All 525,461 real lines become events whose counts and total equal the file's."""
    if not REAL_FILE.exists():
        pytest.skip(f"the real history is not at {REAL_FILE}: its totals were NOT checked")
    lines = [line for line in map(read, rows(REAL_FILE, Columns())) if isinstance(line, Line)]
    mapping = Mapping(survey(lines), devices=4, currency="GBP")
    total_minor = 0
    for line in lines:
        for work in mapping.add(line):
            assert isinstance(work, Work)
            if isinstance(work.payload, p.OrderCommitted | p.ReturnCommitted):
                total_minor += work.payload.content.total_minor
    counts = mapping.finish()
    assert as_expected(counts) == expected(read_file(REAL_FILE))
    assert (counts.lines, counts.invoices) == (525_461, 28_816)
    assert counts.total_minor == total_minor
