"""What an account may choose, over what the environment says. Pure.

A choice is kept as text under its name; one that does not parse is refused when it is made, so that
reading never fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from zoneinfo import ZoneInfo

import msgspec

from qbo_sink import schedule
from qbo_sink.config import Config
from qbo_sink.model import ACCEPTED, INVOICE, PENDING, Settings
from qbo_sink.schedule import DAYS, Schedule
from replica.errors import MisuseError
from replica.sink import Setting

_EVERY = (
    ("never", "never, by hand only"),
    ("hourly", "hourly"),
    ("daily", "daily"),
    ("weekly", "weekly"),
)
_STATES = ((ACCEPTED, "an estimate that is Accepted"), (PENDING, "an estimate that is Pending"))
FORMS = {"order_status": (*_STATES, (INVOICE, "an invoice")), "quote_status": _STATES}
"""What an order and a quote may become there (QB-04)."""
_NEW_ONLY = "new ones only; what waits or stands there stays what it was meant as"
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class Choices:
    """What counts for one account."""

    schedule: Schedule
    zone: ZoneInfo
    settings: Settings


def defaults(config: Config) -> dict[str, str]:
    """What counts where nothing was chosen."""
    parsed = schedule.parse(config.schedule)
    return {
        "every": parsed.every,
        "weekday": DAYS[parsed.weekday],
        "at": f"{parsed.at:%H:%M}" if parsed.every in ("daily", "weekly") else "03:00",
        "zone": config.zone,
        "order_status": config.settings.order_status,
        "quote_status": config.settings.quote_status,
        "strict_order": "1" if config.settings.strict_order else "0",
    }


def effective(config: Config, chosen: Mapping[str, str]) -> Choices:
    """The choices of one account."""
    known = defaults(config)
    values = known | {name: value for name, value in chosen.items() if name in known}
    at = time.fromisoformat(values["at"])
    return Choices(
        schedule=Schedule(values["every"], at, DAYS.index(values["weekday"])),
        zone=schedule.zone(values["zone"]),
        settings=msgspec.structs.replace(
            config.settings,
            order_status=values["order_status"],
            quote_status=values["quote_status"],
            strict_order=values["strict_order"] == "1",
        ),
    )


def offered(config: Config, chosen: Mapping[str, str]) -> list[Setting]:
    """Every choice with what counts now and where that comes from (QB-04, QB-14)."""
    known = defaults(config)

    def one(
        name: str, label: str, choices: tuple[tuple[str, str], ...] = (), hint: str = ""
    ) -> Setting:
        value = chosen.get(name, known[name])
        return Setting(name, label, value, choices, hint, "" if name in chosen else "default")

    days = tuple(zip(DAYS, _DAY_NAMES, strict=True))
    return [
        one("every", "Sync automatically", _EVERY),
        one("weekday", "On", days, "for weekly"),
        one("at", "At", hint="for daily and weekly, as 03:00"),
        one("zone", "Time zone", hint="such as Europe/London; safe when clocks change"),
        one("order_status", "An order becomes", FORMS["order_status"], _NEW_ONLY),
        one("quote_status", "A quote becomes", FORMS["quote_status"], _NEW_ONLY),
        one(
            "strict_order",
            "A failing row",
            (("0", "holds only what depends on it"), ("1", "holds everything behind it")),
        ),
    ]


def check(config: Config, name: str, value: str) -> str:
    """``value`` as it is kept. Raises ``MisuseError`` for what is no choice."""
    setting = next((one for one in offered(config, {}) if one.name == name), None)
    if setting is None:
        raise MisuseError("there is no such setting")
    if setting.choices and value not in dict(setting.choices):
        raise MisuseError(f"{setting.label}: {value!r} is none of the choices")
    if name == "zone":
        schedule.zone(value)
    if name == "at":
        return f"{schedule.parse(f'daily {value}').at:%H:%M}"
    return value
