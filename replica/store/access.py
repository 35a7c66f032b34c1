"""Values of access control: who and what :class:`replica.store.control.Control` speaks of."""

from __future__ import annotations

import base64
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple

from replica.errors import MisuseError
from replica.events.event import AccountId, DeviceId

TOKEN_BYTES = 32
SALT_BYTES = 16
CODE_BYTES = 10


class Role(StrEnum):
    """What a user may do; the policy itself is the server's (reliability S8)."""

    OWNER = "owner"
    ADMIN = "admin"
    REP = "rep"
    VIEWER = "viewer"


class Account(NamedTuple):
    """One company."""

    id: AccountId
    name: str
    created_ms: int


class User(NamedTuple):
    """One person. ``login`` is unique over all accounts and compared without case."""

    id: bytes
    account: AccountId
    login: str
    role: Role


class NewUser(NamedTuple):
    """A person to let in. ``id`` is 16 bytes, ``salt`` is ``SALT_BYTES`` random bytes."""

    id: bytes
    login: str
    password: str
    salt: bytes
    role: Role

    def __repr__(self) -> str:
        """Without the password: values end up in logs."""
        return f"NewUser(login={self.login!r}, role={self.role.value!r})"


class Session(NamedTuple):
    """A login in the web main app."""

    user: User
    created_ms: int
    seen_ms: int
    expires_ms: int


class Device(NamedTuple):
    """An enrolled device as the office sees it. ``offset_ms`` is its clock minus ours."""

    account: AccountId
    device: DeviceId
    name: str
    user: bytes | None
    created_ms: int
    revoked_ms: int | None
    last_seen_ms: int | None
    offset_ms: int
    software: str
    scope: bytes | None = None  # what it holds, as the server granted it; None for everything


class Touch(NamedTuple):
    """News of a device from its connection."""

    account: AccountId
    device: DeviceId
    last_seen_ms: int
    offset_ms: int
    software: str


def make_token(random: bytes) -> str:
    """The text of a device or session token from ``TOKEN_BYTES`` random bytes."""
    if len(random) != TOKEN_BYTES:
        raise MisuseError(f"a token needs {TOKEN_BYTES} random bytes")
    return base64.urlsafe_b64encode(random).rstrip(b"=").decode()


def make_code(random: bytes) -> str:
    """An enrolment code from ``CODE_BYTES`` random bytes: 16 letters and digits in fours, 80 bits.

    Guessing is hopeless by arithmetic, whoever counts the tries: with ``ENROLMENT_CODES_OPEN_MAX``
    codes open and a million tries a second for a code's whole life, the odds are below 10^-13.
    """
    if len(random) != CODE_BYTES:
        raise MisuseError(f"a code needs {CODE_BYTES} random bytes")
    text = base64.b32encode(random).decode()
    return "-".join(text[start : start + 4] for start in range(0, len(text), 4))


def token_digest(token: str) -> bytes:
    """What is stored of a token."""
    return sha256(token.encode()).digest()


def code_digest(code: str) -> bytes:
    """What is stored of a code. Codes are typed by people: case, dashes and blanks do not count."""
    return token_digest(code.upper().replace("-", "").replace(" ", ""))
