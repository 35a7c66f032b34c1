"""A write on its way through the rules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qbo_sink.sandbox.books import Books, Company, Stored
from qbo_sink.sandbox.entities import ENTITIES, Entity
from qbo_sink.sandbox.shape import Reference
from qbo_sink.sandbox.switches import Switches
from qbo_sink.sandbox.values import Json


@dataclass
class Draft:
    """``body`` is what would be stored; rules complete it or refuse it.

    ``old`` is what is stored now (None on create), ``sent`` the properties of this request, and
    ``include`` the options of the query string.
    """

    books: Books
    company: Company
    switches: Switches
    entity: Entity
    body: Json
    old: Stored | None
    sent: frozenset[str]
    references: tuple[Reference, ...]
    include: frozenset[str]

    def prefers(self, group: str, name: str) -> Any:
        """A company preference, None if unset."""
        preferences = self.books.single(self.company.realm, "Preferences")
        return preferences.get(group, {}).get(name)

    def get(self, entity: str, reference: Json | None) -> Json | None:
        """Body of the live object that ``reference`` names."""
        if not reference:
            return None
        found = self.books.live(self.company.realm, entity, reference.get("value", ""))
        return found.body if found else None

    def put(self, entity: str, body: Json, *, bump: bool = True, quiet: bool = False) -> None:
        """Store another object that this write changes along with its own."""
        self.books.put(self.company, ENTITIES[entity], body, bump=bump, quiet=quiet)
