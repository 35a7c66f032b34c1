"""Money in exact integers: minor units of a currency, never a float (reliability I-27).

Python's integers do not overflow, so every product is exact before it is rounded once, at the end
of a line. Rounding is to the nearest minor unit with halves away from zero, which is what a
customer expects of a receipt and of a refund of it.
"""

from __future__ import annotations

from replica.events.payloads import Content

_DIGITS_DEFAULT = 2
# ISO 4217: the currencies whose minor unit is not a hundredth.
_DIGITS = {
    **dict.fromkeys(("BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG"), 0),
    **dict.fromkeys(("RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF"), 0),
    **dict.fromkeys(("BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"), 3),
    **dict.fromkeys(("CLF", "UYW"), 4),
}
# A quantity counts thousandths and a price ten-thousandths: together 10**7 per major unit.
_SCALE_DIGITS = 7
_DIVISORS: dict[str, int] = {
    currency: 10 ** (_SCALE_DIGITS - digits) for currency, digits in _DIGITS.items()
}
_DIVISOR_DEFAULT: int = 10 ** (_SCALE_DIGITS - _DIGITS_DEFAULT)


def minor_digits(currency: str) -> int:
    """Decimal places of the currency's minor unit: 2 for USD, 0 for JPY, 3 for KWD.

    A code this table does not know counts as two places, so a new currency never stops an order.
    """
    return _DIGITS.get(currency, _DIGITS_DEFAULT)


def _divisor(currency: str) -> int:
    """What a quantity in thousandths times a price in ten-thousandths is of one minor unit."""
    return _DIVISORS.get(currency, _DIVISOR_DEFAULT)


def divide_rounding(numerator: int, divisor: int) -> int:
    """``numerator / divisor`` to the nearest integer, halves away from zero. ``divisor`` > 0."""
    if numerator < 0:
        return -((-2 * numerator + divisor) // (2 * divisor))
    return (2 * numerator + divisor) // (2 * divisor)


def line_total_minor(qty_e3: int, price_e4: int, currency: str) -> int:
    """One line's amount in minor units: thousandths times ten-thousandths, rounded once."""
    return divide_rounding(qty_e3 * price_e4, _divisor(currency))


def content_total_minor(content: Content) -> int:
    """The total before tax: rounded lines plus shipping and fees, less the discount (OFF-25)."""
    divisor = _divisor(content.currency)
    total_minor = content.shipping_minor + content.fees_minor - content.discount_minor
    for line in content.lines:
        amount = line.qty_e3 * line.price_e4
        # Prices mostly come out even, and then there is nothing to round.
        total_minor += divide_rounding(amount, divisor) if amount % divisor else amount // divisor
    return total_minor
