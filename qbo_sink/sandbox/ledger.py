"""Double entry: what every transaction posts to which account, worked out from the books.

Nothing is stored: a report asks, and the postings follow from the documents. They balance by
construction, because the amount of a document's own account is what its other postings leave over.
Stock is not costed: an inventory item posts its purchase to the asset account and nothing on sale.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from qbo_sink.sandbox.books import Books, Company
from qbo_sink.sandbox.entities import ENTITIES, SALES
from qbo_sink.sandbox.totals import is_shipping, items
from qbo_sink.sandbox.values import ZERO, Json, cents, read_json


class Role(NamedTuple):
    """An account that a document falls back on: by subtype, else the first of its type."""

    subtype: str
    type: str


RECEIVABLE = Role("AccountsReceivable", "Accounts Receivable")
PAYABLE = Role("AccountsPayable", "Accounts Payable")
UNDEPOSITED = Role("UndepositedFunds", "Other Current Asset")
BANK = Role("Checking", "Bank")
CARD = Role("CreditCard", "Credit Card")
INCOME = Role("SalesOfProductIncome", "Income")
SHIPPING = Role("OtherPrimaryIncome", "Income")
DISCOUNTS = Role("DiscountsRefundsGiven", "Income")
SALES_TAX = Role("SalesTaxPayable", "Other Current Liability")
EXPENSE = Role("SuppliesMaterialsCogs", "Cost of Goods Sold")


class _Head(NamedTuple):
    """The account a document is about; ``sign`` is +1 where the document debits it."""

    paths: tuple[str, ...]
    role: Role
    sign: int


_HEADS = {
    "Invoice": _Head(("ARAccountRef",), RECEIVABLE, 1),
    "CreditMemo": _Head(("ARAccountRef",), RECEIVABLE, -1),
    "SalesReceipt": _Head(("DepositToAccountRef",), UNDEPOSITED, 1),
    "RefundReceipt": _Head(("DepositToAccountRef",), UNDEPOSITED, -1),
    "Payment": _Head(("DepositToAccountRef",), UNDEPOSITED, 1),
    "Bill": _Head(("APAccountRef",), PAYABLE, -1),
    "VendorCredit": _Head(("APAccountRef",), PAYABLE, 1),
    "BillPayment": _Head(
        ("CheckPayment.BankAccountRef", "CreditCardPayment.CCAccountRef"), BANK, -1
    ),
    "Purchase": _Head(("AccountRef",), BANK, -1),
    "Deposit": _Head(("DepositToAccountRef",), BANK, 1),
    "Transfer": _Head(("ToAccountRef",), BANK, 1),
    "CreditCardPayment": _Head(("CreditCardAccountRef",), CARD, 1),
}
# Documents with one counter account for the whole amount.
_COUNTERS = {
    "Payment": ("ARAccountRef", RECEIVABLE, "TotalAmt"),
    "BillPayment": ("APAccountRef", PAYABLE, "TotalAmt"),
    "Transfer": ("FromAccountRef", BANK, "Amount"),
    "CreditCardPayment": ("BankAccountRef", BANK, "Amount"),
}
LISTED = (*_HEADS, "JournalEntry", "Estimate", "PurchaseOrder")
LABELS = {
    "SalesReceipt": "Sales Receipt",
    "CreditMemo": "Credit Memo",
    "RefundReceipt": "Refund",
    "VendorCredit": "Vendor Credit",
    "BillPayment": "Bill Payment",
    "Purchase": "Expense",
    "CreditCardPayment": "Credit Card Payment",
    "JournalEntry": "Journal Entry",
    "PurchaseOrder": "Purchase Order",
}


@dataclass(frozen=True, slots=True)
class Account:
    """An account as reports show it; ``id`` is empty for one that the books lack."""

    id: str
    name: str
    type: str
    number: str = ""


@dataclass(frozen=True, slots=True)
class Posting:
    """``amount`` is positive for a debit. References are Ids, empty where there is none."""

    account: Account
    amount: Decimal
    memo: str = ""
    customer: str = ""
    item: str = ""
    class_: str = ""
    quantity: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Transaction:
    """A document with its postings, the one to its own account first; none if it posts nothing."""

    kind: str
    body: Json
    party: tuple[str, str, str]  # entity, Id, name
    department: str
    postings: tuple[Posting, ...]

    @property
    def id(self) -> str:
        """Its Id."""
        return str(self.body["Id"])

    @property
    def date(self) -> str:
        """``YYYY-MM-DD``."""
        return str(self.body["TxnDate"])

    @property
    def label(self) -> str:
        """Its kind in words."""
        return LABELS.get(self.kind, self.kind)


class Ledger:
    """Accounts and transactions of a company at this moment."""

    def __init__(self, books: Books, company: Company) -> None:
        self._books, self._company = books, company
        self.accounts = {
            row["Id"]: Account(
                row["Id"], row["FullyQualifiedName"], row["AccountType"], row.get("AcctNum", "")
            )
            for row in self.rows("Account")
        }
        self._subtypes = {row["Id"]: row.get("AccountSubType") for row in self.rows("Account")}
        self._items = {row["Id"]: row for row in self.rows("Item")}
        self._roles: dict[Role, Account] = {}
        self._names: dict[str, dict[str, str]] = {}

    def rows(self, entity: str) -> list[Json]:
        """Every live object of ``entity``, oldest first."""
        realm = self._company.realm
        ids = sorted(self._books.facts(realm, ENTITIES[entity]))
        return [read_json(body) for body in self._books.bodies(realm, entity, ids)]

    def names(self, entity: str) -> dict[str, str]:
        """Id to full name of every object of a list."""
        prop = ENTITIES[entity].name_property
        return {row["Id"]: row.get("FullyQualifiedName") or row[prop] for row in self.rows(entity)}

    def transactions(self, start: str, end: str) -> list[Transaction]:
        """What is dated from ``start`` to ``end``, by date, then Id."""
        found = [
            self._transaction(kind, body)
            for kind in LISTED
            for body in self.rows(kind)
            if start <= body.get("TxnDate", "") <= end
        ]
        return sorted(found, key=lambda each: (each.date, int(each.id)))

    # Parts ------------------------------------------------------------------------------------

    def _transaction(self, kind: str, body: Json) -> Transaction:
        postings = tuple(each for each in self._postings(kind, body) if each.amount)
        department = _reference(body, "DepartmentRef")
        return Transaction(kind, body, _party(kind, body), department, postings)

    def _postings(self, kind: str, body: Json) -> list[Posting]:
        if kind == "JournalEntry":
            return [*self._journal(body)]
        head = _HEADS.get(kind)
        if head is None:
            return []
        sign = -head.sign if body.get("Credit") is True else head.sign
        customer = _reference(body, "CustomerRef")
        others = [*self._others(kind, body, sign, customer)]
        rest = -sum((each.amount for each in others), ZERO)
        named = (_reference(body, path) for path in head.paths)
        account = next((id_ for id_ in named if id_), "")
        memo = str(body.get("PrivateNote", ""))
        return [Posting(self._account(account, head.role), rest, memo, customer), *others]

    def _others(self, kind: str, body: Json, sign: int, customer: str) -> Iterator[Posting]:
        rate = Decimal(body.get("ExchangeRate", 1))

        def amount(value: Any) -> Decimal:
            return cents(-sign * Decimal(value) * rate)

        if kind in _COUNTERS:
            path, role, total = _COUNTERS[kind]
            account = self._account(_reference(body, path), role)
            yield Posting(account, amount(body.get(total, ZERO)), "", customer)
            return
        lines: list[Json] = body.get("Line", [])
        if kind not in SALES:
            for line in lines:
                yield self._spent(kind, line, amount(line.get("Amount", ZERO)))
            return
        for line, detail in items(lines):
            yield self._sold(line, detail, amount(line.get("Amount", ZERO)), -sign, customer)
        for line in lines:
            if line.get("DetailType") == "DiscountLineDetail":
                given = _reference(line, "DiscountLineDetail.DiscountAccountRef")
                value = -amount(line.get("Amount", ZERO))
                yield Posting(self._account(given, DISCOUNTS), value, "", customer)
        tax = body.get("TxnTaxDetail", {}).get("TotalTax", ZERO)
        yield Posting(self._account("", SALES_TAX), amount(tax))

    def _sold(self, line: Json, detail: Json, amount: Decimal, sign: int, customer: str) -> Posting:
        item = _reference(detail, "ItemRef")
        own = _reference(self._items.get(item, {}), "IncomeAccountRef")
        role = SHIPPING if is_shipping(detail) else INCOME
        return Posting(
            self._account(_reference(detail, "ItemAccountRef") or own, role),
            amount,
            str(line.get("Description", "")),
            customer,
            item,
            _reference(detail, "ClassRef"),
            Decimal(detail.get("Qty", ZERO)) * -sign,
        )

    def _spent(self, kind: str, line: Json, amount: Decimal) -> Posting:
        sent: Any = line.get(str(line.get("DetailType", "")))
        detail: Json = sent if isinstance(sent, dict) else {}
        item = self._items.get(_reference(detail, "ItemRef"), {})
        own = "AssetAccountRef" if item.get("Type") == "Inventory" else "ExpenseAccountRef"
        account = _reference(detail, "AccountRef") or _reference(item, own)
        return Posting(
            self._account(account, UNDEPOSITED if kind == "Deposit" else EXPENSE),
            amount,
            str(line.get("Description", "")),
            _reference(detail, "CustomerRef"),
            str(item.get("Id", "")),
            _reference(detail, "ClassRef"),
        )

    def _journal(self, body: Json) -> Iterator[Posting]:
        for line in body.get("Line", []):
            detail = line.get("JournalEntryLineDetail", {})
            amount = Decimal(line.get("Amount", ZERO))
            signed = amount if detail.get("PostingType") == "Debit" else -amount
            entity = detail.get("Entity", {})
            customer = _reference(entity, "EntityRef") if entity.get("Type") == "Customer" else ""
            account = self._account(_reference(detail, "AccountRef"), EXPENSE)
            memo = str(line.get("Description", ""))
            yield Posting(account, signed, memo, customer, "", _reference(detail, "ClassRef"))

    def _account(self, id_: str, role: Role) -> Account:
        if id_ in self.accounts:
            return self.accounts[id_]
        if role not in self._roles:
            every = list(self.accounts.values())
            exact = [each for each in every if self._subtypes[each.id] == role.subtype]
            alike = [each for each in every if each.type == role.type]
            self._roles[role] = next(iter(exact + alike), Account("", role.type, role.type))
        return self._roles[role]


def _reference(body: Json, path: str) -> str:
    """The Id at ``path``; empty where there is none or a client put something else there."""
    value: Any = body
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    found = value.get("value") if isinstance(value, dict) else None
    return str(found) if isinstance(found, str | int) else ""


def _party(kind: str, body: Json) -> tuple[str, str, str]:
    for name in ("CustomerRef", "VendorRef", "EntityRef"):
        id_ = _reference(body, name)
        if id_:
            entity = body[name].get("type", "") if name == "EntityRef" else name[:-3]
            return str(entity), id_, str(body[name].get("name", ""))
    return "", "", ""
