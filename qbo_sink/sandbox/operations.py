"""One write of one object, however it arrives: alone or as an item of a batch."""

from __future__ import annotations

from typing import Any

from qbo_sink.sandbox import recurring
from qbo_sink.sandbox.entities import Entity
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.writes import Writer, Written


def perform(writer: Writer, entity: Entity, operation: str, raw: Any, source: bytes) -> Written:
    """``operation`` as the query string or the item says it. Raises ``Refused``; 500 if unknown.

    Inside ``books.atomic()``.
    """
    if operation not in ("", "create", "update", "delete", "void"):
        raise refused(500, f"Operation {operation} is not supported for {entity.name}")
    is_void = operation == "void" or "void" in writer.include
    if entity.name == "RecurringTransaction" and not is_void:
        is_delete = operation == "delete"
        return recurring.delete(writer, raw) if is_delete else recurring.save(writer, raw, source)
    if operation == "delete":
        return writer.delete(entity, raw, source)
    return writer.void(entity, raw, source) if is_void else writer.save(entity, raw, source)
