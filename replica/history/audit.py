"""After a load: what the server stored, counted in its own tables, and folded again from its log.

Run when the server of the load has stopped. Nothing here trusts what the devices reported.
"""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

from sqlalchemy import func, select

from replica.errors import MisuseError
from replica.events.event import AccountId
from replica.history.loading import digest_of
from replica.projections import tables as t
from replica.projections.runner import Projector
from replica.server.config import Config
from replica.server.stores import Stores
from replica.store.control import Control


class Audit(NamedTuple):
    """Counts of everything the account holds, loaded now or before. ``stored_total_minor`` is the
    sum over its lines; ``rebuilt_digest`` that of read models made anew from the log."""

    stored_orders: int
    stored_returns: int
    stored_lines: int
    stored_total_minor: int
    rebuilt_digest: str
    rebuilt_equal: bool


def audit(config: Config) -> Audit:
    """Count and rebuild the account of ``config``.

    Raises ``StoreUnavailable`` while a server runs on the data, ``Poisoned`` when the log holds a
    record that cannot be folded.
    """
    with closing(Stores(config)) as stores:
        account = account_of(stores.control, config.account)
        projector = Projector(stores.views, stores.log)
        projector.catch_up(account)
        rebuilt = projector.rebuild(account)
        lines = t.order_lines.c
        sums = select(func.count(), func.sum(lines.total_minor)).where(lines.account == account)
        with stores.views.reading() as connection:
            count, total_minor = connection.execute(sums).one()
            documents = {
                kind: connection.execute(
                    select(func.count()).select_from(table).where(table.c.account == account)
                ).scalar_one()
                for kind, table in t.SEALED.items()
            }
    return Audit(
        documents["order"],
        documents["return"],
        count,
        int(total_minor or 0),
        digest_of(rebuilt.sections),
        rebuilt.equal is True,
    )


def account_of(control: Control, name: str) -> AccountId:
    """The id of the account called ``name``. Raises ``MisuseError`` when there is none."""
    for account in control.accounts():
        if account.name == name:
            return account.id
    raise MisuseError(f"there is no account {name!r}")
