"""A data directory with a server on it, and devices that belong to it."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from replica.device import Device
from tests.chaos import roles
from tests.chaos.auditor import Ledger, LogAuditor
from tests.chaos.reopened import check_server
from tests.chaos.zygote import Child, free_port


class Answered(Exception):
    """The server said no."""

    def __init__(self, path: str, status: int, text: bytes) -> None:
        super().__init__(f"{path}: {status} {text.decode(errors='replace')}")
        self.status, self.text = status, text

    @property
    def code(self) -> str:
        """The code of a typed answer; empty when the answer has no type."""
        try:
            return str(json.loads(self.text)["code"])
        except (ValueError, KeyError, TypeError):
            return ""


class Company:
    """One account's server, as often as it is started. Everything lies below ``root``."""

    def __init__(self, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.root = root
        self.data = root / "data"
        self.lines = root / "server.lines"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.auditor = LogAuditor(self.data / "log.db")

    def server(self, *, watched: bool = False, careless: bool = False) -> Child:
        """A server process. It says ``("serves", url)`` once it listens."""
        return Child(
            roles.server,
            data=self.data,
            port=self.port,
            lines=self.lines,
            watched=watched,
            careless=careless,
        )

    def journal(self, number: int) -> Path:
        return self.root / f"device-{number}.db"

    def enrol(self, number: int) -> None:
        """A new device on a journal of its own; the server has to run."""
        answer = self.ask("POST", "/api/v1/devices/codes", {"name": f"Device {number}"})
        with Device.open(self.journal(number)) as device:
            device.enrol(self.url, answer["code"], f"Device {number}")

    def device(self, number: int) -> Child:
        """The process of a device."""
        lines = self.root / f"device-{number}.lines"
        return Child(roles.device, journal=self.journal(number), lines=lines)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One call of the API as the operator."""
        self.get("/healthz")  # the server says its address before it says who may operate it
        operator = json.loads((self.data / "operator.json").read_text(encoding="utf-8"))
        headers = {
            "authorization": f"Bearer {operator['token']}",
            "content-type": "application/json",
        }
        return json.loads(self.get(path, method, json.dumps(body), headers))

    def get(
        self, path: str, method: str = "GET", body: str = "", headers: dict[str, str] | None = None
    ) -> bytes:
        """One HTTP request. Raises ``Answered`` for a refusal, and what a dead server gives."""
        with closing(http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)) as client:
            client.request(method, path, body, headers or {})
            answer = client.getresponse()
            text = answer.read()
        if answer.status >= 300:
            raise Answered(path, answer.status, text)
        return text

    def check_rest(self, told: Ledger) -> None:
        """With the server stopped: pages, chains, and read models that a rebuild leaves equal."""
        check_server(self.data, told, thorough=True)
