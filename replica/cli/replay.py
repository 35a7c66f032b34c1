"""``replica replay``: a reducer of one's own over the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from replica.analytics.moment import By, parse_moment
from replica.cli.analyst import say_source, told_history
from replica.cli.frame import emit, verb

app = verb("Run a reducer of your own over the log")


@app.command()
def replay(
    file: Annotated[Path, typer.Argument(help="Python with begin() and step(state, entry)")],
    to: Annotated[str, typer.Option(help="now, a position, a day or a time (UTC)")] = "now",
    by: Annotated[By, typer.Option(help="which clock a time is read on")] = By.RECEIVED,
    account: Annotated[str, typer.Option(help="name or id; the oldest by default")] = "",
) -> None:
    """Print what the reducer makes of the events, as JSON."""
    from replica.analytics.replay import load_reducer
    from replica.analytics.replay import replay as run

    reducer = load_reducer(file)
    with told_history(account) as history:
        done = run(reducer, history.entries(parse_moment(to, by)))
        emit(done.result, as_json=True)
        say_source(history, done.position, done.events, 0)
