"""Migrations of the ledger's tables, run when the sink starts (:mod:`replica.store.migrating`).

A ledger from before the first of them has its tables without a version; the first one takes them as
they are.
"""

from __future__ import annotations

from pathlib import Path

from qbo_sink.schema import metadata
from replica.store.migrating import Tables

LEDGER = Tables(Path(__file__).parent / "versions", "qbo_version", metadata)
"""The ledger's tables and their version."""
