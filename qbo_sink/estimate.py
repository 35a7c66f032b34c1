"""Orders and quotes as estimates and invoices. Pure, in exact decimals.

An order becomes an estimate that is Accepted, a quote one that is Pending (QB-02, QB-03), unless
the account chose otherwise for new ones (QB-04). An amount
is quantity times price rounded half up to the cent, or QuickBooks refuses it with 6070; where our
currency rounds otherwise, the line is sent as one piece at its amount with the real quantity in its
text (quickbooks.md §1.13).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

from qbo_sink import marker
from qbo_sink.faults import Refused, preflight
from qbo_sink.model import (
    ACCEPTED,
    CHARGE,
    DISCOUNT,
    FEES,
    GOODS,
    SHIPPING,
    Entity,
    Fixed,
    JsonObject,
    Key,
    Party,
    Preferences,
    Product,
    Sale,
    Settings,
)
from qbo_sink.party import TEXT_CHARS, shorten, to_address, valid_email
from qbo_sink.wire import plain
from replica.events.money import line_total_minor, minor_digits
from replica.events.payloads import Content, SealedLine
from replica.limits import QBO_LINES_MAX, QBO_TAXABLE_LINES_MAX

MEMO_CHARS = 1_000
CUSTOM_FIELD_CHARS = 31
_CENT = Decimal("0.01")
US_TAXABLE, _US_EXEMPT = "TAX", "NON"
_SHIPPING_ITEM = "SHIPPING_ITEM_ID"
_REP_FIELDS = ("sales rep", "rep", "representative")
_PO_FIELDS = ("p.o. number", "po number", "purchase order")


@dataclass(frozen=True)
class Refs:
    """Ids there of what an estimate refers to, and what else its body needs to know."""

    customer: str
    items: Mapping[str, str]  # product id here → item id there
    charges: Mapping[str, str]  # charge id → item id there
    mark: str  # the signed marker line
    class_: str = ""  # empty where none is named, or none is tracked there
    department: str = ""
    estimate: str = ""  # the one that an invoice is made of


def item_keys(sale: Sale, preferences: Preferences) -> list[Key]:
    """Keys of the items that the estimate of ``sale`` refers to, each once, in line order."""
    found = [_line_key(line) for line in sale.content.lines]
    found += [Key(Entity.ITEM, CHARGE, charge.id) for charge in _charges(sale.content, preferences)]
    return list(dict.fromkeys(found))


def check(
    sale: Sale, customer: Party, preferences: Preferences, settings: Settings
) -> Refused | None:
    """The fault that QuickBooks would find, before any call; None when nothing is to be said."""
    content = sale.content
    if content.total_minor < 0:
        return preflight("below_zero")
    if len(content.lines) > QBO_LINES_MAX:
        return preflight("too_many_lines", f"{len(content.lines)} lines")
    if preferences.sales_tax and len(content.lines) > QBO_TAXABLE_LINES_MAX:
        return preflight("too_many_lines", f"{len(content.lines)} lines with tax")
    if not preferences.multi_currency and content.currency != preferences.home_currency:
        detail = f"{content.currency} in a company that keeps its books in "
        return preflight("currency", detail + preferences.home_currency)
    if preferences.multi_currency and customer.currency not in ("", content.currency):
        return preflight("currency", f"{content.currency} for a {customer.currency} customer")
    if _needs_tax_map(preferences) and not (settings.tax_code and settings.exempt_code):
        return preflight("tax_map", f"the company is in {preferences.country}")
    if any(_money(amount, content.currency) % _CENT for amount in _amounts(content)):
        return preflight("fraction", content.currency)
    return None


def to_estimate(
    sale: Sale,
    customer: Party,
    products: Mapping[str, Product],
    refs: Refs,
    *,
    preferences: Preferences,
    settings: Settings,
    form: str = "",
) -> JsonObject:
    """The whole body of a new estimate, and the owned fields of an update.

    That of an invoice, and its state. ``form`` is the state it was first meant in; without one the
    settings say it.
    """
    content = sale.content
    body = to_invoice(sale, customer, products, refs, preferences=preferences, settings=settings)
    body["TxnStatus"] = form or settings.form(sale.type)
    if body["TxnStatus"] == ACCEPTED:
        body["AcceptedDate"] = content.date
        if content.rep:
            body["AcceptedBy"] = shorten(content.rep, 100)
    return body


def to_invoice(
    sale: Sale,
    customer: Party,
    products: Mapping[str, Product],
    refs: Refs,
    *,
    preferences: Preferences,
    settings: Settings,
) -> JsonObject:
    """The whole body of a new invoice, tied to the estimate of ``refs`` if it names one.

    Call :func:`check` first. ``refs`` must name the customer and every item of :func:`item_keys`.
    The sum of the lines is ``content.total_minor``, to the penny (reliability I-24, I-27). Terms
    and due date are the company's.
    """
    content = sale.content
    body: JsonObject = {
        "CustomerRef": {"value": refs.customer},
        "TxnDate": content.date,
        "PrivateNote": marker.append(shorten(content.note, TEXT_CHARS), refs.mark, TEXT_CHARS),
        "Line": _lines(sale, customer, products, refs, preferences=preferences, settings=settings),
    }
    if preferences.custom_numbers and content.number:
        body["DocNumber"] = content.number
    if content.delivery_date:
        body["ShipDate"] = content.delivery_date
    if content.memo:
        body["CustomerMemo"] = {"value": shorten(content.memo, MEMO_CHARS)}
    if preferences.multi_currency:
        body["CurrencyRef"] = {"value": content.currency}
    if _needs_tax_map(preferences):
        body["GlobalTaxCalculation"] = "TaxExcluded"
    if refs.estimate:
        body["LinkedTxn"] = [{"TxnId": refs.estimate, "TxnType": "Estimate"}]
    return body | _addresses(content, customer) | _named_fields(content, refs, preferences)


def meant_total(sale: Sale) -> Decimal:
    """The total before tax that QuickBooks must show, in major units."""
    return _money(sale.content.total_minor, sale.content.currency)


def tax_nets(
    sale: Sale,
    customer: Party,
    products: Mapping[str, Product],
    *,
    preferences: Preferences,
    settings: Settings,
) -> dict[str, Decimal]:
    """What the lines of each tax code add up to, as the body will say it; no code where the company
    sets none. Charges are not taxable; the form's own discount and shipping are left out."""
    content = sale.content
    found: dict[str, Decimal] = {}

    def add(amount_minor: int, *, taxable: bool) -> None:
        code = _tax_code(taxable and not customer.tax_exempt, preferences, settings)
        if code and amount_minor:
            amount = _money(amount_minor, content.currency)
            found[code] = found.get(code, Decimal(0)) + amount

    for line in content.lines:
        product = products.get(line.product)
        amount = line_total_minor(line.qty_e3, line.price_e4, content.currency)
        add(amount, taxable=product is not None and product.taxable)
    add(content.fees_minor, taxable=False)
    if not preferences.allow_shipping:
        add(content.shipping_minor, taxable=False)
    if not preferences.allow_discount:
        add(-content.discount_minor, taxable=False)
    return found


def _needs_tax_map(preferences: Preferences) -> bool:
    return preferences.sales_tax and not preferences.is_us


def _amounts(content: Content) -> list[int]:
    lines = [
        line_total_minor(line.qty_e3, line.price_e4, content.currency) for line in content.lines
    ]
    return [*lines, content.shipping_minor, content.fees_minor, content.discount_minor]


def _money(amount_minor: int, currency: str) -> Decimal:
    return Decimal(amount_minor).scaleb(-minor_digits(currency))


def _line_key(line: SealedLine) -> Key:
    if line.product:
        return Key(Entity.ITEM, "product", line.product)
    return Key(Entity.ITEM, CHARGE, GOODS.id)


def _charges(content: Content, preferences: Preferences) -> list[Fixed]:
    """The charges that need an item: the form's own fields are used where they are switched on."""
    found = []
    if content.shipping_minor and not preferences.allow_shipping:
        found.append(SHIPPING)
    if content.fees_minor:
        found.append(FEES)
    if content.discount_minor and not preferences.allow_discount:
        found.append(DISCOUNT)
    return found


def _lines(
    sale: Sale,
    customer: Party,
    products: Mapping[str, Product],
    refs: Refs,
    *,
    preferences: Preferences,
    settings: Settings,
) -> list[JsonObject]:
    content = sale.content

    def tax(taxable: bool) -> JsonObject:
        code = _tax_code(taxable and not customer.tax_exempt, preferences, settings)
        return {"TaxCodeRef": {"value": code}} if code else {}

    lines = []
    for line in content.lines:
        product = products.get(line.product)
        item = refs.items[line.product] if line.product else refs.charges[GOODS.id]
        text = line.text or (product.name if product else "")
        lines.append(
            _item_line(
                line, item, text, content.currency, tax(product is not None and product.taxable)
            )
        )
    if preferences.class_per_line and refs.class_:
        for entry in lines:
            entry["SalesItemLineDetail"]["ClassRef"] = {"value": refs.class_}
    # Fees first: shipping and discount are form fields and stand at the end.
    if content.fees_minor:
        amount = _money(content.fees_minor, content.currency)
        lines.append(_charge_line(FEES, refs.charges[FEES.id], amount, tax(taxable=False)))
    if content.shipping_minor:
        amount = _money(content.shipping_minor, content.currency)
        own = preferences.allow_shipping
        item = _SHIPPING_ITEM if own else refs.charges[SHIPPING.id]
        lines.append(_charge_line(SHIPPING, item, amount, {} if own else tax(taxable=False)))
    if content.discount_minor:
        amount = _money(content.discount_minor, content.currency)
        if preferences.allow_discount:
            lines.append(_discount_line(amount))
        else:
            item = refs.charges[DISCOUNT.id]
            lines.append(_charge_line(DISCOUNT, item, -amount, tax(taxable=False)))
    for number, entry in enumerate(lines, start=1):
        entry["LineNum"] = number
    return lines


def _item_line(
    line: SealedLine, item: str, text: str, currency: str, extra: JsonObject
) -> JsonObject:
    qty = Decimal(line.qty_e3).scaleb(-3)
    price = Decimal(line.price_e4).scaleb(-4)
    amount = _money(line_total_minor(line.qty_e3, line.price_e4, currency), currency)
    if amount != (qty * price).quantize(_CENT, ROUND_HALF_UP):
        text = f"{text} ({plain(qty):f} x {plain(price):f})".strip()
        qty, price = Decimal(1), amount
    detail = {"ItemRef": {"value": item}, "Qty": plain(qty), "UnitPrice": plain(price)} | extra
    entry: JsonObject = {
        "Amount": plain(amount),
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": detail,
    }
    if text:
        entry["Description"] = shorten(text, TEXT_CHARS)
    return entry


def _charge_line(charge: Fixed, item: str, amount: Decimal, extra: JsonObject) -> JsonObject:
    detail: JsonObject = {"ItemRef": {"value": item}} | extra
    if item != _SHIPPING_ITEM:
        detail |= {"Qty": 1, "UnitPrice": plain(amount)}
    return {
        "Amount": plain(amount),
        "Description": charge.name,
        "DetailType": "SalesItemLineDetail",
        "SalesItemLineDetail": detail,
    }


def _discount_line(amount: Decimal) -> JsonObject:
    return {
        "Amount": plain(amount),
        "DetailType": "DiscountLineDetail",
        "DiscountLineDetail": {"PercentBased": False},
    }


def _tax_code(taxable: bool, preferences: Preferences, settings: Settings) -> str:
    if not preferences.sales_tax:
        return ""
    if preferences.is_us:
        return US_TAXABLE if taxable else _US_EXEMPT
    return settings.tax_code if taxable else settings.exempt_code


def _addresses(content: Content, customer: Party) -> JsonObject:
    found: JsonObject = {}
    ship_to = content.delivery_address or customer.ship_address
    if customer.address and (address := to_address(customer.address)):
        found["BillAddr"] = address
    if ship_to and (address := to_address(ship_to)):
        found["ShipAddr"] = address
    if valid_email(customer.email):
        found["BillEmail"] = {"Address": customer.email.strip()}
    return found


def _named_fields(content: Content, refs: Refs, preferences: Preferences) -> JsonObject:
    """Representative and purchase order in the company's own fields; class and department."""
    found: JsonObject = {}
    fields = []
    for value, names in ((content.rep, _REP_FIELDS), (content.po_number, _PO_FIELDS)):
        known = next((name for name in names if name in preferences.custom_fields), None)
        if value and known:
            fields.append(
                {
                    "DefinitionId": preferences.custom_fields[known],
                    "Type": "StringType",
                    "StringValue": value[:CUSTOM_FIELD_CHARS],
                }
            )
        elif value and names is _PO_FIELDS:
            found["PONumber"] = shorten(value, 25)
    if fields:
        found["CustomField"] = fields
    if preferences.class_per_document and refs.class_:
        found["ClassRef"] = {"value": refs.class_}
    if preferences.departments and refs.department:
        found["DepartmentRef"] = {"value": refs.department}
    return found
