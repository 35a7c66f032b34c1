"""Who may come in, and who may not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from argon2 import PasswordHasher
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from replica.errors import Forbidden, Malformed, MisuseError, Overloaded, ReplicaError, Revoked
from replica.events.event import AccountId, DeviceId
from replica.limits import (
    ENROLMENT_CODE_TTL_MS,
    ENROLMENT_CODES_OPEN_MAX,
    LOGIN_TRIES_FREE,
    PASSWORD_CHARS_MAX,
    SESSION_AGE_MS_MAX,
    SESSION_IDLE_MS_MAX,
    SESSION_TOUCH_MS,
    SOURCE_TRIES_FREE,
    TRY_FORGET_MS,
    TRY_WAIT_MS_MAX,
    TRY_WAIT_MS_MIN,
)
from replica.store.access import (
    CODE_BYTES,
    SALT_BYTES,
    TOKEN_BYTES,
    NewUser,
    Role,
    Touch,
    User,
    make_code,
    make_token,
)
from replica.store.control import Control
from replica.store.engine import Database
from replica.store.tables import metadata
from replica.store.tries import wait_ms

NOW_MS = 1_750_000_000_000
PASSWORD = "correct horse battery"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture
def control(database: Database) -> Control:
    """Access control with cheap passwords."""
    return Control(database, hasher=CHEAP)


def new_user(login: str, role: Role = Role.OWNER, password: str = PASSWORD) -> NewUser:
    """Somebody to let in."""
    return NewUser(os.urandom(16), login, password, os.urandom(SALT_BYTES), role)


def token() -> str:
    """A fresh token."""
    return make_token(os.urandom(TOKEN_BYTES))


def code() -> str:
    """A fresh enrolment code."""
    return make_code(os.urandom(CODE_BYTES))


def somewhere() -> str:
    """An address nobody tried from before."""
    return f"addr-{os.urandom(6).hex()}"


@pytest.fixture
def owner(control: Control, account: AccountId) -> User:
    """The owner of the test's account."""
    login = f"Owner-{account.hex()}"
    return control.create_account(account, "Acme", owner=new_user(login), now_ms=NOW_MS)


@pytest.fixture
def device() -> DeviceId:
    """A device id nobody has."""
    return DeviceId(os.urandom(16))


def test_an_account_starts_with_its_owner(
    control: Control, owner: User, account: AccountId
) -> None:
    """Creating an account makes its first user, who can log in whatever the case of the login."""
    found = control.account(account)
    assert found is not None
    assert (found.name, found.created_ms) == ("Acme", NOW_MS)
    assert found in control.accounts()
    assert control.account(AccountId(os.urandom(16))) is None
    login = owner.login.upper()
    assert control.check_password(login, PASSWORD, source=somewhere(), now_ms=NOW_MS) == owner
    assert control.users(account) == [owner]
    assert owner.role is Role.OWNER


def test_a_login_belongs_to_one_person(control: Control, owner: User, account: AccountId) -> None:
    """A taken login is refused, in any account and any case, and nothing of it stays."""
    control.add_user(account, new_user(f"rep-{account.hex()}", Role.REP), now_ms=NOW_MS)
    for taken in (owner.login, owner.login.upper()):
        with pytest.raises(MisuseError):
            control.add_user(account, new_user(taken, Role.REP), now_ms=NOW_MS)
    other = AccountId(os.urandom(16))
    with pytest.raises(MisuseError):
        control.create_account(other, "Other", owner=new_user(owner.login), now_ms=NOW_MS)
    assert control.account(other) is None


@pytest.mark.parametrize("password", ["", "short", "x" * (PASSWORD_CHARS_MAX + 1)])
def test_weak_and_endless_passwords_are_refused(
    control: Control, account: AccountId, password: str
) -> None:
    """A password outside the limits is refused before anything is written (S1)."""
    with pytest.raises(Malformed):
        control.create_account(
            account, "Acme", owner=new_user("somebody", password=password), now_ms=NOW_MS
        )
    assert control.account(account) is None


def test_a_wrong_login_and_a_wrong_password_look_the_same(control: Control, owner: User) -> None:
    """Both get the same error, so that nobody can probe for logins (S1)."""
    texts = set()
    for login, password in ((owner.login, "wrong password"), ("nobody at all", PASSWORD)):
        with pytest.raises(Forbidden) as caught:
            control.check_password(login, password, source=somewhere(), now_ms=NOW_MS)
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_a_new_password_ends_every_session(control: Control, owner: User) -> None:
    """After a change the old password and all sessions are worth nothing (S3)."""
    session = token()
    control.open_session(owner.id, session, now_ms=NOW_MS)
    control.set_password(owner.id, "another long password", salt=os.urandom(SALT_BYTES))
    assert control.session(session, now_ms=NOW_MS) is None
    with pytest.raises(Forbidden):
        control.check_password(owner.login, PASSWORD, source=somewhere(), now_ms=NOW_MS)
    control.check_password(owner.login, "another long password", source=somewhere(), now_ms=NOW_MS)


def test_guessing_slows_down_but_locks_nobody_out(control: Control, owner: User) -> None:
    """After some wrong tries one source has to wait, longer each time; the owner gets in from
    elsewhere, and from there too once the wait is over (S2)."""
    attacker = somewhere()
    for _ in range(LOGIN_TRIES_FREE):
        with pytest.raises(Forbidden):
            control.check_password(owner.login, "wrong password", source=attacker, now_ms=NOW_MS)
    with pytest.raises(Overloaded) as caught:
        control.check_password(owner.login, PASSWORD, source=attacker, now_ms=NOW_MS)
    assert caught.value.retry_after_ms == TRY_WAIT_MS_MIN
    control.check_password(owner.login, PASSWORD, source=somewhere(), now_ms=NOW_MS)
    later = NOW_MS + TRY_WAIT_MS_MIN
    assert control.check_password(owner.login, PASSWORD, source=attacker, now_ms=later) == owner
    assert control.check_password(owner.login, PASSWORD, source=attacker, now_ms=later) == owner


def test_one_source_cannot_try_many_logins(control: Control) -> None:
    """Wrong tries of one address count together over all logins, and are forgotten after a time
    without any (S2)."""
    attacker = somewhere()
    for number in range(SOURCE_TRIES_FREE):
        with pytest.raises(Forbidden):
            control.check_password(f"user{number}", PASSWORD, source=attacker, now_ms=NOW_MS)
    with pytest.raises(Overloaded):
        control.check_password("one more", PASSWORD, source=attacker, now_ms=NOW_MS)
    with pytest.raises(Overloaded):
        control.enrol(code(), DeviceId(os.urandom(16)), token(), source=attacker, now_ms=NOW_MS)
    with pytest.raises(Forbidden):
        control.check_password("x", PASSWORD, source=attacker, now_ms=NOW_MS + TRY_FORGET_MS + 1)


@given(st.integers(0, 10_000), st.integers(0, 100))
def test_waits_grow_and_are_bounded(failures: int, free: int) -> None:
    """The wait never shrinks with more failures and never passes its bound (S2)."""
    assert wait_ms(failures, free) <= wait_ms(failures + 1, free) <= TRY_WAIT_MS_MAX
    assert (wait_ms(failures, free) == 0) == (failures < free)


def test_sessions_end(control: Control, owner: User) -> None:
    """A session ends when it idles, when it is too old, and when it is closed (S3)."""
    session = token()
    control.open_session(owner.id, session, now_ms=NOW_MS)
    found = control.session(session, now_ms=NOW_MS + 1)
    assert found is not None
    assert found.user == owner
    assert control.session(session, now_ms=NOW_MS + SESSION_IDLE_MS_MAX) is None
    assert control.session(token(), now_ms=NOW_MS) is None
    now_ms = NOW_MS
    while now_ms < NOW_MS + SESSION_AGE_MS_MAX:
        assert control.session(session, now_ms=now_ms) is not None
        now_ms += SESSION_IDLE_MS_MAX - SESSION_TOUCH_MS
    assert control.session(session, now_ms=NOW_MS + SESSION_AGE_MS_MAX) is None
    again = token()
    control.open_session(owner.id, again, now_ms=now_ms)
    control.close_session(again)
    control.close_session(again)
    assert control.session(again, now_ms=now_ms) is None


def test_a_code_lets_one_device_in(
    control: Control, owner: User, account: AccountId, device: DeviceId
) -> None:
    """A code, typed in any way, enrols the device under its account, name and user, once (S4)."""
    mine, key = code(), token()
    control.open_enrolment(account, mine, name="Ana's phone", user=owner.id, now_ms=NOW_MS)
    typed = mine.lower().replace("-", " ")
    enrolled = control.enrol(
        typed, device, key, source=somewhere(), now_ms=NOW_MS + 1, software="device/1"
    )
    assert (enrolled.account, enrolled.name, enrolled.user) == (account, "Ana's phone", owner.id)
    assert control.check_token(key) == enrolled
    assert control.devices(account) == [enrolled]
    with pytest.raises(Forbidden):
        control.enrol(mine, DeviceId(os.urandom(16)), token(), source=somewhere(), now_ms=NOW_MS)


def test_a_device_comes_in_with_its_first_scope(
    control: Control, owner: User, account: AccountId, device: DeviceId
) -> None:
    """The scope made of the account's wish and then the code's is there with the token; while none
    can be made the device stays out and the code good, and nobody forgets to ask (CFG-05)."""
    mine, key = code(), token()
    control.set_wish(account, b"account")
    control.open_enrolment(account, mine, name="phone", now_ms=NOW_MS, wish=b"code")
    control.open_enrolment(account, plain := code(), name="till", user=owner.id, now_ms=NOW_MS)

    def failing(_: Sequence[bytes]) -> bytes:
        raise Malformed("no scope can say that")

    with pytest.raises(Malformed):
        control.enrol(mine, device, key, source=somewhere(), now_ms=NOW_MS, first=failing)
    with pytest.raises(MisuseError):
        control.enrol(mine, device, key, source=somewhere(), now_ms=NOW_MS)
    assert control.devices(account) == []
    control.enrol(mine, device, key, source=somewhere(), now_ms=NOW_MS, first=b"+".join)
    assert control.check_token(key).scope == b"account+code"
    other = DeviceId(os.urandom(16))
    made = control.enrol(plain, other, token(), source=somewhere(), now_ms=NOW_MS, first=b"+".join)
    assert made.scope == b"account"
    control.set_wish(account, None)
    assert control.wish(account) is None


def test_wrong_and_late_codes_are_refused_alike(
    control: Control, owner: User, account: AccountId, device: DeviceId
) -> None:
    """A code that is wrong and one that expired get the same answer (S4)."""
    late = code()
    control.open_enrolment(account, late, name="phone", now_ms=NOW_MS)
    texts = set()
    for claimed in (late, code()):
        with pytest.raises(Forbidden) as caught:
            control.enrol(
                claimed,
                device,
                token(),
                source=somewhere(),
                now_ms=NOW_MS + ENROLMENT_CODE_TTL_MS,
            )
        texts.add(str(caught.value))
    assert len(texts) == 1
    assert control.devices(account) == []
    assert owner.account == account


def test_of_two_claims_of_one_code_one_wins(
    control: Control, owner: User, account: AccountId
) -> None:
    """Claiming a code from many places at once enrols exactly one device (S4)."""
    mine = code()
    control.open_enrolment(account, mine, name="phone", user=owner.id, now_ms=NOW_MS)
    start = Barrier(4)

    def claim() -> bool:
        start.wait()
        try:
            control.enrol(
                mine, DeviceId(os.urandom(16)), token(), source=somewhere(), now_ms=NOW_MS
            )
        except Forbidden:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        claims = [pool.submit(claim) for _ in range(4)]
        assert sum(claimed.result() for claimed in claims) == 1
    assert len(control.devices(account)) == 1


def test_a_known_device_keeps_the_code_good(
    control: Control, owner: User, account: AccountId, device: DeviceId
) -> None:
    """Enrolling a device id twice is refused and does not use the second code up."""
    first, second = code(), code()
    for each in (first, second):
        control.open_enrolment(account, each, name="phone", user=owner.id, now_ms=NOW_MS)
    control.enrol(first, device, token(), source=somewhere(), now_ms=NOW_MS)
    with pytest.raises(MisuseError):
        control.enrol(second, device, token(), source=somewhere(), now_ms=NOW_MS)
    control.enrol(second, DeviceId(os.urandom(16)), token(), source=somewhere(), now_ms=NOW_MS)


def test_open_codes_are_bounded(control: Control, owner: User, account: AccountId) -> None:
    """An account can have so many codes open; expired ones make room (I-20)."""
    for _ in range(ENROLMENT_CODES_OPEN_MAX):
        control.open_enrolment(account, code(), name="phone", user=owner.id, now_ms=NOW_MS)
    with pytest.raises(Overloaded):
        control.open_enrolment(account, code(), name="phone", now_ms=NOW_MS)
    later = NOW_MS + ENROLMENT_CODE_TTL_MS
    control.open_enrolment(account, code(), name="phone", now_ms=later)


def test_revocation_is_for_good(
    control: Control, owner: User, account: AccountId, device: DeviceId
) -> None:
    """A revoked device's token is refused as revoked, everywhere at once, and it can be revoked
    only once (S7, I-18)."""
    mine, key = code(), token()
    control.open_enrolment(account, mine, name="phone", user=owner.id, now_ms=NOW_MS)
    control.enrol(mine, device, key, source=somewhere(), now_ms=NOW_MS)
    assert control.revoke(account, device, now_ms=NOW_MS + 5)
    assert not control.revoke(account, device, now_ms=NOW_MS + 6)
    assert not control.revoke(AccountId(os.urandom(16)), device, now_ms=NOW_MS)
    with pytest.raises(Revoked):
        control.check_token(key)
    assert (account, device) in control.revoked_since(NOW_MS + 5)
    assert (account, device) not in control.revoked_since(NOW_MS + 6)
    assert [known.revoked_ms for known in control.devices(account)] == [NOW_MS + 5]


def test_an_unknown_token_is_refused(control: Control) -> None:
    """A token nobody was given opens nothing (S5)."""
    with pytest.raises(Forbidden):
        control.check_token(token())
    with pytest.raises(Forbidden):
        control.check_token("")


def test_devices_are_seen_together(control: Control, owner: User, account: AccountId) -> None:
    """What connections tell of many devices is noted in one go."""
    touches = []
    for number in range(3):
        mine, device = code(), DeviceId(os.urandom(16))
        control.open_enrolment(account, mine, name="phone", user=owner.id, now_ms=NOW_MS)
        control.enrol(mine, device, token(), source=somewhere(), now_ms=NOW_MS + number)
        touches.append(Touch(account, device, NOW_MS + 100 + number, -5 * number, "device/2"))
    control.touch(touches)
    control.touch([])
    seen = [(d.account, d.device, d.last_seen_ms, d.offset_ms, d.software)
            for d in control.devices(account)]  # fmt: skip
    assert seen == [tuple(touch) for touch in touches]


def test_no_secret_is_stored_or_shown(
    control: Control, database: Database, owner: User, account: AccountId, device: DeviceId
) -> None:
    """Passwords, tokens and codes are nowhere in the database and in no representation (S23)."""
    mine, key, session = code(), token(), token()
    control.open_session(owner.id, session, now_ms=NOW_MS)
    control.open_enrolment(account, mine, name="phone", user=owner.id, now_ms=NOW_MS)
    control.enrol(mine, device, key, source=somewhere(), now_ms=NOW_MS)
    shown = repr(new_user("somebody"))
    with database.reading() as connection:
        for table in metadata.sorted_tables:
            shown += repr(connection.execute(select(table)).all())
    for secret in (PASSWORD, key, session, mine, mine.replace("-", "")):
        assert secret not in shown


@pytest.mark.parametrize("make", [make_token, make_code])
def test_too_little_randomness_is_misuse(make: object) -> None:
    """Tokens and codes are made from exactly as many random bytes as they promise (S4)."""
    assert callable(make)
    with pytest.raises(ReplicaError):
        make(b"few")


def test_the_default_password_hash_is_argon2id(sqlite_database: Database) -> None:
    """Without a choice passwords are hashed with argon2id at the library's parameters (S1)."""
    control = Control(sqlite_database)
    user = control.create_account(
        AccountId(bytes(16)), "Acme", owner=new_user("ana"), now_ms=NOW_MS
    )
    with sqlite_database.reading() as connection:
        stored = connection.execute(select(metadata.tables["users"].c.password_hash)).scalar_one()
    assert stored.startswith("$argon2id$")
    assert control.check_password("ana", PASSWORD, source="here", now_ms=NOW_MS) == user
