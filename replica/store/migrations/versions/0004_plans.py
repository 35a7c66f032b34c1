"""The plan that a run of Sync Now goes by, so that it is the same plan after a crash."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Runs that are open have no plan that anybody read."""
    op.add_column("sync_runs", Column("plan", LargeBinary, nullable=True))
