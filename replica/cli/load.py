"""``replica load``: a real order history through real connections."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from replica.cli.frame import FAILED, config, say

if TYPE_CHECKING:
    from replica.history.loading import Load, Loaded

app = typer.Typer(help="Load a real order history through real connections", add_completion=False)


@app.command()
def load(
    file: Annotated[Path, typer.Argument(help="a Parquet file, one row per order line")],
    *,
    devices: Annotated[int, typer.Option(help="how many devices share the work")] = 4,
    column: Annotated[
        list[str] | None,
        typer.Option(help="field=name: what a column is called; may be repeated"),
    ] = None,
    currency: Annotated[str, typer.Option(help="currency of the prices, ISO 4217")] = "GBP",
    url: Annotated[str, typer.Option(help="a running server; without it the load runs one")] = "",
    code: Annotated[
        list[str] | None, typer.Option(help="with --url: one enrolment code per device")
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(help="journals of the devices and rows kept aside; default: data/load"),
    ] = None,
) -> None:
    """Load FILE as devices do: append, sync, be acknowledged, and prove that all hold the same.

    Ends with one JSON line on standard output. Exit status 1 when a replica differs, a rebuild
    differs, or an event was rejected. Rows that cannot be lines are kept aside and reported.
    """
    from replica.history.loading import Load
    from replica.history.source import columns_from

    settings = config()
    place = folder or settings.data / "load"
    task = Load(
        file=file,
        journals=place / "journals",
        kept_aside=place / "kept-aside.jsonl",
        columns=columns_from(column or []),
        devices=devices,
        currency=currency,
    )
    loaded, found = _elsewhere(task, url, code or []) if url else _here(task)
    typer.echo(loaded.as_json(**found))
    if not (loaded.replicas_equal and found.get("rebuilt_equal", True)):
        raise typer.Exit(FAILED)


def _elsewhere(task: Load, url: str, codes: list[str]) -> tuple[Loaded, dict[str, object]]:
    from replica.history.loading import load as run
    from replica.history.office import GivenCodes

    return run(task, GivenCodes(url, codes), tell=say), {}


def _here(task: Load) -> tuple[Loaded, dict[str, object]]:
    """Run a server over the configured data, load, stop it, and count and rebuild what it has."""
    from replica.history.audit import audit
    from replica.history.loading import load as run
    from replica.history.office import own_server

    settings = config()
    with own_server(settings, os.environ) as server:
        loaded = run(task, server, tell=say)
        peak_kib = server.peak_kib()
    say("folding the whole log again to compare")
    found = audit(settings)
    more = {**found._asdict(), "server_peak_kib": peak_kib}
    more["rebuilt_equal"] = found.rebuilt_equal and found.rebuilt_digest == loaded.digest
    return loaded, more
