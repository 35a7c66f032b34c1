"""The marker: the last line of a private note, saying which local document this is.

``[rp:o:01J…:9fe2c1ab34cd]``: the type's first letter, the local id, and twelve hex characters of an
HMAC under a key of the account. It survives an edited document number and lets a lost ledger be
rebuilt from QuickBooks alone (quickbooks.md §2.2 layer 4). Signed, so that a copied note of another
company, or a line that somebody typed, is never adopted.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from hashlib import sha256

_SIGNATURE_CHARS = 12
_LETTERS = {"order": "o", "quote": "q", "customer": "c"}
_TYPES = {letter: name for name, letter in _LETTERS.items()}
_PATTERN = re.compile(r"\[rp:([oqc]):([A-Za-z0-9._:-]{1,64}):([0-9a-f]{12})\]\s*\Z")
_ELLIPSIS = "…"


def sign(key: bytes, local_type: str, local_id: str) -> str:
    """The marker line of one document."""
    return f"[rp:{_LETTERS[local_type]}:{local_id}:{_signature(key, local_type, local_id)}]"


def append(note: str, mark: str, limit: int) -> str:
    """``note`` with the marker as its last line, at most ``limit`` characters, with an ellipsis.

    The full note stays in the document here.
    """
    room = limit - len(mark) - 1
    text = note.rstrip()
    if len(text) > room:
        text = text[: room - 1].rstrip() + _ELLIPSIS
    return f"{text}\n{mark}" if text else mark


def find(keys: Sequence[bytes], note: object) -> tuple[str, str] | None:
    """``(local type, local id)`` when the note ends in a marker that one of ``keys`` signed."""
    match = _PATTERN.search(note) if isinstance(note, str) else None
    if match is None:
        return None
    local_type, local_id = _TYPES[match[1]], match[2]
    for key in keys:
        if hmac.compare_digest(match[3], _signature(key, local_type, local_id)):
            return local_type, local_id
    return None


def _signature(key: bytes, local_type: str, local_id: str) -> str:
    text = f"{local_type}|{local_id}".encode()
    return hmac.new(key, text, sha256).hexdigest()[:_SIGNATURE_CHARS]
