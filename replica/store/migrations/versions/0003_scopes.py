"""What a device holds: the scope that the server granted, and since when."""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, LargeBinary

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Every device goes on holding everything."""
    op.add_column("devices", Column("scope", LargeBinary, nullable=True))
    op.add_column("devices", Column("scoped_ms", BigInteger, nullable=True))
