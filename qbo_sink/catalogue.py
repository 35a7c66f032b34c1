"""Every fault QuickBooks documents: what kind of trouble it is, why, and what to do about it.

The class says what the sink does next (quickbooks.md §1.4); cause and fix are for the person who
reads the row, and are never empty (QB-19). Code 6000 is a catch-all there, so its text decides.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import NamedTuple


class Class(StrEnum):
    """What a fault asks for."""

    AUTO = "A"  # a closed correction exists
    RETRY = "R"  # temporary; costs no cycle (QB-22)
    HUMAN = "H"  # somebody decides
    BUG = "B"  # the request was wrong: keep it, tell the maintainers
    STOP = "S"  # the connection itself is the trouble


class Entry(NamedTuple):
    """One kind of fault in words."""

    kind: Class
    cause: str
    fix: str


_RECONNECT = "Reconnect the company under Settings, QuickBooks. Orders keep queueing meanwhile."
_WAIT = "Nothing to do: it is tried again by itself."
_REPORT = "Nothing was lost. Copy the details for support; the row is kept as it is."
_OPEN_ORDER = "Open the document, correct it, and press Sync Now."
_OPEN_THERE = "Look at the record in QuickBooks, correct it there or here, and press Sync Now."

A, R, H, B, S = Class.AUTO, Class.RETRY, Class.HUMAN, Class.BUG, Class.STOP

CATALOGUE: dict[int, Entry] = {
    100: Entry(S, "QuickBooks did not accept the connection.", _RECONNECT),
    110: Entry(S, "The permission to use QuickBooks failed.", _RECONNECT),
    120: Entry(S, "An administrator removed the app, or the permission ended.", _RECONNECT),
    130: Entry(R, "The company moved to another QuickBooks data centre.", _WAIT),
    140: Entry(R, "The company is locked by QuickBooks at the moment.", _WAIT),
    150: Entry(R, "QuickBooks is under maintenance.", _WAIT),
    500: Entry(B, "QuickBooks does not know this operation for this kind of record.", _REPORT),
    600: Entry(A, "QuickBooks has seen this request before.", "Its first result is looked up."),
    610: Entry(
        H,
        "The record, or one that it refers to, was deleted or made inactive in QuickBooks.",
        "Restore it in QuickBooks, or choose another here, and press Sync Now.",
    ),
    620: Entry(
        A,
        "The document is linked to another one in QuickBooks, for instance an invoice.",
        "Unlink it in QuickBooks or leave it as it is and exclude this row.",
    ),
    630: Entry(A, "The same record exists in QuickBooks already.", "It is looked up and linked."),
    700: Entry(H, "The parent record is not valid.", _OPEN_THERE),
    800: Entry(H, "Other records depend on it, so it cannot be deleted.", _OPEN_THERE),
    900: Entry(H, "The parent is itself below another record.", _OPEN_THERE),
    1000: Entry(R, "QuickBooks could not carry out the operation.", _WAIT),
    1010: Entry(R, "QuickBooks could not create the record.", _WAIT),
    1020: Entry(R, "QuickBooks could not change the record.", _WAIT),
    1040: Entry(B, "Too many records were sent at once.", _REPORT),
    1050: Entry(B, "The request had the wrong content type.", _REPORT),
    2000: Entry(B, "The request was not a valid record.", _REPORT),
    2010: Entry(B, "The request named a property QuickBooks does not know.", _REPORT),
    2020: Entry(B, "The request lacked something QuickBooks requires.", _REPORT),
    2030: Entry(B, "An id in the request is not valid.", _REPORT),
    2040: Entry(A, "A text has characters QuickBooks does not accept.", _OPEN_ORDER),
    2050: Entry(A, "A text is longer or shorter than QuickBooks accepts.", _OPEN_ORDER),
    2060: Entry(B, "A date is not valid.", _REPORT),
    2070: Entry(B, "A range of dates is not valid.", _REPORT),
    2080: Entry(B, "A number is not valid.", _REPORT),
    2090: Entry(B, "A decimal number is not valid.", _REPORT),
    2100: Entry(B, "A value has the wrong type.", _REPORT),
    2110: Entry(B, "A value has the wrong format.", _REPORT),
    2120: Entry(B, "A value has a type QuickBooks does not expect.", _REPORT),
    2130: Entry(B, "The request id is malformed.", _REPORT),
    2140: Entry(H, "An amount is not valid.", _OPEN_ORDER),
    2150: Entry(H, "A percentage is not valid.", _OPEN_ORDER),
    2160: Entry(H, "A quantity is not valid.", _OPEN_ORDER),
    2170: Entry(B, "A value is none of those QuickBooks allows.", _REPORT),
    2180: Entry(H, "A value is above or below what QuickBooks allows.", _OPEN_ORDER),
    2190: Entry(H, "A value is outside the range QuickBooks allows.", _OPEN_ORDER),
    2200: Entry(A, "A web address is not valid.", "Correct the address and press Sync Now."),
    2210: Entry(A, "The e-mail address is not valid.", "Correct the customer's e-mail address."),
    2220: Entry(H, "QuickBooks does not know this currency.", _OPEN_ORDER),
    2230: Entry(B, "A yes-or-no value is not valid.", _REPORT),
    2240: Entry(H, "A value is outside its range.", _OPEN_ORDER),
    2250: Entry(H, "The document has no lines.", "Add a line to the document and press Sync Now."),
    2260: Entry(H, "A line does not say on which side it is posted.", _OPEN_ORDER),
    2270: Entry(H, "It is not said whether tax applies.", "Check the tax settings in QuickBooks."),
    2280: Entry(H, "The tax amount is not valid.", "Check the tax settings in QuickBooks."),
    2290: Entry(H, "An amount below zero is not allowed here.", _OPEN_ORDER),
    2300: Entry(H, "Debit and credit are not equal.", _OPEN_THERE),
    2500: Entry(
        A,
        "A record that this one refers to does not exist in QuickBooks any more.",
        "Restore it in QuickBooks or choose another here, and press Sync Now.",
    ),
    2600: Entry(B, "Two parts of the request exclude each other.", _REPORT),
    3000: Entry(A, "A custom field is not valid.", "Check the custom fields in QuickBooks."),
    3001: Entry(R, "QuickBooks asks for fewer requests for a minute.", _WAIT),
    3100: Entry(S, "The app has no permission for this company.", _RECONNECT),
    3200: Entry(S, "The connection to QuickBooks expired.", _RECONNECT),
    3202: Entry(S, "The connection to QuickBooks is incomplete.", _RECONNECT),
    4000: Entry(B, "A query could not be read by QuickBooks.", _REPORT),
    4001: Entry(B, "A query asked for something QuickBooks does not offer.", _REPORT),
    4002: Entry(R, "QuickBooks could not process a query.", _WAIT),
    5000: Entry(B, "QuickBooks no longer offers this.", _REPORT),
    5010: Entry(
        A,
        "Somebody changed the record in QuickBooks at the same time.",
        "Compare both versions under Reconcile and choose one.",
    ),
    5020: Entry(
        H,
        "The QuickBooks plan or the connected user does not allow this.",
        "Upgrade the plan, or reconnect with a user who may do it.",
    ),
    5030: Entry(H, "The company does not have this feature.", "Switch it on in QuickBooks."),
    6000: Entry(H, "QuickBooks refused the record for a reason of its own.", _OPEN_THERE),
    6010: Entry(H, "The account is of a type that cannot be used here.", _OPEN_THERE),
    6070: Entry(A, "An amount is not quantity times price.", _OPEN_ORDER),
    6080: Entry(B, "The record has no name.", _REPORT),
    6090: Entry(B, "The discount line is incomplete.", _REPORT),
    6100: Entry(A, "A tax code is not valid in this company.", "Check the tax settings."),
    6140: Entry(
        A,
        "Another document in QuickBooks has this number.",
        "Change the number of one of the two documents and press Sync Now.",
    ),
    6150: Entry(H, "A sub-record needs a parent.", _OPEN_THERE),
    6160: Entry(A, "The tax code cannot be used with custom sales tax.", "Check the tax settings."),
    6170: Entry(A, "Tax details were sent although no tax applies.", "Check the tax settings."),
    6180: Entry(H, "Records can be nested five levels deep at most.", _OPEN_THERE),
    6190: Entry(
        S,
        "The company's QuickBooks subscription ended or the trial is over.",
        "Renew the subscription in QuickBooks. Orders keep queueing meanwhile.",
    ),
    6200: Entry(
        H,
        "The books are closed for the date of this document.",
        "Open the period in QuickBooks or change the document's date.",
    ),
    6210: Entry(
        H,
        "The books are closed with a password for the date of this document.",
        "Open the period in QuickBooks or change the document's date.",
    ),
    6220: Entry(H, "It has a balance, so it cannot be deleted.", _OPEN_THERE),
    6240: Entry(
        A,
        "QuickBooks has a record of this name already.",
        "Link the two, or give one of them another name, and press Sync Now.",
    ),
    6250: Entry(
        A,
        "The customer is inactive in QuickBooks.",
        "Make the customer active in QuickBooks and press Sync Now.",
    ),
    6270: Entry(H, "The date is before the item's inventory start date.", _OPEN_THERE),
    6420: Entry(A, "An e-mail address is needed to send the document.", "Enter one."),
    6450: Entry(H, "The document could not be voided.", _OPEN_THERE),
    6470: Entry(H, "QuickBooks could not compute the tax.", "Check the tax settings."),
    6480: Entry(H, "It is matched to a bank entry, so it cannot be deleted.", _OPEN_THERE),
    6520: Entry(H, "The quantity on hand does not allow this.", _OPEN_THERE),
    6540: Entry(H, "It is part of a deposit, so it cannot be deleted.", _OPEN_THERE),
    10000: Entry(R, "QuickBooks had an error of its own.", _WAIT),
    10100: Entry(R, "The result is too large; smaller parts are asked for.", _WAIT),
    10200: Entry(S, "The company was reset in QuickBooks.", "Reconnect and reconcile."),
}

UNKNOWN = Entry(H, "QuickBooks refused the record.", _OPEN_THERE)

# Faults the sink finds before a call; their codes are words, so they never clash with a number.
PREFLIGHT: dict[str, Entry] = {
    "currency": Entry(
        H,
        "The document's currency is not one this company or customer works in.",
        "Switch on multicurrency in QuickBooks, or make the document in the customer's currency.",
    ),
    "tax_map": Entry(
        H,
        "No tax code is set for this company.",
        "Set QBO_TAX_CODE and QBO_EXEMPT_CODE to tax code ids of the company.",
    ),
    "too_many_lines": Entry(
        H, "QuickBooks takes fewer lines in one document.", "Split the document in two."
    ),
    "below_zero": Entry(H, "The total is below zero.", _OPEN_ORDER),
    "fraction": Entry(
        H, "The currency has fractions QuickBooks cannot hold.", "Round the prices of the lines."
    ),
    "no_income_account": Entry(
        H,
        "A product needs an income account and QuickBooks has none that is active.",
        "Make an income account in QuickBooks, or set QBO_INCOME_ACCOUNT to its id.",
    ),
    "no_customer": Entry(
        H,
        "The document's customer is not known here yet.",
        "Nothing to do if the customer's device has not synced; else choose a customer.",
    ),
    "unknown_class": Entry(
        H,
        "QuickBooks has no class of this name.",
        "Add the class under Classes or in QuickBooks, or choose another for the document.",
    ),
    "unknown_department": Entry(
        H,
        "QuickBooks has no location of this name.",
        "Add it under Departments or in QuickBooks, or choose another for the document.",
    ),
    "no_tracking": Entry(
        H,
        "The company does not track classes or locations in QuickBooks.",
        "Switch tracking on in QuickBooks, or remove the record here.",
    ),
    "not_answered": Entry(R, "QuickBooks did not answer a question about the document.", _WAIT),
    "no_name": Entry(
        H, "The record has no name, and QuickBooks requires one.", "Enter a name, then Sync Now."
    ),
    "same_name": Entry(
        H,
        "QuickBooks has a record of this name, and nothing but the name says that it is this one.",
        "Say whether it is the same one, or keep the two apart.",
    ),
    "already_linked": Entry(
        H,
        "The record of this name in QuickBooks belongs to another record here.",
        "Merge the two records here, or give one of them another name.",
    ),
    "changed_there": Entry(
        H,
        "The document was changed in QuickBooks and here.",
        "Compare both versions under Reconcile and choose one.",
    ),
    "deleted_there": Entry(
        H,
        "The document was deleted in QuickBooks.",
        "Send it again, cancel it here, or ignore it with a reason under Reconcile.",
    ),
    "invoiced_there": Entry(
        H,
        "The office converted the estimate to an invoice, and the document was changed here since.",
        "Change the invoice in QuickBooks, then remove this row; the change stays here.",
    ),
    "invoice_stands": Entry(
        H,
        "The order is cancelled here and stands in QuickBooks as an invoice.",
        "Void or delete the invoice in QuickBooks; this row ends by itself with the next sync.",
    ),
    "invoice_paid": Entry(
        H,
        "The order was changed here and its invoice in QuickBooks is paid, at least in part.",
        "Write a credit memo or another invoice in QuickBooks, then remove this row.",
    ),
    "invoice_changed": Entry(
        H,
        "The invoice was changed in QuickBooks and the order here.",
        "Change the invoice in QuickBooks, then remove this row; the change stays here.",
    ),
    "invoice_gone": Entry(
        H,
        "The order was changed here and its invoice in QuickBooks is deleted or voided.",
        "Make the invoice again on the page of the order, or cancel the order.",
    ),
    "many_faults": Entry(
        H, "It was refused too many times.", "Correct the cause and press Retry on the row."
    ),
}


class Family(NamedTuple):
    """A family of texts under code 6000, and the code that it really is (quickbooks.md §2.6)."""

    name: str
    pattern: re.Pattern[str]
    code: int
    kind: Class


def _family(name: str, pattern: str, code: int, kind: Class) -> Family:
    return Family(name, re.compile(pattern, re.IGNORECASE), code, kind)


FAMILIES = (
    _family("closed_period", r"account period|period.{0,20}closed|closing date", 6200, H),
    _family("name_used", r"name.{0,60}already.{0,20}use|another .{0,40}using this name", 6240, A),
    _family("tax", r"sales tax rate|tax code|tax rate", 6100, A),
    _family("currency", r"currency|currencies", 2220, H),
    _family("limit", r"usage limit|subscription|upgrade", 5020, H),
    _family("linked", r"linked|matched|been paid", 620, H),
    _family("below_zero", r"negative|zero or greater", 2290, H),
    _family("inactive", r"inactive|been deleted", 6250, A),
    _family("internal", r"internal error|-30006|unexpected error", 10000, R),
)
