"""The command line: data on standard output, messages on standard error, honest exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from replica.cli import VERBS, main
from replica.server.serve import operator_file
from tests.server.raw import RawDevice, customer
from tests.server.world import World


class Cli:
    """Runs a verb in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.said = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Standard output; the exit code must be ``code``."""
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        out, self.said = self._capsys.readouterr()
        assert (ended.value.code or 0) == code, self.said
        return out

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data directory of its own, with a password that is quick to type."""
    monkeypatch.setenv("REPLICA_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], data: Path) -> Cli:
    return Cli(capsys)


def test_help_lists_every_verb_without_importing_any() -> None:
    """--help is quick: no database, no web server, no sink is imported for it (V)."""
    probe = (
        "import sys\n"
        "from replica.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('sqlalchemy', 'starlette', 'qbo_sink', 'argon2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
    assert all(f"  {verb} " in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_explains_itself(cli: Cli, verb: str) -> None:
    """Each verb that is listed exists and has a help text (P)."""
    assert "Usage:" in cli(verb, "--help")


def test_a_new_installation(cli: Cli) -> None:
    """init makes an account and shows the password once; doing it again changes nothing (P)."""
    (account,) = cli.json("init")
    assert account["name"] == "Main"
    assert "password" in cli.said
    assert cli.json("init") == [account]
    assert "nothing was changed" in cli.said
    assert "password" not in cli.said


def test_devices_without_a_server(cli: Cli) -> None:
    """Without a server the verbs speak the same API in this process (P)."""
    cli("init")
    made = cli.json("device", "add", "Ana's phone")
    assert len(made["code"].replace("-", "")) == 16
    assert cli.json("device", "ls") == []
    assert "no such device" in _failed(cli, "device", "revoke", "00" * 16)
    assert cli.json("device", "policy")["policy"] == "all"
    said = cli.json("device", "policy", "selected", "--products", "all", "--orders", "own")
    assert said["wish"] == {"customers": [], "prospects": [], "products": "all", "orders": "own"}
    assert cli.json("device", "add", "Till", "--customers", "c-1", "--locked")["name"] == "Till"
    assert "no such user" in _failed(cli, "device", "add", "Till", "--user", "nobody")
    assert "selected" in _failed(cli, "device", "policy", "--products", "all", code=2)
    assert cli.json("device", "policy", "all")["policy"] == "all"


def test_devices_of_a_running_server(cli: Cli, data: Path) -> None:
    """Beside a running server the verbs ask it, because it holds the databases (D3)."""
    world = World(data)
    try:
        company = world.company()
        with operator_file(data, world.url, world.runtime.operator_token):
            device = RawDevice.enrol(world, company, "Till 1")
            device.meet()
            device.write(customer(1))
            (row,) = cli.json("device", "ls", "--account", company.name)
            assert (row["name"], row["state"]) == ("Till 1", "online")
            scope = ["device", "scope", "Till 1", "--account", company.name]
            assert cli.json(*scope)["everything"] is True
            chosen = ["--customers", "c-1,c-2", "--products", "none", "--ttl-days", "1"]
            assert cli.json(*scope, *chosen, "--preview")["enters"] == 0
            assert cli.json(*scope, *chosen)["customers"] == ["c-1", "c-2"]
            revoked = cli.json("device", "revoke", row["id"], "--account", company.name)
            assert revoked["state"] == "revoked"
            device.close()
            rows = cli.json("events", "tail", "--account", company.name, "--limit", "2")
            assert [entry["kind"] for entry in rows] == ["device.scoped/1", "device.revoked/1"]
            assert cli.json("events", "verify")[0]["position"] == 4
            found = {row["check"]: row["found"] for row in cli.json("doctor")}
            assert found["server"].startswith("running at")
    finally:
        world.stop()


def test_accounts_and_users(cli: Cli) -> None:
    """Companies and people are added from the terminal; passwords are shown once (P)."""
    cli("init")
    made = cli.json("account", "add", "Beta", "--login", "bea")
    assert made["password"]
    assert [row["name"] for row in cli.json("account", "ls")] == ["Main", "Beta"]
    cli.json("user", "add", "rob", "--account", "Beta")
    logins = [row["login"] for row in cli.json("user", "ls", "--account", "Beta")]
    assert logins == ["bea", "rob"]
    assert "taken" in _failed(cli, "user", "add", "rob")
    assert "no account" in _failed(cli, "user", "ls", "--account", "Gamma")


def test_a_backup_is_made_verified_and_put_back(cli: Cli, data: Path, tmp_path: Path) -> None:
    """A copy is proved when it is made, and restoring starts a new generation (I-22, D5)."""
    cli("init")
    target = tmp_path / "copy.db"
    made = cli.json("backup", "make", str(target))
    assert cli.json("backup", "verify", str(target)) == made
    assert "exists" in _failed(cli, "backup", "make", str(target), code=2)
    (data / "log.db").unlink()
    assert cli.json("backup", "restore", str(target)) == made
    assert cli.json("account", "ls")[0]["name"] == "Main"


def test_the_doctor_names_what_to_do(cli: Cli) -> None:
    """Before init the doctor says what is missing and exits with 3 (P)."""
    rows = {row["check"]: row for row in cli.json("doctor", code=3)}
    assert rows["sqlite"]["result"] == "ok"
    assert rows["tables"]["result"] == "attention"
    assert "replica init" in rows["tables"]["hint"]
    cli("init")
    assert {row["result"] for row in cli.json("doctor")} == {"ok"}


def test_settings_are_shown_with_their_origin(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is set, where from, and no secret (P, I-18)."""
    monkeypatch.setenv("REPLICA_ADMIN_PASSWORD", "hunter2 hunter2")
    text = cli("config", "show", "--origin", "--json")
    assert "hunter2" not in text
    rows = {row["setting"]: row for row in json.loads(text)}
    assert rows["REPLICA_ADMIN_PASSWORD"]["value"] == "(set)"
    assert rows["REPLICA_ADMIN_PASSWORD"]["origin"] == "environment"
    assert rows["REPLICA_PORT"]["origin"] == "default"


def test_a_misspelt_setting_is_a_usage_error(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that nobody knows stops the verb with a suggestion and exit code 2 (V)."""
    monkeypatch.setenv("REPLICA_PROT", "1")
    assert "did you mean REPLICA_PORT?" in _failed(cli, "config", "show", code=2)


def test_migrations_are_checked_and_run(cli: Cli) -> None:
    """migrate --check says whether something is to be done (P)."""
    cli("init")
    cli("migrate", "--check")
    assert "nothing to do" in cli.said
    cli("migrate")
    assert "nothing to do" in cli.said


def test_the_queue_of_an_unconnected_server(cli: Cli) -> None:
    """Without a connection the queue says so and holds nothing (QB-13)."""
    cli("init")
    assert cli.json("queue", "ls") == []
    assert "not_connected" in cli.said


def test_sync_now_from_the_command_line(cli: Cli, data: Path) -> None:
    """sync says beforehand what it would do, then what each step did, and ends with the digests,
    also without a running server; with a company that is not connected it ends with exit code 0,
    as nothing needs anybody (SYN-15)."""
    world = World(data)
    company = world.company()
    world.write(company, customer(1, "Acme"))
    world.stop()
    assert cli.json("sync", "--plan")["position"] == 1
    cli("sync", "--plan")
    assert "0 to send, 0 wait for somebody" in cli.said
    found = cli.json("sync")
    assert (found["state"], found["equal"], found["problems"]) == ("done", True, [])
    assert {name: found["sections"][0][name] for name in ("section", "count")} == {
        "section": "customer",
        "count": 1,
    }
    assert cli.said.count("\n") >= 5
    assert "0 of 0 devices hold the same as the server" in cli.said


def test_control_characters_never_reach_a_terminal(cli: Cli) -> None:
    """A name that colours the terminal is shown without its power (I-26)."""
    cli("init")
    cli("account", "add", "Beta\x1b[31m", "--login", "bea")
    assert "\x1b" not in cli("account", "ls")


def _failed(cli: Cli, *arguments: str, code: int = 1) -> str:
    """The message of a verb that must fail."""
    assert cli(*arguments, code=code) == ""
    return cli.said


def test_why_explains_a_field(cli: Cli, data: Path) -> None:
    """Winner and loser with the rule and all times, as JSON and as a table, without a server;
    what is no record or is unknown is told (CON-10)."""
    world = World(data)
    company = world.company()
    world.write(company, customer(1, "Acme"), customer(1, "Acme Ltd"))
    world.stop()
    (name,) = cli.json("why", "customer/c-1", "name")["fields"]
    assert (name["value"], name["rule"]) == ("Acme Ltd", "newer value wins")
    assert [said["value"] for said in name["losers"]] == ["Acme"]
    assert all(said["received_ms"] for said in name["winners"] + name["losers"])
    header, winner, _ = cli("why", "customer/c-1", "name").splitlines()
    assert "merge time" in header
    assert "Acme Ltd" in winner
    assert cli.said == "name: newer value wins\n"
    assert "exists" in cli("why", "customer/c-1")
    cli("why", "c-1", code=2)
    assert "type/id" in cli.said
    cli("why", "customer/nobody", code=1)
    assert "nobody" in cli.said
