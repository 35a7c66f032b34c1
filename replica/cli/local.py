"""How a verb reaches the accounts: through the JSON API, whether or not a server runs.

A running server holds the databases for itself and says in ``operator.json`` how the owner of the
data reaches it. Without one the verb opens the stores and speaks to the same API in this process,
so there is one way to do a thing and it goes through the one door.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2

from replica.errors import ReplicaError, StoreUnavailable
from replica.server import logs
from replica.server.auth import ACCOUNT_HEADER
from replica.server.serve import OPERATOR_FILE

if TYPE_CHECKING:
    from replica.server.config import Config

TIMEOUT_S = 60.0
PROBE_S = 2.0


class Refused(ReplicaError):
    """The API said no; code, message and hint are its own."""


def ask(
    config: Config,
    method: str,
    path: str,
    body: Any = None,
    *,
    content: bytes | None = None,
    account: str = "",
    sinks: bool = False,
) -> Any:
    """One call of ``/api/v1`` with ``body`` as JSON, or with the bytes of a file as ``content``.
    ``sinks`` also starts the sinks when no server runs.

    Raises ``Refused`` with what the API answered, ``StoreUnavailable`` when neither a server nor
    the databases can be reached.
    """
    operator = running(config.data)
    client = _remote(operator) if operator else _in_process(config, sinks=sinks)
    said = {"json": body} if content is None else {"content": content}
    return asyncio.run(_call(client, method, path, said, account))


async def _call(
    connect: AbstractAsyncContextManager[httpx2.AsyncClient],
    method: str,
    path: str,
    said: Mapping[str, Any],
    account: str,
) -> Any:
    async with connect as client:
        headers = {ACCOUNT_HEADER: account} if account else {}
        try:
            answer = await client.request(method, f"/api/v1{path}", headers=headers, **said)
        except httpx2.HTTPError as error:
            raise StoreUnavailable(f"the server does not answer: {error}") from error
        told = answer.json()
        if answer.status_code != 200:
            refused = Refused(told["message"], hint=told["hint"])
            refused.code = told["code"]
            raise refused
        return told


def _remote(operator: dict[str, str]) -> httpx2.AsyncClient:
    headers = {"authorization": f"Bearer {operator['token']}"}
    return httpx2.AsyncClient(base_url=operator["url"], headers=headers, timeout=TIMEOUT_S)


def running(data: Path) -> dict[str, str] | None:
    """Address and token of the server that runs on ``data``; None when there is none, also when
    one died without tidying up."""
    try:
        operator: dict[str, str] = json.loads((data / OPERATOR_FILE).read_text(encoding="utf-8"))
        httpx2.get(f"{operator['url']}/healthz", timeout=PROBE_S)
    except (OSError, ValueError, KeyError, httpx2.HTTPError):
        return None
    return operator


@asynccontextmanager
async def _in_process(config: Config, *, sinks: bool) -> AsyncIterator[httpx2.AsyncClient]:
    import os

    from replica.server.app import build_app
    from replica.server.plugins import load_sinks
    from replica.server.runtime import Runtime
    from replica.server.stores import Stores

    logs.configure("error")
    plugins = load_sinks() if sinks else ()
    with closing(Stores(config)) as stores:
        runtime = Runtime(config, stores, plugins=plugins, environ=os.environ)
        await runtime.start()
        try:
            async with httpx2.AsyncClient(
                transport=httpx2.ASGITransport(build_app(runtime)),
                base_url="http://replica",
                headers={"authorization": f"Bearer {runtime.operator_token}"},
                timeout=TIMEOUT_S,
            ) as client:
                yield client
        finally:
            await runtime.stop()
