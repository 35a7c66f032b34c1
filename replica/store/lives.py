"""What the log says of the histories of an account: how often its devices began another life, and
when it was put back to a backup.

A device goes on in a new epoch when its chain has two ends, because it was copied or put back to an
older state; when a restored server forgot an earlier life; and when it fetches everything again.
"""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import func, select

from replica.events.event import AccountId
from replica.store.engine import Database
from replica.store.tables import device_heads, logs

_SECONDS_FROM = 1_000_000_000
"""A restore makes the time of it, in seconds, the log's generation; lower ones were counted up."""


class Histories(NamedTuple):
    """``lives``: the newest epoch of each device that has written, by its id in hex.
    ``restored_ms``: when the log was last put back to a backup; 0 for never, or not known."""

    lives: dict[str, int]
    restored_ms: int


def histories(database: Database, account: AccountId) -> Histories:
    """Read them. Blocking."""
    c = device_heads.c
    newest = select(c.device, func.max(c.epoch)).where(c.account == account).group_by(c.device)
    generation = select(logs.c.generation).where(logs.c.account == account)
    with database.reading() as connection:
        lives = {bytes(device).hex(): epoch for device, epoch in connection.execute(newest)}
        found = connection.execute(generation).scalar() or 0
    return Histories(lives, found * 1_000 if found >= _SECONDS_FROM else 0)
