"""What the pull writes about records that both sides change. One transaction each; all block."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, delete, insert, select, update

from qbo_sink import schema
from qbo_sink.deciding import bring_in_step
from qbo_sink.followed import Became, followed
from qbo_sink.merge3 import Overruled
from qbo_sink.model import Entity, Key, content_hash
from qbo_sink.rows import (
    Answer,
    Mapping,
    columns,
    is_key,
    load,
    mapping_values,
    owner_of,
    reading,
    upsert,
    writing,
)
from replica.limits import QBO_OVERRULED_MAX

_wanted, _mappings, _overruled, _merges = (
    schema.wanted,
    schema.mappings,
    schema.overruled,
    schema.merges,
)


class Arrival(NamedTuple):
    """A record that was made there: what it will be here, its link, and the events that say so."""

    mapping: Mapping
    content: bytes
    answers: tuple[Answer, ...]


class Shown(NamedTuple):
    """A conflict for a page; the values as JSON. ``settled_by`` said that it is dealt with."""

    id: int
    key: Key
    field: str
    base: str
    ours: str
    theirs: str
    kept: str
    at_ms: int
    settled_ms: int
    settled_by: str


class MeetingStore:
    """Links, bases and conflicts of all accounts."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def met(
        self,
        account: bytes,
        mapping: Mapping,
        answers: Sequence[Answer],
        overruled: Sequence[Overruled],
        became: Became,
    ) -> None:
        """A row there was taken up: the new base, what is told here, and what was given up."""
        key, now_ms = mapping.key, mapping.updated_ms
        with writing(self._engine) as connection:
            known = connection.execute(select(_mappings).where(is_key(_mappings, account, key)))
            before = known.first()
            if before is None:
                return
            if before.drift != mapping.drift:
                report = followed(key, mapping.drift, became)
                answers = [*answers, report] if report else answers
            connection.execute(
                update(_mappings)
                .where(is_key(_mappings, account, key))
                .values(**mapping_values(mapping))
            )
            for answer in answers:
                connection.execute(
                    insert(schema.answers).values(account=account, **answer._asdict())
                )
            for one in overruled:
                values = {
                    name: json.dumps(getattr(one, name)) for name in ("base", "ours", "theirs")
                }
                connection.execute(
                    insert(_overruled).values(
                        **columns(account, key),
                        field=one.field,
                        kept=one.kept,
                        at_ms=now_ms,
                        **values,
                    )
                )
            if overruled:
                _forget_oldest(connection, account)
            bring_in_step(connection, account, [key], now_ms)

    def arrive(self, account: bytes, arrivals: Sequence[Arrival]) -> int:
        """Records that were made there become records here; how many were new."""
        taken = 0
        with writing(self._engine) as connection:
            keys = [arrival.mapping.key for arrival in arrivals]
            known = load(connection, _wanted, account, keys)
            for mapping, content, answers in arrivals:
                owner = owner_of(connection, mapping.realm, mapping.key.entity, mapping.external_id)
                if mapping.key in known or owner is not None:
                    continue
                hash_ = content_hash(content)
                place = columns(account, mapping.key)
                connection.execute(insert(_wanted).values(**place, hash=hash_, content=content))
                connection.execute(
                    insert(_mappings).values(**place, **{**mapping_values(mapping), "hash": hash_})
                )
                for answer in answers:
                    connection.execute(
                        insert(schema.answers).values(account=account, **answer._asdict())
                    )
                taken += 1
        return taken

    def note_merge(self, realm: str, entity: str, loser: str, survivor: str, at_ms: int) -> None:
        """The name ``loser`` became part of ``survivor`` there."""
        row = {
            "realm": realm,
            "entity": entity,
            "loser": loser,
            "survivor": survivor,
            "at_ms": at_ms,
        }
        with writing(self._engine) as connection:
            upsert(connection, _merges, [row], ["realm", "entity", "loser"])

    def survivors(self, realm: str) -> dict[tuple[str, str], str]:
        """(entity, id of a name that was merged) → id of the one that is left in the end."""
        with reading(self._engine) as connection:
            found = connection.execute(select(_merges).where(_merges.c.realm == realm))
            direct = {(row.entity, row.loser): row.survivor for row in found}
        resolved = {}
        for (entity, loser), survivor in direct.items():
            seen = {loser}
            while (entity, survivor) in direct and survivor not in seen:
                seen.add(survivor)
                survivor = direct[entity, survivor]  # noqa: PLW2901 - following the chain
            resolved[entity, loser] = survivor
        return resolved

    def unlinked(self, account: bytes, entity: Entity) -> dict[Key, bytes]:
        """Content of the records of ``entity`` that stand nowhere there yet."""
        joined = _wanted.outerjoin(
            _mappings,
            (_mappings.c.account == _wanted.c.account)
            & (_mappings.c.entity == _wanted.c.entity)
            & (_mappings.c.local_type == _wanted.c.local_type)
            & (_mappings.c.local_id == _wanted.c.local_id),
        )
        query = (
            select(_wanted.c.local_type, _wanted.c.local_id, _wanted.c.content)
            .select_from(joined)
            .where(
                _wanted.c.account == account,
                _wanted.c.entity == entity,
                _wanted.c.hash != "",
                _mappings.c.external_id.is_(None),
            )
        )
        with reading(self._engine) as connection:
            found = connection.execute(query)
            return {Key(entity, row.local_type, row.local_id): row.content for row in found}

    def contents(self, account: bytes, entity: Entity) -> dict[Key, bytes]:
        """Content of every record of ``entity``. For classes and departments, which are few."""
        query = select(_wanted).where(
            _wanted.c.account == account, _wanted.c.entity == entity, _wanted.c.hash != ""
        )
        with reading(self._engine) as connection:
            found = connection.execute(query)
            return {Key(entity, row.local_type, row.local_id): row.content for row in found}

    def overruled(self, account: bytes, limit: int) -> list[Shown]:
        """The newest conflicts, newest first."""
        query = select(_overruled).where(_overruled.c.account == account)
        with reading(self._engine) as connection:
            found = connection.execute(query.order_by(_overruled.c.id.desc()).limit(limit))
            return [
                Shown(
                    row.id,
                    Key(Entity(row.entity), row.local_type, row.local_id),
                    *(row.field, row.base, row.ours, row.theirs, row.kept, row.at_ms),
                    *(row.settled_ms, row.settled_by),
                )
                for row in found
            ]

    def settle(self, account: bytes, identity: int, by: str, now_ms: int) -> bool:
        """Somebody dealt with a conflict; False when somebody did before."""
        mine = (_overruled.c.account == account, _overruled.c.id == identity)
        with writing(self._engine) as connection:
            changed = connection.execute(
                update(_overruled)
                .where(*mine, _overruled.c.settled_ms == 0)
                .values(settled_ms=now_ms, settled_by=by)
            )
            return changed.rowcount == 1


def _forget_oldest(connection: object, account: bytes) -> None:
    """Keep the newest conflicts of an account."""
    kept = (
        select(_overruled.c.id)
        .where(_overruled.c.account == account)
        .order_by(_overruled.c.id.desc())
        .limit(QBO_OVERRULED_MAX)
    )
    gone = delete(_overruled).where(
        _overruled.c.account == account, _overruled.c.id.not_in(kept.scalar_subquery())
    )
    connection.execute(gone)  # type: ignore[attr-defined]
