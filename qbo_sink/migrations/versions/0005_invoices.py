"""What a document was first meant to be made as, settled conflicts, and pairs of one name."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, Text

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("qbo_wanted", _text("form"))
    op.add_column("qbo_overruled", _number("settled_ms"))
    op.add_column("qbo_overruled", _text("settled_by"))
    op.create_table(
        "qbo_matches",
        Column("account", LargeBinary, primary_key=True),
        *[Column(name, Text, primary_key=True) for name in ("entity", "local_type", "local_id")],
        *[_text(name) for name in ("external_id", "name", "shown", "decision", "by")],
        _number("at_ms"),
    )


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")


def _number(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default="0")
