"""Money: exact integers, rounded once, halves away from zero."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.events.money import (
    content_total_minor,
    divide_rounding,
    line_total_minor,
    minor_digits,
)
from replica.limits import SAFE_INTEGER_MAX
from tests.crdt.samples import content

_safe = st.integers(-SAFE_INTEGER_MAX, SAFE_INTEGER_MAX)


@pytest.mark.parametrize(
    ("currency", "digits"), [("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("XXX", 2)]
)
def test_minor_digits_follow_the_currency(currency: str, digits: int) -> None:
    """Yen have no cents, dinars have three places, an unknown code has two."""
    assert minor_digits(currency) == digits


@pytest.mark.parametrize(
    ("qty_e3", "price_e4", "currency", "minor"),
    [
        (1_000, 50_000, "USD", 500),
        (1_000, 50, "USD", 1),  # half a cent
        (-1_000, 50, "USD", -1),
        (1_000, 49, "USD", 0),
        (333, 100_000, "USD", 333),
        (500, 10_000, "JPY", 1),  # half a yen
        (1_000, 10_000, "KWD", 1_000),
    ],
)
def test_lines_round_halves_away_from_zero(
    qty_e3: int, price_e4: int, currency: str, minor: int
) -> None:
    """Known amounts in three currencies (I-27)."""
    assert line_total_minor(qty_e3, price_e4, currency) == minor


@given(_safe, _safe, st.sampled_from(["USD", "JPY", "KWD", "CLF"]))
def test_a_line_equals_exact_decimal_arithmetic(qty_e3: int, price_e4: int, currency: str) -> None:
    """Any two safe integers give what exact decimals give; no float is involved (I-27)."""
    exact = Decimal(qty_e3 * price_e4).scaleb(minor_digits(currency) - 7)
    expected = int(exact.quantize(Decimal(1), ROUND_HALF_UP)) if abs(exact) < 10**27 else None
    found = line_total_minor(qty_e3, price_e4, currency)
    assert expected is None or found == expected
    assert found == -line_total_minor(-qty_e3, price_e4, currency)


@given(st.integers(), st.integers(1, 10**9))
def test_rounding_is_to_the_nearest(numerator: int, divisor: int) -> None:
    """The result is never more than half a divisor away."""
    assert abs(divide_rounding(numerator, divisor) * divisor - numerator) * 2 <= divisor


def test_a_total_rounds_each_line_and_adds_the_rest() -> None:
    """Lines are rounded one by one, then shipping and fees go on and the discount off (OFF-25)."""
    made = content(
        ("a", "p1", 1_000, 50),
        ("b", "p1", 1_000, 50),
        shipping_minor=700,
        fees_minor=30,
        discount_minor=100,
    )
    assert content_total_minor(made) == 1 + 1 + 700 + 30 - 100
