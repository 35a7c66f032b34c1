"""Standing between a process and its disk: every call that changes a file, seen and numbered.

The watched process asks the kernel to stop it at those calls (seccomp's user notification) and
hands the other end to the watcher, which reads what is about to happen, notes it, and lets it
happen, answers with an error instead, or kills the process. Calls are numbered per file, over all
threads, in the order in which they are made. No code of the process is changed, nothing is
installed, and no right is needed beyond those of a parent over its child.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import select
import signal
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from typing import Any, NamedTuple

# Numbers of the calls by machine. A machine that is not here is not watched.
_NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {
        "seccomp": 317,
        "write": 1,
        "pwrite64": 18,
        "writev": 20,
        "sendfile": 40,
        "fsync": 74,
        "fdatasync": 75,
        "ftruncate": 77,
        "rename": 82,
        "unlink": 87,
        "openat": 257,
        "unlinkat": 263,
        "renameat": 264,
        "fallocate": 285,
        "renameat2": 316,
        "copy_file_range": 326,
    },
    "aarch64": {
        "seccomp": 277,
        "write": 64,
        "pwrite64": 68,
        "writev": 66,
        "sendfile": 71,
        "fsync": 82,
        "fdatasync": 83,
        "ftruncate": 46,
        "openat": 56,
        "unlinkat": 35,
        "renameat": 38,
        "fallocate": 47,
        "renameat2": 276,
        "copy_file_range": 285,
    },
}
NUMBERS = _NUMBERS.get(platform.machine(), {})
_NAMES = {number: name for name, number in NUMBERS.items()}

_NEW_LISTENER, _WAIT_KILLABLE = 1 << 3, 1 << 5
_NOTIFY, _ALLOW = 0x7FC0_0000, 0x7FFF_0000
_CONTINUE = 1
_REQUEST = struct.Struct("=QIIiIQ6Q")  # id, pid, flags, call, machine, address, arguments
_ANSWER = struct.Struct("=QqiI")  # id, value, error, flags
_RECEIVE = (3 << 30) | (_REQUEST.size << 16) | (ord("!") << 8) | 0
_SEND = (3 << 30) | (_ANSWER.size << 16) | (ord("!") << 8) | 1
_FLAGS_OFFSET = 16 + 8 * 2  # of the third argument in the kernel's record of the call
_AT_FDCWD = -100 & 0xFFFF_FFFF
_TEXT_BYTES = 4_096


class Fault(NamedTuple):
    """What happens at the ``at``-th call about ``path``: an ``error`` of the system, or with 0 a
    kill before the call."""

    path: str
    at: int
    error: int = 0

    def __str__(self) -> str:
        kind = errno.errorcode[self.error] if self.error else "SIGKILL"
        return f"{kind} at call {self.at} of {self.path}"


class Call(NamedTuple):
    """One call that changes a file below the watched directory. Paths are relative to it."""

    name: str
    path: str
    offset: int = 0  # where it writes; the new size for ftruncate
    data: bytes = b""
    target: str = ""  # of a rename

    def __str__(self) -> str:
        return f"{self.name} {self.path} {self.offset} +{len(self.data)} {self.target}".strip()


class Mark(NamedTuple):
    """Something the world was told at this moment of the trace."""

    told: Any


def can_watch() -> bool:
    """Whether this machine's kernel and processor are known to allow it."""
    available = Path("/proc/sys/kernel/seccomp/actions_avail")
    return bool(NUMBERS) and available.exists() and "user_notif" in available.read_text("ascii")


def stopped_at_writes(channel: Connection) -> None:
    """In the process to be watched, before it starts any thread: stop at calls that change files.

    The other side has to be :class:`Watch` on the same channel, at once: the next such call waits
    for it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0):  # PR_SET_NO_NEW_PRIVS: what lets anybody install a filter
        raise OSError(ctypes.get_errno(), "no_new_privs")
    program = _program()
    filters = ctypes.create_string_buffer(program)
    head = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(filters))
    buffer = ctypes.create_string_buffer(head)
    flags = _NEW_LISTENER | _WAIT_KILLABLE
    listener = libc.syscall(NUMBERS["seccomp"], 1, flags, buffer)
    if listener < 0:
        raise OSError(ctypes.get_errno(), "the kernel does not let itself be asked (seccomp)")
    send_handle(channel, listener, os.getppid())
    os.close(listener)


def _program() -> bytes:
    """The kernel's filter: notify of the calls above, of ``openat`` only when it may create."""
    load, equal, any_bit, give = 0x20, 0x15, 0x45, 0x06
    calls = [number for name, number in NUMBERS.items() if name not in {"seccomp", "openat"}]
    lines = [(load, 0, 0, 0)]
    for index, number in enumerate(calls):
        lines.append((equal, len(calls) - index + 3, 0, number))
    lines += [
        (equal, 0, 2, NUMBERS["openat"]),
        (load, 0, 0, _FLAGS_OFFSET),
        (any_bit, 1, 0, os.O_CREAT),
        (give, 0, 0, _ALLOW),
        (give, 0, 0, _NOTIFY),
    ]
    # Jumps are counted from the line after: to the last line, past the block for openat.
    return b"".join(struct.pack("HBBI", *line) for line in lines)


class Watch:
    """Watches the process at the other end of ``channel`` until it has ended.

    ``trace`` is what happened below ``root`` so far; with ``keep`` false calls carry no data.
    ``see`` hears of every call before it happens.
    """

    def __init__(
        self,
        channel: Connection,
        root: Path,
        *,
        fault: Fault | None = None,
        keep: bool = False,
        see: Callable[[Call], object] = lambda _: None,
    ) -> None:
        self.trace: list[Call | Mark] = []
        self._calls: Counter[str] = Counter()
        self.struck: Call | None = None
        self._root = str(root)
        self._fault = fault
        self._keep = keep
        self._see = see
        self._lock = threading.Lock()
        self._spoke = 0  # where in the trace the process last wrote to a socket
        self._marked = 0  # where in the trace marks end
        self._listener = recv_handle(channel)
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def mark(self, told: Any) -> None:
        """Note that the world was told something: not later than the last time the process spoke,
        however long it took to be heard."""
        with self._lock:
            at = max(self._spoke, self._marked)
            self.trace.insert(at, Mark(told))
            self._marked = at + 1

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return not self._thread.is_alive()

    def wait(self, within_s: float) -> bool:
        """Whether the process ends in time."""
        self._thread.join(within_s)
        return self.ended

    def join(self) -> None:
        """Wait for the end of the process."""
        self._thread.join(60)
        assert self.ended, "the watched process lives on"

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        try:
            while not any(what & select.POLLHUP for _, what in poll.poll()):
                request = bytearray(_REQUEST.size)
                with suppress(FileNotFoundError):  # killed meanwhile
                    fcntl.ioctl(self._listener, _RECEIVE, request)
                    self._answer(*self._decide(*_REQUEST.unpack(request)))
        finally:
            os.close(self._listener)

    def _answer(self, request: int, value: int, error: int, flags: int) -> None:
        fcntl.ioctl(self._listener, _SEND, bytearray(_ANSWER.pack(request, value, error, flags)))

    def _decide(
        self, request: int, thread: int, _flags: int, number: int, _arch: int, _ip: int, *args: int
    ) -> tuple[int, int, int, int]:
        call = self._read(thread, _NAMES[number], args)
        if call is None:
            return request, 0, 0, _CONTINUE
        self._see(call)
        self._calls[call.path] += 1
        if self._fault is not None and self._fault[:2] == (call.path, self._calls[call.path]):
            self.struck = call
            if self._fault.error:
                return request, 0, -self._fault.error, 0
            os.kill(_process_of(thread), signal.SIGKILL)
            raise FileNotFoundError
        if call.name in {"fsync", "fdatasync"}:
            # Done here and not let happen, so that it is known to be over when it is noted.
            handle = os.open(f"/proc/{thread}/fd/{args[0]}", os.O_RDONLY)
            os.fsync(handle)
            os.close(handle)
        with self._lock:
            self.trace.append(call if self._keep else call._replace(data=b""))
        return request, 0, 0, 0 if call.name in {"fsync", "fdatasync"} else _CONTINUE

    # Reading a call ------------------------------------------------------------------------------

    def _read(self, thread: int, name: str, args: tuple[int, ...]) -> Call | None:
        match name:
            case "openat":
                path = self._named(thread, args[0], args[1])
                if path is None or (Path(self._root) / path).exists():
                    return None
                return Call("create", path)
            case "rename":
                return self._renamed(thread, _AT_FDCWD, args[0], _AT_FDCWD, args[1])
            case "renameat" | "renameat2":
                return self._renamed(thread, *args[:4])
            case "unlink":
                return self._about("unlink", self._named(thread, _AT_FDCWD, args[0]))
            case "unlinkat":
                return self._about("unlink", self._named(thread, args[0], args[1]))
            case _:
                return self._on_handle(thread, name, args)

    def _on_handle(self, thread: int, name: str, args: tuple[int, ...]) -> Call | None:
        handle = args[2] if name == "copy_file_range" else args[0]
        opened = _link(thread, f"fd/{handle}")
        if opened.startswith("socket:"):
            with self._lock:
                self._spoke = len(self.trace)
        path = self._inside(opened)
        if path is None:
            return None
        match name:
            case "pwrite64":
                return Call(name, path, args[3], self._memory(thread, args[1], args[2]))
            case "write":
                at = _place(thread, handle)
                return Call(name, path, at, self._memory(thread, args[1], args[2]))
            case "ftruncate":
                return Call(name, path, args[1])
            case "fsync" | "fdatasync":
                return Call(name, path)
            case "sendfile":
                source = _link(thread, f"fd/{args[1]}")
                with Path(source).open("rb") as file:
                    file.seek(_place(thread, args[1]))
                    return Call(name, path, _place(thread, handle), file.read(args[3]))
            case _:
                raise NotImplementedError(f"{name} on {path}")

    def _about(self, name: str, path: str | None) -> Call | None:
        return None if path is None else Call(name, path)

    def _renamed(self, thread: int, *args: int) -> Call | None:
        source, target = self._named(thread, *args[:2]), self._named(thread, *args[2:4])
        return None if source is None else Call("rename", source, target=target or "")

    def _named(self, thread: int, folder: int, text: int) -> str | None:
        path = self._memory(thread, text, _TEXT_BYTES).partition(b"\0")[0].decode()
        at = "cwd" if folder & 0xFFFF_FFFF == _AT_FDCWD else f"fd/{folder}"
        return self._inside(str(Path(_link(thread, at), path)))

    def _inside(self, path: str) -> str | None:
        if path == self._root:
            return "."
        return path.removeprefix(f"{self._root}/") if path.startswith(f"{self._root}/") else None

    def _memory(self, thread: int, address: int, size: int) -> bytes:
        handle = os.open(f"/proc/{thread}/mem", os.O_RDONLY)
        try:
            return os.pread(handle, size, address)
        finally:
            os.close(handle)


def _link(thread: int, name: str) -> str:
    return str(Path(f"/proc/{thread}/{name}").readlink())


def _place(thread: int, handle: int) -> int:
    """Where the next ``write`` goes."""
    lines = Path(f"/proc/{thread}/fdinfo/{handle}").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("pos:")).split()[1])


def _process_of(thread: int) -> int:
    lines = Path(f"/proc/{thread}/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("Tgid:")).split()[1])


def calls(trace: Iterable[Call | Mark]) -> list[Call]:
    """A trace without its marks."""
    return [step for step in trace if isinstance(step, Call)]
