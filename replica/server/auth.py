"""Who is asking: logins, sessions, the operator of this machine, and what each may do.

People come with a session cookie, programs on this machine with the operator's token from
``operator.json`` in the data directory, which is new for every process and readable by the owner
of the data alone. Devices never come here: they authenticate in their first frame (decision 0005).
The account is taken from the session, never from the request (reliability I-16).
"""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from starlette.requests import HTTPConnection
from starlette.responses import Response

from replica.errors import Forbidden
from replica.events.event import AccountId
from replica.limits import SESSION_AGE_MS_MAX
from replica.store.access import TOKEN_BYTES, Role, make_token
from replica.store.control import Control

OPERATOR = "operator"
ACCOUNT_HEADER = "x-replica-account"


class Right(Enum):
    """What a request wants to do."""

    READ = "see"
    EDIT = "edit records"
    BOOKS = "see the accounting lists"
    MANAGE = "manage devices"
    OPERATE = "manage accounts and users"


_RIGHTS = {
    Role.VIEWER: {Right.READ},
    Role.REP: {Right.READ, Right.EDIT},
    Role.ADMIN: {Right.READ, Right.EDIT, Right.BOOKS, Right.MANAGE},
    Role.OWNER: {Right.READ, Right.EDIT, Right.BOOKS, Right.MANAGE},
}


@dataclass(frozen=True)
class Principal:
    """Who asks, for which account. ``session`` is the cookie's token, empty for the operator."""

    account: AccountId
    account_name: str
    name: str
    user: bytes | None
    role: Role | None
    session: str

    def uses(self, user: bytes | None) -> bool:
        """Whether what is ``user``'s is this user's own; nothing is the operator's."""
        return user is not None and user == self.user

    def may(self, right: Right) -> bool:
        """The operator may do everything on every account; users what their role says."""
        return right in _RIGHTS[self.role] if self.role else True

    def require(self, right: Right) -> None:
        """Raise ``Forbidden`` unless this is allowed."""
        if not self.may(right):
            raise Forbidden(f"{self.name} may not {right.value}")


class NotSignedIn(Forbidden):
    """No live session. Pages answer with the login, the API with 401."""

    code = "not_signed_in"


class Auth:
    """Logins and sessions over the control tables. One per process.

    ``operator_token`` opens everything to whoever can read the data directory; ``origins`` are
    where a browser's changes may come from besides the host that it asks. Raises what
    :class:`replica.store.control.Control` raises.
    """

    def __init__(
        self,
        control: Control,
        *,
        now_ms: Callable[[], int],
        secure_cookies: bool,
        operator_token: str,
        origins: frozenset[str],
    ) -> None:
        self.origins = origins
        self._control = control
        self._now_ms = now_ms
        self._secure = secure_cookies
        self._operator_token = operator_token
        # The prefix makes a browser refuse the cookie from anything but this host over https.
        self._cookie = "__Host-replica" if secure_cookies else "replica"

    async def login(self, login: str, password: str, address: str) -> str:
        """The token of a new session. Raises ``Forbidden`` for a wrong pair and ``Overloaded``
        with the wait when too many tries failed."""
        return await asyncio.to_thread(self._login, login, password, address)

    def _login(self, login: str, password: str, address: str) -> str:
        now_ms = self._now_ms()
        user = self._control.check_password(login, password, source=address, now_ms=now_ms)
        token = make_token(secrets.token_bytes(TOKEN_BYTES))
        self._control.open_session(user.id, token, now_ms=now_ms)
        return token

    async def logout(self, request: HTTPConnection) -> None:
        """End the session of ``request``."""
        if token := self.session_token(request):
            await asyncio.to_thread(self._control.close_session, token)

    async def principal(self, request: HTTPConnection) -> Principal:
        """Who asks. Raises ``NotSignedIn`` without a live session or the operator's token."""
        given = request.headers.get("authorization", "")
        if given:
            return await self._operator(given, request.headers.get(ACCOUNT_HEADER, ""))
        token = self.session_token(request)
        if not token:
            raise NotSignedIn("not signed in")
        return await asyncio.to_thread(self._user, token)

    def session_token(self, request: HTTPConnection) -> str:
        """The session cookie of ``request``, empty without one."""
        return request.cookies.get(self._cookie, "")

    def set_cookie(self, response: Response, token: str) -> None:
        """Give the browser its session; an empty ``token`` takes it away."""
        response.set_cookie(
            self._cookie,
            token,
            max_age=SESSION_AGE_MS_MAX // 1_000 if token else 0,
            secure=self._secure,
            httponly=True,
            samesite="lax",
        )

    def _user(self, token: str) -> Principal:
        session = self._control.session(token, now_ms=self._now_ms())
        if session is None:
            raise NotSignedIn("the session has ended")
        user = session.user
        account = self._control.account(user.account)
        name = account.name if account else ""
        return Principal(user.account, name, user.login, user.id, user.role, token)

    async def _operator(self, given: str, wanted: str) -> Principal:
        scheme, _, token = given.partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(
            token.encode(), self._operator_token.encode()
        ):
            raise NotSignedIn("the token is unknown")
        accounts = await asyncio.to_thread(self._control.accounts)
        for account in accounts:
            if wanted in ("", account.name, account.id.hex()):
                return Principal(account.id, account.name, OPERATOR, None, None, "")
        raise Forbidden(f"there is no account {wanted!r}" if wanted else "there is no account yet")
