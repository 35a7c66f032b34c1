"""Words for a wrong clock."""

from __future__ import annotations

import pytest

from replica.device.status import skew_words


@pytest.mark.parametrize(
    ("skew_ms", "words"),
    [
        (0, ""),
        (-1_999, ""),
        (2_000, "2 seconds ahead of"),
        (-90_000, "90 seconds behind"),
        (600_000, "10 minutes ahead of"),
        (-3 * 3_600_000, "3 hours behind"),
        (31_536_000_000, "365 days ahead of"),
    ],
)
def test_skew_in_words(skew_ms: int, words: str) -> None:
    """The size and side of a skew are named, and that nothing is lost by it (CON-08)."""
    found = skew_words(skew_ms)
    assert words in found
    assert bool(found) == bool(words)
