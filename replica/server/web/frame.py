"""The frame around every page: templates, navigation, the Sync button, form tokens, files."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from replica.server.guard import form_token
from replica.server.web import marks, words
from replica.server.web.marks import Mark

HERE = Path(__file__).parent
STATIC_CACHE = "public, max-age=31536000, immutable"


class Entry(NamedTuple):
    """One entry of the navigation. ``unit`` says aloud what ``number`` counts."""

    href: str
    text: str
    number: int = 0
    unit: str = ""
    alert: bool = False


class Flash(NamedTuple):
    """One sentence about what was just done."""

    text: str
    icon: str = "check"
    tone: str = "ok"


class Links(NamedTuple):
    """Where a list goes on; None at its ends."""

    first: str | None
    next: str | None


FLASHES = {
    "revoked": Flash("The device was revoked. Its connection was closed.", "stop", "warn"),
    "handed": Flash(
        "The customers leave the device with its next connection. Work that it sends later is"
        " taken all the same."
    ),
    "discarded": Flash(
        "The file was forgotten here. Nothing that was imported is taken back.", "info"
    ),
    "policy": Flash("Saved. It counts for devices that enrol from now on."),
    "scoped": Flash("Saved. The device takes what changes with its next connection."),
    "saved": Flash("Saved. The change is on its way to every device."),
    "unchanged": Flash("Nothing was changed.", "info", ""),
    "deleted": Flash("Deleted here and on every device. Restore it here if that was wrong."),
    "restored": Flash("Restored here and on every device."),
    "retry": Flash("It is tried again with the next sync."),
    "exclude": Flash("Removed from the queue. It is kept under Excluded.", "minus", ""),
    "include": Flash("Back in the queue."),
    "bottom": Flash("It goes last now."),
    "only": Flash("Sent by itself; what came of it is shown below.", "info", ""),
    "connected": Flash("QuickBooks is connected."),
    "disconnected": Flash("QuickBooks is disconnected. What waits is kept.", "plug", "warn"),
    "settings": Flash("Saved. It counts from the next sync on."),
    "start": Flash("The comparison is shown below.", "info", ""),
    "resend": Flash("It goes with the next sync."),
    "accept": Flash("Taken as it is in QuickBooks."),
    "ours": Flash("Ours goes over it with the next sync."),
    "link": Flash("Linked. Nothing is sent for it."),
    "ignore": Flash("Ignored, with the reason. A later change there shows again.", "minus", ""),
    "watch": Flash("Shown again."),
    "convert": Flash("The invoice waits in the queue; it goes with the next sync."),
    "invoice_again": Flash("Another invoice waits in the queue; it goes with the next sync."),
    "deliver": Flash("The e-mail waits in the queue; it goes with the next sync."),
    "other": Flash("The other value counts now; it is on its way to every side."),
    "fine": Flash("Kept as it is.", "check", ""),
    "same": Flash("Linked. Nothing new is made for it."),
    "apart": Flash("Kept apart. It is made there under its own name.", "fork", ""),
    "undo": Flash("Taken back. The next sync says it as it was meant."),
}
"""What an address may ask a page to say; an address cannot make it say anything else."""


@dataclass(frozen=True)
class Shell:
    """What the frame shows around a page. ``live`` names what the page was made from."""

    live: str
    account_name: str
    user_name: str
    session: str
    position: int
    navigation: list[Entry]
    sync_menu: list[Entry]
    sync_button: Mark


class Frame:
    """Renders templates. ``now_ms`` is read once per page."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=PackageLoader("replica.server.web"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(iso=words.iso, exact=words.exact)
        self._version = _static_version()

    def page(
        self,
        name: str,
        shell: Shell,
        here: str,
        *,
        now_ms: int,
        flash: str = "",
        status: int = 200,
        **values: Any,
    ) -> Response:
        """A page inside the frame; ``here`` is the navigation's entry, ``flash`` a known name."""
        return self._render(
            name,
            now_ms,
            status,
            account_name=shell.account_name,
            user_name=shell.user_name,
            form_token=form_token(shell.session),
            position=f"{shell.position:,}",
            navigation=shell.navigation,
            sync_menu=shell.sync_menu,
            sync_button=shell.sync_button,
            live=shell.live,
            here=here,
            flash=FLASHES.get(flash),
            **values,
        )

    def bare(self, name: str, *, now_ms: int, status: int = 200, **values: Any) -> Response:
        """A page without navigation: the login, a problem."""
        return self._render(name, now_ms, status, **values)

    def _render(self, name: str, now_ms: int, status: int, **values: Any) -> Response:
        template = self._environment.get_template(name)
        text = template.render(
            static_version=self._version,
            ago=lambda ms: words.ago(ms, now_ms),
            **values,
        )
        return HTMLResponse(text, status_code=status)


class Files(StaticFiles):
    """The style sheet, the script and the icon. Their addresses carry a version."""

    def __init__(self) -> None:
        super().__init__(directory=HERE / "static")

    def file_response(self, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(*arguments, **options)
        response.headers["cache-control"] = STATIC_CACHE
        return response


def links(path: str, filters: dict[str, str], after: str | None, following: str | None) -> Links:
    """Addresses of the first and the next page of a filtered list."""
    kept = {name: value for name, value in filters.items() if value}
    first = address(path, kept) if after else None
    return Links(first, address(path, kept | {"after": following}) if following else None)


def address(path: str, query: dict[str, str]) -> str:
    """``path`` with ``query``, quoted."""
    return f"{path}?{urlencode(query)}" if query else path


def sync_mark(state: str, *, running: bool, attention: bool, waiting: int) -> Mark:
    """How the Sync button looks: spinning, a cross when something needs somebody, else a check
    (QB-17). No check while something waits: it would look as if everything were there."""
    if running or state == "running":
        return marks.RUNNING
    if attention or state in ("stopped", "failing", "reconnect_needed"):
        return Mark("error", "something needs attention", "cross", "bad")
    if state == "not_connected":
        return Mark("not_connected", "not connected", "plug", "")
    if waiting:
        return Mark("waiting", f"{waiting} waiting", "sync", "wait")
    return Mark("ready", "everything was sent", "check", "ok")


def _static_version() -> str:
    digest = sha256()
    for path in sorted((HERE / "static").iterdir()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]
