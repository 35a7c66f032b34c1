"""What the verbs of analysts share: the log they read, and saying what a figure was made from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from replica.cli.frame import chosen, config, say
from replica.errors import MisuseError

if TYPE_CHECKING:
    from replica.analytics.history import History


@contextmanager
def told_history(account: str) -> Iterator[History]:
    """The log of an account for an analyst, beside a running server or without one."""
    from replica.analytics.history import History
    from replica.server.stores import open_reading
    from replica.store.control import Control
    from replica.store.sql import SqlLog

    with closing(open_reading(config())) as database:
        yield History(SqlLog(database), chosen(Control(database), account))


def section_of(name: str) -> str:
    """A section by its name, the plural allowed. Raises ``MisuseError``."""
    from replica.crdt.documents import DOCUMENT_TYPES

    for wanted in (name, name.removesuffix("s"), name.removesuffix("es")):
        if wanted in DOCUMENT_TYPES:
            return wanted
    raise MisuseError(
        f"there is no section {name!r}", hint=f"one of {', '.join(sorted(DOCUMENT_TYPES))}"
    )


def say_source(history: History, position: int, events: int, unread: int) -> None:
    """What a figure was made from, so that it can be made again."""
    from replica import __version__

    note = f", {unread} of a kind that is unknown here" if unread else ""
    say(
        f"account {history.account.hex()} to position {position}: {events} events{note}; "
        f"replica {__version__}"
    )
