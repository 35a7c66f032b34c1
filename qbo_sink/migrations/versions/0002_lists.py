"""The accounting lists that are shown here."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """One row for each list, one for each row there."""
    op.create_table(
        "qbo_lists",
        Column("account", LargeBinary, primary_key=True),
        Column("name", Text, primary_key=True),
        *[_number(name) for name in ("loaded_ms", "pulled_ms", "began_ms", "next_start")],
        _text("reason"),
        _number("refused_ms"),
    )
    op.create_table(
        "qbo_list_rows",
        Column("account", LargeBinary, primary_key=True),
        Column("list", Text, primary_key=True),
        Column("external_id", Text, primary_key=True),
        *[_text(name) for name in ("label", "number", "date")],
        _number("amount_e4"),
        *[_text(name) for name in ("state", "text", "content")],
        _number("seen_ms"),
    )
    for name in ("label", "date"):
        columns = ["account", "list", name, "external_id"]
        op.create_index(f"ix_qbo_list_rows_{name}", "qbo_list_rows", columns)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")
