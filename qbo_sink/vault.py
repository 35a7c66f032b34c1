"""Secrets at rest: authenticated encryption with a key that is not in the database.

A sealed value is ``key id (4) ‖ nonce (12) ‖ ciphertext``, bound to the place where it is stored,
so that a value copied to another row or account does not open. Several keys may be given: the first
seals, all open (rotation). Markers are signed with keys derived from the same ones, per account.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from replica.errors import CorruptionError, MisuseError

KEY_BYTES = 32
_ID_BYTES = 4
_NONCE_BYTES = 12


class Vault:
    """Seals and opens secrets; never logs or returns a key."""

    def __init__(self, keys: tuple[bytes, ...]) -> None:
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise MisuseError(f"a secret key is {KEY_BYTES} bytes")
        self._keys = {_key_id(key): key for key in keys}
        self._first = keys[0]

    def seal(self, secret: str, place: bytes) -> bytes:
        """``secret`` encrypted for ``place`` (table, column and account)."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = ChaCha20Poly1305(self._first).encrypt(nonce, secret.encode(), place)
        return _key_id(self._first) + nonce + sealed

    def open(self, sealed: bytes, place: bytes) -> str:
        """What was sealed for ``place``. Raises ``CorruptionError`` for anything else."""
        key = self._keys.get(sealed[:_ID_BYTES])
        if key is None:
            raise CorruptionError(
                "a secret was sealed with a key that is not given",
                hint="name the former key in QBO_SECRET_KEY after the new one",
            )
        nonce = sealed[_ID_BYTES : _ID_BYTES + _NONCE_BYTES]
        try:
            opened = ChaCha20Poly1305(key).decrypt(nonce, sealed[_ID_BYTES + _NONCE_BYTES :], place)
        except InvalidTag as error:
            raise CorruptionError("a sealed secret does not belong where it was found") from error
        return opened.decode()

    def marker_keys(self, account: bytes) -> list[bytes]:
        """Keys that sign the markers of one account; the first signs, all verify."""
        return [
            HKDF(SHA256(), KEY_BYTES, salt=account, info=b"replica marker").derive(key)
            for key in self._keys.values()
        ]


def load_vault(environ: Mapping[str, str], beside: Path | None) -> Vault:
    """The vault of ``QBO_SECRET_KEY`` (base64, comma-separated) or ``QBO_SECRET_KEY_FILE``.

    With neither, a key file is kept next to the ledger's file ``beside``, readable by its owner
    only. Raises ``MisuseError`` when there is no file to keep it next to.
    """
    text = environ.get("QBO_SECRET_KEY", "")
    path = environ.get("QBO_SECRET_KEY_FILE", "")
    if not text and path:
        text = Path(path).read_text(encoding="ascii")
    if not text and beside is not None:
        text = _own_key_file(beside.with_suffix(".key"))
    if not text:
        raise MisuseError(
            "no key for the secrets of the QuickBooks sink",
            hint="set QBO_SECRET_KEY or QBO_SECRET_KEY_FILE to 32 bytes in base64",
        )
    try:
        parts = [part for part in text.replace("\n", ",").split(",") if part.strip()]
        return Vault(tuple(base64.b64decode(part.strip(), validate=True) for part in parts))
    except binascii.Error as error:
        raise MisuseError("QBO_SECRET_KEY is not base64") from error


def _own_key_file(path: Path) -> str:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii")
    text = base64.b64encode(os.urandom(KEY_BYTES)).decode("ascii")
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return text


def _key_id(key: bytes) -> bytes:
    return sha256(b"key id" + key).digest()[:_ID_BYTES]
