"""What people do: random payloads of the real kinds, made from what their device shows them.

Every payload carries a word of its own where its kind has room for one, so that a fact which is
lost, or told twice, can be named. Ids are few, so that people get into each other's way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from replica.crdt.documents import DocKey, Document
from replica.crdt.order import line_puts
from replica.crdt.twins import twin_id
from replica.events import payloads as p
from replica.events.kinds import encode_payload
from replica.events.money import content_total_minor
from tests.simulation.dice import Dice

CUSTOMERS = ("c-1", "c-2", "c-3")
PRODUCTS = ("p-1", "p-2")
ORDERS = ("o-1", "o-2", "o-3", "o-4")
QUOTES = ("q-1", "q-2")
LINES = ("l-1", "l-2", "l-3")
QUANTITIES_E3 = (1, 333, 500, 1_000, 2_500, 12_000)
PRICES_E4 = (1, 50, 150, 9_999, 10_050, 125_000)

Look = Callable[[DocKey], Document | None]


class Said(NamedTuple):
    """One fact as bytes; ``deps`` are given only where the device does not find them itself."""

    kind: str
    version: int
    body: bytes
    deps: tuple[bytes, ...] = ()


class Author:
    """Makes payloads. ``word`` gives a text that nobody else uses; ``look`` reads a document."""

    def __init__(self, dice: Dice, word: Callable[[], str], look: Look) -> None:
        self._dice = dice
        self._word = word
        self._look = look

    def from_device(self) -> p.Payload:
        return self._dice.pick(_DEVICE_ACTS)(self)

    def from_office(self) -> p.Payload:
        return self._dice.pick(_OFFICE_ACTS)(self)

    def content(self, *, back: bool = False) -> p.Content:
        dice = self._dice
        lines = tuple(
            p.SealedLine(
                line,
                dice.pick(PRODUCTS),
                dice.pick(QUANTITIES_E3) * (-1 if back else 1),
                dice.pick(PRICES_E4),
            )
            for line in LINES[: 1 + dice.below(3)]
        )
        content = p.Content(
            number="",
            customer=dice.pick(CUSTOMERS),
            currency=dice.pick(("USD", "USD", "USD", "JPY")),
            date="2026-11-20",
            total_minor=0,
            lines=lines,
            shipping_minor=0 if back else dice.pick((0, 0, 499)),
            note=self._word(),
        )
        return replace(content, total_minor=content_total_minor(content))

    # One function per act, named for it -----------------------------------------------------------

    def customer_created(self) -> p.Payload:
        fields = p.CustomerFields(name=self._name(), phone=self._word(), status="prospect")
        return p.CustomerCreated(self._dice.pick(CUSTOMERS), fields)

    def customer_changed(self) -> p.Payload:
        dice, name = self._dice, self._word()
        fields = dice.pick(
            (
                p.CustomerFields(name=self._name(), phone=name),
                p.CustomerFields(phone=name, email=None),
                p.CustomerFields(email=name, tax_exempt=dice.chance(50)),
            )
        )
        return p.CustomerChanged(dice.pick(CUSTOMERS), fields)

    def _name(self) -> str:
        """Sometimes the name that somebody else gives, too, each in his way."""
        word = self._word()
        return word if self._dice.chance(30) else self._dice.pick(("Corner Cafe", " corner  CAFE"))

    def customer_deleted(self) -> p.Payload:
        return p.CustomerDeleted(self._dice.pick(CUSTOMERS))

    def customer_restored(self) -> p.Payload:
        return p.CustomerRestored(self._dice.pick(CUSTOMERS))

    def product_created(self) -> p.Payload:
        fields = p.ProductFields(name=self._word(), price_e4=self._dice.pick(PRICES_E4))
        return p.ProductCreated(self._dice.pick(PRODUCTS), fields)

    def product_changed(self) -> p.Payload:
        fields = p.ProductFields(description=self._word(), price_e4=self._dice.pick(PRICES_E4))
        return p.ProductChanged(self._dice.pick(PRODUCTS), fields)

    def product_deleted(self) -> p.Payload:
        return p.ProductDeleted(self._dice.pick(PRODUCTS))

    def stock_counted(self) -> p.Payload:
        return p.StockCounted(self._dice.pick(PRODUCTS), self._dice.below(100) * 1_000)

    def stock_moved(self) -> p.Payload:
        qty_e3 = self._dice.pick(QUANTITIES_E3) * self._dice.pick((1, -1))
        return p.StockMoved(self._dice.pick(PRODUCTS), qty_e3, self._word())

    def order_drafted(self) -> p.Payload:
        fields = p.OrderFields(customer=self._dice.pick(CUSTOMERS), note=self._word())
        return p.OrderDrafted(self._dice.pick(ORDERS), fields)

    def order_changed(self) -> p.Payload:
        dice = self._dice
        fields = dice.pick(
            (p.OrderFields(memo=self._word()), p.OrderFields(note=None, memo=self._word()))
        )
        return p.OrderChanged(dice.pick(ORDERS), fields)

    def line_put(self) -> p.Payload:
        dice = self._dice
        fields = p.LineFields(
            product=dice.pick(PRODUCTS), qty_e3=dice.pick(QUANTITIES_E3), text=self._word()
        )
        return p.OrderLinePut(dice.pick(ORDERS[:2]), dice.pick(LINES[:2]), fields)

    def line_removed(self) -> p.Payload:
        order, line = self._dice.pick(ORDERS[:2]), self._dice.pick(LINES[:2])
        document = self._look(DocKey("order", order))
        seen = line_puts(document, line) if document is not None else ()
        return p.OrderLineRemoved(order, line, seen) if seen else self.line_put()

    def order_committed(self) -> p.Payload:
        return p.OrderCommitted(self._dice.pick(ORDERS), self.content())

    def order_amended(self) -> p.Payload:
        order = self._dice.pick(ORDERS)
        document = self._look(DocKey("order", order))
        if document is None or "order.committed" not in document.facts:
            return p.OrderCommitted(order, self.content())
        return p.OrderAmended(order, self.content())

    def order_cancelled(self) -> p.Payload:
        return p.OrderCancelled(self._dice.pick(ORDERS), self._word())

    def quote_committed(self) -> p.Payload:
        return p.QuoteCommitted(self._dice.pick(QUOTES), self.content())

    def quote_withdrawn(self) -> p.Payload:
        return p.QuoteWithdrawn(self._dice.pick(QUOTES), self._word())

    def return_committed(self) -> p.Payload:
        return p.ReturnCommitted("r-1", self.content(back=True))

    def payment_recorded(self) -> p.Payload:
        dice = self._dice
        amount_minor = 1 + dice.below(10_000)
        return p.PaymentRecorded(
            dice.pick(("y-1", "y-2")), dice.pick(ORDERS), "", self._word(), amount_minor, "USD"
        )

    def note_edited(self) -> p.Payload:
        update = self._word().encode()
        return p.NoteEdited("customer", self._dice.pick(CUSTOMERS), update)

    def twin_decided(self) -> p.Payload:
        one, other = self._dice.pick((CUSTOMERS[:2], CUSTOMERS[1:], CUSTOMERS[::2]))
        twin = twin_id("customer", one, other)
        if self._look(DocKey("twin", twin)) is None:
            return self.customer_changed()
        if self._dice.chance(50):
            return p.TwinDecided(twin, "same", self._dice.pick((one, other)))
        return p.TwinDecided(twin, self._dice.pick(("ask", "apart")))

    # What a device of this program never says ----------------------------------------------------

    def unknown(self) -> Said:
        """A kind, or a version of a kind, of a newer program."""
        body = encode_payload(p.CustomerChanged("c-1", p.CustomerFields(name=self._word())))[2]
        return self._dice.pick((Said("parcel.weighed", 1, body), Said("order.committed", 9, body)))

    def broken(self) -> Said:
        """A known kind whose rule is broken: the total is not the sum of the lines."""
        content = self.content()
        wrong = replace(content, total_minor=content.total_minor + 1)
        return Said(*encode_payload(p.OrderCommitted(self._dice.pick(ORDERS), wrong)))

    def forbidden(self) -> Said:
        """A kind that only a sink may write."""
        return Said(*encode_payload(p.CustomerLinked("c-1", "quickbooks", self._word())))


_DEVICE_ACTS = (
    Author.customer_created,
    Author.customer_changed,
    Author.customer_changed,
    Author.customer_deleted,
    Author.customer_restored,
    Author.product_created,
    Author.product_changed,
    Author.stock_counted,
    Author.stock_moved,
    Author.stock_moved,
    Author.order_drafted,
    Author.order_changed,
    Author.line_put,
    Author.line_put,
    Author.line_removed,
    Author.line_removed,
    Author.order_committed,
    Author.order_committed,
    Author.order_committed,
    Author.order_amended,
    Author.order_amended,
    Author.order_cancelled,
    Author.quote_committed,
    Author.quote_withdrawn,
    Author.return_committed,
    Author.payment_recorded,
    Author.note_edited,
)
_OFFICE_ACTS = (
    Author.customer_created,
    Author.customer_changed,
    Author.customer_deleted,
    Author.customer_deleted,
    Author.customer_restored,
    Author.product_changed,
    Author.product_deleted,
    Author.stock_counted,
    Author.order_committed,
    Author.order_amended,
    Author.order_cancelled,
    Author.twin_decided,
    Author.twin_decided,
)
