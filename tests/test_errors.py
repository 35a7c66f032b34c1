"""The error tree."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from replica import errors
from replica.errors import Forked, Gap, Overloaded, ReplicaError, TooLarge

MADE: dict[type[ReplicaError], ReplicaError] = {
    TooLarge: TooLarge("bytes of a push", limit=3, actual=4),
    Forked: Forked(epoch=1, seq=2, next_epoch=3),
    Gap: Gap(head_seq=4, first_seq=9),
    Overloaded: Overloaded("full", retry_after_ms=7),
}


def tree(kind: type[ReplicaError] = ReplicaError) -> Iterator[type[ReplicaError]]:
    yield kind
    for one in kind.__subclasses__():
        if one.__module__ == errors.__name__:
            yield from tree(one)


@pytest.mark.parametrize("kind", list(tree()))
def test_an_error_reaches_another_process_whole(kind: type[ReplicaError]) -> None:
    """Kind, words and fields of every error come out of a pickle as they went in."""
    error = MADE.get(kind) or kind("in words", hint="do this")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert (type(again), str(again), vars(again)) == (kind, str(error), vars(error))
    assert (again.code, again.hint) == (error.code, error.hint)
