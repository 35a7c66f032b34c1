"""What every test of a client in node needs: the client, and often a server."""

from __future__ import annotations

import pytest

from tests.clients.driving import need_client
from tests.server.conftest import company, world

__all__ = ["company", "world"]


@pytest.fixture(scope="module", autouse=True)
def built() -> None:
    need_client()
