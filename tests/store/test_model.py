"""Long random histories: the databases answer as the model in memory does."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from replica.events.event import AccountId, DeviceId, Position
from replica.events.ports import AppendRequest
from replica.store import migrations
from replica.store.engine import Database, open_sqlite
from replica.store.memory import MemoryLog
from replica.store.sql import SqlLog
from tests.store.authors import Author, device_id

ACCOUNTS = 2
DEVICES = 3


class LogComparison(RuleBasedStateMachine):
    """Does the same to the model and to the real log and wants the same answers."""

    def __init__(self, real: SqlLog) -> None:
        super().__init__()
        self.real = real
        self.model = MemoryLog()
        self.accounts = [AccountId(os.urandom(16)) for _ in range(ACCOUNTS)]
        self.authors = {
            (account, number): Author(account, device_id(number))
            for account in self.accounts
            for number in range(DEVICES)
        }
        self.sent: list[AppendRequest] = []

    @initialize()
    def name_logs(self) -> None:
        """Both know the accounts, each under a name of its own."""
        for account in self.accounts:
            assert self.real.head(account).position == self.model.head(account).position == 0

    @rule(
        plan=st.lists(
            st.tuples(
                st.integers(0, ACCOUNTS - 1),
                st.integers(0, DEVICES - 1),
                st.integers(0, 4),
                st.integers(0, 2),
                st.integers(0, 40),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def append(self, plan: list[tuple[int, int, int, int, int]]) -> None:
        """A group of fresh requests, several of one device among them."""
        group = []
        for account, number, count, asides, size in plan:
            author = self.authors[self.accounts[account], number]
            group.append(author.request(count, asides=asides, payload=bytes(size)))
        self.sent += group
        assert self.real.append(group) == self.model.append(group)

    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """Requests that were sent before, as after a lost answer."""
        if self.sent:
            again = data.draw(st.lists(st.sampled_from(self.sent), max_size=3))
            assert self.real.append(again) == self.model.append(again)

    @rule(account=st.integers(0, ACCOUNTS - 1), limit=st.integers(1, 3_000))
    def follow(self, account: int, limit: int) -> None:
        """A reader with any page size finds the same segments."""
        after = Position(0)
        while True:
            page = self.real.read(self.accounts[account], after, limit)
            assert page == self.model.read(self.accounts[account], after, limit)
            if not page:
                return
            after = page[-1].last
            chain = self.real.chain_at(self.accounts[account], after)
            assert chain == page[-1].chain

    @rule(
        account=st.integers(0, ACCOUNTS - 1),
        number=st.integers(0, DEVICES - 1),
        first=st.integers(1, 12),
        length=st.integers(0, 12),
    )
    def find(self, account: int, number: int, first: int, length: int) -> None:
        """Any range of seqs of any device holds the same."""
        place = (self.accounts[account], DeviceId(device_id(number)), 0, first, first + length)
        assert self.real.find(*place) == self.model.find(*place)

    @invariant()
    def heads_agree(self) -> None:
        """Every head of account and device is the same in both."""
        for account in self.accounts:
            assert self.real.head(account)[2:] == self.model.head(account)[2:]
        for (account, _), author in self.authors.items():
            heads = self.real.device_heads(account, author.device)
            assert heads == self.model.device_heads(account, author.device)


def compare(database: Database) -> None:
    """Run the comparison on an open database."""

    class Comparison(LogComparison):
        def __init__(self) -> None:
            super().__init__(SqlLog(database))

    run_state_machine_as_test(
        Comparison, settings=settings(max_examples=15, stateful_step_count=15, deadline=None)
    )


@contextmanager
def scratch() -> Iterator[Database]:
    """An SQLite database that goes away."""
    with TemporaryDirectory() as name, closing(open_sqlite(Path(name) / "log.db")) as database:
        migrations.upgrade(database)
        yield database


def test_sqlite_is_the_model() -> None:
    """Whatever is appended, repeated and read, SQLite answers like the model (I-2, I-4, I-5)."""
    with scratch() as database:
        compare(database)


@pytest.mark.postgres
def test_postgres_is_the_model(postgres_database: Database) -> None:
    """Whatever is appended, repeated and read, PostgreSQL answers like the model (I-2, I-4)."""
    compare(postgres_database)
