"""Replay with a reducer of one's own: a pure function over the events, in a file.

    def begin():
        return {}

    def step(totals, entry):
        if entry.kind == "order.committed":
            content = entry.payload.content
            totals[content.currency] = totals.get(content.currency, 0) + content.total_minor
        return totals

``end(state)``, where there is one, makes the result from the last state. The same log, moment and
file give the same result on every machine, as long as the functions use only their arguments.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from replica.analytics.history import Entry
from replica.errors import MisuseError


class Reducer(NamedTuple):
    """``step`` takes the state and an :class:`~replica.analytics.history.Entry` and gives the next
    state, which may be the same object."""

    begin: Callable[[], Any]
    step: Callable[[Any, Entry], Any]
    end: Callable[[Any], Any]


class Replayed(NamedTuple):
    """What came out, and of how much: name ``position`` wherever the result is quoted."""

    result: Any
    position: int
    events: int


def load_reducer(path: Path) -> Reducer:
    """The reducer in the Python file ``path``, which is run. Raises ``MisuseError`` when it cannot
    be, or lacks a function."""
    try:
        names = runpy.run_path(str(path))
    except Exception as error:
        raise MisuseError(f"{path} does not run: {error!r}") from error
    for name in ("begin", "step"):
        if not callable(names.get(name)):
            raise MisuseError(
                f"{path} has no function {name}",
                hint="a reducer has begin() and step(state, entry)",
            )
    return Reducer(names["begin"], names["step"], names.get("end", lambda state: state))


def replay(reducer: Reducer, entries: Iterable[Entry]) -> Replayed:
    """Run ``reducer`` over ``entries``. Raises ``MisuseError`` naming the event it failed at."""
    state = reducer.begin()
    position = events = 0
    for entry in entries:
        try:
            state = reducer.step(state, entry)
        except Exception as error:
            raise MisuseError(
                f"the reducer failed at position {entry.position} ({entry.kind}): {error!r}",
                hint="payload is None for a kind that is unknown here",
            ) from error
        position, events = entry.position, events + 1
    return Replayed(reducer.end(state), position, events)
