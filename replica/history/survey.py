"""The first reading of a history: what must be known before the first event can be written.

Lines of one invoice may be scattered over the file, so an order can only be sealed when its last
line was read; and a product needs its name and price when it first appears. The survey counts and
picks; it keeps one small entry per invoice, product and country and no lines, so memory follows
the number of documents, not of rows. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from replica.history.rows import Line


@dataclass(slots=True)
class InvoiceFacts:
    """What all lines of an invoice agree on, and how many there are."""

    lines: int
    customer: str | None
    country: str


@dataclass(slots=True)
class ProductFacts:
    """Name and price come from the first line that has them, a priced line first.

    Unpriced lines of such files carry remarks ("damaged?") where the name should be.
    """

    name: str = ""
    price_e4: int = 0


@dataclass
class Survey:
    invoices: dict[str, InvoiceFacts] = field(default_factory=dict)
    products: dict[str, ProductFacts] = field(default_factory=dict)
    country_lines: Counter[str] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        facts = self.invoices.get(line.invoice)
        if facts is None:
            facts = InvoiceFacts(0, line.customer, line.country)
            self.invoices[line.invoice] = facts
        elif facts.customer is None:
            facts.customer = line.customer
        facts.lines += 1
        self.country_lines[facts.country] += 1
        product = self.products.setdefault(line.stock_code, ProductFacts())
        if line.price_e4 > 0 and product.price_e4 == 0:
            product.price_e4 = line.price_e4
            product.name = line.description or product.name
        elif not product.name:
            product.name = line.description


def survey(lines: Iterable[Line]) -> Survey:
    """Everything :class:`replica.history.mapping.Mapping` needs to know about all good lines."""
    result = Survey()
    for line in lines:
        result.add(line)
    return result


def allot(country_lines: Counter[str], devices: int) -> dict[str, tuple[int, ...]]:
    """Which devices work for which country: a device per country, the largest split.

    With fewer devices than countries the smallest countries share one; devices left over go, one
    by one, to the group with most lines per device. Deterministic: ties fall to the name.
    """
    groups: list[tuple[int, tuple[str, ...]]] = [
        (lines, (country,)) for country, lines in country_lines.items()
    ]
    if not groups:
        return {}
    even = sum(country_lines.values()) / devices
    while len(groups) > 1:
        groups.sort(key=lambda group: (group[0], group[1]))
        (first, first_names), (second, second_names) = groups[:2]
        if len(groups) <= devices and not (devices < len(country_lines) and first + second <= even):
            break
        groups[:2] = [(first + second, tuple(sorted(first_names + second_names)))]
    shares = [1] * len(groups)
    for _ in range(devices - len(groups)):
        most = max(range(len(groups)), key=lambda at: (groups[at][0] / shares[at], groups[at][1]))
        shares[most] += 1
    allotted: dict[str, tuple[int, ...]] = {}
    next_device = 0
    for (_, names), share in zip(groups, shares, strict=True):
        members = tuple(range(next_device, next_device + share))
        next_device += share
        allotted.update(dict.fromkeys(names, members))
    return allotted
