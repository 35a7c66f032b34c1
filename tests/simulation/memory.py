"""Pure functions answer from memory for as long as a run lasts.

In a world of five replicas the same bytes are decoded twenty times. What a pure function said of
them once it will say again, and everything it gives is immutable; a seed in eight runs without
this, and the two give the same trace.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from replica.crdt import view
from replica.events import event as events
from replica.events import record
from replica.events.kinds import Kind, Registry


def _decode(decode: Callable[[Registry, Any], Any]) -> Callable[[Registry, Any], Any]:
    known: dict[tuple[str, int, bytes], Any] = {}

    def remembered(self: Registry, event: Any) -> Any:
        key = (event.kind, event.version, event.payload)
        if key not in known:
            known[key] = decode(self, event)
        return known[key]

    return remembered


def _read(read: Callable[[Registry, str, bytes], Any]) -> Callable[[Registry, str, bytes], Any]:
    known: dict[tuple[str, bytes], Any] = {}

    def remembered(self: Registry, name: str, body: bytes) -> Any:
        found = known.get((name, body))
        if found is None:
            found = known[name, body] = read(self, name, body)
        return found

    return remembered


def _decode_all(decode: Callable[[Kind, list[bytes]], Any]) -> Callable[[Kind, list[bytes]], Any]:
    known: dict[tuple[str, int, tuple[bytes, ...]], Any] = {}

    def remembered(self: Kind, bodies: list[bytes]) -> Any:
        key = (self.name, self.version, tuple(bodies))
        if key not in known:
            known[key] = decode(self, bodies)
        return known[key]

    return remembered


def _records(all_records: Callable[[Any], Iterator[Any]]) -> Callable[[Any], Any]:
    return cache(lambda segment: tuple(all_records(segment)))


def _view(view: Callable[[Any], Any]) -> Callable[[Any], Any]:
    known: dict[tuple[Any, bytes], Any] = {}

    def remembered(document: Any) -> Any:
        key = (document.key, document.encode())
        found = known.get(key)
        if found is None:
            found = known[key] = view(document)
        return found

    return remembered


@cache
def _places() -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """Everything that names one of the functions, and what takes its place there."""
    found: list[tuple[Any, str, Callable[[Any], Any]]] = [
        (Registry, "decode", _decode),
        (Registry, "read", _read),
        (Kind, "decode_all", _decode_all),
    ]
    functions = ((events.decode_event, cache), (record.records, _records), (view.view, _view))
    for function, make in functions:
        for module in list(sys.modules.values()):
            if module.__name__.startswith(("replica.", "tests.simulation.")):
                names = [name for name, value in vars(module).items() if value is function]
                found += [(module, name, make) for name in names]
    return found


@contextmanager
def remembering() -> Iterator[None]:
    """Remember while this lasts, and nothing from before: a planted bug may change an answer."""
    shared: dict[Any, Any] = {}
    replaced = [(place, name, getattr(place, name)) for place, name, _ in _places()]
    for (place, name, original), (_, _, make) in zip(replaced, _places(), strict=True):
        setattr(place, name, shared.setdefault(original, make(original)))
    try:
        yield
    finally:
        for place, name, original in replaced:
            setattr(place, name, original)
