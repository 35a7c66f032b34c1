"""Planned faults, in-process and over real connections that are really cut."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from qbo_sink.sandbox import Settings, Switches, create_sandbox, server
from tests.qbo_sink.sandbox.desk import Desk, order


def _count(desk: Desk) -> int:
    counted: int = desk.control("count", method="GET")["Estimate"]
    return counted


@pytest.mark.parametrize(
    ("kind", "kept"), [("drop_before", 0), ("drop_after", 1), ("reset_mid_body", 1)]
)
def test_dropped_answers_say_nothing_about_what_was_done(desk: Desk, kind: str, kept: int) -> None:
    """The caller sees the same error whether or not the document exists (issue 4, point 6)."""
    desk.control("faults", {"kind": kind, "match": "/estimate", "method": "POST"})
    with pytest.raises(httpx2.RemoteProtocolError):
        desk.post("estimate", order(), requestid="r1")
    assert _count(desk) == kept
    assert desk.post("estimate", order(), requestid="r1").status == 200
    assert _count(desk) == 1
    assert desk.control("state", method="GET")["struck"] == {kind: 1}


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("form", ["html", "xml", "json", "text", "empty"])
def test_status_faults_come_in_every_body_format(desk: Desk, form: str, after: bool) -> None:
    """5xx with JSON, HTML, XML, text or nothing, before or after the commit (section 1.1)."""
    desk.control("faults", {"kind": "status", "status": 503, "format": form, "after": after})
    answer = desk.post("estimate", order())
    assert answer.status == 503
    assert (b"503" in answer.content) is (form != "empty")
    assert _count(desk) == int(after)


def test_rules_skip_match_and_count_down(desk: Desk) -> None:
    """A rule lets ``skip`` matching requests pass and strikes ``count`` times."""
    rule = {"kind": "status", "match": "/estimate", "skip": 1, "count": 2, "delay_ms": 1}
    desk.control("faults", [rule])
    assert desk.get("preferences").status == 200
    assert [desk.post("estimate", order()).status for _ in range(4)] == [200, 503, 503, 200]
    desk.control("faults", rule)
    desk.control("faults", method="DELETE")
    assert desk.post("estimate", order()).status == 200


def test_a_rule_that_cannot_be_meant_is_refused(desk: Desk) -> None:
    """Unknown kinds and properties are told, not ignored."""
    for rule in (
        {"kind": "explode"},
        {"kind": "delay", "delay": 1},
        {"kind": "delay", "delay_ms": -1},
    ):
        assert desk.ask("POST", "/sandbox/faults", json=rule).status == 400


@pytest.fixture
def served() -> Iterator[tuple[str, dict[str, Any]]]:
    """Base address and tokens of a sandbox on a real port."""
    app = create_sandbox(settings=Settings(switches=Switches(throttle=False)))
    running = server(app, host="127.0.0.1", port=0)
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        while not running.started and thread.is_alive():
            thread.join(0.01)
        port = running.servers[0].sockets[0].getsockname()[1]
        base = f"http://127.0.0.1:{port}"
        yield base, httpx2.post(f"{base}/sandbox/connect", json={}).json()
    finally:
        running.should_exit = True
        thread.join()


@pytest.mark.process
@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "reset_mid_body"])
def test_real_connections_are_cut(served: tuple[str, dict[str, Any]], kind: str) -> None:
    """Over a socket the client meets a closed connection, then the truth on the next call."""
    base, tokens = served
    url = f"{base}/v3/company/{tokens['realmId']}/estimate?requestid=r1"
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    with httpx2.Client(headers=headers) as client:
        client.post(f"{base}/sandbox/faults", json={"kind": kind, "match": "/estimate"})
        with pytest.raises((httpx2.RemoteProtocolError, httpx2.ReadError)):
            client.post(url, json=order())
        assert client.post(url, json=order()).status_code == 200
        assert client.get(f"{base}/sandbox/count").json()["Estimate"] == 1
