"""The log and access control."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Text,
    UniqueConstraint,
)

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create every table of the first release."""
    _create_log()
    _create_access()


def _create_log() -> None:
    op.create_table(
        "logs",
        Column("account", LargeBinary(16), nullable=False),
        Column("log_id", LargeBinary(16), nullable=False),
        Column("generation", BigInteger, nullable=False),
        Column("position", BigInteger, nullable=False),
        Column("chain", LargeBinary(32), nullable=False),
        PrimaryKeyConstraint("account"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segments",
        Column("account", LargeBinary(16), nullable=False),
        Column("last", BigInteger, nullable=False),
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
        PrimaryKeyConstraint("account", "last"),
    )
    op.create_index("segments_by_seq", "segments", ["account", "device", "epoch", "last_seq"])
    op.create_table(
        "device_heads",
        Column("account", LargeBinary(16), nullable=False),
        Column("device", LargeBinary(16), nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("hash", LargeBinary(32), nullable=False),
        Column("stamp", LargeBinary(16), nullable=False),
        PrimaryKeyConstraint("account", "device", "epoch"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "asides",
        Column("account", LargeBinary(16), nullable=False),
        Column("device", LargeBinary(16), nullable=False),
        Column("epoch", Integer, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("id", LargeBinary(32), nullable=False),
        Column("code", Text, nullable=False),
        Column("detail", Text, nullable=False),
        Column("received_ms", BigInteger, nullable=False),
        Column("event", LargeBinary, nullable=False),
        PrimaryKeyConstraint("account", "device", "epoch", "seq", "id"),
    )


def _create_access() -> None:
    op.create_table(
        "accounts",
        Column("id", LargeBinary(16), nullable=False),
        Column("name", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "users",
        Column("id", LargeBinary(16), nullable=False),
        Column("account", LargeBinary(16), nullable=False),
        Column("login", Text, nullable=False),
        Column("password_hash", Text, nullable=False),
        Column("role", Text, nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("id"),
        ForeignKeyConstraint(["account"], ["accounts.id"]),
        UniqueConstraint("login"),
    )
    op.create_index("users_by_account", "users", ["account"])
    op.create_table(
        "web_sessions",
        Column("token_hash", LargeBinary(32), nullable=False),
        Column("user", LargeBinary(16), nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("seen_ms", BigInteger, nullable=False),
        Column("expires_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("token_hash"),
        ForeignKeyConstraint(["user"], ["users.id"]),
    )
    op.create_index("web_sessions_by_user", "web_sessions", ["user"])
    op.create_table(
        "devices",
        Column("account", LargeBinary(16), nullable=False),
        Column("device", LargeBinary(16), nullable=False),
        Column("name", Text, nullable=False),
        Column("user", LargeBinary(16), nullable=True),
        Column("token_hash", LargeBinary(32), nullable=False),
        Column("created_ms", BigInteger, nullable=False),
        Column("revoked_ms", BigInteger, nullable=True),
        Column("last_seen_ms", BigInteger, nullable=True),
        Column("offset_ms", BigInteger, nullable=False),
        Column("software", Text, nullable=False),
        PrimaryKeyConstraint("account", "device"),
        ForeignKeyConstraint(["account"], ["accounts.id"]),
        ForeignKeyConstraint(["user"], ["users.id"]),
        UniqueConstraint("token_hash"),
    )
    op.create_table(
        "enrolment_codes",
        Column("code_hash", LargeBinary(32), nullable=False),
        Column("account", LargeBinary(16), nullable=False),
        Column("name", Text, nullable=False),
        Column("user", LargeBinary(16), nullable=True),
        Column("expires_ms", BigInteger, nullable=False),
        Column("used_ms", BigInteger, nullable=True),
        PrimaryKeyConstraint("code_hash"),
        ForeignKeyConstraint(["account"], ["accounts.id"]),
        ForeignKeyConstraint(["user"], ["users.id"]),
    )
    op.create_index("enrolment_codes_by_account", "enrolment_codes", ["account"])
    op.create_table(
        "tries",
        Column("source", Text, nullable=False),
        Column("failures", Integer, nullable=False),
        Column("last_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("source"),
    )
