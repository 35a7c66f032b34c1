"""A whole server in this process: real stores, real uvicorn, a free port, a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx2
import structlog
from argon2 import PasswordHasher
from structlog.typing import EventDict

from replica.errors import StoreFailed
from replica.events.event import UUID_BYTES, AccountId
from replica.events.payloads import Payload
from replica.server.config import Config
from replica.server.door import WEB
from replica.server.runtime import Runtime
from replica.server.serve import Server, listen, local_url, make_server
from replica.server.stores import Stores, new_user
from replica.sink import SinkPlugin
from replica.store.access import Role
from replica.store.control import Control

PASSWORD = "correct horse battery"
T = TypeVar("T")
_numbers = itertools.count(1)

CHEAP_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""The cost of a password is not what these tests are about."""


@dataclass(frozen=True)
class Company:
    """An account with its owner."""

    account: AccountId
    name: str
    login: str


class World:
    """The running server. Calls may come from any thread. ``lines`` are those of its log."""

    def __init__(self, data: Path, *, plugins: Sequence[SinkPlugin] = (), **settings: Any) -> None:
        self.config = Config(data=data, port=0, log_level="error", **settings)
        self.stores = Stores(self.config)
        self.stores.control = Control(self.stores.database, hasher=CHEAP_HASHER)
        self.lines: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.runtime = Runtime(
            self.config,
            self.stores,
            plugins=plugins,
            on_failed=self._on_failed,
            logger=self._logger(),
        )
        listener = listen("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self.url = local_url("127.0.0.1", self.port)
        self.server: Server = make_server(self.runtime)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_until_complete, args=(self.server.serve(sockets=[listener]),)
        )
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive(), "the server did not start"
            self._thread.join(0.005)

    def _logger(self) -> Any:
        def keep(_: Any, __: str, event: EventDict) -> EventDict:
            with self._news:
                self.lines.append(dict(event))
                self._news.notify_all()
            raise structlog.DropEvent

        return structlog.wrap_logger(
            None,
            processors=[structlog.stdlib.add_log_level, keep],
            # Said here: what another test has left as the default may drop every line.
            wrapper_class=structlog.make_filtering_bound_logger("debug"),
        )

    def _on_failed(self, _: StoreFailed) -> None:
        self.server.should_exit = True

    def stop(self) -> None:
        """End the server and close the stores."""
        self.server.should_exit = True
        self.wait()
        self._loop.close()
        self.stores.close()

    def wait(self) -> None:
        """Wait until the server has ended by itself."""
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not end"

    def line(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the log that is ``wanted``; waits until there is one."""
        with self._news:
            assert self._news.wait_for(lambda: any(map(wanted, self.lines)), 10)
            return next(filter(wanted, self.lines))

    def on_loop(self, call: Callable[[], Awaitable[T]]) -> T:
        """Run a coroutine inside the server's event loop."""

        async def run() -> T:
            return await call()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def company(self) -> Company:
        """A new account; its name and login are like no other's."""
        number = next(_numbers)
        made = Company(
            AccountId(secrets.token_bytes(UUID_BYTES)), f"Company {number}", f"owner{number}"
        )
        owner = new_user(made.login, PASSWORD, Role.OWNER)
        now_ms = self.runtime.now_ms()
        self.stores.control.create_account(made.account, made.name, owner=owner, now_ms=now_ms)
        return made

    def write(self, company: Company, *payloads: Payload) -> int:
        """Write as the office and wait until the pages show it; gives the position."""

        async def write() -> int:
            door, projecting = self.runtime.door, self.runtime.projecting
            admitted = await door.submit_local(company.account, WEB, payloads)
            assert admitted.segment is not None
            assert await projecting.wait(company.account, admitted.segment.last, 10)
            return admitted.segment.last

        return self.on_loop(write)

    def caught_up(self, company: Company) -> int:
        """Wait until the pages show everything; gives the position."""

        async def wait() -> int:
            head = self.runtime.head(company.account)
            assert await self.runtime.projecting.wait(company.account, head, 10)
            return head

        return self.on_loop(wait)

    def code(self, company: Company, name: str = "Phone") -> str:
        """A fresh enrolment code."""
        return self.on_loop(lambda: self.runtime.devices.open_code(company.account, name))

    @contextlib.contextmanager
    def operator(self, company: Company) -> Iterator[httpx2.Client]:
        """The API as the owner of the data directory."""
        headers = {
            "authorization": f"Bearer {self.runtime.operator_token}",
            "x-replica-account": company.account.hex(),
        }
        with httpx2.Client(base_url=f"{self.url}/api/v1", headers=headers, timeout=30) as client:
            yield client

    @contextlib.contextmanager
    def browser(self, company: Company, login: str = "") -> Iterator[Pages]:
        """A signed-in browser without scripts."""
        with httpx2.Client(base_url=self.url, timeout=30) as client:
            pages = Pages(client)
            pages.sign_in(login or company.login)
            yield pages


class Pages:
    """Forms as a browser sends them: with the token of the page before, from the same origin."""

    def __init__(self, client: httpx2.Client) -> None:
        self.client = client

    def sign_in(self, login: str, password: str = PASSWORD) -> httpx2.Response:
        token = _form_token(self.client.get("/login").text)
        form = {"login": login, "password": password, "form_token": token}
        return self.client.post("/login", data=form)

    def get(self, path: str) -> httpx2.Response:
        return self.client.get(path)

    def text(self, path: str) -> str:
        """A page that must be there."""
        answer = self.client.get(path)
        assert answer.status_code == 200, f"{path}: {answer.status_code}"
        return answer.text

    def post(self, path: str, **form: str) -> httpx2.Response:
        token = _form_token(self.text("/products"))
        return self.client.post(path, data={"form_token": token, **form})

    def upload(self, path: str, data: bytes) -> httpx2.Response:
        """Choose a file in the form of the page at ``path``."""
        form = {"form_token": _form_token(self.text(path))}
        return self.client.post(path, data=form, files={"file": ("chosen", data)})


def _form_token(page: str) -> str:
    return page.split('name="form_token" value="')[1].split('"', maxsplit=1)[0]
