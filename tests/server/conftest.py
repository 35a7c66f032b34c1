"""One server per module: tests keep apart by using an account of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.world import Company, World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A running server without sinks."""
    made = World(tmp_path_factory.mktemp("data"))
    yield made
    made.stop()


@pytest.fixture
def company(world: World) -> Company:
    """A fresh account on it."""
    return world.company()


@pytest.fixture
def own_world(tmp_path: Path) -> Iterator[World]:
    """A server that one test may break."""
    made = World(tmp_path / "data")
    yield made
    made.stop()
