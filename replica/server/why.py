"""Why a document is as it is, for the API and for a page: explained, timed, and by name."""

from __future__ import annotations

import asyncio
from typing import Any

from replica.crdt.documents import DOCUMENT_TYPES, DocKey
from replica.events.event import AccountId
from replica.projections import queries
from replica.projections.why import explained
from replica.server.answers import NotFound
from replica.server.runtime import Runtime


async def why(runtime: Runtime, account: AccountId, key: DocKey, field: str) -> dict[str, Any]:
    """``type``, ``id``, ``position`` of the documents, and ``fields`` as in
    :func:`replica.projections.why.explained`, every event with ``by``, its writer's name.

    All fields when ``field`` is empty. Raises ``NotFound`` for an unknown document or field.
    """
    if key.type not in DOCUMENT_TYPES:
        raise NotFound(
            f"there is no {key.type!r}", hint=f"a type is one of {', '.join(DOCUMENT_TYPES)}"
        )
    rows = await runtime.devices.rows(account)
    names = {row.id: row.name for row in rows} | runtime.local_names(account)
    position, found = await asyncio.to_thread(_read, runtime, account, key, field, list(names))
    if not found:
        raise NotFound(f"{key.type} {key.id} has no field {field!r}")
    for said in (said for one in found for said in (*one["winners"], *one["losers"])):
        said["by"] = names.get(said["device"], "") if said["device"] else ""
    return {"type": key.type, "id": key.id, "position": position, "fields": found}


def _read(
    runtime: Runtime, account: AccountId, key: DocKey, field: str, devices: list[str]
) -> tuple[int, list[dict[str, Any]]]:
    with runtime.stores.views.reading() as connection:
        document = queries.document(connection, account, key)
        position, _ = queries.sections(connection, account)
    if document is None:
        raise NotFound(f"there is no {key.type} {key.id!r}")
    ids = [bytes.fromhex(device) for device in devices]
    return position, explained(runtime.stores.log, account, ids, document, field)
