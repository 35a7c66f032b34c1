"""The page that a developer reads first: its example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from replica.device import Identity, enrolment
from tests.device.server import FakeServer

PAGE = Path(__file__).parents[2] / "docs" / "device-sdk.md"


def test_first_example_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Enrol, take an order offline, read it, sync: the twelve lines do what their comments say."""
    found = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    example = found[1]
    assert len(example.splitlines()) <= 12
    with FakeServer() as server:

        def enrol(url: str, code: str, name: str, *, software: str) -> Identity:
            return server.identity(1)

        monkeypatch.setattr(enrolment, "enrol", enrol)
        monkeypatch.chdir(tmp_path)
        exec(example, {})  # noqa: S102 - our own page
    numbers, lines, ladder = capsys.readouterr().out.splitlines()
    assert numbers.endswith("-0001 1275")
    assert "'tea'" in lines
    assert ladder == "safe on the server, position 2 True"
