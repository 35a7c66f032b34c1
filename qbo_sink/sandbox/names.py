"""Rules of names and lists: characters, uniqueness, parents, what each type of item needs."""

from __future__ import annotations

from qbo_sink.sandbox.draft import Draft
from qbo_sink.sandbox.faults import refused
from qbo_sink.sandbox.schema import STRUCTS
from qbo_sink.sandbox.values import CENT, ZERO, Json

LEVELS_MAX = 5
INACTIVE_SUFFIX = " (deleted)"
_PERSON = ("Title", "GivenName", "MiddleName", "FamilyName", "Suffix")
# Class and department share what a plan allows; absent means unlimited.
TRACKING_LIMITS = {"QuickBooks Online Plus": 40, "QuickBooks Online Essentials": 0}

_CLASSIFICATION = {
    "Bank": "Asset",
    "Accounts Receivable": "Asset",
    "Other Current Asset": "Asset",
    "Fixed Asset": "Asset",
    "Other Asset": "Asset",
    "Accounts Payable": "Liability",
    "Credit Card": "Liability",
    "Other Current Liability": "Liability",
    "Long Term Liability": "Liability",
    "Equity": "Equity",
    "Income": "Revenue",
    "Other Income": "Revenue",
    "Cost of Goods Sold": "Expense",
    "Expense": "Expense",
    "Other Expense": "Expense",
}


def complete_person_name(draft: Draft) -> None:
    """DisplayName from the parts of a person's name; 6080 when there is neither."""
    if draft.entity.space != "party":
        return
    body = draft.body
    if "DisplayName" not in body:
        parts = [body[part] for part in _PERSON if part in body]
        if not parts:
            raise refused(6080, "At least one of the name elements is required", "DisplayName")
        body["DisplayName"] = " ".join(parts)
    body.setdefault("PrintOnCheckName", body.get("CompanyName") or body["DisplayName"])


def name_characters(draft: Draft) -> None:
    """Colons separate levels, so no name holds one; blanks around it are trimmed."""
    prop = draft.entity.name_property
    if not prop or prop not in draft.body:
        return
    name = draft.body[prop].strip()
    forbidden = ':\t\n"' if draft.entity.name == "Account" else ":\t\n"
    if any(mark in name for mark in forbidden):
        raise refused(2040, f"{prop} may not hold a colon, tab, or new line", prop)
    if not name:
        raise refused(6080, f"{prop} must be supplied", prop)
    draft.body[prop] = name


def parent_and_level(draft: Draft) -> None:
    """ParentRef and the flag that says so belong together; FullyQualifiedName follows."""
    prop, child, body = draft.entity.name_property, draft.entity.child, draft.body
    if not prop:
        return
    if "FullyQualifiedName" in STRUCTS[draft.entity.name]:
        body["FullyQualifiedName"] = body[prop]
    if not child:
        return
    has_parent = "ParentRef" in body and body.get(child, draft.entity.name == "Item")
    if body.get(child) and not has_parent:
        raise refused(6150, f"ParentRef is required with {child}", "ParentRef")
    body[child] = has_parent
    if not has_parent:
        body.pop("ParentRef", None)
        return
    parent = draft.get(draft.entity.name, body["ParentRef"])
    if parent is None:
        raise refused(700, "The parent does not exist", "ParentRef")
    level = _level_below(draft, parent)
    if "Level" in STRUCTS[draft.entity.name]:
        body["Level"] = level
    body["FullyQualifiedName"] = f"{parent['FullyQualifiedName']}:{body[prop]}"


def _level_below(draft: Draft, parent: Json) -> int:
    ancestor: Json | None = parent
    level = 0
    while ancestor is not None:
        level += 1
        if draft.old is not None and ancestor["Id"] == draft.old.id:
            raise refused(900, "An object cannot be its own parent", "ParentRef")
        ancestor = draft.get(draft.entity.name, ancestor.get("ParentRef"))
    if level >= LEVELS_MAX:
        raise refused(6180, f"More than {LEVELS_MAX} levels are not supported", "ParentRef")
    return level


def activity(draft: Draft) -> None:
    """Active defaults to true; an inactive name gets a suffix so that it may be used again."""
    prop, body = draft.entity.name_property, draft.body
    if not prop or "Active" not in STRUCTS[draft.entity.name]:
        return
    body.setdefault("Active", True)
    if not draft.switches.inactive_name_suffix:
        return
    was_active = draft.old is None or draft.old.body.get("Active", True)
    suffixed = body[prop].endswith(INACTIVE_SUFFIX)
    if was_active and not body["Active"] and not suffixed:
        body[prop] += INACTIVE_SUFFIX
    elif not was_active and body["Active"] and suffixed:
        body[prop] = body[prop].removesuffix(INACTIVE_SUFFIX)


def unique_name(draft: Draft) -> None:
    """Fault 6240 quoting the Id of who has the name."""
    prop = draft.entity.name_property
    if not prop:
        return
    is_path = draft.entity.child and draft.entity.space != "party"
    name = draft.body["FullyQualifiedName" if is_path else prop]
    for other in draft.books.by_name(draft.company.realm, draft.entity.space, name):
        mine = draft.old is not None and (other.entity, other.id) == (
            draft.old.entity,
            draft.old.id,
        )
        if not mine:
            detail = f"The name supplied already exists. : Id={other.id}"
            raise refused(6240, detail, prop)


def item_accounts(draft: Draft) -> None:
    """What an item of each type cannot be without."""
    if draft.entity.name != "Item":
        return
    body = draft.body
    kind = body.setdefault("Type", "Inventory" if body.get("TrackQtyOnHand") else "Service")
    if kind == "Category":
        body.pop("UnitPrice", None)
        return
    body.setdefault("UnitPrice", ZERO)
    body.setdefault("Taxable", False)
    body.setdefault("TrackQtyOnHand", kind == "Inventory")
    required = ["IncomeAccountRef"] if kind != "Group" else []
    if kind == "Inventory":
        required += ["AssetAccountRef", "ExpenseAccountRef", "QtyOnHand", "InvStartDate"]
    for name in required:
        if name not in body:
            raise refused(2020, f"Required parameter {name} is missing in the request", name)
    if abs(body["UnitPrice"]) > 10**11 or body["UnitPrice"] < -(10**11) * CENT:
        raise refused(2180, "UnitPrice is out of range", "UnitPrice")


def account_kind(draft: Draft) -> None:
    """Classification follows from the type; a new account needs a type or a subtype."""
    if draft.entity.name != "Account":
        return
    body = draft.body
    if "AccountType" not in body:
        if "AccountSubType" not in body:
            raise refused(2020, "Required parameter AccountType is missing", "AccountType")
        cash = body["AccountSubType"] in ("CashOnHand", "Checking", "Savings", "MoneyMarket")
        body["AccountType"] = "Bank" if cash else "Other Current Asset"
    body["Classification"] = _CLASSIFICATION.get(body["AccountType"], "Asset")
    body.setdefault("AccountSubType", body["AccountType"].replace(" ", ""))
    body.setdefault("CurrentBalance", ZERO)
    body.setdefault("CurrentBalanceWithSubAccounts", ZERO)
    number = body.get("AcctNum", "")
    longest = int(draft.switches.us_account_number)  # the schema has what holds elsewhere
    if draft.company.is_us and len(number) > longest:
        detail = f"AcctNum: min 0, max {longest}, supplied length {len(number)}"
        raise refused(2050, detail, "AcctNum")


def social_security(draft: Draft) -> None:
    """The number of an employee is never shown again, so it is not even kept."""
    if draft.entity.name == "Employee" and "SSN" in draft.body:
        draft.body["SSN"] = "XXX-XX-XXXX"


def party_defaults(draft: Draft) -> None:
    """Balances start at zero, and a party's currency never changes after the first save."""
    if draft.entity.name not in ("Customer", "Vendor"):
        return
    body = draft.body
    body.setdefault("Balance", ZERO)
    home: Json = draft.prefers("CurrencyPrefs", "HomeCurrency") or {"value": "USD"}
    if draft.old is not None:
        fixed: Json = draft.old.body.get("CurrencyRef") or home
        given: Json = body.get("CurrencyRef") or fixed
        if given["value"] != fixed["value"]:
            raise refused(6000, "The currency of a name cannot be changed", "CurrencyRef")
        body["CurrencyRef"] = fixed
    body.setdefault("CurrencyRef", home)
    if draft.entity.name == "Customer":
        body.setdefault("BalanceWithJobs", body["Balance"])
        body.setdefault("Job", False)
        body.setdefault("BillWithParent", False)
        body.setdefault("Taxable", True)
        body.setdefault("PreferredDeliveryMethod", "Print")
        body.setdefault("IsProject", False)
    else:
        body.setdefault("Vendor1099", False)


def term_kind(draft: Draft) -> None:
    """A term is by days or by the day of the month."""
    if draft.entity.name == "Term":
        by_date = "DayOfMonthDue" in draft.body
        draft.body["Type"] = "DATE_DRIVEN" if by_date else "STANDARD"


def tracking_gate(draft: Draft) -> None:
    """Classes and departments exist only where tracking is on, and a plan bounds their number."""
    name = draft.entity.name
    if name not in ("Class", "Department") or draft.old is not None:
        return
    prefers = "AccountingInfoPrefs"
    on = draft.prefers(prefers, "TrackDepartments")
    if name == "Class":
        on = draft.prefers(prefers, "ClassTrackingPerTxn") or draft.prefers(
            prefers, "ClassTrackingPerTxnLine"
        )
    if not on:
        raise refused(5020, f"Permission Denied Error : {name} tracking is not enabled")
    info = draft.books.single(draft.company.realm, "CompanyInfo")
    plan = {row["Name"]: row["Value"] for row in info.get("NameValue", [])}.get("OfferingSku", "")
    limit = TRACKING_LIMITS.get(plan)
    used = sum(draft.books.count(draft.company.realm, each) for each in ("Class", "Department"))
    if limit is not None and used >= limit:
        raise refused(6000, "Usage limit reached: upgrade the subscription to add more", "Name")
