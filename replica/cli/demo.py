"""``replica demo``: the main job from end to end on this machine."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from replica.cli.frame import FAILED, say

app = typer.Typer(help="Run the main job from end to end on this machine", add_completion=False)
PASSWORD_BYTES = 9


@app.command()
def demo(
    *,
    leave: Annotated[
        bool, typer.Option("--exit", help="end instead of serving on; status 0 if all holds")
    ] = False,
    folder: Annotated[Path, typer.Option(help="everything the demo keeps; emptied first")] = Path(
        "var/demo"
    ),
    port: Annotated[int, typer.Option(help="the server's port; 0 takes a free one")] = 0,
) -> None:
    """A company, three reps without a network, a killed server, one estimate for each order."""
    from rich.console import Console

    from replica.demo.report import show
    from replica.demo.story import LOGIN, Story

    password = secrets.token_urlsafe(PASSWORD_BYTES)
    story = Story(folder, port=port, password=password, say=lambda text: say(f"• {text}"))
    try:
        outcome = story.run()
        show(Console(stderr=True), outcome)
        if not leave:
            say(f"\nServing on http://127.0.0.1:{story.port}  login: {LOGIN}  password: {password}")
            say("Press Ctrl+C to end.")
        typer.echo(json.dumps(outcome.verdict))
        if not outcome.holds:
            raise typer.Exit(FAILED)
        if not leave:
            story.wait()
    except KeyboardInterrupt:
        say("ending")
    finally:
        story.close()
