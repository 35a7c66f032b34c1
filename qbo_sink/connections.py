"""Which account works with which company, and what is known of that connection. Durable.

One realm belongs to one account, and an account that has documents in one realm is never pointed at
another by itself: nothing may be posted across (reliability I-16).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
from sqlalchemy import Engine, case, delete, insert, select, update

from qbo_sink import schema
from qbo_sink.model import Preferences
from qbo_sink.rows import reading, upsert, writing
from qbo_sink.vault import Vault
from replica.errors import Forbidden, MisuseError
from replica.limits import QBO_STATE_LIFETIME_MS

CONNECTED, RECONNECT, STOPPED = "connected", "reconnect_needed", "stopped"
DISCONNECTED = "disconnected"  # by somebody here; stays so until somebody connects again
_table = schema.connections


@dataclass(frozen=True)
class Tokens:
    """An access token and the refresh token that renews it; times in epoch milliseconds."""

    access: str = field(repr=False)
    refresh: str = field(repr=False)
    access_expires_ms: int = 0
    refresh_expires_ms: int = 0
    hard_expires_ms: int = 0


@dataclass(frozen=True)
class Link:
    """The connection of one account, without its secrets."""

    account: bytes
    realm: str
    state: str
    reason: str = ""
    access_expires_ms: int = 0
    refresh_expires_ms: int = 0
    hard_expires_ms: int = 0
    preferences: Preferences | None = None
    preferences_ms: int = 0
    paused_until_ms: int = 0
    scanned_ms: int = 0
    changes_since: str = ""
    last_run_ms: int = 0
    last_failed: int = 0


class Connections:
    """Rows of ``qbo_connections``. Every method is one transaction and blocks."""

    def __init__(self, engine: Engine, vault: Vault) -> None:
        self._engine = engine
        self._vault = vault

    def accounts(self) -> list[bytes]:
        with reading(self._engine) as connection:
            return list(connection.scalars(select(_table.c.account).order_by(_table.c.account)))

    def get(self, account: bytes) -> Link | None:
        """The connection of ``account``, None when no company was ever connected."""
        return read_link(self._engine, account)

    def owner(self, realm: str) -> bytes | None:
        """The account that works with ``realm``."""
        with reading(self._engine) as connection:
            return connection.scalar(select(_table.c.account).where(_table.c.realm == realm))

    def connect(self, account: bytes, realm: str, tokens: Tokens) -> None:
        """Store a new grant. Raises ``Forbidden`` when the realm is another account's, or the
        account has documents in another realm."""
        owner = self.owner(realm)
        if owner is not None and owner != account:
            raise Forbidden("this QuickBooks company is connected to another account")
        known = self.get(account)
        if known is not None and known.realm != realm and self._has_documents(account):
            raise Forbidden(
                "this account has documents in another QuickBooks company",
                hint="connect the same company again; documents are never sent to two companies",
            )
        row = {"account": account, "realm": realm, **self._sealed(account, tokens)}
        with writing(self._engine) as connection:
            upsert(connection, _table, [{**row, "state": CONNECTED, "reason": ""}], ["account"])

    def tokens(self, account: bytes) -> Tokens | None:
        """The stored tokens, opened."""
        with reading(self._engine) as connection:
            row = connection.execute(select(_table).filter_by(account=account)).first()
        if row is None or not row.refresh:
            return None
        return Tokens(
            access=self._vault.open(row.access, _place(account, "access")),
            refresh=self._vault.open(row.refresh, _place(account, "refresh")),
            access_expires_ms=row.access_expires_ms,
            refresh_expires_ms=row.refresh_expires_ms,
            hard_expires_ms=row.hard_expires_ms,
        )

    def disconnect(self, account: bytes) -> None:
        """Forget the grant. The company stays known: documents here stand in it."""
        self.update(account, access=b"", refresh=b"", state=DISCONNECTED, reason="")

    def save_tokens(self, account: bytes, tokens: Tokens) -> None:
        """Durable when it returns; only then may the new access token be used."""
        self.update(account, **self._sealed(account, tokens), state=CONNECTED, reason="")

    def save_preferences(self, account: bytes, preferences: Preferences, now_ms: int) -> None:
        text = msgspec.json.encode(preferences).decode()
        self.update(account, preferences=text, preferences_ms=now_ms)

    def update(self, account: bytes, **values: Any) -> None:
        """Set columns of the account's row."""
        with writing(self._engine) as connection:
            connection.execute(update(_table).filter_by(account=account).values(**values))

    def count_reads(self, account: bytes, reads: int, now_ms: int) -> None:
        """Add metered calls to the month's count; a new month begins at zero."""
        month = month_of(now_ms)
        same = _table.c.reads_month == month
        with writing(self._engine) as connection:
            connection.execute(
                update(_table)
                .filter_by(account=account)
                .values(reads=case((same, _table.c.reads), else_=0) + reads, reads_month=month)
            )

    def reads(self, account: bytes, month: str) -> int:
        """Metered calls that were counted in ``month``."""
        return count_of_reads(self._engine, account, month)

    def begin_authorisation(
        self, account: bytes, state: str, now_ms: int, redirect_uri: str = ""
    ) -> None:
        """Remember a state that only the callback of this account's authorisation may bring."""
        table = schema.authorisations
        with writing(self._engine) as connection:
            stale = table.c.created_ms < now_ms - QBO_STATE_LIFETIME_MS
            connection.execute(delete(table).where(stale))
            connection.execute(
                insert(table).values(
                    state=state, account=account, created_ms=now_ms, redirect_uri=redirect_uri
                )
            )

    def end_authorisation(self, state: str, now_ms: int) -> tuple[bytes, str]:
        """The account of ``state`` and the address it was begun with, once.

        Raises ``Forbidden`` for an unknown or old one.
        """
        table = schema.authorisations
        with writing(self._engine) as connection:
            row = connection.execute(select(table).where(table.c.state == state)).first()
            connection.execute(delete(table).where(table.c.state == state))
        if row is None or row.created_ms < now_ms - QBO_STATE_LIFETIME_MS:
            raise Forbidden("this authorisation was not begun here, or too long ago")
        return row.account, row.redirect_uri

    def _sealed(self, account: bytes, tokens: Tokens) -> dict[str, Any]:
        if not tokens.access or not tokens.refresh:
            raise MisuseError("a grant has an access and a refresh token")
        return {
            "access": self._vault.seal(tokens.access, _place(account, "access")),
            "refresh": self._vault.seal(tokens.refresh, _place(account, "refresh")),
            "access_expires_ms": tokens.access_expires_ms,
            "refresh_expires_ms": tokens.refresh_expires_ms,
            "hard_expires_ms": tokens.hard_expires_ms,
        }

    def _has_documents(self, account: bytes) -> bool:
        table = schema.mappings
        with reading(self._engine) as connection:
            found = connection.execute(select(table.c.account).filter_by(account=account).limit(1))
            return found.first() is not None


def read_link(engine: Engine, account: bytes) -> Link | None:
    """One connection, also beside a running server."""
    with reading(engine) as connection:
        row = connection.execute(select(_table).filter_by(account=account)).first()
    if row is None:
        return None
    text = row.preferences
    preferences = msgspec.json.decode(text, type=Preferences) if text else None
    names = [name for name in Link.__dataclass_fields__ if name != "preferences"]
    return Link(**{name: getattr(row, name) for name in names}, preferences=preferences)


def count_of_reads(engine: Engine, account: bytes, month: str) -> int:
    """Metered calls that were counted in ``month``."""
    with reading(engine) as connection:
        statement = select(_table.c.reads).filter_by(account=account, reads_month=month)
        return connection.scalar(statement) or 0


def month_of(now_ms: int) -> str:
    """The month that metered calls count towards, ``YYYY-MM``."""
    return datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y-%m")


def _place(account: bytes, column: str) -> bytes:
    return b"qbo_connections\0" + column.encode() + b"\0" + account
