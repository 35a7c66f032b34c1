"""The tax that QuickBooks will add, per rate, as far as it can be known before. Pure, in decimals.

Outside the US each line carries a tax code, and QuickBooks taxes the summed net of each rate,
rounded half up to the cent (quickbooks.md §1.13). In the US it works the tax out from addresses or
the customer's rate: there only its absence is known. Nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import NamedTuple

from qbo_sink.estimate import US_TAXABLE, tax_nets
from qbo_sink.model import Party, Preferences, Product, Sale, Settings
from qbo_sink.wire import plain

_CENT = Decimal("0.01")
_HUNDRED = Decimal(100)
UNKNOWN = "Tax is worked out by QuickBooks."
NONE = "No line is taxed."
NOT_YET = "Tax is not known yet; the tax codes are read with the next sync."


class Rate(NamedTuple):
    """One rate of a tax code."""

    name: str
    percent: Decimal


def rates_of(text: str) -> list[Rate]:
    """Rates from the column of the tax codes' list: ``20 % Standard; 1.5 % City``."""
    parts = (part.partition(" % ") for part in text.split("; ") if part)
    return [Rate(name, Decimal(percent)) for percent, _, name in parts]


def words_of(rates: Iterable[Rate]) -> str:
    """The column that :func:`rates_of` reads."""
    return "; ".join(f"{plain(one.percent):f} % {one.name.replace(';', ',')}" for one in rates)


def predicted(
    sale: Sale,
    customer: Party | None,
    products: Mapping[str, Product],
    rates: Mapping[str, list[Rate]],
    *,
    preferences: Preferences | None,
    settings: Settings,
) -> str:
    """The tax of a document in words; "" where the company charges none, or is not known yet.

    ``rates`` are those of each tax code by its id, as the lists were last read.
    """
    if preferences is None or customer is None or not preferences.sales_tax:
        return ""
    nets = tax_nets(sale, customer, products, preferences=preferences, settings=settings)
    if preferences.is_us:
        return UNKNOWN if nets.get(US_TAXABLE) else NONE
    content = sale.content
    own_fields = (content.discount_minor and preferences.allow_discount) or (
        content.shipping_minor and preferences.allow_shipping
    )
    if own_fields:  # how the form's own discount and shipping are taxed is the company's
        return UNKNOWN
    if any(code not in rates for code in nets):
        return NOT_YET
    found = []
    for code, net in nets.items():
        for rate in rates[code]:
            tax = (net * rate.percent / _HUNDRED).quantize(_CENT, ROUND_HALF_UP)
            found.append(f"{rate.name} {plain(rate.percent):f} % of {net:.2f} is {tax:.2f}")
    return f"Tax to come: {'; '.join(found)}." if found else NONE
