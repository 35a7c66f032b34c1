"""Runs of Sync Now that are on, so that a server that died goes on with them."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary, PrimaryKeyConstraint, Text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table; there is nothing to carry over."""
    op.create_table(
        "sync_runs",
        Column("account", LargeBinary(16), nullable=False),
        Column("run", Text, nullable=False),
        Column("by", Text, nullable=False),
        Column("started_ms", BigInteger, nullable=False),
        PrimaryKeyConstraint("account"),
    )
