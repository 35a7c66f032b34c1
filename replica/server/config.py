"""The configuration of one server process: a frozen value, built once from the environment.

``from_env`` is pure: it takes a mapping and reads nothing else, so a test or ``config show`` asks
it what any environment would mean. Parts of the server take the values they need, never the
config itself (architecture.md §11). A misspelt key is an error with a suggestion, because a
setting that silently does nothing is found on the worst day (dependencies.md §8).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_type_hints
from urllib.parse import urlsplit

from replica.errors import MisuseError

ENV_PREFIX = "REPLICA_"
LOG_LEVELS = ("debug", "info", "warning", "error")
CHILDREN = ("on", "off")


class About(NamedTuple):
    """What ``config show`` says of a setting. A secret is masked wherever it is shown."""

    text: str
    secret: bool = False


@dataclass(frozen=True, repr=False)
class Config:
    """Every setting of ``replica serve``. The variable of a field is ``REPLICA_<FIELD>``."""

    data: Annotated[Path, About("directory of the databases and keys")] = Path("var")
    database_url: Annotated[
        str, About("postgresql+psycopg://… keeps everything in PostgreSQL", secret=True)
    ] = ""
    host: Annotated[str, About("address to listen on")] = "127.0.0.1"
    port: Annotated[int, About("port to listen on; 0 takes a free one")] = 8080
    public_url: Annotated[str, About("how browsers reach us; https makes cookies Secure")] = ""
    origins: Annotated[tuple[str, ...], About("further browser origins, comma-separated")] = ()
    account: Annotated[str, About("name of the first account")] = "Main"
    admin: Annotated[str, About("login of the first user")] = "admin"
    admin_password: Annotated[
        str, About("password of the first user; made up when empty", secret=True)
    ] = ""
    children: Annotated[
        str, About("on: processes for read models and large pushes; off saves their memory")
    ] = "on"
    log_level: Annotated[str, About(f"one of {', '.join(LOG_LEVELS)}")] = "info"

    @property
    def secure_cookies(self) -> bool:
        return self.public_url.startswith("https://")

    @property
    def browser_origins(self) -> frozenset[str]:
        """Origins a browser may open ``/sync`` from (reliability D12)."""
        own = (self.public_url,) if self.public_url else ()
        return frozenset(origin_of(url) for url in (*own, *self.origins))


def variable(name: str) -> str:
    """The environment variable of field ``name``."""
    return ENV_PREFIX + name.upper()


def from_env(environ: Mapping[str, str], *, foreign: Sequence[str] = ()) -> Config:
    """The configuration that ``environ`` means. Empty values count as absent.

    ``foreign`` are key prefixes that belong to sinks and are left to them. Raises ``MisuseError``
    for an unknown ``REPLICA_*`` key, with the nearest known one in the hint, and for a value that
    does not parse, naming the variable and never the value (it may be a secret).
    """
    known = {variable(entry.name): entry for entry in fields(Config)}
    values: dict[str, Any] = {}
    for key, text in environ.items():
        if not key.startswith(ENV_PREFIX) or key.startswith(tuple(foreign)):
            continue
        if key not in known:
            raise _unknown(key, list(known))
        if text:
            values[known[key].name] = _parse(key, known[key].default, text)
    return Config(**values)


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` in lower case, as a browser writes it in ``Origin``."""
    parts = urlsplit(url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MisuseError(f"{url!r} is not an http or https origin")
    return f"{parts.scheme}://{parts.netloc}".lower()


@dataclass(frozen=True)
class Shown:
    """One line of ``replica config show``; secrets are masked."""

    name: str
    value: str
    origin: str
    help: str


def describe(config: Config, environ: Mapping[str, str]) -> list[Shown]:
    """Each setting with its value and where it came from."""
    shown = []
    for name, hint in get_type_hints(Config, include_extras=True).items():
        about: About = hint.__metadata__[0]
        value = getattr(config, name)
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        if about.secret and text:
            text = "(set)"
        origin = "environment" if environ.get(variable(name)) else "default"
        shown.append(Shown(variable(name), text, origin, about.text))
    return shown


def _unknown(key: str, known: list[str]) -> MisuseError:
    near = get_close_matches(key, known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
    return MisuseError(f"{key} is not a setting", hint=hint)


def _parse(key: str, default: Any, text: str) -> Any:
    if isinstance(default, Path):
        return Path(text)
    if isinstance(default, int):
        return _port(key, text)
    if isinstance(default, tuple):
        return tuple(part.strip() for part in text.split(",") if part.strip())
    for name, allowed in (("log_level", LOG_LEVELS), ("children", CHILDREN)):
        if key == variable(name) and text not in allowed:
            raise MisuseError(f"{key} is not one of {', '.join(allowed)}")
    if key == variable("public_url"):
        origin_of(text)
    return text


def _port(key: str, text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise MisuseError(f"{key} is not a port number from 0 to 65535")
    return int(text)
