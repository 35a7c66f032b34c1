"""Many enrolled devices without asking a server for each: written where a server will look."""

from __future__ import annotations

import secrets
from contextlib import closing
from pathlib import Path

from argon2 import PasswordHasher
from sqlalchemy import insert

from replica.device.journal import Identity
from replica.events.event import UUID_BYTES, AccountId, DeviceId
from replica.server.config import Config
from replica.server.stores import Stores, new_user
from replica.store.access import CODE_BYTES, TOKEN_BYTES, Role, make_code, make_token, token_digest
from replica.store.control import Control
from replica.store.tables import devices

NOW_MS = 1_790_000_000_000


def enrolled(data: Path, accounts: int, each: int) -> list[Identity]:
    """``accounts`` accounts of ``each`` devices in a new data directory; call before it is served.
    Devices of one account stand together."""
    with closing(Stores(Config(data=data))) as stores:
        # Nobody signs in here, and a good hash of a password takes a tenth of a second.
        stores.control = Control(stores.database, hasher=PasswordHasher(1, 8, 1))
        return [
            one for number in range(accounts) for one in _account(stores, f"fleet-{number}", each)
        ]


def _account(stores: Stores, name: str, each: int) -> list[Identity]:
    control = stores.control
    account = AccountId(secrets.token_bytes(UUID_BYTES))
    owner = new_user(name, secrets.token_urlsafe(), Role.OWNER)
    control.create_account(account, name, owner=owner, now_ms=NOW_MS)
    code, token = make_code(secrets.token_bytes(CODE_BYTES)), _token()
    control.open_enrolment(account, code, name=name, now_ms=NOW_MS)
    device = DeviceId(secrets.token_bytes(UUID_BYTES))
    first = control.enrol(code, device, token, source="benchmark", now_ms=NOW_MS)
    tokens = {first.device: token}
    tokens |= {DeviceId(secrets.token_bytes(UUID_BYTES)): _token() for _ in range(each - 1)}
    rows = [
        first._replace(device=one)._asdict() | {"token_hash": token_digest(secret)}
        for one, secret in tokens.items()
        if one != first.device
    ]
    if rows:
        with stores.database.writing() as connection:
            connection.execute(insert(devices), rows)
    return [Identity(account, one, secret, name, "") for one, secret in tokens.items()]


def _token() -> str:
    return make_token(secrets.token_bytes(TOKEN_BYTES))
