"""Numbers, JSON and times as the accounting API writes them.

Money never becomes a binary float on its way in, through the books or out: JSON fractions are
read as ``Decimal`` and written back as plain digits.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

Json = dict[str, Any]

CENT = Decimal("0.01")
ZERO = Decimal(0)
NUMBER_DIGITS_MAX = 15  # before the point
FRACTION_DIGITS_MAX = 10

_decoder = msgspec.json.Decoder(float_hook=Decimal)
_encoder = msgspec.json.Encoder(decimal_format="number")


def read_json(data: bytes) -> Any:
    """The value in ``data``; fractions are ``Decimal``. Raises ``msgspec.DecodeError``."""
    return _decoder.decode(data)


def write_json(value: Any) -> bytes:
    """``value`` as UTF-8 JSON; ``Decimal`` becomes a JSON number."""
    return _encoder.encode(value)


def number(value: Any) -> Decimal:
    """``value`` as an exact plain decimal.

    Clients send numbers as JSON numbers or as strings. Raises ``ValueError`` when it is neither,
    not finite, or has more digits than the books keep.
    """
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError("not a number")  # noqa: TRY004 (one error for all that is wrong)
    try:
        exact = Decimal(value.strip() if isinstance(value, str) else value)
    except InvalidOperation as problem:
        raise ValueError("not a number") from problem
    if not exact.is_finite() or abs(exact.adjusted()) >= NUMBER_DIGITS_MAX:
        raise ValueError("out of range")
    if -int(exact.as_tuple().exponent) > FRACTION_DIGITS_MAX:
        raise ValueError("too many digits after the point")
    whole = exact.to_integral_value()
    return whole.quantize(Decimal(1)) if exact == whole else exact.normalize()


def cents(value: Decimal | int) -> Decimal:
    """Rounded half away from zero to two places, as the books keep amounts. What was written
    without a fraction, as voided amounts are, is read back as a whole number."""
    return Decimal(value).quantize(CENT, rounding=ROUND_HALF_UP)


def stamp(at_ms: int, zone: ZoneInfo) -> str:
    """ISO 8601 to the second with the company's offset, never ``Z``."""
    return datetime.fromtimestamp(at_ms // 1000, zone).isoformat()


def stamp_ms(at_ms: int, zone: ZoneInfo) -> str:
    """As :func:`stamp` with milliseconds: the ``time`` of an envelope."""
    moment = datetime.fromtimestamp(at_ms // 1000, zone)
    return moment.replace(microsecond=at_ms % 1000 * 1000).isoformat(timespec="milliseconds")


def today(at_ms: int, zone: ZoneInfo) -> str:
    """The date in the company's zone, ``YYYY-MM-DD``."""
    return datetime.fromtimestamp(at_ms // 1000, zone).date().isoformat()


def read_date(value: Any) -> str:
    """``value`` as ``YYYY-MM-DD``; a date-time is cut to its date. Raises ``ValueError``."""
    if not isinstance(value, str):
        raise ValueError("not a date")  # noqa: TRY004 (one error for all that is wrong)
    head = value.strip()[:10]
    return date.fromisoformat(head).isoformat()


def read_time_ms(value: str, zone: ZoneInfo) -> int:
    """Unix milliseconds of an ISO 8601 date or date-time; without offset it is company time.

    Raises ``ValueError``.
    """
    text = value.strip().replace(" ", "+")  # an offset's plus sign arrives decoded as a blank
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    seconds = moment.astimezone(UTC).replace(microsecond=0)
    return int(seconds.timestamp()) * 1000 + moment.microsecond // 1000
