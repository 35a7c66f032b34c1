"""``replica reconcile``: two logs compared, by a file and by a server, with an honest exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from replica.device import CustomerCreated, CustomerFields
from replica.events.payloads import Payload
from tests.cli.test_verbs import Cli, cli, data
from tests.server.world import World

__all__ = ["cli", "data"]


def customers(first: int, count: int) -> list[Payload]:
    return [
        CustomerCreated(f"c-{number}", CustomerFields(name=f"Customer {number}"))
        for number in range(first, first + count)
    ]


def test_a_log_and_its_older_copy(
    cli: Cli, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy lacks what came after it, by count and by id (3); a log equals itself (0)."""
    copy = tmp_path / "copy.db"
    cli("init")
    world = World(data)
    try:
        (account, *_) = world.stores.control.accounts()
        company = world.company()
        assert account.name != company.name
        world.write(company, *customers(0, 50))
        cli("backup", "make", str(copy))
        world.write(company, *customers(50, 7))
        chosen = ("--account", company.name)
        same = cli.json("reconcile", "--against", str(data / "log.db"), *chosen)
        assert (same["events"], same["only_here"], same["only_there"]) == (57, 0, 0)
        found = cli.json("reconcile", "--against", str(copy), *chosen, code=3)
        assert (found["only_here"], found["only_there"]) == (7, 0)
        listed = cli.json("reconcile", "--against", str(copy), "--ids", *chosen, code=3)
        assert len({row["event"] for row in listed if row["only"] == "here"}) == 7

        token = tmp_path / "token"
        token.write_text(world.runtime.operator_token)
        server = ("--against", world.url, "--token-file", str(token), *chosen)
        assert cli.json("reconcile", *server)["events"] == 57
        token.write_text("somebody else's")
        cli("reconcile", *server, code=1)
        assert "does not know this token" in cli.said
        # The copy as the log at hand: what is missing is now here.
        (tmp_path / "old").mkdir()
        copy.rename(tmp_path / "old" / "log.db")
        monkeypatch.setenv("REPLICA_DATA", str(tmp_path / "old"))
        token.write_text(world.runtime.operator_token)
        assert cli.json("reconcile", *server, code=3)["only_there"] == 7
    finally:
        world.stop()


def test_what_cannot_be_compared_is_said(cli: Cli, tmp_path: Path) -> None:
    """No such file, something that is no log, a server without a token, nobody at the address."""
    cli("init")
    cli("reconcile", "--against", str(tmp_path / "none.db"), code=2)
    assert "there is no file" in cli.said
    (tmp_path / "poem.db").write_text("roses are red" * 100)
    cli("reconcile", "--against", str(tmp_path / "poem.db"), code=2)
    assert "is no readable log" in cli.said
    cli("reconcile", "--against", "http://127.0.0.1:9", code=2)
    assert "token" in cli.said
    (tmp_path / "token").write_text("t")
    url = ("--against", "http://127.0.0.1:9", "--token-file", str(tmp_path / "token"))
    cli("reconcile", *url, code=1)
    assert "does not answer" in cli.said
