"""How each entity behaves: one row of data per entity, no code per entity.

Sources: section 1.12 of the QuickBooks notes for rules, 1.7 for what queries may filter on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_TIMES = "MetaData.CreateTime:time MetaData.LastUpdatedTime:time"
_DOCUMENT = f"Id:id DocNumber TxnDate:date PrivateNote:unfiltered TotalAmt:number {_TIMES}"
_SALE = f"{_DOCUMENT} CustomerRef DueDate:date Balance:number"
_PARTY = (
    f"Id:id DisplayName GivenName MiddleName FamilyName CompanyName PrintOnCheckName "
    f"PrimaryEmailAddr Active:bool {_TIMES}"
)
_LIST = f"Id:id Name FullyQualifiedName Active:bool {_TIMES}"

# Of what a transaction requires, what published clients found that a sparse update needs as well.
_SPARSE = frozenset(
    {
        "VendorRef",
        "PaymentType",
        "DepositToAccountRef",
        "FromAccountRef",
        "ToAccountRef",
        "Amount",
        "BankAccountRef",
        "CreditCardAccountRef",
    }
)


@dataclass(frozen=True, slots=True)
class Entity:
    """What the API allows on one entity.

    ``space`` is where its name must be unique; ``child`` the property that says it has a parent;
    ``filters`` maps the lower-case path a query may use to its path and type.
    """

    name: str
    family: str  # transaction, list, record (neither: no rules of its own) or single
    filters: dict[str, tuple[str, str]]
    required: tuple[str, ...] = ()
    name_property: str = ""
    space: str = ""
    child: str = ""
    verbs: frozenset[str] = frozenset()
    cdc: bool = True
    party: str = ""  # the reference to whom a transaction is with
    key: str = ""  # what an object is called in answers, where that is not the name
    sparse: tuple[str, ...] = ()  # what a strict company wants in every sparse update

    @property
    def element(self) -> str:
        """What one object is called in answers."""
        return self.key or self.name

    @property
    def is_transaction(self) -> bool:
        """Transactions share one row of Ids and can be deleted; names can be made inactive."""
        return self.family == "transaction"


def _filters(source: str) -> dict[str, tuple[str, str]]:
    pairs = (word.partition(":") for word in source.split())
    return {path.lower(): (path, kind or "text") for path, _, kind in pairs if kind != "unfiltered"}


def _transaction(
    name: str,
    filters: str,
    required: str,
    party: str = "",
    verbs: str = "create update delete",
    *,
    cdc: bool = True,
    key: str = "",
) -> Entity:
    wanted = tuple(required.split())
    return Entity(
        name,
        "transaction",
        _filters(filters),
        wanted,
        verbs=frozenset(verbs.split()),
        cdc=cdc,
        party=party,
        key=key,
        sparse=tuple(each for each in wanted if each in _SPARSE),
    )


def _named(
    name: str,
    filters: str,
    *,
    prop: str = "Name",
    required: str = "Name",
    space: str = "",
    child: str = "",
    verbs: str = "create update",
    cdc: bool = True,
) -> Entity:
    return Entity(
        name,
        "list",
        _filters(filters),
        tuple(required.split()),
        name_property=prop,
        space=space or name,
        child=child,
        verbs=frozenset(verbs.split()),
        cdc=cdc,
        sparse=("Name",) if name in ("Class", "Department", "Term") else (),
    )


_PAPER = "create update delete pdf send"

ENTITIES: dict[str, Entity] = {
    entity.name: entity
    for entity in (
        _transaction("Estimate", _SALE, "CustomerRef Line", "CustomerRef", _PAPER),
        _transaction("Invoice", _SALE, "CustomerRef Line", "CustomerRef", f"{_PAPER} void"),
        _transaction("CreditMemo", _SALE, "CustomerRef Line", "CustomerRef", _PAPER),
        _transaction(
            "Bill",
            f"{_DOCUMENT} VendorRef DueDate:date Balance:number",
            "VendorRef Line",
            "VendorRef",
        ),
        _transaction(
            "Purchase", f"{_DOCUMENT} PaymentType AccountRef", "PaymentType AccountRef Line"
        ),
        _transaction("JournalEntry", _DOCUMENT, "Line"),
        _transaction(
            "Payment",
            f"{_DOCUMENT} CustomerRef PaymentRefNum UnappliedAmt:number",
            "CustomerRef TotalAmt",
            "CustomerRef",
            f"{_PAPER} void",
        ),
        _transaction("SalesReceipt", _SALE, "Line", "CustomerRef", f"{_PAPER} void"),
        _transaction("RefundReceipt", _SALE, "Line", "CustomerRef", _PAPER),
        _transaction(
            "PurchaseOrder",
            f"{_DOCUMENT} VendorRef DueDate:date POStatus",
            "VendorRef Line",
            "VendorRef",
            _PAPER,
        ),
        _transaction(
            "VendorCredit",
            f"{_DOCUMENT} VendorRef Balance:number",
            "VendorRef Line",
            "VendorRef",
        ),
        _transaction(
            "BillPayment",
            f"{_DOCUMENT} VendorRef PayType",
            "VendorRef PayType TotalAmt Line",
            "VendorRef",
            "create update delete void",
        ),
        _transaction("Deposit", _DOCUMENT, "DepositToAccountRef Line"),
        _transaction("Transfer", _DOCUMENT, "FromAccountRef ToAccountRef Amount"),
        _transaction(
            "CreditCardPayment",
            f"{_DOCUMENT} Amount:number",
            "BankAccountRef CreditCardAccountRef Amount",
            key="CreditCardPaymentTxn",
        ),
        _transaction(
            "TimeActivity",
            f"{_DOCUMENT} EmployeeRef VendorRef CustomerRef",
            "NameOf",
            cdc=False,
        ),
        Entity(
            "RecurringTransaction",
            "record",
            _filters(f"Id:id Type {_TIMES}"),
            verbs=frozenset({"create", "update", "delete"}),
            cdc=False,
        ),
        Entity(
            "Attachable",
            "record",
            _filters(
                "Id:id FileName ContentType Category Note PlaceName Size:number "
                "AttachableRef.EntityRef.type AttachableRef.EntityRef.value "
                f"AttachableRef.IncludeOnSend:bool {_TIMES}"
            ),
            verbs=frozenset({"create", "update", "delete"}),
        ),
        _named(
            "Customer",
            f"{_PARTY} FullyQualifiedName Balance:number Job:bool ParentRef BillWithParent:bool",
            prop="DisplayName",
            required="",
            space="party",
            child="Job",
        ),
        _named(
            "Vendor",
            f"{_PARTY} Balance:number",
            prop="DisplayName",
            required="",
            space="party",
        ),
        _named("Employee", _PARTY, prop="DisplayName", required="", space="party"),
        _named(
            "Item", f"{_LIST} Sku Type UnitPrice:number ParentRef QtyOnHand:number", child="SubItem"
        ),
        _named("Class", f"{_LIST} ParentRef SubClass:bool", child="SubClass"),
        _named("Department", f"{_LIST} ParentRef SubDepartment:bool", child="SubDepartment"),
        _named(
            "Account",
            f"{_LIST} AccountType AccountSubType Classification AcctNum "
            "CurrentBalance:number SubAccount:bool ParentRef",
            child="SubAccount",
        ),
        _named("PaymentMethod", f"Id:id Name Active:bool Type {_TIMES}"),
        _named("CustomerType", f"Id:id Name Active:bool {_TIMES}", verbs="", cdc=False),
        _named("CompanyCurrency", f"Id:id Name Code Active:bool {_TIMES}"),
        _named(
            "ExchangeRate",
            f"SourceCurrencyCode TargetCurrencyCode AsOfDate:date {_TIMES}",
            prop="SourceCurrencyCode",
            verbs="",
            cdc=False,
        ),
        _named(
            "TaxAgency",
            f"Id:id DisplayName {_TIMES}",
            prop="DisplayName",
            required="DisplayName",
            verbs="create",
            cdc=False,
        ),
        _named("Term", f"Id:id Name Active:bool Type {_TIMES}"),
        _named("JournalCode", f"Id:id Name Active:bool Type {_TIMES}", cdc=False),
        _named(
            "Budget",
            f"Id:id Name BudgetType StartDate:date EndDate:date Active:bool {_TIMES}",
            verbs="",
        ),
        _named("TaxCode", f"{_LIST} Description Taxable:bool", verbs="", cdc=False),
        _named("TaxRate", f"{_LIST} Description RateValue:number", verbs="", cdc=False),
        Entity("CompanyInfo", "single", _filters(f"Id:id {_TIMES}"), verbs=frozenset({"update"})),
        Entity("Preferences", "single", _filters(f"Id:id {_TIMES}"), verbs=frozenset({"update"})),
    )
}

BY_PATH: dict[str, Entity] = {entity.name.lower(): entity for entity in ENTITIES.values()}
BY_ELEMENT = BY_PATH | {entity.element.lower(): entity for entity in ENTITIES.values()}


def shown(entity: Entity, body: dict[str, Any]) -> dict[str, Any]:
    """``body`` as answers hold it: a recurring transaction is wrapped in the name of its kind."""
    if entity.name != "RecurringTransaction":
        return body
    return {body["Type"]: {name: value for name, value in body.items() if name != "Type"}}


NON_POSTING = frozenset({"Estimate", "PurchaseOrder", "TimeActivity"})
"""Transactions that move no balance (section 1.17, closed books)."""

SALES = frozenset({"Estimate", "Invoice", "CreditMemo", "SalesReceipt", "RefundReceipt"})
"""Transactions with item lines, discount, shipping and sales tax."""

SETTLED: dict[str, dict[str, str]] = {
    "Payment": {"Invoice": "Balance", "CreditMemo": "RemainingCredit"},
    "BillPayment": {"Bill": "Balance", "VendorCredit": "Balance"},
}
"""What the lines of a payment can link to, and which amount of it they use up."""

OPEN: dict[str, tuple[str, int]] = {
    "Invoice": ("Balance", 1),
    "CreditMemo": ("RemainingCredit", -1),
    "Payment": ("UnappliedAmt", -1),
    "Bill": ("Balance", 1),
    "VendorCredit": ("Balance", -1),
}
"""What is still open on a document and whether it is owed (+1) or in credit: what balances add."""

CREDITS = frozenset({"CreditMemo", "VendorCredit"})
"""Linked on a payment, these add to what it can pay."""

# What the server needs to know about the pseudo references that no list holds.
SHIPPING_ITEM = "SHIPPING_ITEM_ID"
US_TAX_CODES = ("TAX", "NON", "CustomSalesTax")
