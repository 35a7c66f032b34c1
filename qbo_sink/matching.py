"""Pairs of one name as somebody decides about them: the same, or kept apart (§2.1)."""

from __future__ import annotations

import asyncio
from functools import partial

from qbo_sink import remedies
from qbo_sink.ledger import Ledger
from qbo_sink.matches import APART, LINK, Match, MatchStore
from qbo_sink.model import Entity, Key
from qbo_sink.runner import Parts, Runner
from qbo_sink.session import Session
from qbo_sink.shown import APART as KEEP
from qbo_sink.shown import SAME
from replica.sink import Deed, Namesake, Refusal

_DECIDED = {LINK: "linked", APART: "kept apart"}


class Matching:
    """The desk over one sink's pairs."""

    def __init__(self, parts: Parts, runner: Runner) -> None:
        self._parts = parts
        self._runner = runner
        self._store = MatchStore(parts.ledger.engine)

    async def rows(self, account: bytes) -> list[Namesake]:
        """Every pair, open ones first."""
        found = await asyncio.to_thread(self._store.of, account)
        rows = [_row(match) for match in found.values()]
        return sorted(rows, key=lambda row: bool(row.decided))

    async def act(self, account: bytes, name: str, action: str, deed: Deed) -> None:
        """Decide about the pair ``name`` (``Entity:type:id``). Raises ``Refusal``."""
        key, match = await self._find(account, name)
        if action not in {SAME.name, KEEP.name}:
            raise Refusal("That cannot be done about a name.")
        if action == SAME.name:
            act = partial(_link, match.external_id)
            problem = await self._runner.remedy(account, key, act)
            if problem:
                raise Refusal(problem[:1].upper() + problem[1:] + ".")
        decision = LINK if action == SAME.name else APART
        now_ms = self._parts.now_ms()
        await asyncio.to_thread(self._store.decide, account, key, decision, deed.by, now_ms)
        await asyncio.to_thread(self._parts.ledger.wake_faulted, account, key)
        await self._runner.answer(account)

    async def _find(self, account: bytes, name: str) -> tuple[Key, Match]:
        entity, _, place = name.partition(":")
        local_type, _, local_id = place.partition(":")
        if entity in (Entity.CUSTOMER, Entity.ITEM):
            key = Key(Entity(entity), local_type, local_id)
            match = (await asyncio.to_thread(self._store.of, account)).get(key)
            if match is not None and not match.decision:
                return key, match
        raise Refusal("Nobody has to decide about that name any more.")


async def _link(external_id: str, session: Session, key: Key, ledger: Ledger) -> str:
    return await remedies.link_record(session, key, ledger, external_id)


def _row(match: Match) -> Namesake:
    decided = f"{_DECIDED[match.decision]} by {match.by}" if match.decision else ""
    return Namesake(
        id=f"match:{':'.join(match.key)}",
        local_type=match.key.local_type,
        local_id=match.key.local_id,
        name=match.name,
        there=match.shown,
        decided=decided,
        offers=() if decided else (SAME, KEEP),
    )
