"""Carried files between their preview and their import, and what became of them.

They lie in the data directory, readable by its owner alone, for a day and a few per account. All of
it may be deleted: then the file is chosen again. Methods block.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from replica.errors import StorageFull, StoreUnavailable
from replica.events.event import AccountId
from replica.limits import UPLOAD_AGE_S, UPLOADS_MAX
from replica.server.answers import NotFound
from replica.sync.carry import file_sum

_RESULT = ".json"


class Uploads:
    """The files of all accounts, each under the sum that names it (64 hexadecimal digits)."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def put(self, account: AccountId, data: bytes, now_s: float) -> str:
        """Keep a file that was read without an error; its name. What came of it before, if it was
        here, is forgotten. Raises ``StorageFull`` and ``StoreUnavailable``."""
        name = file_sum(data).hex()
        self.drop(account, name)
        self._write(self._path(account, name), data)
        self._sweep(account, now_s)
        return name

    def get(self, account: AccountId, name: str) -> bytes:
        """Raises ``NotFound`` when it was discarded, or never here."""
        try:
            return self._path(account, name).read_bytes()
        except OSError as error:
            raise NotFound(
                "This file is not here any more.", hint="Choose it again; nothing is added twice."
            ) from error

    def put_result(self, account: AccountId, name: str, result: dict[str, Any]) -> None:
        """Keep what an import answered. Raises as :meth:`put`."""
        self._write(self._path(account, name + _RESULT), msgspec.json.encode(result))

    def result(self, account: AccountId, name: str) -> dict[str, Any] | None:
        """What the import answered; None before it."""
        try:
            found: dict[str, Any] = msgspec.json.decode(
                self._path(account, name + _RESULT).read_bytes()
            )
        except (OSError, msgspec.DecodeError):
            return None
        return found

    def drop(self, account: AccountId, name: str) -> None:
        """Forget a file and what came of it."""
        for one in (name, name + _RESULT):
            with suppress(OSError):
                self._path(account, one).unlink()

    def _path(self, account: AccountId, name: str) -> Path:
        return self._directory / account.hex() / name

    def _write(self, path: Path, data: bytes) -> None:
        part = path.with_name(path.name + ".part")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(
                os.open(part, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "wb"
            ) as new:
                new.write(data)
            part.replace(path)
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            kind = StorageFull if error.errno == errno.ENOSPC else StoreUnavailable
            raise kind(f"the file cannot be kept: {error.strerror}") from error

    def _sweep(self, account: AccountId, now_s: float) -> None:
        """The oldest go when there are too many, and all that nobody came back for."""
        ages: list[tuple[float, str]] = []
        for path in self._path(account, "").iterdir():
            if not path.name.endswith(_RESULT):
                with suppress(OSError):
                    ages.append((now_s - path.stat().st_mtime, path.name))
        for number, (age_s, name) in enumerate(sorted(ages)):
            if number >= UPLOADS_MAX or age_s > UPLOAD_AGE_S:
                self.drop(account, name)
