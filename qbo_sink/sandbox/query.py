"""The query language (section 1.7): text in, a :class:`Select` out, or 4000 and 4001 faults."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NamedTuple

from qbo_sink.sandbox.entities import BY_PATH, Entity
from qbo_sink.sandbox.faults import Refused, refused
from qbo_sink.sandbox.schema import STRUCTS

PAGE_DEFAULT = 100
PAGE_MAX = 1000
QUERY_CHARS_MAX = 50_000
_OPERATORS = frozenset({"=", "<", ">", "<=", ">=", "!="})

_TOKEN = re.compile(
    r"(?P<blank>\s+)"
    r"|(?P<string>'(?:[^'\\]|\\.)*')"
    r"|(?P<count>count\s*\(\s*\*?\s*\))"
    r"|(?P<word>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*(?:\.\*)?)"
    r"|(?P<number>-?\d+(?:\.\d+)?)"
    r"|(?P<mark><=|>=|!=|[=<>*,();])",
    re.IGNORECASE,
)


class Token(NamedTuple):
    """``kind`` is a group of the pattern or ``end``; ``column`` counts from 1."""

    kind: str
    text: str
    line: int
    column: int


class Condition(NamedTuple):
    """``operator`` is one of the comparisons, ``IN`` or ``LIKE``; ``values`` has one entry else."""

    path: str
    operator: str
    values: tuple[str | bool, ...]


class Order(NamedTuple):
    """One sort key."""

    path: str
    descending: bool


@dataclass
class Select:
    """A parsed statement. ``properties`` is None for ``*``; paths are as the schema spells them."""

    entity: Entity
    count: bool = False
    properties: list[str] | None = None
    conditions: list[Condition] = field(default_factory=list)
    order: list[Order] = field(default_factory=list)
    start: int = 1
    limit: int = PAGE_DEFAULT


def parse(text: str) -> Select:
    """The statement in ``text``. Raises ``Refused`` with 4000 (form) or 4001 (meaning)."""
    if len(text) > QUERY_CHARS_MAX:
        raise refused(4001, "QueryValidationError: the statement is too long")
    return _Parser(_tokens(text)).statement()


def _tokens(text: str) -> list[Token]:
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        match = _TOKEN.match(text, position)
        if match is None:
            raise _unexpected(Token("end", text[position], line, column))
        if match.lastgroup != "blank":
            tokens.append(Token(match.lastgroup or "", match.group(), line, column))
        position = match.end()
    tokens.append(Token("end", "<EOF>", text.count("\n") + 1, position - text.rfind("\n")))
    return tokens


def _unexpected(token: Token) -> Refused:
    place = f"line {token.line}, column {token.column}"
    return refused(4000, f'QueryParserError: Encountered "{token.text}" at {place}')


def _invalid(detail: str) -> Refused:
    return refused(4001, f"QueryValidationError: {detail}")


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.at = 0

    @property
    def here(self) -> Token:
        return self.tokens[self.at]

    def take(self) -> Token:
        token = self.here
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def accept(self, *words: str) -> bool:
        """Step over ``words`` if they come next, whatever their case."""
        ahead = self.tokens[self.at : self.at + len(words)]
        if [token.text.upper() for token in ahead] != list(words):
            return False
        self.at += len(words)
        return True

    def expect(self, word: str) -> None:
        if not self.accept(word):
            raise _unexpected(self.here)

    def word(self) -> str:
        if self.here.kind != "word":
            raise _unexpected(self.here)
        return self.take().text

    def statement(self) -> Select:
        self.expect("SELECT")
        count, names = self.projection()
        self.expect("FROM")
        name = self.word()
        entity = BY_PATH.get(name.lower())
        if entity is None:
            raise _invalid(f"{name} is not a queryable entity")
        select = Select(entity, count)
        if names is not None:
            select.properties = [_projected(entity, each) for each in names]
        if self.accept("WHERE"):
            select.conditions.append(self.condition(entity))
            while self.accept("AND"):
                select.conditions.append(self.condition(entity))
        if self.accept("ORDERBY") or self.accept("ORDER", "BY"):
            select.order.append(self.sort_key(entity))
            while self.accept(","):
                select.order.append(self.sort_key(entity))
        self.page(select)
        self.accept(";")
        if self.here.kind != "end":
            raise _unexpected(self.here)
        return select

    def projection(self) -> tuple[bool, list[str] | None]:
        if self.here.kind == "count":
            self.take()
            return True, None
        star = False
        names: list[str] = []
        while True:
            if self.accept("*"):
                star = True
            else:
                names.append(self.word())
            if not self.accept(","):
                return False, None if star else names

    def condition(self, entity: Entity) -> Condition:
        path = _filterable(entity, self.word())
        if self.accept("IN"):
            self.expect("(")
            values = [self.literal()]
            while self.accept(","):
                values.append(self.literal())
            self.expect(")")
            return Condition(path, "IN", tuple(values))
        if self.accept("LIKE"):
            return Condition(path, "LIKE", (self.literal(),))
        if self.here.text not in _OPERATORS:
            raise _unexpected(self.here)
        return Condition(path, self.take().text, (self.literal(),))

    def literal(self) -> str | bool:
        token = self.here
        if token.kind == "string":
            self.take()
            return re.sub(r"\\(.)", r"\1", token.text[1:-1])
        if token.text.upper() in ("TRUE", "FALSE"):
            self.take()
            return token.text.upper() == "TRUE"
        if self.accept("CURRENT_DATE"):
            return "CURRENT_DATE"
        raise _unexpected(token)

    def sort_key(self, entity: Entity) -> Order:
        path = _filterable(entity, self.word())
        descending = self.accept("DESC")
        if not descending:
            self.accept("ASC")
        return Order(path, descending)

    def page(self, select: Select) -> None:
        while True:
            if self.accept("STARTPOSITION"):
                select.start = self.whole("STARTPOSITION")
            elif self.accept("MAXRESULTS"):
                select.limit = min(self.whole("MAXRESULTS"), PAGE_MAX)
            else:
                return

    def whole(self, what: str) -> int:
        if self.here.kind != "number" or "." in self.here.text or len(self.here.text) > 12:
            raise _unexpected(self.here)
        value = int(self.take().text)
        if value < 1:
            raise _invalid(f"{what} must be 1 or more, {value} was given")
        return value


def _filterable(entity: Entity, name: str) -> str:
    known = entity.filters.get(name.lower())
    if known is None:
        raise _invalid(f"Property {name} not found for Entity {entity.name} or is not queryable")
    return name.lower()


def _projected(entity: Entity, name: str) -> str:
    name = name.removesuffix(".*")  # all of a part, which is what naming the part gives
    head, _, rest = name.partition(".")
    known = {each.lower(): each for each in STRUCTS[entity.name]}.get(head.lower())
    if known is None:
        raise _invalid(f"Property {name} not found for Entity {entity.name}")
    exact = entity.filters.get(name.lower())
    if exact is not None:
        return exact[0]
    return f"{known}.{rest}" if rest else known
