"""Real processes for the story: a server, a sandbox QuickBooks, three reps.

Everything here ends with the story: a process that outlives its parent would keep a port and a
lock. Output of each process goes to a file of its own, named in an error when one does not start.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from replica.errors import ReplicaError

START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 15.0
POLL_S = 0.05


class StoryFailed(ReplicaError):
    """A process did not do its part; the message names its log file."""

    code = "story_failed"


def _plain_environment() -> dict[str, str]:
    """The user's environment without settings that are meant for their own server."""
    own = ("REPLICA_", "QBO_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)}


def free_port() -> int:
    """A loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One child process and its log file."""

    def __init__(
        self, name: str, arguments: Sequence[str], *, log: Path, environ: Mapping[str, str]
    ) -> None:
        self.name = name
        self.log = log
        self._stream = log.open("ab")
        self.child = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            env={**_plain_environment(), **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if name.startswith("rep") else self._stream,
            stderr=self._stream,
        )

    def kill(self) -> None:
        """``kill -9``: no goodbye, no flush."""
        self.child.send_signal(signal.SIGKILL)
        self.child.wait()
        self._close()

    def stop(self) -> None:
        """Ask to end, wait, and only then insist."""
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self._close()

    def _close(self) -> None:
        for pipe in (self.child.stdin, self.child.stdout, self._stream):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def wait_http(self, port: int, path: str) -> None:
        """Wait until ``GET path`` answers 200. Raises ``StoryFailed`` when it never does."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self.child.poll() is not None:
                raise StoryFailed(f"{self.name} ended at once; see {self.log}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", path)
                status = connection.getresponse().status
                connection.close()
                if status == 200:
                    return
            time.sleep(POLL_S)
        raise StoryFailed(f"{self.name} did not answer on port {port}; see {self.log}")


class Rep(Process):
    """A rep's phone: :mod:`replica.demo.rep` in a process of its own, told what to do by lines."""

    def __init__(self, name: str, *, journal: Path, log: Path, environ: Mapping[str, str]) -> None:
        super().__init__(name, ["replica.demo.rep", str(journal)], log=log, environ=environ)

    def ask(self, verb: str, **arguments: Any) -> dict[str, Any]:
        """One command and its answer. Raises ``StoryFailed`` when the rep cannot do it."""
        self.tell(verb, **arguments)
        return self.answer()

    def tell(self, verb: str, **arguments: Any) -> None:
        """Send a command; :meth:`answer` must be called before the next one."""
        assert self.child.stdin is not None
        self.child.stdin.write(json.dumps({"verb": verb, **arguments}).encode() + b"\n")
        self.child.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            raise StoryFailed(f"{self.name} ended in the middle; see {self.log}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise StoryFailed(f"{self.name}: {answer['error']}")
        return answer
