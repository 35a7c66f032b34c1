"""Lines of a retail history become events, invoice by invoice. Pure; decision 0010 says why.

- The sign of the quantity decides: goods out are an order, goods back are a return. An invoice that
  has both makes both, under its one number.
- Every line is carried as it stands, repeated ones too; its id is the number of its row.
- Free lines, adjustments with a negative price and codes that are no goods (postage, fees, bad
  debt) are lines like others: totals and counts must come out as in the file.
- Lines without a customer belong to the walk-in customer of their country.
- A product or customer is created once, just before its first use, by the device that uses it.

Rows that cannot be a line, and lines that contradict their invoice, are given back as
:class:`~replica.history.rows.KeptAside`, never dropped.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from replica.events.kinds import encode_payload
from replica.events.money import line_total_minor
from replica.events.payloads import (
    Address,
    Content,
    CustomerCreated,
    CustomerFields,
    OrderCommitted,
    Payload,
    ProductCreated,
    ProductFields,
    ReturnCommitted,
    SealedLine,
)
from replica.history.names import customer_id, document_id, product_id, walk_in_id
from replica.history.rows import Line
from replica.history.survey import Survey, allot
from replica.limits import (
    EVENT_BYTES_MAX,
    HISTORY_ENVELOPE_BYTES,
    NAME_CHARS_MAX,
    NUMBER_CHARS_MAX,
    ORDER_LINES_MAX,
)

_control = re.compile(r"[\x00-\x1f\x7f]")
_PAYLOAD_BYTES_MAX = EVENT_BYTES_MAX - HISTORY_ENVELOPE_BYTES


class Work(NamedTuple):
    """One event for device number ``device`` (from 0) to write."""

    device: int
    payload: Payload


class Contradiction(NamedTuple):
    """A good row that says otherwise than the rest of its invoice; it is kept aside."""

    line: Line
    reason: str


class Counts(NamedTuple):
    """What was mapped. ``orders`` and ``returns`` are documents: an invoice of both signs makes
    one of each, an oversized one several. ``customers`` are the named ones, ``walk_ins`` stand for
    the unnamed of a country."""

    lines: int
    invoices: int
    orders: int
    returns: int
    customers: int
    walk_ins: int
    products: int
    events: int
    total_minor: int


class Mapping:
    """Feed lines in file order; take events. Call :meth:`finish` after the last line."""

    def __init__(self, survey: Survey, *, devices: int, currency: str) -> None:
        self._survey = survey
        self._currency = currency
        self._allotted = allot(survey.country_lines, devices)
        self._turns: Counter[str] = Counter()
        self._open: dict[str, tuple[int, list[Line]]] = {}
        self._missing = {number: facts.lines for number, facts in survey.invoices.items()}
        self._products: set[str] = set()
        self._customers: set[str] = set()
        self._counts: Counter[str] = Counter()

    def add(self, line: Line) -> Iterator[Work | Contradiction]:
        """The events that became possible by ``line``: usually none, or a whole invoice's."""
        facts = self._survey.invoices[line.invoice]
        if line.customer not in (None, facts.customer):
            yield Contradiction(line, "another customer than the rest of its invoice")
        elif line.country != facts.country:
            yield Contradiction(line, "another country than the rest of its invoice")
        else:
            if line.invoice not in self._open:
                self._open[line.invoice] = (self._device_for(facts.country), [])
            self._open[line.invoice][1].append(line)
        self._missing[line.invoice] -= 1
        if self._missing[line.invoice] == 0:
            del self._missing[line.invoice]
            device, lines = self._open.pop(line.invoice)
            yield from self._invoice(device, lines)

    def finish(self) -> Counts:
        """What came of everything. Every invoice is complete by now: the survey counted them."""
        assert not self._missing
        counts = self._counts
        return Counts(*(counts[name] for name in Counts._fields))

    def _device_for(self, country: str) -> int:
        """Invoices of a split country go to its devices in turn."""
        members = self._allotted[country]
        turn = self._turns[country]
        self._turns[country] += 1
        return members[turn % len(members)]

    def _invoice(self, device: int, lines: list[Line]) -> Iterator[Work]:
        facts = self._survey.invoices[lines[0].invoice]
        yield from self._emit(device, self._new_products(lines))
        yield from self._emit(device, self._new_customer(facts.customer, facts.country))
        customer = (
            walk_in_id(facts.country) if facts.customer is None else customer_id(facts.customer)
        )
        self._counts["invoices"] += 1
        self._counts["lines"] += len(lines)
        for is_return in (False, True):
            some = [line for line in lines if (line.qty_e3 < 0) is is_return]
            documents = list(self._documents(some, customer, is_return=is_return))
            self._counts["returns" if is_return else "orders"] += len(documents)
            self._counts["total_minor"] += sum(each.content.total_minor for each in documents)
            yield from self._emit(device, documents)

    def _emit(self, device: int, payloads: Iterable[Payload]) -> Iterator[Work]:
        for payload in payloads:
            self._counts["events"] += 1
            yield Work(device, payload)

    def _new_products(self, lines: list[Line]) -> Iterator[Payload]:
        for line in lines:
            code = line.stock_code
            if code in self._products:
                continue
            self._products.add(code)
            self._counts["products"] += 1
            facts = self._survey.products[code]
            yield ProductCreated(
                product_id(code),
                ProductFields(
                    name=_name(facts.name) or code,
                    sku=code,
                    price_e4=facts.price_e4,
                    currency=self._currency,
                ),
            )

    def _new_customer(self, customer: str | None, country: str) -> Iterator[Payload]:
        identity = walk_in_id(country) if customer is None else customer_id(customer)
        if identity in self._customers:
            return
        self._customers.add(identity)
        self._counts["walk_ins" if customer is None else "customers"] += 1
        name = f"Walk-in {country}" if customer is None else f"Customer {customer}"
        yield CustomerCreated(
            identity,
            CustomerFields(
                name=name,
                status="customer",
                address=Address(country=country),
                currency=self._currency,
            ),
        )

    def _documents(
        self, lines: list[Line], customer: str, *, is_return: bool
    ) -> Iterator[OrderCommitted | ReturnCommitted]:
        """One sealed document, or several parts when one would pass a bound of an event."""
        part = 1
        waiting = [lines[at : at + ORDER_LINES_MAX] for at in range(0, len(lines), ORDER_LINES_MAX)]
        while waiting:
            some = waiting.pop(0)
            document = self._document(some, customer, part, is_return=is_return)
            if len(some) > 1 and len(encode_payload(document)[2]) > _PAYLOAD_BYTES_MAX:
                waiting[:0] = [some[: len(some) // 2], some[len(some) // 2 :]]
                continue
            part += 1
            yield document

    def _document(
        self, lines: list[Line], customer: str, part: int, *, is_return: bool
    ) -> OrderCommitted | ReturnCommitted:
        first = lines[0]
        identity = document_id(first.invoice, part, is_return=is_return)
        suffix = "" if part == 1 else f"/{part}"
        content = Content(
            number=first.invoice[: NUMBER_CHARS_MAX - len(suffix)] + suffix,
            customer=customer,
            currency=self._currency,
            date=first.day,
            total_minor=sum(
                line_total_minor(line.qty_e3, line.price_e4, self._currency) for line in lines
            ),
            lines=tuple(self._sealed(line) for line in lines),
            note=first.moment,
        )
        if is_return:
            return ReturnCommitted(identity, content)
        return OrderCommitted(identity, content)

    def _sealed(self, line: Line) -> SealedLine:
        """The line's own words only where they differ from the product's name: half the bytes."""
        words = line.description
        same = words == _name(self._survey.products[line.stock_code].name)
        return SealedLine(
            str(line.row),
            product_id(line.stock_code),
            line.qty_e3,
            line.price_e4,
            "" if same else words,
        )


def _name(description: str) -> str:
    """A description as a name: one line, within the bound; what is cut off stays on the line."""
    return _control.sub(" ", description).strip()[:NAME_CHARS_MAX]
