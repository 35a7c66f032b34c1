"""Sales in the making: exact totals, numbers without a network, sealed once."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.device import Device, ProductCreated, ProductFields
from replica.device.drafts import document_number, thousandths
from replica.errors import MisuseError, StorageFull
from replica.limits import NUMBER_CHARS_MAX
from tests.device.desk import NOW_MS, identity
from tests.device.server import enrolled


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return enrolled(Device.open(tmp_path / "j.db", now_ms=lambda: NOW_MS), identity())


@given(
    st.lists(st.tuples(st.integers(1, 10**7), st.integers(0, 10**8)), min_size=1, max_size=8),
    st.integers(0, 10**6),
)
def test_total_is_the_sum_of_rounded_lines(lines: list[tuple[int, int]], fees: int) -> None:
    """The total before tax agrees with decimal arithmetic, line by line (I-27, OFF-25)."""

    class Nobody:
        def price_e4(self, product: str) -> None: ...

        def seal(self, draft: object) -> None: ...

    from replica.device.drafts import Draft

    header = {"customer": "c-1", "currency": "EUR", "date": "2024-02-29", "fees_minor": fees}
    draft = Draft(Nobody(), "order", "o-1", header)  # type: ignore[arg-type]
    for qty_e3, price_e4 in lines:
        draft.add("p-1", Decimal(qty_e3) / 1000, price_e4=price_e4)
    exact = sum(
        (Decimal(qty_e3) * price_e4 / 100_000).quantize(Decimal(1), ROUND_HALF_UP)
        for qty_e3, price_e4 in lines
    )
    assert draft.total_minor == exact + fees


def test_commit_seals_once(device: Device) -> None:
    """A second commit says what the first did, adds nothing, and the draft is closed (I-3)."""
    with device:
        draft = device.order(customer="c-1", currency="EUR").add("p-1", "2.5", price_e4=25_000)
        sealed = draft.commit()
        assert draft.commit() is sealed
        assert device.status().pending == 1
        assert (sealed.total_minor, sealed.offline) == (625, True)
        found = device.get("order", sealed.id)
        assert found is not None
        assert found["content"]["number"] == sealed.number
        assert found["content"]["offline"] is True
        with pytest.raises(MisuseError, match="sealed"):
            draft.add("p-1", 1, price_e4=1)


def test_numbers_count_up_over_restarts(tmp_path: Path) -> None:
    """Orders, quotes and returns of a device are numbered in one row, whatever happens between."""
    numbers = []
    for _ in range(2):
        opened = Device.open(tmp_path / "j.db", now_ms=lambda: NOW_MS)
        with enrolled(opened, identity()) as device:
            for begin in (device.order, device.quote, device.return_goods):
                draft = begin(customer="c-1", currency="EUR").add("p-1", 1, price_e4=100)
                numbers.append(draft.commit().number)
    assert [number.rpartition("-")[2] for number in numbers] == [f"{n:04d}" for n in range(1, 7)]
    assert len({number.rpartition("-")[0] for number in numbers}) == 1


def test_number_of_the_callers_own_is_kept(device: Device) -> None:
    """A number given by hand is used and takes none of the device's."""
    with device:
        by_hand = device.order(number="PAD-7", customer="c-1", currency="EUR")
        assert by_hand.add("p-1", 1, price_e4=1).commit().number == "PAD-7"
        counted = device.order(customer="c-1", currency="EUR")
        assert counted.add("p-1", 1, price_e4=1).commit().number.endswith("-0001")


@given(st.binary(min_size=16, max_size=16), st.integers(1, 999), st.integers(1, 10**7))
def test_numbers_fit_and_differ(device_id: bytes, epoch: int, count: int) -> None:
    """Every number fits the accounting system, and no two lives of a device share one."""
    number = document_number(device_id, epoch, 1, count)
    assert len(number) <= NUMBER_CHARS_MAX
    assert number != document_number(device_id, epoch, 1, count + 1)
    assert number != document_number(device_id, epoch + 1, 1, count)
    assert number.isascii()


def test_return_is_negative(device: Device) -> None:
    """Goods that come back are entered as they are counted and add to the stock again."""
    with device:
        sealed = (
            device.return_goods(customer="c-1", currency="EUR").add("p-1", 2, price_e4=100).commit()
        )
        assert sealed.total_minor == -2
        assert device.on_hand("p-1") == 2_000


def test_price_comes_from_the_product(device: Device) -> None:
    """Without a price given, the product's own counts; without either there is no line."""
    with device:
        device.append(ProductCreated("p-1", ProductFields(name="Tea", price_e4=42_500)))
        draft = device.order(customer="c-1", currency="EUR").add("p-1", 3)
        assert draft.total_minor == 1_275
        with pytest.raises(MisuseError, match="no price"):
            draft.add("p-2", 1)


@pytest.mark.parametrize("fields", [{"custmer": "c-1"}, {"lines": ()}, {"total_minor": 5}])
def test_unknown_fields_are_named(device: Device, fields: dict[str, object]) -> None:
    """A misspelt header field fails where it is written."""
    with device, pytest.raises(MisuseError, match=next(iter(fields))):
        device.order(**fields)  # type: ignore[arg-type]


def test_incomplete_sales_are_not_saved(device: Device) -> None:
    """What is missing is named, nothing is stored, and the draft can be completed."""
    with device:
        draft = device.order(currency="EUR").add("p-1", 1, price_e4=100)
        with pytest.raises(MisuseError, match="customer"):
            draft.commit()
        assert device.status().pending == 0
        assert draft.set(customer="c-1").commit().number.endswith("-0001")
        with pytest.raises(MisuseError):
            device.order(customer="c-1", currency="EUR").commit()


def test_full_disk_leaves_the_draft_open(device: Device) -> None:
    """A sale that could not be saved takes no number and can be sealed later (reliability §2.1)."""
    with device:
        draft = device.order(customer="c-1", currency="EUR")
        for _ in range(30):
            draft.add("p-1", 1, price_e4=100, text="y" * 4_000)
        sql = device._holding.journal._sql
        (pages,) = sql.execute("PRAGMA page_count").fetchone()
        sql.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageFull):
            draft.commit()
        sql.execute("PRAGMA max_page_count = 100000")
        assert draft.commit().number.endswith("-0001")


@pytest.mark.parametrize("qty", [0.1, "ten", "1.2345", "NaN", "inf"])
def test_inexact_quantities_are_refused(qty: object) -> None:
    """Floats and more than three decimals never become a quantity."""
    with pytest.raises(MisuseError):
        thousandths(qty)  # type: ignore[arg-type]


def test_exact_quantities() -> None:
    """Integers, text and decimals give thousandths."""
    assert [thousandths(qty) for qty in (3, "2.5", Decimal("0.001"), "-1")] == [
        3000,
        2500,
        1,
        -1000,
    ]
