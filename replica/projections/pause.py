"""Making room: long work in a thread lets whoever is in a hurry go first."""

from __future__ import annotations

from collections.abc import Callable

Pause = Callable[[], None]
"""Called again and again by whoever works for long, between two records, documents or statements.
It may wait; transactions of its caller stay open meanwhile."""


def go_on() -> None:
    """The pause of work that nobody waits beside."""
