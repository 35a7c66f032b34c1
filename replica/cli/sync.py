"""``replica sync``: Sync Now from the command line, with its progress and its proof."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import urlencode

import typer

from replica.cli.frame import NEEDS_ATTENTION, config, emit, say, verb

app = verb("Sync Now: devices, lists and accounting, and the proof")

POLL_S = 0.3
RUN_S_MAX = 3_600.0
FINGERPRINT_CHARS = 16  # of 64: enough for people to compare; --json has all


@app.command()
def sync(
    *,
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
    plan: Annotated[
        bool, typer.Option("--plan", help="show what a run would do, and do nothing")
    ] = False,
    as_planned: Annotated[str, typer.Option(help="run the plan of this id")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Start a run, or join the one that is on, and say what each step did.

    Exit code 3 when something needs somebody: a device that differs, a document that could not be
    sent. A run goes on in the server when this program is ended; run it again to look.
    """
    from replica.cli.local import ask, running

    settings = config()
    if plan:
        _show_plan(
            ask(settings, "POST", "/sync-now/plan", account=account, sinks=True), as_json=as_json
        )
        return
    # Without a server the run lives in this process, and the answer is its end.
    asked = {"plan": as_planned, "wait": "" if running(settings.data) else "1"}
    query = urlencode({name: value for name, value in asked.items() if value})
    found = ask(settings, "POST", f"/sync-now?{query}", account=account, sinks=True)
    said: set[str] = set()
    _say_steps(found, said)
    deadline_s = time.monotonic() + RUN_S_MAX
    while found["state"] == "running" and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
        found = ask(settings, "GET", "/sync-now", account=account)
        _say_steps(found, said)
    for text in found["moved"]:
        say(f"Changed since the plan: {text}")
    for problem in found["problems"]:
        say(f"! {problem}")
    if as_json:
        emit(found, as_json=True)
    else:
        emit(_proofs(found), as_json=False)
    if not found["equal"]:
        raise typer.Exit(NEEDS_ATTENTION)


def _show_plan(found: dict[str, Any], *, as_json: bool) -> None:
    """The plan in words, then what goes, row by row."""
    if as_json:
        emit(found, as_json=True)
        return
    push, pull = found["push"], found["pull"]
    say(f"Plan {found['plan']}, with the log at position {found['position']}")
    say(f"{push['count']} to send, {push['staying']} wait for somebody")
    say(f"{pull['count']} to fetch ({pull['text']})")
    for device in found["devices"]:
        held = "not known" if device["pending"] is None else device["pending"]
        say(f"{device['name']} ({device['state']}): {held} to send")
    for name in ("overridden", "deleted", "lost"):
        for text in found[name]:
            say(f"{name}: {text}")
    rows = [*push["rows"], *pull["rows"]]
    names = ("entity", "type", "number", "name", "customer", "becomes", "state")
    emit([{name: row.get(name, "") for name in names} for row in rows], as_json=False)
    say(f"Run it with: replica sync --as-planned {found['plan']}")


def _say_steps(found: dict[str, Any], said: set[str]) -> None:
    """Each step when it has ended, and how far the one is that goes on."""
    for step in found["steps"]:
        ended = step["state"] in ("done", "attention")
        text = f"{step['title']}: {step['text']}" if ended else f"  {step['text']}"
        if (ended or step["total"]) and text not in said:
            said.add(text)
            say(text)


def _proofs(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A row per section of the server, then one per device, those that differ first, with both
    fingerprints, and a row for each section in which it differs."""
    rows = [
        _proof(one["section"], "server", (one["count"], one["digest"])) for one in found["sections"]
    ]
    well = ("equal", "offline")
    for one in sorted(found["devices"], key=lambda one: one["state"] in well):
        server, device = ("", one["server_fingerprint"]), ("", one["device_fingerprint"])
        rows.append(_proof(one["name"], one["state"], server, device))
        for unlike in one["differing"]:
            server = unlike["server_count"], unlike["server_digest"]
            device = unlike["device_count"], unlike["device_digest"]
            rows.append(_proof(f"{one['name']}: {unlike['section']}", "differs", server, device))
    return rows


def _proof(
    part: str, state: str, server: tuple[int | str, str], device: tuple[int | str, str] = ("", "")
) -> dict[str, Any]:
    return {
        "part": part,
        "state": state,
        "count": server[0],
        "fingerprint": server[1][:FINGERPRINT_CHARS],
        "on device": device[0],
        "its fingerprint": device[1][:FINGERPRINT_CHARS],
    }
