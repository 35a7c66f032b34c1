"""What people see and do: ages, undone corrections, settings, and the comparison that goes on."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Columns that the first release lacked, and the tables of the desk."""
    op.add_column("qbo_intents", _number("queued_ms"))
    op.add_column("qbo_authorisations", _text("redirect_uri"))
    op.add_column("qbo_corrections", _number("undone_ms"))
    op.add_column("qbo_corrections", _text("undone_by"))
    op.create_index("ix_qbo_corrections_intent", "qbo_corrections", ["account", "intent"])
    op.create_table("qbo_settings", _account(), _key("name"), _text("value"))
    op.create_table("qbo_forgotten", *[_key(name) for name in ("realm", "entity", "external_id")])
    _create_comparisons()


def _create_comparisons() -> None:
    op.create_table(
        "qbo_comparisons",
        _account(),
        _text("state"),
        *[_number(f"{name}_ms") for name in ("started", "finished")],
        *[_number(name) for name in ("fetched", "next_start", "reads", "equal")],
        _text("months"),
    )
    op.create_table(
        "qbo_theirs",
        _account(),
        _key("external_id"),
        _number("seen_ms"),
        *[_text(name) for name in ("sync_token", "number", "date", "customer", "currency")],
        *[_text(name) for name in ("status", "total", "local_type", "local_id", "drift", "fields")],
    )
    op.create_table(
        "qbo_findings",
        Column(
            "id",
            BigInteger().with_variant(Integer, "sqlite"),
            primary_key=True,
            autoincrement=True,
        ),
        Column("account", LargeBinary, nullable=False),
        *[_text(name) for name in ("kind", "local_type", "local_id", "external_id")],
        *[_text(name) for name in ("sync_token", "number", "date", "currency")],
        *[_text(name) for name in ("ours", "theirs", "fields")],
    )
    op.create_index("ix_qbo_findings_account", "qbo_findings", ["account", "id"])
    op.create_table(
        "qbo_ignored",
        _account(),
        *[_key(name) for name in ("local_type", "local_id", "external_id", "kind")],
        *[_text(name) for name in ("sync_token", "reason", "by")],
        _number("at_ms"),
    )


def _account() -> Column[bytes]:
    return Column("account", LargeBinary, primary_key=True)


def _key(name: str) -> Column[str]:
    return Column(name, Text, primary_key=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")
