"""Enrolment: one HTTP call, its answers, and what a user is told when it does not work."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from replica.device import Device
from replica.device.enrolment import enrol, sync_url
from replica.errors import Forbidden, Malformed, MisuseError, PeerGone

GOOD = {"account": "ab" * 16, "device": "cd" * 16, "token": "secret", "name": "Ana's phone"}


class Office(ThreadingHTTPServer):
    """Answers every enrolment with ``answer`` and remembers what was asked."""

    answer: tuple[int, bytes] = (200, json.dumps(GOOD).encode())
    asked: tuple[str, bytes] = ("", b"")


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Office)
        size = int(self.headers["content-length"])
        self.server.asked = (self.path, self.rfile.read(size))
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keeps the test's output clean."""


@pytest.fixture
def office() -> Iterator[Office]:
    server = Office(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def address(office: Office) -> str:
    return f"http://127.0.0.1:{office.server_port}"


def test_code_becomes_an_identity(office: Office, tmp_path: Path) -> None:
    """The answer is kept: identity, token and address are there after reopening (OFF-19)."""
    with Device.open(tmp_path / "j.db", software="till/7") as device:
        device.enrol(address(office) + "/", "K7-QW", "phone")
    path, body = office.asked
    assert path == "/api/v1/enrol"
    assert json.loads(body) == {"code": "K7-QW", "name": "phone", "software": "till/7"}
    with Device.open(tmp_path / "j.db") as device:
        assert device.identity is not None
        assert device.identity.device.hex() == GOOD["device"]
        assert device.identity.token == "secret"
        assert device.identity.name == "Ana's phone"
        assert device.identity.url == address(office)


def test_wrong_code_is_told_in_the_servers_words(office: Office) -> None:
    """A refused code is the user's to correct; the reason is the server's."""
    office.answer = (403, b'{"code": "forbidden", "message": "this code was used"}')
    with pytest.raises(Forbidden, match="this code was used"):
        enrol(address(office), "x", "n", software="s")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_server_in_trouble_is_not_the_users_fault(office: Office, status: int) -> None:
    """An overloaded or broken server asks for patience, not for another code."""
    office.answer = (status, b"<html>")
    with pytest.raises(PeerGone, match=str(status)):
        enrol(address(office), "x", "n", software="s")


@pytest.mark.parametrize(
    "body", [b"<html>", b"{}", b'{"account": "zz", "device": "", "token": ""}']
)
def test_other_servers_are_noticed(office: Office, body: bytes) -> None:
    """Something that answers 200 without being a replica server is named as such."""
    office.answer = (200, body)
    with pytest.raises(Malformed, match="replica server"):
        enrol(address(office), "x", "n", software="s")


def test_no_network_is_said_in_words(office: Office, tmp_path: Path) -> None:
    """Offline the user is told why enrolling does not work, and nothing changed (OFF-18)."""
    gone = address(office)
    with Device.open(tmp_path / "j.db") as device:
        office.server_close()
        with pytest.raises(PeerGone, match="connection"):
            device.enrol(gone, "x", "n")
        assert device.identity is None


@pytest.mark.parametrize("url", ["ftp://host", "host", "file:///etc/passwd", "http://"])
def test_only_web_addresses_are_called(url: str) -> None:
    """No other scheme is ever opened."""
    with pytest.raises(MisuseError):
        enrol(url, "x", "n", software="s")


def test_sync_address_follows_the_servers() -> None:
    """https gives wss, http gives ws, a path in front stays."""
    assert sync_url("https://host/") == "wss://host/api/v1/sync"
    assert sync_url("http://host:8080/base") == "ws://host:8080/base/api/v1/sync"
