"""Whether stored documents are what the log says: seen by folding it again."""

from __future__ import annotations

from sqlalchemy import update

from replica.events.event import AccountId, Position
from replica.events.payloads import CustomerDeleted
from replica.events.record import Record
from replica.limits import SYNC_CHECK_EVENTS_MAX
from replica.projections import tables as t
from replica.projections.check import Checked, check
from replica.projections.runner import Projector
from replica.store.engine import Database
from tests.crdt.samples import Writer
from tests.projections.logs import commit, log_of
from tests.projections.test_queries import committed


def some_records(number: int) -> list[Record]:
    rep, other = Writer(1), Writer(2)
    orders = [committed((rep, other)[n % 2], f"o-{n % 7}", n + 1) for n in range(number - 1)]
    return [*orders, rep.says(CustomerDeleted("c"), 99)]


def test_documents_that_are_what_the_log_says(views: Database, account: AccountId) -> None:
    """A fresh fold up to where the rows stand gives their digests, however far the log has gone
    since; an account without events is as it should be (SYN-13)."""
    assert check(views, log_of(account, []), account, 5) == Checked(Position(0), folded=True)
    log = log_of(account, some_records(40))
    Projector(views, log).catch_up(account)
    commit(log, account, [Writer(3).says(CustomerDeleted("d"), 100)])
    assert check(views, log, account, SYNC_CHECK_EVENTS_MAX) == Checked(Position(40), folded=True)


def test_documents_that_are_not(views: Database, account: AccountId) -> None:
    """A document or a total that was damaged is named by its section (SYN-13)."""
    log = log_of(account, some_records(12))
    Projector(views, log).catch_up(account)
    c = t.section_totals.c
    damage = update(t.section_totals).where(c.account == account, c.section == "order")
    with views.writing() as connection:
        connection.execute(damage.values(digest=bytes(32)))
    assert check(views, log, account, 12) == Checked(Position(12), folded=True, unlike=("order",))
    other = log_of(account, some_records(3))
    assert check(views, other, account, 12).unlike == ("customer", "order")


def test_a_long_log_is_not_folded(views: Database, account: AccountId) -> None:
    """Above the limit nothing is claimed (I-20)."""
    log = log_of(account, some_records(12))
    Projector(views, log).catch_up(account)
    assert check(views, log, account, 11) == Checked(Position(12), folded=False)
