"""Identifiers inside payloads: made by the author, unique without asking anybody.

An id is text of 1 to 64 characters of ``A-Z a-z 0-9 . _ : -``. A meaningful one (``c-17850``) is as
good as a minted one. A minted one is 26 characters of Crockford's base 32: 48 bits of milliseconds,
then 80 random bits, so that ids sort by the time of their making.
"""

from __future__ import annotations

import re

from replica.errors import MisuseError
from replica.events.payloads import ID_PATTERN
from replica.limits import ID_CHARS_MAX, STAMP_MS_MAX

RANDOM_BYTES = 10
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CHARS = 26
_BITS_PER_CHAR = 5
_matches = re.compile(ID_PATTERN).match


def make_id(now_ms: int, random_bytes: bytes) -> str:
    """A fresh id. ``random_bytes`` are ``RANDOM_BYTES`` from the caller's random source.

    ``now_ms`` is clamped into 48 bits: a wrong clock costs the sorting, never the order.
    """
    if len(random_bytes) != RANDOM_BYTES:
        raise MisuseError(f"{len(random_bytes)} random bytes, {RANDOM_BYTES} are needed")
    value = min(max(now_ms, 0), STAMP_MS_MAX) << (8 * RANDOM_BYTES)
    value |= int.from_bytes(random_bytes, "big")
    return "".join(
        _ALPHABET[(value >> (_BITS_PER_CHAR * place)) & 31] for place in reversed(range(_CHARS))
    )


def valid_id(text: str) -> bool:
    """Whether ``text`` may stand where a payload wants an id."""
    return len(text) <= ID_CHARS_MAX and _matches(text) is not None
