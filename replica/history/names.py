"""Ids made from what the file says, so that loading a file twice names the same documents.

An id is 1 to 64 characters of ``A-Za-z0-9._:-``. Letters, digits, ``-`` and ``_`` of the source
stand for themselves where ids allow them; every other byte of its UTF-8 becomes ``.XX``. Two
sources never share an id; one too long ends in part of its SHA-256.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import sha256

from replica.limits import ID_CHARS_MAX

_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
_PREFIX_CHARS = 16
_HASH_CHARS = 32


@lru_cache(maxsize=65_536)
def product_id(stock_code: str) -> str:
    return _id("p-", stock_code)


@lru_cache(maxsize=65_536)
def customer_id(customer: str) -> str:
    return _id("c-", customer)


@lru_cache(maxsize=1_024)
def walk_in_id(country: str) -> str:
    """The customer that stands for everybody unnamed in ``country``."""
    return _id("w-", country)


def document_id(invoice: str, part: int, *, is_return: bool) -> str:
    """Part 1 carries the plain id; further parts of an oversized invoice are numbered.

    ``:`` never comes out of a source, so a part cannot be taken for another invoice.
    """
    plain = _id("r-" if is_return else "o-", invoice)
    return plain if part == 1 else f"{plain}:{part}"


def _id(prefix: str, source: str) -> str:
    escaped = "".join(
        char if char in _PLAIN else "".join(f".{byte:02X}" for byte in char.encode())
        for char in source
    )
    # Room for the part number of a split invoice.
    if len(prefix) + len(escaped) <= ID_CHARS_MAX - 6:
        return prefix + escaped
    return f"{prefix}{escaped[:_PREFIX_CHARS]}:{sha256(source.encode()).hexdigest()[:_HASH_CHARS]}"
