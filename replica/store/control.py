"""Who may come in: accounts, users, web sessions, devices and their enrolment.

Secrets arrive in the clear once and are stored as hashes: passwords with argon2id, tokens and codes
with SHA-256, which is enough for random bits (reliability S1, S3, S4). Times and random bytes are
arguments. Blocking; run it off the event loop. Writes share the log's one writer connection.

The log knows nothing of this module: a device that was never enrolled and a revoked one differ
only here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from replica.errors import Forbidden, Malformed, MisuseError, Overloaded, Revoked
from replica.events.event import AccountId, DeviceId
from replica.limits import (
    ENROLMENT_CODE_TTL_MS,
    ENROLMENT_CODES_OPEN_MAX,
    PASSWORD_CHARS_MAX,
    PASSWORD_CHARS_MIN,
    SESSION_AGE_MS_MAX,
    SESSION_IDLE_MS_MAX,
    SESSION_TOUCH_MS,
)
from replica.store.access import (
    SALT_BYTES,
    Account,
    Device,
    NewUser,
    Role,
    Session,
    Touch,
    User,
    code_digest,
    token_digest,
)
from replica.store.engine import Database
from replica.store.tables import accounts, devices, enrolment_codes, users, web_sessions
from replica.store.tries import Tries, code_counters, login_counters


def _granted_nowhere(_: Sequence[bytes]) -> bytes:
    raise MisuseError("the code comes with a wish, and nobody is here who could grant it")


class Control:
    """Access control over an open database whose migrations have run.

    Every method may raise ``StoreUnavailable``, ``StorageFull`` and ``StoreFailed`` as
    :class:`replica.store.engine.Database` says. ``hasher`` is replaced in tests, where the cost of
    a password does not matter.
    """

    def __init__(self, database: Database, *, hasher: PasswordHasher | None = None) -> None:
        self._database = database
        self._tries = Tries(database)
        self._hasher = hasher or PasswordHasher()
        # Checked when a login is unknown, so that the answer takes as long as for a known one.
        self._nobody = self._hasher.hash("nobody", salt=bytes(SALT_BYTES))

    # Accounts and users ------------------------------------------------------------------------

    def create_account(self, account: AccountId, name: str, *, owner: NewUser, now_ms: int) -> User:
        """A company and its first user, in one transaction. Raises as :meth:`add_user`."""
        row = self._user_row(account, owner, now_ms)
        company = {"id": account, "name": name, "created_ms": now_ms}
        with self._database.writing() as connection:
            connection.execute(insert(accounts), company)
            return _add_user(connection, row)

    def accounts(self) -> list[Account]:
        """All companies, oldest first."""
        query = select(*_ACCOUNT_COLUMNS).order_by(accounts.c.created_ms, accounts.c.id)
        with self._database.reading() as connection:
            return [Account(*row) for row in connection.execute(query)]

    def account(self, account: AccountId) -> Account | None:
        """One company, None when unknown."""
        query = select(*_ACCOUNT_COLUMNS).where(accounts.c.id == account)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else Account(*row)

    def wish(self, account: AccountId) -> bytes | None:
        """What new devices of a company begin with, opaque here; None for everything."""
        query = select(accounts.c.wish).where(accounts.c.id == account)
        with self._database.reading() as connection:
            return connection.execute(query).scalar()

    def set_wish(self, account: AccountId, wish: bytes | None) -> None:
        """From now on new devices begin with ``wish``, also those whose codes are open already."""
        with self._database.writing() as connection:
            mine = accounts.c.id == account
            connection.execute(update(accounts).where(mine).values(wish=wish))

    def add_user(self, account: AccountId, user: NewUser, *, now_ms: int) -> User:
        """Raises ``Malformed`` for a password outside the limits and ``MisuseError`` for a login
        that is taken."""
        row = self._user_row(account, user, now_ms)
        with self._database.writing() as connection:
            return _add_user(connection, row)

    def users(self, account: AccountId) -> list[User]:
        """The people of one company by login."""
        query = select(*_USER_COLUMNS).where(users.c.account == account).order_by(users.c.login)
        with self._database.reading() as connection:
            return [_user(row) for row in connection.execute(query)]

    def check_password(self, login: str, password: str, *, source: str, now_ms: int) -> User:
        """The user with this login. ``source`` says where the try comes from, as an address.

        Raises one ``Forbidden`` for a wrong login and a wrong password alike, after the same work,
        and ``Overloaded`` with the time to wait after too many of them.
        """
        name = login.casefold()
        counters = login_counters(name, source)
        self._tries.check(counters, now_ms)
        query = select(users.c.password_hash, *_USER_COLUMNS).where(users.c.login == name)
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        stored = self._nobody if row is None else row.password_hash
        try:
            self._hasher.verify(stored, password[: PASSWORD_CHARS_MAX + 1])
        except VerifyMismatchError:
            row = None
        if row is None:
            self._tries.failed(counters, now_ms)
            raise Forbidden("login or password is wrong")
        self._tries.succeeded(counters)
        return _user(row[1:])

    def set_password(self, user: bytes, password: str, *, salt: bytes) -> None:
        """A new password; every session of the user ends. Raises ``Malformed`` as above."""
        hashed = self._hash(password, salt)
        with self._database.writing() as connection:
            connection.execute(update(users).where(users.c.id == user).values(password_hash=hashed))
            connection.execute(delete(web_sessions).where(web_sessions.c.user == user))

    def _user_row(self, account: AccountId, user: NewUser, now_ms: int) -> dict[str, Any]:
        return {
            "id": user.id,
            "account": account,
            "login": user.login.casefold(),
            "password_hash": self._hash(user.password, user.salt),
            "role": user.role.value,
            "created_ms": now_ms,
        }

    def _hash(self, password: str, salt: bytes) -> str:
        if not PASSWORD_CHARS_MIN <= len(password) <= PASSWORD_CHARS_MAX:
            raise Malformed(
                f"a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters"
            )
        return self._hasher.hash(password, salt=salt)

    # Web sessions ------------------------------------------------------------------------------

    def open_session(self, user: bytes, token: str, *, now_ms: int) -> None:
        """Start a session. Call after every login with a new ``token``: one that was known before
        the login is worth nothing to whoever planted it. Expired sessions are removed."""
        row = {
            "token_hash": token_digest(token),
            "user": user,
            "created_ms": now_ms,
            "seen_ms": now_ms,
            "expires_ms": now_ms + SESSION_AGE_MS_MAX,
        }
        with self._database.writing() as connection:
            connection.execute(delete(web_sessions).where(web_sessions.c.expires_ms <= now_ms))
            connection.execute(insert(web_sessions), row)

    def session(self, token: str, *, now_ms: int) -> Session | None:
        """The live session of ``token``; None when unknown, idle for too long or too old."""
        query = (
            select(
                web_sessions.c.created_ms,
                web_sessions.c.seen_ms,
                web_sessions.c.expires_ms,
                *_USER_COLUMNS,
            )
            .join(users, users.c.id == web_sessions.c.user)
            .where(web_sessions.c.token_hash == token_digest(token))
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        idle_ms = now_ms - row.seen_ms
        if now_ms >= row.expires_ms or idle_ms >= SESSION_IDLE_MS_MAX:
            return None
        if idle_ms >= SESSION_TOUCH_MS:
            self._see_session(token, now_ms)
        return Session(_user(row[3:]), row.created_ms, row.seen_ms, row.expires_ms)

    def _see_session(self, token: str, now_ms: int) -> None:
        with self._database.writing() as connection:
            connection.execute(
                update(web_sessions)
                .where(web_sessions.c.token_hash == token_digest(token))
                .values(seen_ms=now_ms)
            )

    def close_session(self, token: str) -> None:
        """End one session; nothing happens when it is unknown."""
        with self._database.writing() as connection:
            connection.execute(
                delete(web_sessions).where(web_sessions.c.token_hash == token_digest(token))
            )

    # Devices -----------------------------------------------------------------------------------

    def open_enrolment(
        self,
        account: AccountId,
        code: str,
        *,
        name: str,
        now_ms: int,
        user: bytes | None = None,
        wish: bytes | None = None,
    ) -> None:
        """Let one device in with ``code`` (:func:`make_code`) during the next ten minutes.

        ``wish``, opaque here, is what it begins with beyond what the account says.
        Raises ``Overloaded`` when ``ENROLMENT_CODES_OPEN_MAX`` codes of the account are open.
        """
        row = {
            "code_hash": code_digest(code),
            "account": account,
            "name": name,
            "user": user,
            "expires_ms": now_ms + ENROLMENT_CODE_TTL_MS,
            "used_ms": None,
            "wish": wish,
        }
        mine = enrolment_codes.c.account == account
        dead = (enrolment_codes.c.expires_ms <= now_ms) | enrolment_codes.c.used_ms.is_not(None)
        with self._database.writing() as connection:
            connection.execute(delete(enrolment_codes).where(mine, dead))
            count = select(func.count()).select_from(enrolment_codes).where(mine)
            if connection.execute(count).scalar_one() >= ENROLMENT_CODES_OPEN_MAX:
                raise Overloaded("too many enrolment codes are open")
            connection.execute(insert(enrolment_codes), row)

    def enrol(
        self,
        code: str,
        device: DeviceId,
        token: str,
        *,
        source: str,
        now_ms: int,
        software: str = "",
        first: Callable[[Sequence[bytes]], bytes] = _granted_nowhere,
    ) -> Device:
        """Use ``code`` up and register ``device`` with ``token`` and its first scope, all at once:
        nobody can use the token before the scope bounds it (CFG-05).

        ``first`` makes that scope of the wishes there are, the account's and then the code's; it
        is not asked when there is none. Of two that claim one code exactly one gets in. Raises one
        ``Forbidden`` for a wrong, used or expired code, ``Overloaded`` after too many of them from
        ``source``, ``MisuseError`` when the device is enrolled already, and what ``first`` raises;
        the code is then still good.
        """
        counters = code_counters(source)
        self._tries.check(counters, now_ms)
        with self._database.writing() as connection:
            claimed = _claim(connection, code, now_ms)
            if claimed is not None:
                wishes = [wish for wish in (claimed.account_wish, claimed.wish) if wish is not None]
                fresh = Device(
                    account=AccountId(claimed.account),
                    device=device,
                    name=claimed.name,
                    user=claimed.user,
                    created_ms=now_ms,
                    revoked_ms=None,
                    last_seen_ms=None,
                    offset_ms=0,
                    software=software,
                    scope=first(wishes) if wishes else None,
                )
                _add_device(connection, fresh, token)
                return fresh
        self._tries.failed(counters, now_ms)
        raise Forbidden("the code is wrong, used or expired")

    def check_token(self, token: str) -> Device:
        """The device that holds ``token``. Raises ``Forbidden`` when nobody does and ``Revoked``
        when it may no longer connect. The caller compares account and device of the hello."""
        query = select(*_DEVICE_COLUMNS).where(devices.c.token_hash == token_digest(token))
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise Forbidden("the token is unknown")
        device = Device(*row)
        if device.revoked_ms is not None:
            raise Revoked("the device was revoked")
        return device

    def device(self, account: AccountId, device: DeviceId) -> tuple[Device, bytes] | None:
        """One device of a company, revoked or not, with the hash of its token; None if there is
        none of this id."""
        query = select(*_DEVICE_COLUMNS, devices.c.token_hash).where(
            devices.c.account == account, devices.c.device == device
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else (Device(*row[:-1]), bytes(row[-1]))

    def devices(self, account: AccountId) -> list[Device]:
        """Every device of a company, revoked ones too, oldest first."""
        query = (
            select(*_DEVICE_COLUMNS)
            .where(devices.c.account == account)
            .order_by(devices.c.created_ms, devices.c.device)
        )
        with self._database.reading() as connection:
            return [Device(*row) for row in connection.execute(query)]

    def revoke(self, account: AccountId, device: DeviceId, *, now_ms: int) -> bool:
        """Shut a device out for good; False when it is unknown or already was. The caller closes
        its live connections (reliability S7)."""
        with self._database.writing() as connection:
            done = connection.execute(
                update(devices)
                .where(
                    devices.c.account == account,
                    devices.c.device == device,
                    devices.c.revoked_ms.is_(None),
                )
                .values(revoked_ms=now_ms)
            )
            return done.rowcount == 1

    def revoked_since(self, since_ms: int) -> list[tuple[AccountId, DeviceId]]:
        """Devices revoked at or after ``since_ms``: how other server processes learn of it."""
        query = select(devices.c.account, devices.c.device).where(devices.c.revoked_ms >= since_ms)
        with self._database.reading() as connection:
            return [
                (AccountId(row.account), DeviceId(row.device)) for row in connection.execute(query)
            ]

    def set_scope(
        self, account: AccountId, device: DeviceId, before: bytes | None, scope: bytes, now_ms: int
    ) -> bool:
        """Grant ``scope``, opaque here, in the place of ``before``; False when the device is
        unknown, revoked, or has another one by now. The caller sees to its connections."""
        mine = (devices.c.account == account) & (devices.c.device == device)
        as_before = devices.c.scope.is_(None) if before is None else devices.c.scope == before
        with self._database.writing() as connection:
            done = connection.execute(
                update(devices)
                .where(mine, devices.c.revoked_ms.is_(None), as_before)
                .values(scope=scope, scoped_ms=now_ms)
            )
            return done.rowcount == 1

    def scoped_since(self, since_ms: int) -> list[Device]:
        """Devices whose scope was granted at or after ``since_ms``: how other server processes
        learn of it."""
        query = select(*_DEVICE_COLUMNS).where(devices.c.scoped_ms >= since_ms)
        with self._database.reading() as connection:
            return [Device(*row) for row in connection.execute(query)]

    def touch(self, touches: Sequence[Touch]) -> None:
        """Note when devices were last seen and how their clocks stand; collect and call now and
        then, one transaction for all, since each costs a flush of the disk."""
        if not touches:
            return
        with self._database.writing() as connection:
            connection.execute(_TOUCH, [_touch_row(touch) for touch in touches])


_ACCOUNT_COLUMNS = tuple(accounts.c[name] for name in Account._fields)
_USER_COLUMNS = (users.c.id, users.c.account, users.c.login, users.c.role)
_DEVICE_COLUMNS = tuple(devices.c[name] for name in Device._fields)
_TOUCH = update(devices).where(
    devices.c.account == bindparam("of_account"), devices.c.device == bindparam("of_device")
)


def _touch_row(touch: Touch) -> dict[str, Any]:
    return {
        "of_account": touch.account,
        "of_device": touch.device,
        "last_seen_ms": touch.last_seen_ms,
        "offset_ms": touch.offset_ms,
        "software": touch.software,
    }


def _user(row: Sequence[Any] | Row[*tuple[Any, ...]]) -> User:
    identity, account, login, role = row
    return User(identity, AccountId(account), login, Role(role))


def _add_user(connection: Connection, row: dict[str, Any]) -> User:
    try:
        connection.execute(insert(users), row)
    except IntegrityError as error:
        raise MisuseError(f"the login {row['login']} is taken") from error
    return User(row["id"], AccountId(row["account"]), row["login"], Role(row["role"]))


def _add_device(connection: Connection, device: Device, token: str) -> None:
    row = device._asdict() | {"token_hash": token_digest(token)}
    try:
        connection.execute(insert(devices), row)
    except IntegrityError as error:
        raise MisuseError("the device is enrolled already") from error


def _claim(connection: Connection, code: str, now_ms: int) -> Row[*tuple[Any, ...]] | None:
    """Mark the code as used and give what it stands for, None when it is not good. The update
    itself is the test, so that two claims at once cannot both pass it."""
    mine = enrolment_codes.c.code_hash == code_digest(code)
    done = connection.execute(
        update(enrolment_codes)
        .where(mine, enrolment_codes.c.used_ms.is_(None), enrolment_codes.c.expires_ms > now_ms)
        .values(used_ms=now_ms)
    )
    if done.rowcount != 1:
        return None
    codes = enrolment_codes.c
    columns = (codes.account, codes.name, codes.user, codes.wish)
    joined = select(*columns, accounts.c.wish.label("account_wish")).join(
        accounts, accounts.c.id == codes.account
    )
    return connection.execute(joined.where(mine)).one()
