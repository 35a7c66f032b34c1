"""Sentences that stay: a copied or restored device and a restored server are told to the user."""

from __future__ import annotations

import shutil
from pathlib import Path

from replica.device import Device, Notice
from replica.device.journal import MIGRATIONS, Journal
from replica.device.notices import Said, renewed, restored
from replica.limits import NOTICES_KEPT_MAX
from tests.device.desk import customer, order
from tests.device.server import FakeServer
from tests.device.test_link import opened, server

__all__ = ["server"]


def texts(device: Device) -> list[str]:
    return [one.text for one in device.status().notices]


FORKED = (
    "This device was copied, or put back to an older state. It goes on as its life number 2; "
    "nothing is lost."
)


def test_a_copied_device_says_so_until_it_is_put_away(server: FakeServer, tmp_path: Path) -> None:
    """Whoever goes on as another life of a device reads that in a sentence, also after closing the
    program, until he puts it away; the one that was copied has nothing to read (I-5)."""
    with opened(server, tmp_path) as device:
        device.append(customer(1))
        device.sync()
        assert texts(device) == []
    shutil.copytree(tmp_path, tmp_path / "copy")
    with opened(server, tmp_path) as device:
        device.append(order(1))
        device.sync()
        assert texts(device) == []
    with opened(server, tmp_path / "copy") as clone:
        clone.append(order(2))
        assert clone.sync().equal
        assert texts(clone) == [FORKED]
        assert clone.sync().equal
    with opened(server, tmp_path / "copy") as clone:
        (notice,) = clone.status().notices
        assert (notice.text, notice.code) == (FORKED, "forked")
        assert notice.at_ms > 0
        clone.dismiss(notice)
        clone.dismiss(notice)
        assert texts(clone) == []
    with opened(server, tmp_path / "copy") as clone:
        assert clone.sync().equal
        assert texts(clone) == []


def test_a_restored_server_is_told_once(server: FakeServer, tmp_path: Path) -> None:
    """After the server was put back to a backup every device says so, with how much of its work it
    is told again, once however often it connects (I-1, D5)."""
    with opened(server, tmp_path) as one, opened(server, tmp_path, 2) as other:
        one.append(customer(1))
        for device in (one, other):
            device.sync()
        backup = server.log.backup()
        one.append(order(1))
        for device in (one, other):
            device.sync()
        server.restore(backup)
        for device in (one, other, one, other):
            assert device.sync().equal
        head = "The server was restored from a backup. It had forgotten"
        assert texts(one) == [
            f"{head} 1 event of this device, which it is told again; nothing is lost."
        ]
        assert texts(other) == [f"{head} nothing of this device; nothing is lost."]


def test_work_of_an_earlier_life_that_is_told_again_is_said(
    server: FakeServer, tmp_path: Path
) -> None:
    """A server that was put back to before a fork is told what the earlier life had said, and the
    user reads all three things that happened, newest first (I-1, I-5)."""
    with opened(server, tmp_path) as device:
        device.append(customer(1))
        device.sync()
        backup = server.log.backup()
        device.append(order(1))
        device.sync()
    shutil.copytree(tmp_path, tmp_path / "copy")
    with opened(server, tmp_path) as device:
        device.append(order(3))
        device.sync()
    with opened(server, tmp_path / "copy") as clone:
        clone.append(order(2))
        assert clone.sync().equal
        server.restore(backup)
        assert clone.sync().equal
        assert {key.id for key in server.documents()} == {"c-1", "o-1", "o-2"}
        again, put_back, forked = texts(clone)
        assert forked == FORKED
        assert put_back.startswith("The server was restored from a backup. It had")
        assert "forgotten 1 event of this device" in put_back
        assert again.startswith("The server was restored from a backup and had forgotten earlier")
        assert "life number 3" in again


def test_notices_are_bounded_and_each_is_kept_once(tmp_path: Path) -> None:
    """The same thing is told once, and of many things the newest stay (I-20)."""
    journal = Journal(tmp_path / "j.db")
    lives = 2 * NOTICES_KEPT_MAX
    for number in range(2 * lives):
        journal.notices.keep(renewed(number // 2), number)
    assert len(journal.notices.open) == NOTICES_KEPT_MAX
    assert f"life number {lives - 1};" in journal.notices.open[0].text
    assert [one.at_ms for one in journal.notices.open][:2] == [2 * lives - 2, 2 * lives - 4]
    before = journal.notices.open
    journal.notices.keep(restored(b"log", 2, 1_234), 5)
    assert "1,234 events of this device" in journal.notices.open[0].text
    journal.close()
    journal = Journal(tmp_path / "j.db")
    assert journal.notices.open[1:] == before[:-1]
    journal.notices.dismiss(99_999)
    journal.close()


def test_a_journal_of_the_program_before_takes_notices(tmp_path: Path) -> None:
    """A journal that was made before there were notices is opened as it is and keeps them (P34)."""
    journal = Journal(tmp_path / "j.db")
    journal._sql.execute("DROP TABLE notice")
    older = next(n for n, statements in enumerate(MIGRATIONS) if "notice" in statements[0])
    journal._sql.execute(f"PRAGMA user_version = {older}")
    journal.close()
    journal = Journal(tmp_path / "j.db")
    assert journal.notices.open == ()
    journal.notices.keep(Said("key", "forked", "Told."), 7)
    journal.close()
    journal = Journal(tmp_path / "j.db")
    assert journal.notices.open == (Notice(1, 7, "forked", "Told."),)
    journal.close()
