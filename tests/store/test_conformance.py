"""The contract of ``replica.events.ports.Log``, run over every adapter."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from replica.errors import MisuseError
from replica.events.event import GENESIS, AccountId, Position
from replica.events.ports import Appended, HeadMoved, Log
from replica.events.record import Segment, extend_chain, records
from tests.store.authors import Author, device_id
from tests.store.conftest import ADAPTERS

MANY = 1_000_000


def appended(results: Sequence[object]) -> list[Segment]:
    """The segments of an append in which every request was written."""
    segments = []
    for result in results:
        assert isinstance(result, Appended)
        assert result.segment is not None
        segments.append(result.segment)
    return segments


def put(log: Log, author: Author, *counts: int) -> list[Segment]:
    """Append one request per count, each in a transaction of its own."""
    return [
        segment for count in counts for segment in appended(log.append([author.request(count)]))
    ]


def read_all(log: Log, account: AccountId, limit_bytes: int = MANY) -> list[Segment]:
    """Follow the log with a cursor from its beginning to its end."""
    segments: list[Segment] = []
    while page := log.read(account, segments[-1].last if segments else Position(0), limit_bytes):
        segments.extend(page)
    return segments


def test_all_adapters_are_covered() -> None:
    """The suite runs over the model and both databases and cannot select nothing."""
    assert {"memory", "sqlite", "postgres"} <= set(ADAPTERS)


def test_positions_have_no_gap(log: Log, account: AccountId) -> None:
    """Positions of an account are 1..n over all its devices, in order of commit (I-4)."""
    one, two = Author(account, device_id(1)), Author(account, device_id(2))
    log.append([one.request(2), two.request(3)])
    log.append([two.request(1)])
    log.append([one.request(4)])
    spans = [(s.first, s.count, s.last) for s in read_all(log, account)]
    assert spans == [(1, 2, 2), (3, 3, 5), (6, 1, 6), (7, 4, 10)]
    assert log.head(account).position == 10


def test_a_segment_comes_back_as_it_was_written(log: Log, account: AccountId) -> None:
    """What is read is what was appended, byte for byte, with the chain over its ids (I-13)."""
    request = Author(account, device_id(1)).request(3, payload=bytes(range(256)))
    (segment,) = appended(log.append([request]))
    assert read_all(log, account) == [segment]
    assert segment.records == request.records
    assert tuple(record.id for _, record in records(segment)) == request.ids
    assert segment.chain == extend_chain(GENESIS, request.ids)
    head = log.head(account)
    assert (head.position, head.chain) == (segment.last, segment.chain)


def test_a_stale_head_is_answered_with_the_real_one(log: Log, account: AccountId) -> None:
    """An append decided on a head that moved writes nothing and says where the head is (I-5)."""
    author = Author(account, device_id(1))
    request = author.request(2)
    log.append([request])
    (result,) = log.append([request])
    assert isinstance(result, HeadMoved)
    assert result.actual[:3] == author.head[:3]
    assert len(read_all(log, account)) == 1


def test_one_stale_request_does_not_stop_the_others(log: Log, account: AccountId) -> None:
    """In one transaction a request with a stale head is left out and the rest is written (P29)."""
    stale, fresh = Author(account, device_id(1)), Author(account, device_id(2))
    old = stale.request(1)
    log.append([old])
    first, second = log.append([old, fresh.request(2)])
    assert isinstance(first, HeadMoved)
    assert isinstance(second, Appended)
    assert [s.device for s in read_all(log, account)] == [device_id(1), device_id(2)]


def test_a_chain_may_grow_twice_in_one_transaction(log: Log, account: AccountId) -> None:
    """Two requests of one device in one append follow each other, as pipelined pushes do."""
    author = Author(account, device_id(1))
    segments = appended(log.append([author.request(2), author.request(1)]))
    assert [s.first for s in segments] == [1, 3]
    assert log.device_heads(author.account, author.device) == [author.head]


def test_accounts_are_apart(log: Log, account: AccountId) -> None:
    """One append for two accounts gives each its own positions, and neither reads the other's
    events, though their devices share an id (I-16)."""
    other = AccountId(os.urandom(16))
    mine, theirs = Author(account, device_id(1)), Author(other, device_id(1))
    log.append([mine.request(2), theirs.request(1), mine.request(1)])
    assert [s.last for s in read_all(log, account)] == [2, 3]
    assert [s.last for s in read_all(log, other)] == [1]
    assert log.head(account).log_id != log.head(other).log_id
    assert log.find(other, theirs.device, 0, 1, MANY)[0] == read_all(log, other)


def test_pages_are_whole_segments_within_the_byte_bound(log: Log, account: AccountId) -> None:
    """A page holds as many whole segments as fit and at least one; the next goes on there (P33)."""
    author = Author(account, device_id(1))
    segments = put(log, author, 1, 1, 5, 1)
    small, large = len(segments[0].records), len(segments[2].records)
    assert log.read(account, Position(0), 2 * small) == segments[:2]
    assert log.read(account, Position(2), small) == segments[2:3]
    assert log.read(account, Position(2), large + small) == segments[2:]
    assert log.read(account, Position(8), MANY) == []
    assert read_all(log, account, limit_bytes=1) == segments


def test_reading_from_inside_a_segment_is_misuse(log: Log, account: AccountId) -> None:
    """A cursor that is not the end of a segment is refused instead of repeating events."""
    put(log, Author(account, device_id(1)), 3)
    with pytest.raises(MisuseError):
        log.read(account, Position(1), MANY)


def test_the_chain_names_every_end_of_a_segment(log: Log, account: AccountId) -> None:
    """``chain_at`` knows each segment's end and nothing in between or beyond (I-6)."""
    segments = put(log, Author(account, device_id(1)), 2, 3)
    assert log.chain_at(account, Position(0)) == GENESIS
    assert log.chain_at(account, Position(2)) == segments[0].chain
    assert log.chain_at(account, Position(5)) == segments[1].chain
    assert log.chain_at(account, Position(1)) is None
    assert log.chain_at(account, Position(6)) is None


def test_heads_are_kept_per_epoch(log: Log, account: AccountId) -> None:
    """A device's chains of all epochs are listed, oldest first; an unknown device has none (D6)."""
    first, second = Author(account, device_id(1), 0), Author(account, device_id(1), 1)
    log.append([second.request(2)])
    log.append([first.request(1, asides=2)])
    assert log.device_heads(account, first.device) == [first.head, second.head]
    assert log.device_heads(account, Author(account, device_id(9)).device) == []


def test_find_gives_what_became_of_a_range(log: Log, account: AccountId) -> None:
    """``find`` returns segments and asides that hold any seq of the range, in order (P31)."""
    author = Author(account, device_id(1))
    segments = put(log, author, 3, 2)
    request = author.request(1, asides=2)
    segments += appended(log.append([request]))
    assert log.find(account, author.device, 0, 1, 8) == (segments, [*request.asides])
    assert log.find(account, author.device, 0, 3, 4) == (segments[:2], [])
    assert log.find(account, author.device, 0, 7, 7) == ([], [request.asides[0]])
    assert log.find(account, author.device, 1, 1, 8) == ([], [])


def test_asides_alone_take_no_position(log: Log, account: AccountId) -> None:
    """A request with only asides moves the device's head and leaves the log's (I-19)."""
    author = Author(account, device_id(1))
    assert log.append([author.request(0, asides=1)]) == [Appended(None)]
    assert log.head(account).position == 0
    assert log.device_heads(account, author.device) == [author.head]


def test_a_forks_contents_are_kept_once_each(log: Log, account: AccountId) -> None:
    """Setting a fork's event aside again, the head staying put, stores nothing twice (I-2)."""
    author, clone = Author(account, device_id(1)), Author(account, device_id(1))
    log.append([author.request(1)])
    strange = clone.request(0, asides=1, payload=b"other").asides[0]
    again = author.request(0)._replace(asides=(strange,))
    assert log.append([again]) == [Appended(None)]
    assert log.append([again, again]) == [Appended(None), Appended(None)]
    assert log.find(account, author.device, 0, 1, 9)[1] == [strange]
    assert log.device_heads(account, author.device) == [author.head]


def test_the_head_is_created_once(log: Log, account: AccountId) -> None:
    """Many that ask for a new account's head at once get the same log id (I-6)."""
    start = Barrier(8)

    def ask() -> bytes:
        start.wait()
        return log.head(account).log_id

    with ThreadPoolExecutor(8) as pool:
        names = {future.result() for future in [pool.submit(ask) for _ in range(8)]}
    assert len(names) == 1
    assert len(names.pop()) == 16


def test_racing_writers_never_let_a_reader_skip(log: Log, account: AccountId) -> None:
    """While threads race to append, a reader that follows its cursor sees every position once
    and in order: commit order is read order (P1, D8, I-4)."""
    writers, rounds = 4, 12
    authors = [Author(account, device_id(number)) for number in range(writers)]
    start = Barrier(writers + 1)

    def write(author: Author) -> None:
        start.wait()
        for number in range(rounds):
            appended(log.append([author.request(1 + number % 3)]))

    total = writers * sum(1 + number % 3 for number in range(rounds))
    with ThreadPoolExecutor(writers) as pool:
        done = [pool.submit(write, author) for author in authors]
        start.wait()
        seen: list[Segment] = []
        while sum(segment.count for segment in seen) < total:
            for future in done:
                if future.done():
                    future.result()
            seen.extend(log.read(account, seen[-1].last if seen else Position(0), MANY))
    chain: bytes = GENESIS
    for expected, segment in zip([1, *(s.last + 1 for s in seen)], seen, strict=False):
        assert segment.first == expected
        chain = extend_chain(chain, [record.id for _, record in records(segment)])
        assert segment.chain == chain
    assert seen == read_all(log, account)


def test_racing_for_one_chain_lets_one_win(log: Log, account: AccountId) -> None:
    """Of many that append on the same device head exactly one is written (I-2, I-5)."""
    tries = 6
    request = Author(account, device_id(1)).request(2)
    start = Barrier(tries)

    def write() -> object:
        start.wait()
        return log.append([request])[0]

    with ThreadPoolExecutor(tries) as pool:
        results = [future.result() for future in [pool.submit(write) for _ in range(tries)]]
    assert sum(isinstance(result, Appended) for result in results) == 1
    assert sum(isinstance(result, HeadMoved) for result in results) == tries - 1
    assert [segment.count for segment in read_all(log, account)] == [2]


def test_groups_over_the_same_accounts_do_not_deadlock(log: Log) -> None:
    """Transactions that touch the same accounts in opposite order all commit (D8)."""
    accounts = [AccountId(os.urandom(16)) for _ in range(4)]
    start = Barrier(2)

    def write(number: int, order: list[AccountId]) -> None:
        authors = [Author(account, device_id(number)) for account in order]
        start.wait()
        for _ in range(10):
            appended(log.append([author.request(1) for author in authors]))

    with ThreadPoolExecutor(2) as pool:
        jobs = [pool.submit(write, 1, accounts), pool.submit(write, 2, accounts[::-1])]
        for job in jobs:
            job.result()
    assert [log.head(account).position for account in accounts] == [20] * 4


def test_nothing_to_append_is_nothing(log: Log) -> None:
    """An empty append answers with nothing."""
    assert log.append([]) == []
