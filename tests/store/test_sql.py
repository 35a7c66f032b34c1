"""What the SQL log does beyond the contract of every log."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from threading import Barrier

import pytest
from sqlalchemy import event, text

from replica.errors import StoreUnavailable
from replica.events.event import AccountId, Position
from replica.events.ports import Appended, HeadMoved
from replica.events.record import Segment
from replica.store.engine import Database, open_postgres
from replica.store.sql import SqlLog
from tests.store.authors import Author, device_id

MANY = 1_000_000


def statements(database: Database) -> list[str]:
    """A list that fills with what the writer says to the database from now on."""
    said: list[str] = []

    @event.listens_for(database.write, "before_cursor_execute")
    def note(*arguments: object) -> None:
        said.append(str(arguments[2]))

    return said


def test_a_group_costs_one_statement_per_table(database: Database, account: AccountId) -> None:
    """However many events the requests of an append hold, each table is written once
    (performance.md §4 "no per-event round trip")."""
    log = SqlLog(database)
    authors = [Author(account, device_id(number)) for number in range(16)]
    log.append([author.request(1) for author in authors])
    said = statements(database)
    log.append([author.request(50, asides=1) for author in authors])
    writes = [text for text in said if text.startswith(("INSERT", "WITH"))]
    assert len(writes) == 4
    if database.exclusive:
        assert len(said) == 1 + len(writes), "the only writer remembers what it wrote"


def test_the_log_goes_on_after_reopening(
    sqlite_database: Database, reopen: Callable[[], Database], account: AccountId
) -> None:
    """A new process continues positions and chains where the last one ended (I-4, I-5)."""
    author = Author(account, device_id(1))
    SqlLog(sqlite_database).append([author.request(3)])
    log = SqlLog(reopen())
    assert log.device_heads(account, author.device) == [author.head]
    (result,) = log.append([author.request(2)])
    assert isinstance(result, Appended)
    assert result.segment is not None
    assert (result.segment.first, result.segment.last) == (4, 5)


def test_memory_for_heads_is_bounded(
    sqlite_database: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forgetting remembered heads changes no answer."""
    monkeypatch.setattr("replica.store.sql.HEAD_CACHE_ENTRIES_MAX", 3)
    log = SqlLog(sqlite_database)
    authors = [Author(account, device_id(number)) for number in range(8)]
    for _ in range(3):
        for author in authors:
            assert isinstance(log.append([author.request(1)])[0], Appended)
    assert log.head(account).position == 24


def test_positions_of_many_accounts_in_one_question(database: Database, account: AccountId) -> None:
    """The fan-out's poll learns where logs end; accounts without a log are left out."""
    log = SqlLog(database)
    log.append([Author(account, device_id(1)).request(3)])
    unknown = AccountId(os.urandom(16))
    assert log.positions([account, unknown]) == {account: 3}
    assert log.positions([]) == {}


def test_pages_are_bounded_in_segments(
    database: Database, account: AccountId, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiny segments do not make a page endless, and the next page goes on without a gap (I-20)."""
    monkeypatch.setattr("replica.store.sql.READ_SEGMENTS_MAX", 2)
    log = SqlLog(database)
    author = Author(account, device_id(1))
    for _ in range(5):
        log.append([author.request(1)])
    lengths = [len(log.read(account, Position(after), MANY)) for after in (0, 2, 4)]
    assert lengths == [2, 2, 1]


@pytest.mark.postgres
def test_processes_on_one_postgres_keep_one_order(
    postgres_database: Database, account: AccountId
) -> None:
    """Server processes, each with connections of its own, race for one account; a reader with a
    cursor misses nothing, and a chain that two of them write to takes each event once
    (P1, D8, I-2)."""
    url = postgres_database.write.url.render_as_string(hide_password=False)
    processes, rounds = 3, 10
    shared = Author(account, device_id(99))
    contested = [shared.request(1) for _ in range(rounds)]
    start = Barrier(processes)

    def serve(number: int) -> list[Segment]:
        written = []
        with closing(open_postgres(url)) as database:
            log, author = SqlLog(database), Author(account, device_id(number))
            start.wait()
            for request in contested:
                own, fought = log.append([author.request(2), request])
                assert isinstance(own, Appended)
                results = [own, fought] if isinstance(fought, Appended) else [own]
                assert isinstance(fought, Appended | HeadMoved)
                written += [result.segment for result in results if result.segment is not None]
        return written

    with ThreadPoolExecutor(processes) as pool:
        served = [pool.submit(serve, number) for number in range(processes)]
        reader = SqlLog(postgres_database)
        seen: list[Segment] = []
        while not all(job.done() for job in served) or reader.head(account).position > len_of(seen):
            seen += reader.read(account, seen[-1].last if seen else Position(0), MANY)
        written = [segment for job in served for segment in job.result()]
    assert sorted(written, key=lambda segment: segment.first) == seen
    assert [s.first for s in seen] == [1, *(s.last + 1 for s in seen[:-1])]
    assert reader.device_heads(account, shared.device) == [shared.head]


def len_of(segments: list[Segment]) -> int:
    """Events in all of them."""
    return sum(segment.count for segment in segments)


@pytest.mark.postgres
def test_a_lost_connection_is_unavailable_and_safe_to_repeat(
    postgres_database: Database, account: AccountId
) -> None:
    """When PostgreSQL drops the connection during an append the caller may ask again: the request
    is written once (reliability §2.3 "failover")."""
    url = postgres_database.write.url.render_as_string(hide_password=False)
    with ExitStack() as stack:
        database = stack.enter_context(closing(open_postgres(url)))
        log, author = SqlLog(database), Author(account, device_id(1))
        log.append([author.request(1)])
        request = author.request(1)

        @event.listens_for(database.write, "commit", once=True)
        def cut(_connection: object) -> None:
            with postgres_database.writing() as other:
                other.execute(
                    text(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
                        "state = 'idle in transaction' AND datname = current_database()"
                    )
                )

        with pytest.raises(StoreUnavailable):
            log.append([request])
        assert isinstance(log.append([request])[0], Appended)
        assert isinstance(log.append([request])[0], HeadMoved)
        assert log.head(account).position == 2
