"""Processes for the tests of this folder, started as an operator starts them."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from replica.demo.processes import Process, free_port


def ask(
    port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
) -> tuple[int, str]:
    """Status and text of one HTTP request to this machine. Raises OSError when nobody listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        sent = {"content-type": "application/json", **(headers or {})}
        connection.request(method, path, None if body is None else json.dumps(body), sent)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Program:
    """`python -m replica …` with its output in a file; ready when `ready_path` answers 200."""

    ready_path = "/readyz"

    def __init__(
        self, arguments: list[str], port: int, output: Path, environment: Mapping[str, str]
    ) -> None:
        self.arguments, self.port, self.output = arguments, port, output
        self.environment = environment

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and waits until it is ready."""
        arguments = ["replica", *self.arguments]
        self.process = Process("program", arguments, log=self.output, environ=self.environment)
        self.process.wait_http(self.port, self.ready_path)

    def stop(self) -> None:
        """SIGTERM, and the end of the process."""
        self.process.stop()


class Server(Program):
    """`replica serve` on data below `folder`."""

    def __init__(self, folder: Path, environment: Mapping[str, str] | None = None) -> None:
        port, self.data = free_port(), folder / "data"
        settings = {
            "REPLICA_DATA": str(self.data),
            "REPLICA_PORT": str(port),
            "REPLICA_ADMIN_PASSWORD": "a-long-password-for-this-test",
        }
        super().__init__(
            ["serve"], port, folder / "server.log", {**settings, **(environment or {})}
        )

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer to the operator; any status but 2xx fails the test."""
        token = json.loads((self.data / "operator.json").read_text())["token"]
        headers = {"authorization": f"Bearer {token}"}
        status, text = ask(self.port, method, path, body, headers)
        assert status // 100 == 2, f"{method} {path}: {status} {text}"
        return json.loads(text)

    def send_file(self, path: str, data: bytes) -> Any:
        """The JSON answer to the operator who sends a file."""
        token = json.loads((self.data / "operator.json").read_text())["token"]
        headers = {"authorization": f"Bearer {token}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", path, data, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        assert response.status == 200, f"{path}: {response.status} {text}"
        return json.loads(text)

    def code(self, name: str) -> str:
        """A one-time code for a new device."""
        return str(self.call("POST", "/api/v1/devices/codes", {"name": name})["code"])

    def lines(self) -> list[dict[str, Any]]:
        """The JSON log lines written so far; the output also has two lines for people."""
        found = []
        for line in self.output.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
        return found


class Sandbox(Program):
    """`replica qbo sandbox` with its books below `folder`."""

    ready_path = "/sandbox/state"

    def __init__(self, folder: Path) -> None:
        port = free_port()
        arguments = ["qbo", "sandbox", "--books", str(folder / "books.db"), "--port", str(port)]
        super().__init__(arguments, port, folder / "sandbox.log", {})


@contextmanager
def running(program: Program) -> Iterator[None]:
    """Starts a program and stops it afterwards."""
    try:
        program.start()
        yield
    finally:
        program.stop()
