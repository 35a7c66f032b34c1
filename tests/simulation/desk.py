"""A server's end of what devices and the office ask over HTTP about scopes, without HTTP.

The product's routes, its scopes and their sets, over the log and the read models of a world. What
stands beside the tokens of devices lies in the log's database, so it is restored together with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from replica.errors import Revoked
from replica.events.event import AccountId, DeviceId
from replica.events.payloads import Payload
from replica.server.auth import NotSignedIn, Principal, Right
from replica.server.reconcile import ReconcileRoutes
from replica.server.scope_routes import ScopeRoutes
from replica.server.scoped import bounded
from replica.server.scopes import Scopes
from replica.store.access import Device
from replica.sync.table import State
from tests.simulation.server import ID, Server, Wire

if TYPE_CHECKING:
    from tests.simulation.parts import Parts

OFFICE = "office"
_PRINCIPAL = Principal(ID, "account", "office", None, None, "")


class Granted(NamedTuple):
    """A change of a scope beside the token of its device."""

    device: bytes
    before: bytes | None
    after: bytes


class Tokens:
    """The devices of the account, and what stands beside their tokens."""

    def __init__(self, world: Parts) -> None:
        self._world = world
        self.scopes: dict[bytes, bytes] = {}
        self.heard: Callable[[Granted], None] = lambda granted: None

    def of(self, device: bytes) -> Device:
        revoked = any(one.revoked for one in self._world.phones if one.device == device)
        identity, name = DeviceId(device), f"phone {device[0]}"
        ended_ms, scope = 0 if revoked else None, self.scopes.get(device)
        return Device(ID, identity, name, None, 0, ended_ms, None, 0, "sim", scope)

    def bounded(self, device: bytes) -> bool:
        return bounded(self.of(device))

    # What the product asks its store --------------------------------------------------------------

    def device(self, account: AccountId, device: DeviceId) -> tuple[Device, bytes] | None:
        known = any(one.device == device for one in self._world.phones)
        return (self.of(device), b"") if known else None

    def check_token(self, token: str) -> Device:
        device = self.of(bytes([int(token.removeprefix("token-"))] * 16))
        if device.revoked_ms is not None:
            raise Revoked("this device was taken out by the office")
        return device

    def set_scope(
        self, account: AccountId, device: DeviceId, before: bytes | None, scope: bytes, now_ms: int
    ) -> bool:
        if self.scopes.get(device) != before:
            return False
        self.scopes[device] = scope
        self.heard(Granted(device, before, scope))
        return True


class _Connection:
    """A wire as the product's connection, for whoever closes it."""

    def __init__(self, world: Parts, wire: Wire) -> None:
        self._world, self._wire = world, wire
        self.met = wire.peer.state is State.LIVE
        self.scoped = wire.scoped

    def close(self, code: str, text: str) -> None:
        self._world._server_says(self._wire, self._wire.peer.close(code, text))


class Desk:
    """Where one server process answers. A new process has a new one."""

    def __init__(self, world: Parts, server: Server) -> None:
        self._world, self._server = world, server
        views: Any = world.database
        self.scopes = Scopes(world.tokens, self, self, views, now_ms=self._now_ms)  # type: ignore[arg-type]
        stores = SimpleNamespace(control=world.tokens, views=views, log=world.log)
        runtime: Any = SimpleNamespace(
            stores=stores, scopes=self.scopes, projecting=self, auth=self, now_ms=self._now_ms
        )
        routes = [*ScopeRoutes(runtime).routes(), *ReconcileRoutes(runtime).routes()]
        self._routes: dict[tuple[str, str], Any] = {
            (method, route.path): route.endpoint
            for route in routes
            for method in route.methods or ()
        }

    def _now_ms(self) -> int:
        return self._world.now_ms + self._server.skew_ms

    def ask(self, method: str, path: str, body: bytes | None, token: str) -> Response:
        """The answer of the product's route to a request below ``/api/v1/``."""
        asked = urlsplit(f"/api/v1/{path}")
        request = {
            "type": "http",
            "method": method,
            "path": asked.path,
            "query_string": asked.query.encode(),
            "headers": [(b"authorization", f"Bearer {token}".encode())],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body or b""}

        handler = self._routes[method, asked.path]
        with in_place():
            response: Response = at_once(handler(Request(request, receive)))
        return response

    # The process, as the routes see it ------------------------------------------------------------

    async def principal(self, request: Request) -> Principal:
        if request.headers["authorization"] != f"Bearer {OFFICE}":
            raise NotSignedIn("a device has a token of its own")
        _PRINCIPAL.require(Right.MANAGE)
        return _PRINCIPAL

    async def wait(self, account: AccountId, position: int, within_s: float) -> bool:
        self._world.views.catch_up()
        return self._world.views.position >= position

    async def submit_local(
        self, account: AccountId, writer: str, payloads: Sequence[Payload]
    ) -> None:
        self._world.say_granted(self._server, payloads)

    def lives(self, account: AccountId, device: DeviceId) -> list[_Connection]:
        """Those that the product would have entered: let in, and not closed."""
        met = (State.PROBING, State.LIVE)
        ours = [wire for wire in self._world.wires if wire.server is self._server]
        found = [wire for wire in ours if wire.phone.device == device and wire.peer.state in met]
        return [_Connection(self._world, wire) for wire in found]


@contextmanager
def in_place() -> Iterator[None]:
    """What the product hands to a thread is done at once."""

    async def to_thread(function: Any, *args: Any, **named: Any) -> Any:
        return function(*args, **named)

    with patch.object(asyncio, "to_thread", to_thread):
        yield


def at_once(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")
