"""Writes ``chunk.json``: columns in every way there is, and a chunk with what is made from it.

Run ``python -m tests.vectors.chunk`` after a deliberate change of the format. Which bytes a chunk
has is the server's choice; what counts is what a client makes from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.events import payloads as p
from replica.events.clock import make_stamp
from replica.events.record import Origin, Record
from replica.sync.chunks import Kept, cut
from replica.sync.columns import Packer, encoded
from replica.sync.frozen import Writing
from tests.vectors.make import ACCOUNT, BOOKS, CONTENT, FOLDER, PHONE, Chain

PATH = FOLDER / "chunk.json"

COLUMNS: tuple[list[Any], ...] = (
    ["same"] * 3,
    [None, True, "äöü", b"\0\xff", [], {}, -1],
    [f"N-{number:04}" for number in range(40)],
    [number * 7_919 % 701 - 150 for number in range(90)],
    [["red", "yellow", "blue"][number * number % 61 % 3] for number in range(90)],
    [f"N-{number:04}" for number in range(40)],
    [[number, "x"] if number % 3 else [number] for number in range(8)],
    [{"id": str(n), **({"memo": [n, None]} if n % 2 else {"at": "y"})} for n in range(8)],
    [[[number, str(part)] for part in range(number % 3)] for number in range(9)],
    [list(range(number)) for number in (20, 0, 3)],
)
"""Values of columns that follow each other: a later one may be as an earlier one."""


class Told:
    """``Writings`` of some records."""

    account = ACCOUNT

    def __init__(self, records: Iterable[Record]) -> None:
        self._known: dict[bytes, Writing] = {}
        for one in records:
            e = one.event
            self._known[one.id] = Writing(e.device, e.epoch, e.seq, e.version, e.deps, e.stamp)

    def of(self, ids: Sequence[bytes]) -> Mapping[bytes, Writing]:
        return {one: self._known[one] for one in ids if one in self._known}


def records() -> list[Record]:
    """Six orders of a phone whose clock is a minute ahead from the fourth on, what the books say of
    five, and one cancelled at the end of the chain for two causes."""
    phone, books = Chain(PHONE, Origin.DEVICE), Chain(BOOKS, Origin.SINK)
    said = [phone.add(p.OrderCommitted(f"o-{n}", CONTENT), 10 * n) for n in range(6)]
    for n in range(3, 6):
        stamp = make_stamp(said[n].received_ms - 60_500, 0, PHONE[8:])
        said[n] = said[n]._replace(stamp=stamp)
    total = CONTENT.total_minor
    answers = [
        books.add(p.OrderEstimated(f"o-{n}", "books", f"{147 + n}", f"{1_042 + n}", total), 70 + n)
        for n in range(5)
    ]
    cause = (said[0].id, said[5].id)
    return [*said, *answers, phone.add(p.OrderCancelled("o-2", "twice"), 80, cause)]


def made() -> dict[str, Any]:
    """What ``chunk.json`` holds. Of the second order nobody knows how it was written."""
    packer = Packer()
    columns = [encoded(column) for column in COLUMNS]
    nodes = [packer.pack(column) for column in columns]
    told = records()
    documents: dict[DocKey, Document] = {}
    for record in told:
        fold(documents, record)
    kept = [Kept(key.id, document.encode()) for key, document in documents.items()]
    kept.append(Kept("o-whole", b"\x80"))
    ((info, data),) = cut("order", kept, Told(told[:1] + told[2:]))
    return {
        "columns": [
            {"node": encoded([node])[0].hex(), "values": [value.hex() for value in column]}
            for node, column in zip(nodes, columns, strict=True)
        ],
        "chunk": {
            "sha256": info.sha256,
            "section": info.section,
            "count": info.count,
            "data": data.hex(),
            "documents": [{"id": one.id, "state": one.state.hex()} for one in kept],
        },
    }


if __name__ == "__main__":
    PATH.write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
