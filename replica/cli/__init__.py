"""The command line: one file per verb, found by name and imported only when it is used.

Data goes to standard output, messages to standard error. Exit codes: 0 done, 1 failed, 2 wrong
usage, 3 needs attention (dependencies.md §8).
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

# What --help lists, without importing any of it: verb → one line.
VERBS = {
    "account": "Add and list accounts",
    "asof": "Show records as they stood at a moment",
    "backup": "Copy the databases while the server runs, and verify the copy",
    "carry": "Bring in work that a device exported to a file",
    "config": "Show every setting and where it came from",
    "demo": "Run the main job from end to end on this machine",
    "device": "Enrol, list and revoke devices",
    "diff": "Show what changed between two moments",
    "doctor": "Check that this installation can do its work",
    "events": "Read, export and verify the log",
    "init": "Make the data directory, the first account and its first user",
    "load": "Load a real order history through real connections",
    "migrate": "Bring the databases to this version",
    "project": "Look at the read models and rebuild them",
    "queue": "What waits to be sent, in sending order",
    "reconcile": "Compare the events of two logs",
    "replay": "Run a reducer of your own over the log",
    "serve": "Run the server",
    "sync": "Sync Now: devices, lists and accounting, and the proof",
    "user": "Add users of the main app",
    "why": "Explain why a field has its value",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run ``replica``; ends the process with the exit code."""
    from replica.cli.frame import program

    program()(args=None if arguments is None else list(arguments), prog_name="replica")


def verb_app(name: str) -> Any:
    """The typer app of one verb: ``app`` in ``replica.cli.<name>``."""
    return import_module(f"replica.cli.{name}").app
