"""What the real-process tests need of the machine."""

from __future__ import annotations

import os

import pytest

from tests.chaos.watch import can_watch


@pytest.fixture
def watching() -> None:
    """System calls of a child can be watched. Where not, the tests are skipped aloud, and fail
    under CI."""
    if can_watch():
        return
    reason = "this kernel lets no parent stop its child's calls: faults were NOT injected"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
