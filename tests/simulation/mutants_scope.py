"""Planted bugs about devices that hold a part of the account."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from replica.crdt.documents import DocKey
from replica.crdt.scope import Place, Scope
from replica.device import holding as device
from replica.device import mend, session
from replica.device import scope as device_scope
from replica.device.balance import balance
from replica.device.holding import Holding
from replica.server.scoped import Followed, ScopedSets
from replica.server.scopes import Scopes
from replica.sync.downstream import Downstream
from replica.sync.table import State
from tests.simulation.planting import Mutant, instead, planted, same


def _leave_at_once(_: Any) -> Any:
    def planted(holding: Holding, keys: Iterable[DocKey], position: int) -> set[DocKey]:
        change = holding.base.leave(sorted(keys))
        scope_at = holding.journal.place.scope_at
        balance(holding.journal, change, holding.own_behind, scope_at)
        holding.store(change, holding.journal.place)
        return set(change.gone)

    return planted


def _others_orders_too(belonging: Any) -> Any:
    def planted(self: Any, type_: str, facet: Any, own: bool, parent: Any) -> Any:
        found = belonging(self, type_, facet, own, parent)
        return Place.IN if found is Place.OUT and self.granted.orders == "own" else found

    return planted


def _first_scope_for_ever(of: Any) -> Any:
    def planted(self: Any, device: Any) -> Any:
        kept = self._kept.get((device.account, device.device))
        return of(self, device) if kept is None else kept

    return planted


def _with_the_log(init: Any) -> Any:
    return lambda self, **said: init(self, **{**said, "scoped": False})


def _whatever_waits(settled: Any) -> Any:
    return lambda self, device, version, pending: settled(self, device, version, 0)


def _never_made_anew(follow: Any) -> Any:
    def planted(self: Any, connection: Any, account: Any) -> None:
        take = self.members.take
        self.members.take = lambda rows: take(rows) or True
        follow(self, connection, account)

    return planted


def _cursor_of_a_life_that_ended(pull: Any) -> Any:
    async def planted(self: Any, apply: Any) -> None:
        await pull(self, apply)
        if apply is not None and self._peer.state is not State.LIVE:
            self._holding.received(*apply)

    return planted


def _stays_looked_at(settled: Any) -> Any:
    def planted(self: Holding, *said: Any) -> None:
        stored_ms = self.journal.place.stored_ms or 1
        settled(self, *said)
        self.keep(self.journal.place._replace(stored_ms=stored_ms))

    return planted


MUTANTS: dict[str, Mutant] = {
    "leave drops unsent work": planted(instead(mend, "_leave", _leave_at_once)),
    "a document outside the scope is sent": planted(
        instead(Scope, "_belonging", _others_orders_too)
    ),
    "the log is sent to who has a scope": planted(instead(Downstream, "__init__", _with_the_log)),
    "a widened scope brings only what is new": planted(
        instead(device_scope, "_equal", same(lambda holding, page: True))
    ),
    "a scope is that of the first question": planted(
        instead(ScopedSets, "_of", _first_scope_for_ever)
    ),
    "customers leave before the work about them": planted(
        instead(Scopes, "settled", _whatever_waits)
    ),
    "an order stays where its customer was": planted(instead(Followed, "follow", _never_made_anew)),
    "stock forgets what others sold": planted(
        instead(device_scope, "balance", same(lambda *_: None)),
        instead(mend, "balance", same(lambda *_: None)),
        instead(device, "balance", same(lambda *_: None)),
    ),
    "own work answered late is not looked at": planted(
        instead(Holding, "settled", _stays_looked_at)
    ),
    "a page moves the cursor of another life": planted(
        instead(session.Session, "_pull", _cursor_of_a_life_that_ended)
    ),
}
