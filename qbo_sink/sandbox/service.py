"""The sandbox as one object: books, clock, switches, grants and what the control routes change."""

from __future__ import annotations

from typing import Any

import msgspec

from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.clock import Clock
from qbo_sink.sandbox.company import seed
from qbo_sink.sandbox.grants import Grants
from qbo_sink.sandbox.injection import Plan
from qbo_sink.sandbox.switches import Settings, Switches
from qbo_sink.sandbox.throttle import ANSWER_S, Throttle
from qbo_sink.sandbox.values import Json
from qbo_sink.sandbox.webhooks import Notices
from qbo_sink.sandbox.writes import Change, Writer


class Sandbox:
    """Opens the books at ``path`` and seeds the sample company if they are new."""

    def __init__(self, path: str, settings: Settings, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self.books = Books(path, clock)
        self.grants = Grants(self.books)
        self.throttle = Throttle()
        self.on_port = False  # answers leave no faster than the product's while throttling
        self.plan = Plan()
        kept = self.books.setting("switches")
        self.switches = (
            settings.switches if kept is None else msgspec.json.decode(kept, type=Switches)
        )
        self.notices = Notices(self.books, settings)
        if self.books.company(settings.realm) is None:
            seed(self.books, settings.realm, settings.country)

    @property
    def home(self) -> Company:
        """The company that the sandbox was started with."""
        found = self.books.company(self.settings.realm)
        if found is None:
            raise LookupError("the sample company is missing")
        return found

    @property
    def answer_s(self) -> float:
        """How long an answer of the accounting API takes at least, in seconds."""
        return ANSWER_S if self.on_port and self.switches.throttle else 0.0

    def close(self) -> None:
        """Let go of the books."""
        self.books.close()

    def flip(self, changes: dict[str, Any]) -> Switches:
        """Change switches and keep them. Raises ``msgspec.ValidationError``."""
        self.switches = msgspec.convert(msgspec.to_builtins(self.switches) | changes, Switches)
        with self.books.atomic():
            self.books.keep_setting("switches", msgspec.json.encode(self.switches).decode())
        return self.switches

    def move_clock(self, offset_ms: int) -> None:
        """Set the clock's offset from the machine's time."""
        self.clock.offset_ms = offset_ms
        with self.books.atomic():
            self.books.keep_setting("clock_offset_ms", str(offset_ms))

    def writer(self, company: Company, include: frozenset[str] = frozenset()) -> Writer:
        """Writes on ``company`` under the present switches."""
        return Writer(self.books, company, self.switches, include)

    def announce(self, company: Company, changes: list[Change], extra: Json | None = None) -> None:
        """Put change notices into the outbox; inside ``books.atomic()``."""
        self.notices.put(company, changes, self.switches, extra)
