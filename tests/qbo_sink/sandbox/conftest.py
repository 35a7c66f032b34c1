"""Fixtures of the sandbox's tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.qbo_sink.sandbox.desk import Desk


@pytest.fixture
def open_desk() -> Iterator[Callable[..., Desk]]:
    """Opens desks with the given switches and closes them afterwards."""
    opened: list[Desk] = []

    def open_one(path: str = ":memory:", **options: Any) -> Desk:
        desk = Desk(path, **options)
        opened.append(desk)
        return desk

    yield open_one
    for desk in opened:
        desk.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """A US company with every switch at its default."""
    return open_desk()
