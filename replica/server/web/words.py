"""Numbers, money and times as people read them. Pure; the clock is an argument."""

from __future__ import annotations

from datetime import UTC, datetime

from replica.events.money import minor_digits

_SPANS = ((86_400, "day"), (3_600, "hour"), (60, "minute"))


def money(amount_minor: int, currency: str) -> str:
    """``1,234.50 USD``: grouped, with exactly the digits of the currency."""
    return f"{decimal(amount_minor, minor_digits(currency))} {currency}".strip()


def decimal(value: int, places: int, *, least: int | None = None) -> str:
    """An integer scaled by ``10**places``, grouped. Zeros beyond ``least`` places are dropped."""
    whole, part = divmod(abs(value), 10**places)
    digits = f"{part:0{places}d}" if places else ""
    if least is not None:
        digits = digits.rstrip("0").ljust(least, "0")
    sign = "\N{MINUS SIGN}" if value < 0 else ""
    return f"{sign}{whole:,}{'.' if digits else ''}{digits}"


def quantity(qty_e3: int) -> str:
    """Thousandths without needless zeros: ``12``, ``0.5``."""
    return decimal(qty_e3, 3, least=0)


def price(price_e4: int, currency: str) -> str:
    """A unit price with the currency's digits, more only where they matter."""
    return decimal(price_e4, 4, least=min(minor_digits(currency), 4))


def moment(ms: int) -> datetime:
    """The UTC time of ``ms``, clamped into what a calendar can show."""
    return datetime.fromtimestamp(min(max(ms, 0), 253_402_300_799_999) / 1_000, UTC)


def iso(ms: int) -> str:
    return moment(ms).strftime("%Y-%m-%dT%H:%M:%SZ")


def exact(ms: int) -> str:
    return moment(ms).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """``3 hours``, ``1 minute``, ``12 seconds``: the largest unit that fits."""
    for size, unit in _SPANS:
        if seconds >= size:
            return count(int(seconds // size), unit)
    return count(int(seconds), "second") if seconds >= 1 else "less than a second"


def ago(ms: int, now_ms: int) -> str:
    """``3 minutes ago``; a time in the next days reads ``in 2 hours``."""
    seconds = (now_ms - ms) / 1_000
    if abs(seconds) < 5:
        return "just now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def count(number: int, unit: str) -> str:
    """``1 order``, ``2 orders``, ``1,204 orders``."""
    return f"{number:,} {unit}{'' if number == 1 else 's'}"


def skew(offset_ms: int | None) -> str:
    """How wrong a device's clock is; below two seconds is noise of the measurement (P60)."""
    if offset_ms is None:
        return "unknown"
    if abs(offset_ms) < 2_000:
        return "right"
    return f"{span(abs(offset_ms) / 1_000)} {'ahead' if offset_ms > 0 else 'behind'}"
