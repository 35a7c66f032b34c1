"""A whole load: a server process, device processes, websockets, and the proof at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from replica.errors import MisuseError
from replica.history.loading import Load, load
from replica.history.office import GivenCodes
from tests.history.independent import expected
from tests.history.oddities import BAD, GOOD, as_rows, write


@pytest.mark.process
def test_a_history_loads_through_real_connections(tmp_path: Path) -> None:
    """Counts and total are the file's on the server too, all replicas are equal, a rebuild gives
    the same digest, and what is malformed is in the file of rows kept aside (issue point 9)."""
    file = write(tmp_path / "odd.parquet")
    folder = tmp_path / "work"
    done = subprocess.run(
        [sys.executable, "-m", "replica", "load", file, "--devices", "3", "--folder", folder],
        env={**os.environ, "REPLICA_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    wanted = expected(as_rows(GOOD))
    assert {name: said[name] for name in wanted._fields} == wanted._asdict()
    assert said["replicas_equal"] is said["rebuilt_equal"] is True
    assert said["rebuilt_digest"] == said["digest"]
    assert (said["stored_lines"], said["stored_total_minor"]) == (wanted.lines, wanted.total_minor)
    assert (said["stored_orders"], said["stored_returns"]) == (wanted.orders, wanted.returns)
    assert said["devices"] == 3
    assert said["rejected"] == []
    kept = (folder / "kept-aside.jsonl").read_text(encoding="utf-8").splitlines()
    assert said["kept_aside"] == len(kept) == len(BAD)
    assert all({"row", "reason", "values"} == json.loads(line).keys() for line in kept)


def test_wrong_options_are_refused_before_anything_starts(tmp_path: Path) -> None:
    """A senseless number of devices and missing codes are the caller's mistake."""
    file = write(tmp_path / "odd.parquet", good_only=True)
    office = GivenCodes("http://127.0.0.1:9", ["only-one"])
    for devices in (0, 1_000):
        task = Load(file, tmp_path, tmp_path / "aside.jsonl", devices=devices)
        with pytest.raises(MisuseError, match="--devices is 1 to"):
            load(task, office, tell=lambda _: None)
    task = Load(file, tmp_path, tmp_path / "aside.jsonl", devices=2)
    with pytest.raises(MisuseError, match="no code left for history 2"):
        load(task, office, tell=lambda _: None)
