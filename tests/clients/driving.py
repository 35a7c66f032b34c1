"""The TypeScript client as a process: built, run in node, told what to do line by line."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from tests.clients.nodes import NODE, Node

ROOT = Path(__file__).parent.parent.parent
CLIENT = ROOT / "clients" / "typescript"
DRIVER = Path(__file__).parent / "driver.mjs"


def need_client() -> None:
    """Skips aloud where the client could not be built, and fails there under CI."""
    if (CLIENT / "dist" / ".built").exists():
        return
    reason = "clients/typescript is not built: it was NOT tested (run `make typescript`)"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def node(*arguments: str, given: str = "", within_s: float = 60) -> str:
    """What one run of node prints; a run that fails fails the test with what it said."""
    done = subprocess.run(
        [str(NODE), *arguments],
        input=given,
        capture_output=True,
        text=True,
        timeout=within_s,
        cwd=CLIENT,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-4_000:]
    return done.stdout


class Refused(Exception):
    """The client threw: ``code`` is that of its error."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(f"{answer['error']}: {answer['message']} {answer.get('stack', '')}")
        self.code: str = answer["error"]


class Driven(Node):
    """One client process with its storage at ``path``; use it as a context manager. After ``asks``
    questions over HTTP it is dead (SIGKILL)."""

    def __init__(
        self, path: Path, *, ahead_ms: int = 0, asks: int | None = None, bulk: bool = False
    ) -> None:
        self.path = path
        super().__init__(DRIVER)
        try:
            given = {"ahead_ms": ahead_ms, "bulk": bulk, **({} if asks is None else {"asks": asks})}
            self.identity = self.ask("open", path=str(path), **given)
        except BaseException:
            self.kill()
            raise

    def answer(self) -> Any:
        """Raises ``Refused`` with the client's error."""
        answer = super().answer()
        if "error" in answer:
            raise Refused(answer)
        return answer["ok"]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None and error is None:
            self.ask("close")
        self.kill()
