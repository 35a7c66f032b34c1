"""What people read: exact money, plain times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replica.server.web import words


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (0, "USD", "0.00 USD"),
        (5, "USD", "0.05 USD"),
        (123_456_789, "EUR", "1,234,567.89 EUR"),
        (-150, "USD", "\N{MINUS SIGN}1.50 USD"),
        (1_500, "JPY", "1,500 JPY"),
        (1_500, "KWD", "1.500 KWD"),
    ],
)
def test_money_shows_exactly_its_minor_units(minor: int, currency: str, text: str) -> None:
    """An amount has the digits of its currency, never a float (reliability I-24)."""
    assert words.money(minor, currency) == text


@given(value=st.integers(-(2**53), 2**53), places=st.integers(0, 4))
def test_decimals_parse_back_to_the_integer(value: int, places: int) -> None:
    """No digit is lost between an integer and its text (reliability I-24)."""
    text = words.decimal(value, places).replace(",", "").replace("\N{MINUS SIGN}", "-")
    assert int(text.replace(".", "")) == value


def test_quantities_and_prices_drop_needless_zeros() -> None:
    """Twelve pieces read as 12 and a price keeps its cents (ui.md §3)."""
    assert words.quantity(12_000) == "12"
    assert words.quantity(500) == "0.5"
    assert words.price(75_000, "USD") == "7.50"
    assert words.price(75_125, "USD") == "7.5125"
    assert words.price(750_000, "JPY") == "75"


def test_times_read_in_the_largest_unit() -> None:
    """A time is relative on the page and exact beside it (SYN-12)."""
    assert words.ago(0, 3_000) == "just now"
    assert words.ago(0, 59_000) == "59 seconds ago"
    assert words.ago(0, 3_600_000) == "1 hour ago"
    assert words.ago(0, 200_000_000) == "2 days ago"
    assert words.ago(120_000, 0) == "in 2 minutes"
    assert words.exact(0) == "1970-01-01 00:00:00 UTC"


@given(ms=st.integers(-(2**60), 2**60))
def test_every_time_has_a_text(ms: int) -> None:
    """A device clock of any year never breaks a page (CON-08)."""
    assert words.iso(ms).endswith("Z")
    assert words.exact(ms).endswith("UTC")


def test_skew_is_named_in_words() -> None:
    """The skew of a device is shown, noise is not (CON-08)."""
    assert words.skew(None) == "unknown"
    assert words.skew(-1_999) == "right"
    assert words.skew(3_600_000) == "1 hour ahead"
    assert words.skew(-86_400_000) == "1 day behind"
