"""Notes written by several people, some with real Yjs in node and some with ours, from one seed."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from replica.crdt.text import note_text, note_update
from tests.clients.nodes import Node

SCRIPT = Path(__file__).parent / "yjs.mjs"
# One to four bytes in UTF-8, one and two units in UTF-16, marks that combine, a line break.
LETTERS = "abc e\u0301Łß謝😀\U0001d54f\n"


class Written(NamedTuple):
    """One update and the library that made it."""

    by: str
    data: bytes


class Yjs(Node):
    """Real Yjs in one node process; use it as a context manager."""

    def __init__(self) -> None:
        super().__init__(SCRIPT)

    def read(self, name: str, client: int, updates: list[bytes]) -> Any:
        """What a fresh document of ``updates``, taken in this order, says."""
        self.ask("open", name=name, client=client, updates=[one.hex() for one in updates])
        return self.ask("read", name=name)


class _Author:
    """Somebody with a part of the note's updates; ``known`` are indexes into what was written."""

    def __init__(self, library: str, number: int) -> None:
        self.library, self.name, self.client = library, f"author-{number}", 1_000 + number
        self.known: list[int] = []


def write(yjs: Yjs, seed: int, *, steps: int = 24, authors: int = 4) -> list[Written]:
    """Everything that was written in a random session; every second author uses real Yjs.

    Between edits an author takes in some of what the others wrote, in any order, so edits are made
    beside each other and on top of each other.
    """
    random = Random(seed)
    written: list[Written] = []
    people = [_Author(("yjs", "pycrdt")[number % 2], number) for number in range(authors)]
    for person in people:
        yjs.ask("open", name=person.name, client=person.client)
    for _ in range(steps):
        person = random.choice(people)
        if random.random() < 0.5:
            _take(yjs, random, person, written)
        _edit(yjs, random, person, written)
    return written


def _take(yjs: Yjs, random: Random, person: _Author, written: list[Written]) -> None:
    missing = [index for index in range(len(written)) if index not in person.known]
    taken = random.sample(missing, random.randint(0, len(missing)))
    person.known += taken
    updates = [written[index].data.hex() for index in taken]
    if person.library == "yjs":
        yjs.ask("apply", name=person.name, updates=updates)


def _edit(yjs: Yjs, random: Random, person: _Author, written: list[Written]) -> None:
    if person.library == "yjs":
        text = yjs.ask("read", name=person.name)["text"]
        at, cut, put = _change(random, text)
        made = yjs.ask("edit", name=person.name, at=at, cut=cut, put=put)
        updates = [bytes.fromhex(one) for one in made]
    else:
        known = [written[index].data for index in person.known]
        text, _ = note_text(known)
        at, cut, put = _change(random, text)
        client = 100_000 + len(written)
        update = note_update(known, text[:at] + put + text[at + cut :], client)
        updates = [] if update is None else [update]
    for update in updates:
        person.known.append(len(written))
        written.append(Written(person.library, update))


def _change(random: Random, text: str) -> tuple[int, int, str]:
    """Where, how many characters go, and what comes instead."""
    at = random.randint(0, len(text))
    cut = random.choice([0, 0, 1, random.randint(0, 5)])
    put = "".join(random.choice(LETTERS) for _ in range(random.choice([0, 1, 1, 3, 8])))
    return at, min(cut, len(text) - at), put
