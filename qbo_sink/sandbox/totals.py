"""Line amounts, discount, shipping, tax and the total of a sales form (section 1.13).

Everything is exact decimal; only amounts are rounded, half away from zero, to two places. Tax is
computed per rate on the summed net, which is why it can differ by cents from a sum over lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import NamedTuple

from qbo_sink.sandbox.entities import SHIPPING_ITEM
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.values import CENT, ZERO, Json, cents

HUNDRED = Decimal(100)


class Rate(NamedTuple):
    """One tax rate in percent; ``id`` is a TaxRate's."""

    id: str
    percent: Decimal


RatesOf = Callable[[str], tuple[Rate, ...]]
"""The sales rates of a tax code id; empty for none."""


class Taxed(NamedTuple):
    """Net amount and the rates that apply to it."""

    net: Decimal
    rates: tuple[Rate, ...]


def check_line_amounts(lines: list[Json], *, tolerance: bool) -> None:
    """Fault 6070 where Amount is not Qty times UnitPrice, 2020 where it is missing."""
    for index, line in enumerate(lines):
        detail = line.get("SalesItemLineDetail") or line.get("ItemBasedExpenseLineDetail") or {}
        if "Amount" not in line:
            if line.get("DetailType") in ("SalesItemLineDetail", "ItemBasedExpenseLineDetail"):
                where = f"Line[{index}].Amount"
                raise refused(2020, f"Required parameter {where} is missing", where)
            continue
        line["Amount"] = amount = cents(line["Amount"])
        if not detail.get("Qty") and not detail.get("UnitPrice"):
            # Clients that save whole objects send zero for "not given".
            detail.pop("Qty", None)
            detail.pop("UnitPrice", None)
        if "Qty" in detail and "UnitPrice" in detail:
            wanted = cents(detail["Qty"] * detail["UnitPrice"])
            if abs(amount - wanted) > (CENT if tolerance else ZERO):
                text = f"Amount calculation incorrect in the request. Supplied value:{amount}"
                raise refused(6070, text, f"Line[{index}].Amount")


def items(lines: list[Json]) -> Iterator[tuple[Json, Json]]:
    """Item lines with their detail, those inside bundles included, shipping too."""
    for line in lines:
        if line.get("DetailType") == "SalesItemLineDetail":
            yield line, line.get("SalesItemLineDetail", {})
        elif line.get("DetailType") == "GroupLineDetail":
            yield from items(line.get("GroupLineDetail", {}).get("Line", []))


def is_shipping(detail: Json) -> bool:
    """Whether an item line is the shipping line."""
    return bool(detail.get("ItemRef", {}).get("value") == SHIPPING_ITEM)


def subtotal(lines: list[Json]) -> Decimal:
    """Sum of item lines without shipping."""
    return sum(
        (line.get("Amount", ZERO) for line, detail in items(lines) if not is_shipping(detail)), ZERO
    )


def settle_discount(lines: list[Json], base: Decimal) -> Decimal:
    """Fill in the Amount of the discount line and return it; 6090 when it is incomplete."""
    found = [line for line in lines if line.get("DetailType") == "DiscountLineDetail"]
    if not found:
        return ZERO
    if len(found) > 1:
        raise refused(6000, "Only one discount line is allowed on a form", "Line")
    line, detail = found[0], found[0].get("DiscountLineDetail", {})
    if detail.get("PercentBased"):
        if "DiscountPercent" not in detail:
            raise refused(6090, "PercentBased needs DiscountPercent", "DiscountPercent")
        line["Amount"] = cents(base * detail["DiscountPercent"] / HUNDRED)
    elif "Amount" not in line:
        raise refused(6090, "A discount line needs Amount or DiscountPercent", "Amount")
    return Decimal(line["Amount"])


def tax_lines(parts: list[Taxed]) -> list[Json]:
    """One TaxLine per rate over the summed net."""
    nets: dict[Rate, Decimal] = {}
    for part in parts:
        for rate in part.rates:
            nets[rate] = nets.get(rate, ZERO) + part.net
    return [
        {
            "Amount": cents(net * rate.percent / HUNDRED),
            "DetailType": "TaxLineDetail",
            "TaxLineDetail": {
                "TaxRateRef": {"value": rate.id},
                "PercentBased": True,
                "TaxPercent": rate.percent,
                "NetAmountTaxable": cents(net),
            },
        }
        for rate, net in nets.items()
    ]


def after_discount(parts: list[Taxed], base: Decimal, discount: Decimal) -> list[Taxed]:
    """The same parts with the discount spread over them in proportion."""
    if not base or not discount:
        return parts
    return [Taxed(part.net - part.net * discount / base, part.rates) for part in parts]


def with_subtotal(lines: list[Json], base: Decimal) -> list[Json]:
    """The lines with the server's SubTotal line after the last item line."""
    kept = [line for line in lines if "subtotal" not in line.get("DetailType", "").lower()]
    after = 0
    for index, line in enumerate(kept):
        shipping = is_shipping(line.get("SalesItemLineDetail", {}))
        if line.get("DetailType") != "DiscountLineDetail" and not shipping:
            after = index + 1
    row = {"Amount": cents(base), "DetailType": "SubTotalLineDetail", "SubTotalLineDetail": {}}
    return [*kept[:after], row, *kept[after:]]
