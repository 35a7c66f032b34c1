"""OAuth 2 grants and tokens: codes, rotation with grace, revocation (section 1.2)."""

from __future__ import annotations

import secrets
import uuid
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select, update

from qbo_sink.sandbox import tables
from qbo_sink.sandbox.books import Books
from qbo_sink.sandbox.faults import not_authenticated
from qbo_sink.sandbox.switches import DAY_S, Switches
from qbo_sink.sandbox.values import Json

ACCESS_S = 3_600
REFRESH_S = 8_726_400  # 101 days, rolling
CODE_S = 600
HARD_LIFE_S = 5 * 365 * DAY_S


class InvalidGrant(Exception):
    """The code or token is unknown, used, expired or revoked: the user has to connect again."""


class Grant(NamedTuple):
    """One connection of an application to a company."""

    grant_id: str
    realm: str
    client_id: str
    scope: str
    created_ms: int
    revoked: bool


class Grants:
    """Everything here reads the clock of the books and writes in transactions of its own."""

    def __init__(self, books: Books) -> None:
        self.books = books

    def authorize(self, *, realm: str, client_id: str, scope: str, redirect_uri: str) -> str:
        """A new grant's code, single use."""
        grant_id, code = str(uuid.uuid4()), "AB" + secrets.token_urlsafe(36)
        now = self.books.clock.now_ms()
        with self.books.atomic():
            self.books.connection.execute(
                insert(tables.grants).values(
                    grant_id=grant_id,
                    realm=realm,
                    client_id=client_id,
                    scope=scope,
                    created_ms=now,
                    revoked=False,
                )
            )
            self.books.connection.execute(
                insert(tables.codes).values(
                    code=code,
                    grant_id=grant_id,
                    redirect_uri=redirect_uri,
                    expires_ms=now + CODE_S * 1000,
                    used=False,
                )
            )
        return code

    def exchange(self, code: str, redirect_uri: str) -> tuple[Grant, Json]:
        """The tokens for ``code``. Exchanging twice ends the grant. Raises ``InvalidGrant``."""
        c = tables.codes
        row = self.books.connection.execute(select(c).where(c.c.code == code)).first()
        if row is None or row.redirect_uri != redirect_uri:
            raise InvalidGrant("Invalid authorization code")
        if row.used:
            self._revoke(row.grant_id)
            raise InvalidGrant("Authorization code was used before")
        if row.expires_ms <= self.books.clock.now_ms():
            raise InvalidGrant("Authorization code expired")
        grant = self._grant(row.grant_id)
        with self.books.atomic():
            self.books.connection.execute(update(c).where(c.c.code == code).values(used=True))
            refresh = self._issue(grant, "refresh", REFRESH_S)
            return grant, self._answer(grant, refresh)

    def refresh(self, token: str, switches: Switches) -> tuple[Grant, Json]:
        """New access token, and every 24 hours (or each time) a new refresh token.

        The value before stays good for the grace time. Raises ``InvalidGrant``.
        """
        row = self._token(token, "refresh")
        now = self.books.clock.now_ms()
        if row is None or row.expires_ms <= now:
            raise InvalidGrant("Incorrect or expired refresh token")
        grant = self._grant(row.grant_id)
        if row.replaced_ms is not None:
            if row.replaced_ms + switches.refresh_grace_s * 1000 <= now:
                raise InvalidGrant("Incorrect or expired refresh token")
            row = self._newest(grant.grant_id)
        t = tables.tokens
        every = switches.refresh_rotation == "every"
        rotate = every or row.issued_ms + DAY_S * 1000 <= now
        with self.books.atomic():
            if rotate:
                change: Json = {"replaced_ms": now}
                value = self._issue(grant, "refresh", REFRESH_S)
            else:
                change = {"expires_ms": now + REFRESH_S * 1000}
                value = row.token
            self.books.connection.execute(update(t).where(t.c.token == row.token).values(change))
            return grant, self._answer(grant, value)

    def revoke(self, token: str) -> bool:
        """End the connection that an access or refresh token belongs to; False if unknown."""
        t = tables.tokens
        row = self.books.connection.execute(select(t).where(t.c.token == token)).first()
        if row is None:
            return False
        self._revoke(row.grant_id)
        return True

    def bearer(self, authorization: str) -> Grant:
        """The grant of an ``Authorization`` header. Raises ``Refused`` (401)."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise not_authenticated("Missing or malformed Authorization header", code=3202)
        row = self._token(token.strip(), "access")
        if row is None:
            raise not_authenticated("Token invalid or revoked")
        if row.expires_ms <= self.books.clock.now_ms():
            raise not_authenticated("Token expired")
        g = tables.grants
        grant = self.books.connection.execute(select(g).where(g.c.grant_id == row.grant_id)).one()
        if grant.revoked:
            raise not_authenticated("Token revoked")
        return Grant(*grant)

    def expire_access(self, realm: str) -> None:
        """Every access token of a company is expired from now on."""
        self._expire(realm, "access")

    def expire_refresh(self, realm: str) -> None:
        """Every refresh token of a company is expired from now on."""
        self._expire(realm, "refresh")

    def revoke_realm(self, realm: str) -> None:
        """The company's administrator disconnects every application."""
        for grant_id in self._grant_ids(realm):
            self._revoke(grant_id)

    # Parts ------------------------------------------------------------------------------------

    def _expire(self, realm: str, kind: str) -> None:
        t = tables.tokens
        where = (t.c.kind == kind, t.c.grant_id.in_(self._grant_ids(realm)))
        with self.books.atomic():
            self.books.connection.execute(
                update(t).where(*where).values(expires_ms=self.books.clock.now_ms())
            )

    def _grant_ids(self, realm: str) -> list[str]:
        g = tables.grants
        return list(self.books.connection.scalars(select(g.c.grant_id).where(g.c.realm == realm)))

    def _grant(self, grant_id: str) -> Grant:
        g = tables.grants
        row = self.books.connection.execute(select(g).where(g.c.grant_id == grant_id)).one()
        if row.revoked:
            raise InvalidGrant("The connection was revoked")
        return Grant(*row)

    def _token(self, token: str, kind: str) -> Any:
        t = tables.tokens
        return self.books.connection.execute(
            select(t).where(t.c.token == token, t.c.kind == kind)
        ).first()

    def _newest(self, grant_id: str) -> Any:
        t = tables.tokens
        return self.books.connection.execute(
            select(t).where(
                t.c.grant_id == grant_id, t.c.kind == "refresh", t.c.replaced_ms.is_(None)
            )
        ).one()

    def _issue(self, grant: Grant, kind: str, life_s: int) -> str:
        value = secrets.token_urlsafe(48 if kind == "access" else 32)
        now = self.books.clock.now_ms()
        t = tables.tokens
        stale = (t.c.grant_id == grant.grant_id, t.c.expires_ms < now - DAY_S * 1000)
        self.books.connection.execute(delete(t).where(*stale))
        self.books.connection.execute(
            insert(t).values(
                token=value,
                kind=kind,
                grant_id=grant.grant_id,
                issued_ms=now,
                expires_ms=now + life_s * 1000,
                replaced_ms=None,
            )
        )
        return value

    def _answer(self, grant: Grant, refresh: str) -> Json:
        return {
            "access_token": self._issue(grant, "access", ACCESS_S),
            "refresh_token": refresh,
            "token_type": "bearer",
            "expires_in": ACCESS_S,
            "x_refresh_token_expires_in": REFRESH_S,
        }

    def _revoke(self, grant_id: str) -> None:
        g = tables.grants
        with self.books.atomic():
            self.books.connection.execute(
                update(g).where(g.c.grant_id == grant_id).values(revoked=True)
            )
