"""One server process per SQLite database, enforced by the operating system.

A lock that the kernel drops when the process ends needs no lease and no clock: a stopped process
still holds it, a killed one does not (reliability §2.3, I-25).
"""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

from replica.errors import StoreUnavailable

RETRY_S = 0.01


class ProcessLock:
    """An exclusive lock on ``path``, held from construction until :meth:`release`.

    Raises ``StoreUnavailable``, naming pid and host of the holder, when another process (or another
    ``ProcessLock`` of this one) holds it and goes on to do so for ``wait_s``. The file stays:
    removing it would let two processes lock two files of one name.
    """

    def __init__(self, path: Path, *, wait_s: float = 0) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._claim(wait_s)
        except BlockingIOError:
            holder = os.pread(self._file, 512, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreUnavailable(
                f"{path.name} is locked by {holder}",
                hint="one server process per SQLite database: stop the other one, or use "
                "PostgreSQL for several processes",
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"pid {os.getpid()} on {socket.gethostname()}\n".encode(), 0)

    def _claim(self, wait_s: float) -> None:
        deadline_s = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline_s:
                    raise
                time.sleep(RETRY_S)
            else:
                return

    def release(self) -> None:
        """Let the next process in. Safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
