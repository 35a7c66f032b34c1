"""What both sides agreed on field by field, where they differed, and names that were merged."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the column and the tables."""
    op.add_column("qbo_mappings", _text("agreed"))
    kind = BigInteger().with_variant(Integer, "sqlite")
    op.create_table(
        "qbo_overruled",
        Column("id", kind, primary_key=True, autoincrement=True),
        Column("account", LargeBinary, nullable=False),
        *[Column(name, Text, nullable=False) for name in ("entity", "local_type", "local_id")],
        *[_text(name) for name in ("field", "base", "ours", "theirs", "kept")],
        _number("at_ms"),
    )
    op.create_index("ix_qbo_overruled_account", "qbo_overruled", ["account", "id"])
    op.create_table(
        "qbo_merges",
        *[Column(name, Text, primary_key=True) for name in ("realm", "entity", "loser")],
        Column("survivor", Text, nullable=False),
        _number("at_ms"),
    )


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")
