"""What a new device begins with: as the account says, and as its code says."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, LargeBinary

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """New devices go on beginning with everything, also those whose codes are open."""
    op.add_column("accounts", Column("wish", LargeBinary, nullable=True))
    op.add_column("enrolment_codes", Column("wish", LargeBinary, nullable=True))
