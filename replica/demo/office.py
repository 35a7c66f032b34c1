"""The office: a program on the server's machine that speaks its JSON API as the operator."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from replica.demo.processes import POLL_S, StoryFailed
from replica.events.kinds import encode_payload
from replica.events.payloads import Payload

EVENTS_A_CALL = 250
TIMEOUT_S = 120.0


class Office:
    """What the office does. A restarted server has a new token, so it is read for each call."""

    def __init__(self, data: Path) -> None:
        self._operator = data / "operator.json"

    def write(self, payloads: Sequence[Payload]) -> None:
        """Enter payloads as the web main app's own events."""
        for start in range(0, len(payloads), EVENTS_A_CALL):
            part = payloads[start : start + EVENTS_A_CALL]
            events = [
                {"kind": encode_payload(payload)[0], "payload": msgspec.to_builtins(payload)}
                for payload in part
            ]
            self._call("POST", "/api/v1/events", {"events": events})

    def open_code(self, name: str) -> str:
        """A one-time code with which a device enrols."""
        return str(self._call("POST", "/api/v1/devices/codes", {"name": name})["code"])

    def plan(self) -> dict[str, Any]:
        """What a Sync Now would do."""
        return self._call("POST", "/api/v1/sync-now/plan")

    def sync_now(self, plan: str) -> dict[str, Any]:
        """Press the button by a plan and wait for the end of the run."""
        return self._call("POST", f"/api/v1/sync-now?wait=1&plan={plan}")

    def carry(self, data: bytes, *, preview: bool = False) -> dict[str, Any]:
        """Import a file that a device exported, or only look at it."""
        return self._call("POST", f"/api/v1/carry{'?preview=1' if preview else ''}", data)

    def position(self) -> int:
        """How far the server's read models have followed its log."""
        return int(self._call("GET", "/api/v1/sections")["position"])

    def sections(self, position: int) -> dict[str, str]:
        """The server's digest per section, at ``position`` or later."""
        while (found := self._call("GET", "/api/v1/sections"))["position"] < position:
            time.sleep(POLL_S)
        return {row["section"]: row["digest"] for row in found["sections"]}

    def _call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        operator = json.loads(self._operator.read_text(encoding="utf-8"))
        headers = {"authorization": f"Bearer {operator['token']}"}
        return call(operator["url"], method, path, body, headers)


class Books:
    """QuickBooks as a stranger reads it: OAuth token, query language, nothing of ours."""

    def __init__(self, base: str) -> None:
        self._base = base
        grant = call(base, "POST", "/sandbox/connect", {})
        self._realm = grant["realmId"]
        self._headers = {"authorization": f"Bearer {grant['access_token']}"}

    def estimates(self) -> list[dict[str, Any]]:
        """Every estimate there is."""
        found: list[dict[str, Any]] = []
        while True:
            page_of = f"STARTPOSITION {len(found) + 1} MAXRESULTS 100"
            statement = f"SELECT * FROM Estimate ORDERBY Id {page_of}"  # noqa: S608 - not SQL
            path = f"/v3/company/{self._realm}/query?{urlencode({'query': statement})}"
            page = call(self._base, "GET", path, headers=self._headers)["QueryResponse"]
            if not page.get("Estimate"):
                return found
            found += page["Estimate"]


def call(
    base: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """One JSON call; numbers with a point come back exact. Raises ``StoryFailed``."""
    address = urlsplit(base)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT_S)
    try:
        plain = body is None or isinstance(body, bytes)
        data = body if plain else json.dumps(body).encode()
        sent = {"accept": "application/json", "content-type": "application/json"}
        connection.request(method, path, data, {**sent, **(headers or {})})
        response = connection.getresponse()
        text = response.read()
    except OSError as error:
        raise StoryFailed(f"{method} {path}: {error}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise StoryFailed(f"{method} {path}: {response.status} {text[:300].decode()}")
    answer: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return answer
