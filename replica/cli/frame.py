"""What all verbs share: finding a verb, settings, output, and errors as exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from replica.cli import VERBS, verb_app
from replica.errors import MisuseError, ReplicaError
from replica.server import plugins

if TYPE_CHECKING:
    from replica.events.event import AccountId
    from replica.server.config import Config

FAILED = 1
USAGE = 2
NEEDS_ATTENTION = 3

Row = Mapping[str, Any]


class Verbs(TyperGroup):
    """A group whose members are imported when they are called, so that --help is quick."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted([*VERBS, *plugins.verbs()])

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name in VERBS:
            app = verb_app(cmd_name)
        elif cmd_name in (of_sinks := plugins.verbs()):
            app = of_sinks[cmd_name].load()()
        else:
            return None
        command = typer.main.get_command(app)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        lines = {name: f"Verbs of the {name} sink" for name in plugins.verbs()} | VERBS
        with formatter.section("Verbs"):
            formatter.write_dl(sorted(lines.items()))

    def invoke(self, ctx: Any) -> Any:
        """Errors made on purpose become a line, a hint and an exit code; bugs keep their trace."""
        try:
            return super().invoke(ctx)
        except ReplicaError as error:
            say(f"error: {error}")
            if error.hint:
                say(f"hint: {error.hint}")
            raise typer.Exit(USAGE if isinstance(error, MisuseError) else FAILED) from error


def program() -> Any:
    """The command of the whole program."""
    app = typer.Typer(
        cls=Verbs,
        help="Orders taken where there is no network, brought home.",
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_no_options)
    return typer.main.get_command(app)


def verb(text: str) -> typer.Typer:
    """The typer app of one verb, in the common style."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None, add_completion=False)


def config() -> Config:
    """The configuration of this process. Raises ``MisuseError`` for a wrong environment."""
    from replica.server.config import from_env

    return from_env(os.environ, foreign=plugins.environ_prefixes())


def say(text: str) -> None:
    """A message for the person at the terminal, on standard error."""
    typer.echo(text, err=True)


def emit(rows: Sequence[Row] | Row, *, as_json: bool) -> None:
    """Data on standard output: JSON, or aligned columns with the keys as the header."""
    if as_json:
        json.dump(rows, sys.stdout, ensure_ascii=False, indent=2)
        sys.stdout.write("\n")
        return
    if isinstance(rows, Mapping):
        width = max((len(key) for key in rows), default=0)
        for key, value in rows.items():
            typer.echo(f"{key:<{width}}  {_cell(value)}")
        return
    if not rows:
        say("nothing to show")
        return
    table = [list(rows[0]), *([_cell(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        typer.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    text = str(value) if not isinstance(value, list | dict) else json.dumps(value)
    # A name may hold anything a user typed; a terminal must not act on it (reliability I-26).
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _no_options() -> None:
    pass


def chosen(control: Any, wanted: str) -> AccountId:
    """The account of that name or id; the oldest for "". Raises ``MisuseError``."""
    for account in control.accounts():
        if wanted in ("", account.name, account.id.hex()):
            found: AccountId = account.id
            return found
    raise MisuseError(f"there is no account {wanted!r}" if wanted else "there is no account yet")
