"""Disks that a power loss may leave, sampled; ``make chaos`` looks after every call."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.chaos import power
from tests.chaos.device_day import DeviceDay
from tests.chaos.reopened import DeviceCheck, check_server
from tests.chaos.server_day import ServerDay
from tests.chaos.watch import Call, Mark

recorded = [
    pytest.mark.process,
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("watching"),
]


def look(
    trace: list[Call | Mark], check: power.Check, root: Path, *, careless: bool
) -> power.Tally:
    """A sample of the disks; of careless ones until the first that lacks something."""
    return power.enumerate_states(
        trace,
        check,
        root / "disk",
        seed=1,
        every=3 if careless else 8,
        singles=2,
        random=2,
        enough_broken=1 if careless else 20,
    )


def server_states(root: Path, *, careless: bool = False) -> power.Tally:
    with ServerDay(root / "day") as day:
        assert day.run(keep=True, careless=careless) == 0
        assert day.watch is not None
        return look(day.watch.trace, check_server, root, careless=careless)


def device_states(root: Path, *, careless: bool = False) -> power.Tally:
    with DeviceDay(root / "day") as day:
        assert day.run(keep=True, careless=careless) == 0
        assert day.watch is not None
        check = DeviceCheck(day.server.records())
        return look(day.watch.trace, check, root, careless=careless)


@pytest.mark.parametrize("states", [server_states, device_states])
class TestPowerLoss:
    """Both ends of the wire."""

    pytestmark = recorded

    def test_no_disk_lacks_what_was_acknowledged(self, states, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        """Whatever part of the writes that were not flushed a power loss leaves, in whatever
        order and however torn: the files open, verify, and hold all that was told (D1, I-1)."""
        tally = states(tmp_path)
        assert tally.broken == []
        assert tally.states > 100

    def test_lax_flushing_is_found_out(self, states, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
        """With ``synchronous=NORMAL`` the same check finds acknowledged work that is lost: it
        would find it with ours too (D1)."""
        assert any("I-1" in line for line in states(tmp_path, careless=True).broken)


def images(*calls: Call) -> set[bytes | None]:
    """Every content that ``log`` was found to have, None where there was no such file."""
    disk = power.Disk()
    for call in calls:
        disk.do(call)
    found = disk.images(Random(1), singles=10, random=200)
    return {image.get("log") for image in found}


NEW = (Call("create", "log"), Call("fsync", "."))


def test_flushed_writes_are_there() -> None:
    """What was flushed is in every image, and what was not is in some and missing in some."""
    first, second = Call("pwrite64", "log", 0, b"aa"), Call("pwrite64", "log", 2, b"bb")
    found = images(*NEW, first, Call("fdatasync", "log"), second)
    assert found == {b"aa", b"aabb", b"aa\0\0"}


def test_writes_arrive_in_any_order() -> None:
    """A later write may be there without an earlier one, with zeros in between."""
    found = images(*NEW, Call("pwrite64", "log", 0, b"aa"), Call("pwrite64", "log", 2, b"bb"))
    assert {b"", b"aa", b"\0\0bb", b"aabb"} <= found


def test_writes_are_torn_between_sectors() -> None:
    """Of one write of three sectors any of them may be there alone."""
    found = images(*NEW, Call("pwrite64", "log", 0, b"x" * 1_536))
    middle = bytes(512) + b"x" * 512 + bytes(512)
    assert middle in found


def test_names_are_there_when_their_directory_was_flushed() -> None:
    """A file whose directory was not flushed may be gone with all its flushed content; a removed
    one may be back."""
    written = (Call("pwrite64", "log", 0, b"aa"), Call("fsync", "log"))
    assert images(Call("create", "log"), *written) == {None, b"aa"}
    assert images(*NEW, *written, Call("unlink", "log")) == {None, b"aa"}
    moved = Call("rename", "log", target="old")
    assert images(*NEW, *written, moved) == {None, b"aa"}
