"""The request id: what makes QuickBooks answer a repeated write with its first response.

UUIDv5 over what the write means, so that a process that lost its memory makes the same id again
(quickbooks.md §2.2). The generation rises only after a definitive fault or an explicit resend,
never while the outcome is unknown.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from qbo_sink.model import Key, Op

_NAMESPACE = UUID("6b4f0d3e-9f2b-5a51-8a7e-3d1c5f0a9e42")


def requestid(realm: str, key: Key, op: Op, content_hash: str, generation: int) -> str:
    """Thirty-six characters: within the bound of single writes (50) and of batches (36)."""
    parts = (realm, key.entity, key.local_type, key.local_id, op, content_hash, str(generation))
    # Lengths keep two different tuples from joining into one text.
    return str(uuid5(_NAMESPACE, "|".join(f"{len(part)}:{part}" for part in parts)))
