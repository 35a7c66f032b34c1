"""A sandbox that is killed in the middle of its work: what it said is kept, and kept once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from tests.qbo_sink.sandbox.desk import order

_SERVE = """
import sys, threading
from qbo_sink.sandbox import Settings, Switches, create_sandbox, server
app = create_sandbox(sys.argv[1], Settings(switches=Switches(throttle=False)))
running = server(app, host="127.0.0.1", port=0)
thread = threading.Thread(target=running.run)
thread.start()
while not running.started and thread.is_alive():
    thread.join(0.01)
print(running.servers[0].sockets[0].getsockname()[1], flush=True)
"""


class _Process:
    """A sandbox in a process of its own over the books at ``path``."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", _SERVE, str(path)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.base = f"http://127.0.0.1:{int(self._process.stdout.readline())}"

    def kill(self) -> None:
        """As the machine would: no handler runs."""
        os.kill(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@pytest.mark.process
def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path) -> None:
    """After SIGKILL every acknowledged estimate is there once, token and all (issue 4, point 1)."""
    path = tmp_path / "books.db"
    first = _Process(path)
    try:
        with httpx2.Client(base_url=first.base) as client:
            tokens = client.post("/sandbox/connect", json={}).json()
            client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            url = f"/v3/company/{tokens['realmId']}/estimate"
            said = {}
            for number in range(30):
                params = {"requestid": f"r{number}"}
                said[number] = client.post(url, json=order(), params=params).json()["Estimate"]
    finally:
        first.kill()
    second = _Process(path)
    try:
        with httpx2.Client(base_url=second.base, headers=client.headers) as again:
            for number, estimate in said.items():
                repeated = again.post(url, json=order(), params={"requestid": f"r{number}"})
                assert repeated.json()["Estimate"] == estimate
            fresh = again.post(url, json=order()).json()["Estimate"]
            assert fresh["Id"] not in {each["Id"] for each in said.values()}
            assert again.get("/sandbox/count").json()["Estimate"] == 31
    finally:
        second.kill()
