"""The tables of the sandbox's books."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# One value per name: switches, the clock's offset, keys.
settings = Table(
    "settings", metadata, Column("name", String, primary_key=True), Column("value", Text)
)

realms = Table(
    "realms",
    metadata,
    Column("realm", String, primary_key=True),
    Column("country", String, nullable=False),
    Column("zone", String, nullable=False),
    Column("suspended", Boolean, nullable=False, default=False),
)

sequences = Table(
    "sequences",
    metadata,
    Column("realm", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", Integer, nullable=False),
)

objects = Table(
    "objects",
    metadata,
    Column("realm", String, primary_key=True),
    Column("entity", String, primary_key=True),
    Column("id", Integer, primary_key=True),
    Column("deleted", Boolean, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("name_space", String),
    Column("name_key", String),
    Column("number_key", String),
    Column("body", LargeBinary, nullable=False),
    Index("objects_by_update", "realm", "entity", "updated_ms"),
    Index("objects_by_name", "realm", "name_space", "name_key"),
    Index("objects_by_number", "realm", "entity", "number_key"),
)

# First answers of writes, by the caller's request id.
replies = Table(
    "replies",
    metadata,
    Column("realm", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("fingerprint", String, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("status", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

# The bytes of attachments, by the Id of their Attachable; ``token`` opens the download address.
files = Table(
    "files",
    metadata,
    Column("realm", String, primary_key=True),
    Column("id", Integer, primary_key=True),
    Column("token", String, nullable=False, unique=True),
    Column("content_type", String, nullable=False),
    Column("content", LargeBinary, nullable=False),
)

codes = Table(
    "codes",
    metadata,
    Column("code", String, primary_key=True),
    Column("grant_id", String, nullable=False),
    Column("redirect_uri", String, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("used", Boolean, nullable=False),
)

grants = Table(
    "grants",
    metadata,
    Column("grant_id", String, primary_key=True),
    Column("realm", String, nullable=False),
    Column("client_id", String, nullable=False),
    Column("scope", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("revoked", Boolean, nullable=False),
)

# Access and refresh tokens; ``replaced_ms`` is when a refresh token got a successor.
tokens = Table(
    "tokens",
    metadata,
    Column("token", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("grant_id", String, nullable=False, index=True),
    Column("issued_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("replaced_ms", BigInteger),
)

# Webhook notices until a receiver answered 200 or the ladder ended.
notices = Table(
    "notices",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("due_ms", BigInteger, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("state", String, nullable=False),
)
