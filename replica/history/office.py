"""The office's side of a load: a server to load into, and codes for its devices.

Either a server of this load's own, in a process beside it, over the data directory of the
configuration; or one that runs already, with codes somebody made there.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from replica.errors import MisuseError, PeerGone, StoreUnavailable
from replica.limits import ENROL_ANSWER_BYTES_MAX, HISTORY_START_S, HISTORY_STOP_S
from replica.server import plugins
from replica.server.config import Config, from_env
from replica.server.serve import OPERATOR_FILE, serve

SERVER_LOG = "load-server.log"
_LOOK_S = 0.05


class Office(Protocol):
    """Where devices enrol."""

    url: str

    def code(self, name: str) -> str:
        """A code that lets one device in under ``name``."""
        ...


class GivenCodes:
    """A server that runs already; ``codes`` were made there, one per device."""

    def __init__(self, url: str, codes: Sequence[str]) -> None:
        self.url = url
        self._codes = list(codes)

    def code(self, name: str) -> str:
        if not self._codes:
            raise MisuseError(
                f"no code left for {name}", hint="give one --code per device, or fewer --devices"
            )
        return self._codes.pop(0)


class OwnServer:
    """A server process of this load's own. ``token`` is its operator's."""

    def __init__(self, url: str, token: str, pid: int, account: str) -> None:
        self.url = url
        self._token = token
        self._account = account
        self.pid = pid

    def code(self, name: str) -> str:
        request = Request(  # noqa: S310  the address is our own server's
            f"{self.url}/api/v1/devices/codes",
            data=json.dumps({"name": name}).encode(),
            headers={
                "authorization": f"Bearer {self._token}",
                "content-type": "application/json",
                "x-replica-account": self._account,
            },
        )
        try:
            with urlopen(request, timeout=HISTORY_START_S) as response:  # noqa: S310
                return str(json.loads(response.read(ENROL_ANSWER_BYTES_MAX))["code"])
        except HTTPError as error:
            with error:
                said = error.read(ENROL_ANSWER_BYTES_MAX).decode(errors="replace")
            raise MisuseError(f"the server gives no code: {said}") from error
        except (URLError, OSError) as error:
            raise PeerGone("the server of this load does not answer") from error

    def peak_kib(self) -> int:
        """The most memory the server and its children have held so far, 0 where the system does not
        say. What they share counts for each."""
        try:
            children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
            return sum(map(_peak_kib, [self.pid, *map(int, children)]))
        except OSError:
            return 0


def _peak_kib(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    lines = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(lines[0].split()[1]) if lines else 0


@contextmanager
def own_server(config: Config, environ: Mapping[str, str]) -> Iterator[OwnServer]:
    """Run a server on a free loopback port over ``config.data`` until the block ends.

    Raises ``StoreUnavailable`` when it does not start: another server holds the data, say.
    """
    # Spawned, not forked: the parent has threads and open databases of its own.
    context = multiprocessing.get_context("spawn")
    inside = {**environ, "REPLICA_HOST": "127.0.0.1", "REPLICA_PORT": "0"}
    process = context.Process(target=_serve, args=(inside,))
    process.start()
    try:
        yield _started(config, process)
    finally:
        process.terminate()
        process.join(HISTORY_STOP_S)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()


def _started(config: Config, process: BaseProcess) -> OwnServer:
    """Wait for the file in which a server says how the owner of its data reaches it."""
    path = config.data / OPERATOR_FILE
    deadline_s = time.monotonic() + HISTORY_START_S
    while process.is_alive() and time.monotonic() < deadline_s:
        with suppress(OSError, ValueError):
            said = json.loads(path.read_text(encoding="utf-8"))
            if said["pid"] == process.pid:
                return OwnServer(said["url"], said["token"], process.pid or 0, config.account)
        process.join(_LOOK_S)
    raise StoreUnavailable(
        "the server of this load does not start", hint=f"see {config.data / SERVER_LOG}"
    )


def _serve(environ: dict[str, str]) -> None:
    """The server's process."""
    config = from_env(environ, foreign=plugins.environ_prefixes())
    config.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (config.data / SERVER_LOG).open("ab") as log:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(log.fileno(), stream.fileno())
    raise SystemExit(serve(config, environ, lambda _url, _first: None))
