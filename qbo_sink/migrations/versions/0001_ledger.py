"""The ledger of the first release."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    false,
    inspect,
    text,
    true,
)

revision = "0001"
down_revision = None

_OPEN = "state IN ('queued', 'in_flight', 'in_doubt', 'faulted', 'parked', 'excluded')"
_KEY = ("entity", "local_type", "local_id")


def upgrade() -> None:
    """Create every table, unless a ledger from before there were versions has them."""
    if inspect(op.get_bind()).has_table("qbo_intents"):
        return
    _create_connections()
    _create_intents()
    _create_mappings()
    _create_logs()


def _texts(*names: str) -> list[Column[str]]:
    return [Column(name, Text, nullable=False, server_default="") for name in names]


def _numbers(*names: str) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False, server_default="0") for name in names]


def _row_id() -> Column[int]:
    kind = BigInteger().with_variant(Integer, "sqlite")
    return Column("id", kind, primary_key=True, autoincrement=True)


def _account(*, primary: bool = False) -> Column[bytes]:
    return Column("account", LargeBinary, primary_key=primary, nullable=False)


def _create_connections() -> None:
    op.create_table(
        "qbo_connections",
        _account(primary=True),
        Column("realm", Text, nullable=False, unique=True),
        *_texts("state", "reason"),
        Column("access", LargeBinary, nullable=False),
        Column("refresh", LargeBinary, nullable=False),
        *_numbers("access_expires_ms", "refresh_expires_ms", "hard_expires_ms"),
        *_texts("preferences"),
        *_numbers("preferences_ms", "paused_until_ms", "scanned_ms"),
        *_texts("changes_since"),
        *_numbers("last_run_ms", "last_failed", "reads"),
        *_texts("reads_month"),
    )
    op.create_table(
        "qbo_authorisations",
        Column("state", Text, primary_key=True),
        _account(),
        *_numbers("created_ms"),
    )
    op.create_table("qbo_checkpoints", _account(primary=True), *_numbers("position"))


def _create_intents() -> None:
    op.create_table(
        "qbo_wanted",
        _account(primary=True),
        *[Column(name, Text, primary_key=True) for name in _KEY],
        *_numbers("position"),
        *_texts("hash"),
        Column("content", LargeBinary, nullable=False),
        Column("cancelled", Boolean, nullable=False, server_default=false()),
    )
    op.create_table(
        "qbo_intents",
        _row_id(),
        _account(),
        *[Column(name, Text, nullable=False) for name in _KEY],
        *_texts("op"),
        *_numbers("generation"),
        *_texts("hash", "state"),
        *_numbers("position", "rank"),
        Column("body", LargeBinary, nullable=False),
        *_texts("requestid"),
        *_numbers("sends", "looks", "first_sent_ms", "sent_ms", "looked_ms", "due_ms", "cycles"),
        *_texts("corrections", "code", "cause", "fix", "detail"),
        Column("told", Boolean, nullable=False, server_default=false()),
    )
    op.create_index("ix_qbo_intents_account", "qbo_intents", ["account", "state"])
    op.create_index(
        "ux_qbo_intents_open",
        "qbo_intents",
        ["account", *_KEY],
        unique=True,
        sqlite_where=text(_OPEN),
        postgresql_where=text(_OPEN),
    )
    op.create_table(
        "qbo_attempts",
        _row_id(),
        _account(),
        *_numbers("intent", "generation"),
        *_texts("requestid"),
        *_numbers("started_ms", "finished_ms"),
        *_texts("outcome"),
        *_numbers("status"),
        *_texts("tid", "code", "detail"),
    )
    op.create_index("ix_qbo_attempts_intent", "qbo_attempts", ["account", "intent"])


def _create_mappings() -> None:
    op.create_table(
        "qbo_mappings",
        _account(primary=True),
        *[Column(name, Text, primary_key=True) for name in _KEY],
        Column("realm", Text, nullable=False),
        Column("external_id", Text, nullable=False),
        *_texts("sync_token", "number", "hash", "total", "drift", "snapshot"),
        *_numbers("updated_ms"),
        UniqueConstraint("realm", "entity", "external_id"),
    )


def _create_logs() -> None:
    op.create_table(
        "qbo_answers",
        _row_id(),
        _account(),
        *_texts("kind"),
        Column("payload", LargeBinary, nullable=False),
        Column("pending", Boolean, nullable=False, server_default=true()),
    )
    op.create_index("ix_qbo_answers_pending", "qbo_answers", ["account", "pending"])
    op.create_table(
        "qbo_corrections",
        _row_id(),
        _account(),
        *_numbers("intent"),
        *_texts("rule", "code", "before", "after"),
        *_numbers("at_ms"),
    )
