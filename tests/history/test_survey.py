"""Who works for which country."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from replica.history.survey import allot

_countries = st.dictionaries(
    st.text("ABCDEFGH", min_size=1, max_size=3), st.integers(1, 10_000), min_size=1, max_size=12
)


@given(_countries, st.integers(1, 20))
def test_every_device_works_for_some_country(lines: dict[str, int], devices: int) -> None:
    """Each country has devices, and each device has a country."""
    allotted = allot(Counter(lines), devices)
    assert allotted.keys() == lines.keys()
    assert {member for members in allotted.values() for member in members} == set(range(devices))


@given(_countries, st.integers(0, 8))
def test_with_enough_devices_no_two_countries_share_one(lines: dict[str, int], spare: int) -> None:
    """A device per country; what is left over goes to the country with most lines per device."""
    allotted = allot(Counter(lines), len(lines) + spare)
    assert sum(len(members) for members in allotted.values()) == len(lines) + spare


def test_few_devices_split_the_largest_country() -> None:
    """Four devices for one large country and many small ones: three for it, one for the rest."""
    lines = Counter({"UK": 900, "EIRE": 30, "France": 20, "Spain": 10, "Malta": 5})
    allotted = allot(lines, 4)
    assert len(allotted["UK"]) == 3
    assert allotted["EIRE"] == allotted["France"] == allotted["Spain"] == allotted["Malta"]


def test_an_empty_history_needs_no_country() -> None:
    """A file without a good row gives an empty plan, not an error."""
    assert allot(Counter(), 4) == {}
