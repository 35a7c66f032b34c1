"""Comparisons of invoices beside those of estimates."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, Text

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Say of what is compared which kind it is. What a comparison read is read again; one that was
    cut off begins anew."""
    op.add_column("qbo_comparisons", _text("entity"))
    op.execute("UPDATE qbo_comparisons SET state = '' WHERE state = 'fetching'")
    op.add_column("qbo_findings", _text("entity"))
    op.execute("UPDATE qbo_findings SET entity = 'Estimate'")
    op.drop_table("qbo_theirs")
    op.create_table(
        "qbo_theirs",
        Column("account", LargeBinary, primary_key=True),
        *[Column(name, Text, primary_key=True) for name in ("entity", "external_id")],
        Column("seen_ms", BigInteger, nullable=False, server_default="0"),
        *[_text(name) for name in ("sync_token", "number", "date", "customer", "currency")],
        *[_text(name) for name in ("status", "total", "local_type", "local_id", "drift", "fields")],
    )


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default="")
