"""The tables of the log and of access control, as SQLAlchemy Core metadata.

``account`` leads every key of the log, so that accounts can be spread over databases later
(architecture.md §10). The log's tables are content-blind: segments are opaque bytes. What is
defined here must equal what ``replica.store.migrations`` builds; a test compares the two.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

VERSION_TABLE = "store_version"
"""Alembic's bookkeeping; named, because sinks keep other tables in the same PostgreSQL."""

metadata = MetaData()

# The log ---------------------------------------------------------------------------------------

logs = Table(
    "logs",
    metadata,
    Column("account", LargeBinary(16), primary_key=True),
    Column("log_id", LargeBinary(16), nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
    sqlite_with_rowid=False,
)
"""One row per account: its head. On PostgreSQL this row is the lock of the account (D8)."""

segments = Table(
    "segments",
    metadata,
    Column("account", LargeBinary(16), primary_key=True),
    Column("last", BigInteger, primary_key=True, autoincrement=False),
    Column("first", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("device", LargeBinary(16), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("first_seq", BigInteger, nullable=False),
    Column("last_seq", BigInteger, nullable=False),
    Column("origin", Integer, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
    Column("records", LargeBinary, nullable=False),
    Index("segments_by_seq", "account", "device", "epoch", "last_seq"),
)
"""A row per segment, not per event: half the disk and twice the speed (performance.md §2)."""

device_heads = Table(
    "device_heads",
    metadata,
    Column("account", LargeBinary(16), primary_key=True),
    Column("device", LargeBinary(16), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    Column("stamp", LargeBinary(16), nullable=False),
    sqlite_with_rowid=False,  # found by its key only: one tree to write instead of two
)

asides = Table(
    "asides",
    metadata,
    Column("account", LargeBinary(16), primary_key=True),
    Column("device", LargeBinary(16), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", LargeBinary(32), primary_key=True),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("event", LargeBinary, nullable=False),
)
"""Events kept out of the log. The id is part of the key: a fork has two contents under one seq."""

# Access control --------------------------------------------------------------------------------

accounts = Table(
    "accounts",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("wish", LargeBinary, nullable=True),
)

users = Table(
    "users",
    metadata,
    Column("id", LargeBinary(16), primary_key=True),
    Column("account", LargeBinary(16), ForeignKey("accounts.id"), nullable=False),
    Column("login", Text, nullable=False, unique=True),
    Column("password_hash", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Index("users_by_account", "account"),
)

web_sessions = Table(
    "web_sessions",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("user", LargeBinary(16), ForeignKey("users.id"), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Index("web_sessions_by_user", "user"),
)

devices = Table(
    "devices",
    metadata,
    Column("account", LargeBinary(16), ForeignKey("accounts.id"), primary_key=True),
    Column("device", LargeBinary(16), primary_key=True),
    Column("name", Text, nullable=False),
    Column("user", LargeBinary(16), ForeignKey("users.id"), nullable=True),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger, nullable=True),
    Column("last_seen_ms", BigInteger, nullable=True),
    Column("offset_ms", BigInteger, nullable=False),
    Column("software", Text, nullable=False),
    Column("scope", LargeBinary, nullable=True),
    Column("scoped_ms", BigInteger, nullable=True),
)

enrolment_codes = Table(
    "enrolment_codes",
    metadata,
    Column("code_hash", LargeBinary(32), primary_key=True),
    Column("account", LargeBinary(16), ForeignKey("accounts.id"), nullable=False),
    Column("name", Text, nullable=False),
    Column("user", LargeBinary(16), ForeignKey("users.id"), nullable=True),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used_ms", BigInteger, nullable=True),
    Column("wish", LargeBinary, nullable=True),
    Index("enrolment_codes_by_account", "account"),
)

tries = Table(
    "tries",
    metadata,
    Column("source", Text, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
)
"""Wrong logins and codes per source, so that guessing slows down and stays slow after a restart."""

sync_runs = Table(
    "sync_runs",
    metadata,
    Column("account", LargeBinary(16), primary_key=True),
    Column("run", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("plan", LargeBinary, nullable=True),
)
"""Runs of Sync Now that have begun and not ended: at most one per account (architecture.md §9)."""
