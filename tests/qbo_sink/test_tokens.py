"""Tokens: single flight, durable before use, sealed at rest."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from qbo_sink.client import http_client
from qbo_sink.config import from_env
from qbo_sink.connections import RECONNECT, STOPPED, Connections, Tokens
from qbo_sink.opening import open_ledger
from qbo_sink.tokens import Disconnected, TokenKeeper, TokenUnavailable
from qbo_sink.vault import Vault, load_vault
from replica.errors import CorruptionError, Forbidden, MisuseError
from replica.store.engine import Database, open_sqlite
from tests.qbo_sink.world import ACCOUNT, ENVIRON, START_MS

OTHER = b"another-account0"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_sqlite(tmp_path / "ledger.db")
    open_ledger(opened.write)
    yield opened
    opened.close()


@pytest.fixture
def connections(database: Database) -> Connections:
    made = Connections(database.write, load_vault(ENVIRON, None))
    made.connect(ACCOUNT, "123", Tokens("access-0", "refresh-0", START_MS, START_MS))
    return made


class Service:
    """A token service that answers what it is told and counts."""

    def __init__(self, *answers: httpx2.Response | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[str] = []

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request.content.decode())
        await asyncio.sleep(0)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def good(name: str) -> httpx2.Response:
    body = {
        "access_token": f"access-{name}",
        "refresh_token": f"refresh-{name}",
        "expires_in": 3_600,
        "x_refresh_token_expires_in": 8_726_400,
    }
    return httpx2.Response(200, json=body)


async def ask(
    connections: Connections, service: Service, times: int = 1, rejected: str = ""
) -> list[str]:
    config = from_env(ENVIRON)
    assert config is not None
    async with http_client(httpx2.MockTransport(service)) as http:
        keeper = TokenKeeper(http, connections, config, lambda: START_MS)
        calls = [keeper.access(ACCOUNT, rejected=rejected) for _ in range(times)]
        return list(await asyncio.gather(*calls))


def test_ten_callers_make_one_refresh(connections: Connections) -> None:
    """Whoever asks while a refresh is on gets its result (§1.2, single flight)."""
    service = Service(good("1"))
    assert asyncio.run(ask(connections, service, times=10)) == ["access-1"] * 10
    assert len(service.seen) == 1
    assert "refresh-0" in service.seen[0]


def test_the_new_token_is_stored_before_it_is_used(
    connections: Connections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When storing fails the access token is not given out (§1.2)."""

    def fail(*_: object) -> None:
        raise OSError("disk")

    monkeypatch.setattr(connections, "save_tokens", fail)
    with pytest.raises(OSError, match="disk"):
        asyncio.run(ask(connections, Service(good("1"))))


def test_a_lost_refresh_is_repeated_with_the_same_token(connections: Connections) -> None:
    """No answer keeps the stored value, which stays good (§1.2)."""
    lost = Service(httpx2.ReadError("cut"))
    with pytest.raises(TokenUnavailable):
        asyncio.run(ask(connections, lost))
    stored = connections.tokens(ACCOUNT)
    assert stored is not None
    assert stored.refresh == "refresh-0"
    again = Service(good("1"))
    assert asyncio.run(ask(connections, again)) == ["access-1"]
    assert "refresh-0" in again.seen[0]


@pytest.mark.parametrize(
    ("body", "status", "error", "state"),
    [
        ({"error": "invalid_grant"}, 400, Disconnected, RECONNECT),
        ({"error": "invalid_client"}, 401, Forbidden, STOPPED),
        ({}, 503, TokenUnavailable, "connected"),
    ],
)
def test_only_an_ended_grant_asks_the_user_to_reconnect(
    connections: Connections,
    body: dict[str, str],
    status: int,
    error: type[Exception],
    state: str,
) -> None:
    """Our own wrong credentials and an outage are not the user's to repair (§1.2)."""
    with pytest.raises(error):
        asyncio.run(ask(connections, Service(httpx2.Response(status, json=body))))
    link = connections.get(ACCOUNT)
    assert link is not None
    assert link.state == state


def test_no_token_is_readable_in_the_file(connections: Connections, tmp_path: Path) -> None:
    """A dump of the database holds no token (reliability §2.4)."""
    assert connections.tokens(ACCOUNT) is not None
    with sqlite3.connect(tmp_path / "ledger.db") as raw:
        dump = "\n".join(raw.iterdump())
    raw.close()
    assert "access-0" not in dump
    assert b"access-0".hex() not in dump.lower()


def test_a_sealed_value_opens_only_in_its_place() -> None:
    """Moved to another account or column, or sealed with a forgotten key, it stays closed."""
    old, new = Vault((b"a" * 32,)), Vault((b"b" * 32, b"a" * 32))
    sealed = old.seal("secret", b"place")
    assert new.open(sealed, b"place") == "secret"
    with pytest.raises(CorruptionError):
        new.open(sealed, b"other place")
    with pytest.raises(CorruptionError):
        Vault((b"b" * 32,)).open(sealed, b"place")
    assert old.seal("secret", b"place") != sealed
    assert old.marker_keys(ACCOUNT) != old.marker_keys(OTHER)


def test_a_key_file_is_made_once_and_for_its_owner(tmp_path: Path) -> None:
    """Without a key in the environment one is kept beside the ledger, outside of it."""
    first = load_vault({}, tmp_path / "ledger.db")
    sealed = first.seal("secret", b"place")
    assert load_vault({}, tmp_path / "ledger.db").open(sealed, b"place") == "secret"
    assert (tmp_path / "ledger.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(MisuseError):
        load_vault({}, None)


def test_a_company_belongs_to_one_account(connections: Connections) -> None:
    """The same realm for another account is refused (reliability I-16)."""
    with pytest.raises(Forbidden):
        connections.connect(OTHER, "123", Tokens("a", "b"))


def test_an_authorisation_is_good_once_and_not_for_long(connections: Connections) -> None:
    """A state nobody began, a used one and an old one are refused (S22)."""
    connections.begin_authorisation(ACCOUNT, "state-1", START_MS)
    connections.begin_authorisation(ACCOUNT, "state-2", START_MS)
    assert connections.end_authorisation("state-1", START_MS) == (ACCOUNT, "")
    for state, at in (("state-1", START_MS), ("state-2", START_MS + 600_001), ("x", START_MS)):
        with pytest.raises(Forbidden):
            connections.end_authorisation(state, at)
