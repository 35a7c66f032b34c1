"""Change data capture (section 1.9): what changed since a time, deletions included."""

from __future__ import annotations

from qbo_sink.sandbox.books import Books, Company, Stored
from qbo_sink.sandbox.entities import BY_PATH
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.values import Json, read_time_ms, stamp

DAYS_MAX = 30
OBJECTS_MAX = 1_000
_DAY_MS = 86_400_000


def changes(books: Books, company: Company, names: str, since: str, *, lag_ms: int = 0) -> Json:
    """One entry of ``CDCResponse``. ``lag_ms`` hides what is younger. Raises ``Refused``."""
    now = books.clock.now_ms()
    try:
        since_ms = read_time_ms(since, company.zone)
    except ValueError as problem:
        raise refused(2060, f"changedSince {since!r} is not a date and time") from problem
    if now - since_ms > DAYS_MAX * _DAY_MS:
        raise refused(2180, f"changedSince can be at most {DAYS_MAX} days back", "changedSince")
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise refused(2020, "Required parameter entities is missing", "entities")
    room = OBJECTS_MAX
    responses: list[Json] = []
    for name in wanted:
        entity = BY_PATH.get(name.lower())
        if entity is None or not entity.cdc:
            raise refused(4001, f"QueryValidationError: {name} does not support change data")
        found = books.changed_since(company.realm, entity.name, since_ms, now - lag_ms)[:room]
        room -= len(found)
        responses.append(_response(entity.element, found, company))
    return {"QueryResponse": responses}


def _response(name: str, found: list[Stored], company: Company) -> Json:
    if not found:
        return {}
    rows = [_deleted(each, company) if each.deleted else each.body for each in found]
    count = len(rows)
    return {name: rows, "startPosition": 1, "maxResults": count, "totalCount": count}


def _deleted(stored: Stored, company: Company) -> Json:
    when = stamp(stored.updated_ms, company.zone)
    return {
        "domain": "QBO",
        "status": "Deleted",
        "Id": stored.id,
        "MetaData": {"LastUpdatedTime": when},
    }
