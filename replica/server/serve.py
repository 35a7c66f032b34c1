"""Running the process: the listening socket, uvicorn, signals, and how it ends.

Exit status 0 after a requested stop, 1 when the store failed and a supervisor has to start us anew
so that recovery reads from disk (reliability D4).
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType

import uvicorn

from replica.errors import StoreFailed, StoreUnavailable
from replica.limits import (
    FRAME_BYTES_MAX,
    HEARTBEAT_INTERVAL_MS,
    HEARTBEAT_TIMEOUT_MS,
    SHUTDOWN_GRACE_S,
    SOCKET_SEND_BUFFER_BYTES,
    SOCKET_USER_TIMEOUT_MS,
)
from replica.server import logs
from replica.server.app import build_app
from replica.server.child import spare_garbage_collection
from replica.server.children import Children
from replica.server.config import Config
from replica.server.plugins import load_sinks
from replica.server.runtime import Runtime, wall_clock_ms
from replica.server.stores import FirstUser, Stores, make_first_account

OPERATOR_FILE = "operator.json"
BACKLOG = 2_048
# How long another thread may hold the interpreter before the event loop gets its turn. The default
# of 5 ms would be added to acknowledgements while the read models are being folded.
SWITCH_INTERVAL_S = 0.0003


class Server(uvicorn.Server):
    """Uvicorn that sends devices away with a reason before it closes their sockets."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime) -> None:
        super().__init__(config)
        self._runtime = runtime

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in order; a second interrupt stops at once. The signal is not raised again
        afterwards, as uvicorn would: what opened the stores has to close them."""
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        await self._runtime.drain()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Its options pass to every connection: a peer that stopped reading is
    dropped by the kernel within seconds and pins little memory until then (reliability D11).

    Raises ``StoreUnavailable`` when the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            option = socket.TCP_USER_TIMEOUT
            listener.setsockopt(socket.IPPROTO_TCP, option, SOCKET_USER_TIMEOUT_MS)
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StoreUnavailable(
            f"cannot listen on {host}:{port}: {error.strerror}", hint="set REPLICA_PORT"
        ) from error
    listener.setblocking(False)
    return listener


def make_server(runtime: Runtime) -> Server:
    """The uvicorn server of ``runtime``; run it with a socket of :func:`listen`."""
    config = uvicorn.Config(
        build_app(runtime),
        ws="websockets-sansio",
        ws_max_size=FRAME_BYTES_MAX,
        ws_ping_interval=HEARTBEAT_INTERVAL_MS / 1_000,
        ws_ping_timeout=(HEARTBEAT_TIMEOUT_MS - HEARTBEAT_INTERVAL_MS) / 1_000,
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(SHUTDOWN_GRACE_S),
        backlog=BACKLOG,
    )
    return Server(config, runtime)


def serve(
    config: Config, environ: Mapping[str, str], announce: Callable[[str, FirstUser | None], None]
) -> int:
    """Serve until a signal or a failed store; gives the exit status.

    ``announce`` hears the address and, on a new data directory, the first user. Raises what
    opening the stores and the socket raises.
    """
    logs.configure(config.log_level)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    with contextlib.ExitStack() as closing:
        children = None
        if config.children == "on":
            children = closing.enter_context(contextlib.closing(Children()))
        stores = Stores(config, views=children.models.open if children else None)
        closing.callback(stores.close)
        first = make_first_account(stores.control, config, wall_clock_ms)
        server: Server | None = None

        def on_failed(_: StoreFailed) -> None:
            if server is not None:
                server.should_exit = True

        runtime = Runtime(
            config,
            stores,
            children=children,
            plugins=load_sinks(),
            environ=environ,
            on_failed=on_failed,
        )
        listener = listen(config.host, config.port)
        server = make_server(runtime)
        url = local_url(config.host, listener.getsockname()[1])
        announce(config.public_url or url, first)
        spare_garbage_collection()
        with operator_file(config.data, url, runtime.operator_token):
            server.run(sockets=[listener])
    return 1 if runtime.failed is not None else 0


def local_url(host: str, port: int) -> str:
    """How a program on this machine reaches the server."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


@contextlib.contextmanager
def operator_file(data: Path, url: str, token: str) -> Iterator[None]:
    """While the server runs, say in the data directory how the owner of the data reaches it.

    Raises ``StoreUnavailable`` when that cannot be written.
    """
    path = data / OPERATOR_FILE
    partial = path.with_suffix(".partial")
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as stream:
            json.dump({"url": url, "token": token, "pid": os.getpid()}, stream)
        partial.replace(path)
    except OSError as error:
        raise StoreUnavailable(f"{path} cannot be written: {error.strerror}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
