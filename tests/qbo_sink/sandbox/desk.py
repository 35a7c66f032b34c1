"""A client of the sandbox for its own tests: synchronous, in-process, one company."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
from starlette.applications import Starlette

from qbo_sink.sandbox import Clock, InProcessTransport, Settings, Switches, create_sandbox
from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import read_json, write_json

NOON_MS = 1_795_000_000_000  # 2026-11-18 in the company's zone
Json = dict[str, Any]


class Answer:
    """Status, headers, bytes, and the JSON in them with exact numbers."""

    def __init__(self, response: httpx2.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.content = response.content

    @property
    def json(self) -> Any:
        """The body."""
        return read_json(self.content)

    @property
    def error(self) -> Json:
        """First error of a Fault."""
        first: Json = self.json["Fault"]["Error"][0]
        return first

    @property
    def codes(self) -> list[int]:
        """Codes of a Fault's errors."""
        return [int(error["code"]) for error in self.json["Fault"]["Error"]]


class Desk:
    """One connected application. ``now_ms`` is the sandbox's clock and moves by assignment."""

    def __init__(
        self, path: str = ":memory:", *, country: Any = "US", throttle: bool = False, **flips: Any
    ) -> None:
        self.now_ms = NOON_MS
        settings = Settings(
            country=country,
            switches=Switches(throttle=throttle, **flips),
            webhook_url="http://receiver.invalid/hook",
        )
        self.app: Starlette = create_sandbox(path, settings, Clock(lambda: self.now_ms))
        self.sandbox: Sandbox = self.app.state.sandbox
        self.realm = settings.realm
        self._runner = asyncio.Runner()
        self._client = httpx2.AsyncClient(
            transport=InProcessTransport(self.app), base_url="http://sandbox"
        )
        self.tokens: Json = self.control("connect")
        self.headers = {"Authorization": f"Bearer {self.tokens['access_token']}"}

    def accept(self, media: str) -> None:
        """Ask for ``media`` from now on."""
        self.headers["Accept"] = media

    def close(self) -> None:
        """Let go of books and loop."""
        self._runner.run(self._client.aclose())
        self._runner.close()
        self.sandbox.close()

    def ask(self, method: str, url: str, **options: Any) -> Answer:
        """Any request."""
        return Answer(self._runner.run(self._client.request(method, url, **options)))

    def control(self, path: str, body: Any = None, method: str = "POST") -> Any:
        """A control route's answer."""
        content = write_json(body if body is not None else {})
        answer = self.ask(method, f"/sandbox/{path}", content=content if method != "GET" else None)
        assert answer.status == 200, answer.content
        return answer.json

    def get(self, path: str, **params: str) -> Answer:
        """Read from the company."""
        url = f"/v3/company/{self.realm}/{path}"
        return self.ask("GET", url, params=params, headers=self.headers)

    def post(
        self, path: str, body: Any, content_type: str = "application/json", **params: str
    ) -> Answer:
        """Write to the company; bytes are sent as they are, anything else as JSON."""
        headers = self.headers | {"Content-Type": content_type}
        content = body if isinstance(body, bytes) else write_json(body)
        url = f"/v3/company/{self.realm}/{path}"
        return self.ask("POST", url, params=params, content=content, headers=headers)

    def save(self, entity: str, body: Json, **params: str) -> Json:
        """Write and return the stored object."""
        answer = self.post(entity.lower(), body, **params)
        assert answer.status == 200, answer.content
        stored: Json = answer.json[ENTITIES[entity].element]
        return stored

    def read(self, entity: str, id_: str) -> Json:
        """The stored object."""
        answer = self.get(f"{entity.lower()}/{id_}")
        assert answer.status == 200, answer.content
        stored: Json = answer.json[ENTITIES[entity].element]
        return stored

    def query(self, text: str) -> Answer:
        """Run a query."""
        return self.get("query", query=text)

    def rows(self, text: str, entity: str) -> list[Json]:
        """The rows of a query."""
        answer = self.query(text)
        assert answer.status == 200, answer.content
        found: list[Json] = answer.json["QueryResponse"].get(entity, [])
        return found

    def prefer(self, group: str, **values: Any) -> None:
        """Change preferences as the administrator."""
        self.control("preferences", {"changes": {group: values}})


def line(amount: str = "14.5", qty: str = "1", price: str = "14.5", **detail: Any) -> Json:
    """An item line of the sample company's first item."""
    item = {"ItemRef": {"value": "1"}, "Qty": qty, "UnitPrice": price} | detail
    return {"Amount": amount, "DetailType": "SalesItemLineDetail", "SalesItemLineDetail": item}


def order(*lines: Json, customer: str = "1", **more: Any) -> Json:
    """The body of an estimate or invoice."""
    return {"CustomerRef": {"value": customer}, "Line": list(lines) or [line()]} | more
