"""Sync Now: the plan, the press, and the proof with its counts and fingerprints."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from replica.demo.office import Office
from replica.server.runs import DIGEST_CHARS


def press(office: Office, say: Callable[[str], None]) -> dict[str, Any]:
    """Make a plan, run it, say how it went; the run as the server tells it."""
    plan = office.plan()
    push, pull = plan["push"], plan["pull"]
    there = (
        f"{pull['count']} changes from there" if pull["at_ms"] else "changes there not known yet"
    )
    say(
        f"The plan of Sync Now: {push['count']} documents to QuickBooks, {there}, "
        f"{len(plan['devices'])} devices"
    )
    run = office.sync_now(plan["plan"])
    for step in run["steps"]:
        say(f"  {step['title']}: {step['text']}")
    equal = [one["name"] for one in run["devices"] if one["state"] == "equal"]
    for one in run["sections"]:
        digest = one["digest"][:DIGEST_CHARS]
        say(f"  {one['section']:<9} {one['count']:>5}  {digest}  equal on {len(equal)} devices")
    say(
        f"Sync Now: {run['sent']} sent to QuickBooks, devices and server "
        f"{'hold the same data' if run['equal'] else 'DIFFER'}"
    )
    return run
