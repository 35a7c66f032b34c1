"""In which order documents come to a device that has far to go (SYN-01, SYN-28). Pure.

What its user sold comes first, so that he finds his own work again; then what may not be sold any
more, then what selling needs, then the records, and last what others sold.
"""

from __future__ import annotations

from enum import IntEnum

from replica.crdt.scope import NODE_BYTES
from replica.crdt.stock import SOLD

SALES = ("order", "quote", "return", "payment")
_SELLING = ("product", "stock", SOLD)


class Priority(IntEnum):
    """The first comes first."""

    OWN = 0
    GONE = 1  # deleted products and customers
    SELLING = 2  # stock, what was sold of it, and products with their prices
    RECORDS = 3
    OTHERS = 4


def priority(kind: str, *, own: bool = False, gone: bool = False) -> Priority:
    """Where a document stands. ``own``: a device of the same user had a part in it."""
    if kind in SALES:
        return Priority.OWN if own else Priority.OTHERS
    if gone:
        return Priority.GONE
    return Priority.SELLING if kind in _SELLING else Priority.RECORDS


def nodes_in(authors: bytes) -> list[bytes]:
    """The nodes in ``authors`` of a facet."""
    return [authors[at : at + NODE_BYTES] for at in range(0, len(authors), NODE_BYTES)]
