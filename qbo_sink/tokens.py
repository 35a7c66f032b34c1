"""Tokens: one refresh at a time per company, the new value durable before it is used.

Two refreshes at once are the classic outage of such programs: the loser stores a value that is
dead a day later. A refresh whose answer got lost is repeated with the value we have, which stays
good for a day (quickbooks.md §1.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

import httpx2 as httpx

from qbo_sink.client import send
from qbo_sink.config import SCOPE, Config
from qbo_sink.connections import RECONNECT, STOPPED, Connections, Tokens
from qbo_sink.model import JsonObject
from qbo_sink.wire import Answer, Lost, Reply
from replica.errors import Forbidden, WorldError
from replica.limits import QBO_TOKEN_SLACK_MS


class Disconnected(Forbidden):
    """The connection ended or was never made: somebody has to connect the company again."""

    code = "disconnected"


class TokenUnavailable(WorldError):
    """The token service cannot answer now; the stored refresh token stays good."""

    code = "token_unavailable"


@dataclass(frozen=True)
class _Use:
    access: str
    expires_ms: int


class TokenKeeper:
    """Access tokens of all accounts."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        connections: Connections,
        config: Config,
        now_ms: Callable[[], int],
    ) -> None:
        self._http = http
        self._connections = connections
        self._config = config
        self._now_ms = now_ms
        self._locks: dict[bytes, asyncio.Lock] = {}
        self._held: dict[bytes, _Use] = {}

    async def access(self, account: bytes, *, rejected: str = "") -> str:
        """An access token that is good for a while.

        ``rejected`` is one that QuickBooks did not take: it is renewed unless somebody did so
        meanwhile. Raises ``Disconnected`` or ``TokenUnavailable``.
        """
        async with self._locks.setdefault(account, asyncio.Lock()):
            held = self._held.get(account)
            if held is None or held.access == rejected:
                stored = await asyncio.to_thread(self._connections.tokens, account)
                if stored is None:
                    raise Disconnected("no QuickBooks company is connected")
                held = _Use(stored.access, stored.access_expires_ms)
            soon = held.expires_ms - QBO_TOKEN_SLACK_MS <= self._now_ms()
            if held.access == rejected or soon:
                held = await self._refresh(account)
            self._held[account] = held
            return held.access

    def forget(self, account: bytes) -> None:
        """The stored tokens were replaced by a new connection."""
        self._held.pop(account, None)

    async def _refresh(self, account: bytes) -> _Use:
        stored = await asyncio.to_thread(self._connections.tokens, account)
        if stored is None:
            raise Disconnected("no QuickBooks company is connected")
        grant = {"grant_type": "refresh_token", "refresh_token": stored.refresh}
        reply = await self._ask(self._config.token_url, grant)
        try:
            tokens = self._tokens(reply)
        except Disconnected as error:
            await asyncio.to_thread(
                self._connections.update, account, state=RECONNECT, reason=str(error)
            )
            raise
        except Forbidden as error:
            await asyncio.to_thread(
                self._connections.update, account, state=STOPPED, reason=str(error)
            )
            raise
        # Durable before use: a crash after this line still knows the newest value.
        await asyncio.to_thread(self._connections.save_tokens, account, tokens)
        return _Use(tokens.access, tokens.access_expires_ms)

    async def exchange(self, code: str, redirect_uri: str) -> Tokens:
        """The tokens of an authorisation code. A code is good once."""
        grant = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
        }
        return self._tokens(await self._ask(self._config.token_url, grant))

    async def revoke(self, account: bytes) -> None:
        """End the connection on their side; ours is marked by the caller."""
        stored = await asyncio.to_thread(self._connections.tokens, account)
        if stored is not None:
            request = self._http.build_request(
                "POST",
                self._config.revoke_url,
                json={"token": stored.refresh},
                headers={"accept": "application/json"},
                extensions={},
            )
            self._sign(request)
            await send(self._http, request)
        self.forget(account)

    async def connect_local(self, realm: str) -> Tokens:
        """The first tokens for ``realm`` of a local sandbox, which needs no browser.

        A company that the sandbox does not have yet is made. Raises ``TokenUnavailable``.
        """
        base = self._config.api_base
        for path, body in (("realms", {"realm": realm}), ("connect", {"realm": realm})):
            request = self._http.build_request("POST", f"{base}/sandbox/{path}", json=body)
            reply = await send(self._http, request)
        return self._tokens(reply)

    async def _ask(self, url: str, form: dict[str, str]) -> Reply:
        request = self._http.build_request(
            "POST",
            url,
            data=form,
            headers={
                "accept": "application/json",
                "x-include-refresh-token-hard-expires-in": "true",
            },
        )
        self._sign(request)
        return await send(self._http, request)

    def _sign(self, request: httpx.Request) -> None:
        auth = httpx.BasicAuth(self._config.client_id, self._config.client_secret)
        next(auth.auth_flow(request))

    def _tokens(self, reply: Reply) -> Tokens:
        """The tokens of an answer; the error that says who has to do something otherwise."""
        if isinstance(reply, Lost):
            raise TokenUnavailable(f"the token service gave no answer: {reply.reason}")
        body = reply.body or {}
        if reply.status == 200 and body.get("access_token") and body.get("refresh_token"):
            return self._read(body)
        error = str(body.get("error") or "")
        if error == "invalid_grant":
            raise Disconnected("the permission to use this QuickBooks company ended")
        if error == "invalid_client" or reply.status == 401:
            raise Forbidden(
                "Intuit does not accept this app's own credentials",
                hint="check QBO_CLIENT_ID and QBO_CLIENT_SECRET; users need not reconnect",
            )
        raise TokenUnavailable(f"the token service answered {_status(reply)} {error}".strip())

    def _read(self, body: JsonObject) -> Tokens:
        now_ms = self._now_ms()

        def until(name: str) -> int:
            seconds = body.get(name)
            return now_ms + int(seconds) * 1000 if seconds is not None else 0

        return Tokens(
            access=str(body["access_token"]),
            refresh=str(body["refresh_token"]),
            access_expires_ms=until("expires_in"),
            refresh_expires_ms=until("x_refresh_token_expires_in"),
            hard_expires_ms=until("x_refresh_token_hard_expires_in"),
        )


def authorize_url(config: Config, state: str, redirect_uri: str) -> str:
    """Where a browser is sent to connect a company; it comes back to ``redirect_uri``."""
    values = {
        "client_id": config.client_id,
        "scope": SCOPE,
        "redirect_uri": redirect_uri,
        "response_type": "code",
        "state": state,
    }
    return f"{config.authorize_url}?{urlencode(values)}"


def _status(answer: Answer) -> str:
    return f"HTTP {answer.status}"
