"""What other users of the company do behind an application's back."""

from __future__ import annotations

from typing import Any

from qbo_sink.sandbox.books import Company, Stored
from qbo_sink.sandbox.entities import ENTITIES, Entity
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.schema import STRUCTS
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, write_json
from qbo_sink.sandbox.writes import Change


def edit(sandbox: Sandbox, company: Company, entity: str, id_: str, changes: Json) -> Json:
    """A sparse update with whatever token is current; the same rules as over the API."""
    kind, old = _addressed(sandbox, company, entity, id_)
    body = changes | {"sparse": True, "Id": id_, "SyncToken": str(old.token)}
    with sandbox.books.atomic():
        written = sandbox.writer(company).save(kind, body, write_json(body))
        sandbox.announce(company, written.changes)
    return written.reply


def remove(sandbox: Sandbox, company: Company, entity: str, id_: str) -> Json:
    """Delete a transaction."""
    kind, old = _addressed(sandbox, company, entity, id_)
    body = {"Id": id_, "SyncToken": str(old.token)}
    with sandbox.books.atomic():
        written = sandbox.writer(company).delete(kind, body, write_json(body))
        sandbox.announce(company, written.changes)
    return written.reply


def merge(sandbox: Sandbox, company: Company, entity: str, id_: str, into: str) -> Json:
    """The name ``id_`` is gone; everything that referred to it refers to ``into``."""
    kind, loser = _addressed(sandbox, company, entity, id_)
    _, survivor = _addressed(sandbox, company, entity, into)
    with sandbox.books.atomic():
        moved = [
            Change(name, each, "Update")
            for name in ENTITIES
            for each in _repoint(sandbox, company, ENTITIES[name], loser, survivor)
        ]
        sandbox.books.put(company, kind, loser.body | {"Active": False}, deleted=True)
        kept = sandbox.books.live(company.realm, entity, into)
        if kept is not None and "Balance" in kept.body:
            kept.body["Balance"] += loser.body["Balance"]
            sandbox.books.put(company, kind, kept.body, bump=False, quiet=True)
        changes = [Change(entity, into, "Merge"), *moved]
        sandbox.announce(company, changes, {"deletedId": id_})
    return {"survivor": into, "moved": len(moved)}


def prefer(sandbox: Sandbox, company: Company, changes: dict[str, Json]) -> Json:
    """Merge ``changes`` into the groups of the preferences; a null value unsets."""
    body = dict(sandbox.books.single(company.realm, "Preferences"))
    for group, values in changes.items():
        if group not in STRUCTS["Preferences"]:
            raise refused(2010, f"Property Name:{group} is no group of preferences", group)
        merged = body.get(group, {}) | values
        body[group] = {name: value for name, value in merged.items() if value is not None}
    with sandbox.books.atomic():
        stored = sandbox.books.put(company, ENTITIES["Preferences"], body)
        sandbox.announce(company, [Change("Preferences", "1", "Update")])
    return stored


def counts(sandbox: Sandbox, company: Company) -> Json:
    """Live objects by entity."""
    return {name: sandbox.books.count(company.realm, name) for name in ENTITIES}


def _addressed(sandbox: Sandbox, company: Company, entity: str, id_: str) -> tuple[Entity, Stored]:
    old = sandbox.books.live(company.realm, entity, id_)
    if entity not in ENTITIES or old is None:
        raise refused(610, f"Object Not Found : {entity} {id_} does not exist")
    return ENTITIES[entity], old


def _repoint(
    sandbox: Sandbox, company: Company, kind: Entity, loser: Stored, survivor: Stored
) -> list[str]:
    """Ids of ``kind`` whose references moved to the survivor."""
    target = loser.entity
    name = survivor.body[ENTITIES[target].name_property]
    moved = []
    for each in list(sandbox.books.facts(company.realm, kind)):
        stored = sandbox.books.live(company.realm, kind.name, str(each))
        new = {"value": survivor.id, "name": name}
        if stored is not None and _replace(stored.body, kind.name, target, loser.id, new):
            sandbox.books.put(company, kind, stored.body)
            moved.append(stored.id)
    return moved


def _replace(body: Json, struct: str, target: str, id_: str, new: Json) -> bool:
    found = False
    for name, prop in STRUCTS[struct].items():
        value: Any = body.get(name)
        if value is None or prop.type not in STRUCTS:
            continue
        if prop.type == "ref":
            if prop.arg == target and value.get("value") == id_:
                body[name] = dict(new)
                found = True
            continue
        for each in value if isinstance(value, list) else [value]:
            found = _replace(each, prop.type, target, id_, new) or found
    return found
