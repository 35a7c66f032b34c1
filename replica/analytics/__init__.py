"""For analysts: the log replayed, the state as of any moment, what changed between two, exports.

Nothing here can write: everything is read from a :class:`replica.events.ports.Log` and folded in
memory, beside a running server or without one.
"""

from replica.analytics.diff import Cell, Difference, apply, compare
from replica.analytics.history import Entry, History, Snapshot
from replica.analytics.moment import NOW, Moment, parse_moment
from replica.analytics.replay import Reducer, Replayed, load_reducer, replay

__all__ = [
    "NOW",
    "Cell",
    "Difference",
    "Entry",
    "History",
    "Moment",
    "Reducer",
    "Replayed",
    "Snapshot",
    "apply",
    "compare",
    "load_reducer",
    "parse_moment",
    "replay",
]
