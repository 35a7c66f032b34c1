"""A server process for the tests of this folder, started as an operator starts it."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

READY_SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server on a free port and on data below `folder`; `output` is what it wrote."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.data, self.output = folder / "data", folder / "server.log"
        self.environment = {
            **os.environ,
            "REPLICA_DATA": str(self.data),
            "REPLICA_PORT": str(self.port),
            "REPLICA_ADMIN_PASSWORD": "a-long-password-for-this-test",
            **(environment or {}),
        }

    def start(self) -> None:
        """Starts the process and waits for /readyz and for the operator's file."""
        with self.output.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "replica", "serve"],
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + READY_SECONDS
        while not (self._ready() and (self.data / "operator.json").exists()):
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """SIGTERM, and the end of the process."""
        self.process.terminate()
        self.process.wait(timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token(self) -> str:
        return str(json.loads((self.data / "operator.json").read_text())["token"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; any status but 2xx fails the test."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            headers = {"authorization": f"Bearer {self.token}", "content-type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        assert response.status // 100 == 2, f"{method} {path}: {response.status} {text}"
        return json.loads(text)

    def code(self, name: str) -> str:
        """A one-time code for a new device."""
        return str(self.call("POST", "/api/v1/devices/codes", {"name": name})["code"])

    def lines(self) -> list[dict[str, Any]]:
        """The JSON log lines written so far; the output also holds two lines for people."""
        found = []
        for line in self.output.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found

    def _ready(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        with suppress(OSError):
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == 200
            finally:
                connection.close()
        return False


@contextmanager
def serving(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Server]:
    """A running server, stopped afterwards."""
    server = Server(folder, environment)
    try:
        server.start()
        yield server
    finally:
        server.stop()
