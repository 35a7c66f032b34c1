"""Finding sinks by entry point. Light on purpose: names are known without importing a sink.

- ``replica.sinks``: name → a :class:`replica.sink.SinkPlugin`
- ``replica.verbs``: verb → a callable that gives the typer group of that verb
"""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from replica.sink import SinkPlugin

SINKS_GROUP = "replica.sinks"
VERBS_GROUP = "replica.verbs"


def load_sinks() -> tuple[SinkPlugin, ...]:
    """Every sink of this installation, sorted by the name of its entry point."""
    return tuple(cast("SinkPlugin", point.load()) for point in _points(SINKS_GROUP))


def verbs() -> dict[str, EntryPoint]:
    """Verbs that sinks bring along. ``load()()`` gives the typer group."""
    return {point.name: point for point in _points(VERBS_GROUP)}


def environ_prefixes() -> tuple[str, ...]:
    """Prefixes of the environment keys that belong to sinks, such as ``REPLICA_QBO_``."""
    names = [point.name for group in (SINKS_GROUP, VERBS_GROUP) for point in _points(group)]
    return tuple(f"REPLICA_{name.upper()}_" for name in names)


def _points(group: str) -> list[EntryPoint]:
    return sorted(entry_points(group=group), key=lambda point: point.name)
