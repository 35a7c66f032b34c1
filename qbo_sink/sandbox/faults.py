"""What the API says when it refuses, and in which envelope.

A refusal is raised as :class:`Refused` anywhere below the routes and becomes bytes in one place.
"""

from __future__ import annotations

import uuid
from typing import NamedTuple

from qbo_sink.sandbox.values import Json, write_json

VALIDATION = "ValidationFault"
SYSTEM = "SystemFault"
SERVICE = "SERVICE"
AUTHENTICATION = "AUTHENTICATION"
AUTHORIZATION = "AuthorizationFault"

# code -> what the first line says. The kind and status follow from the code, see below.
MESSAGES: dict[int, str] = {
    120: "Authorization Failure",
    500: "Unsupported Operation",
    600: "Duplicate Request Id",
    610: "Object Not Found",
    620: "Transaction cannot be linked",
    1040: "Batch too large",
    1050: "Unsupported content type",
    2000: "Invalid object",
    2010: "Request has invalid or unsupported property",
    2020: "Required param missing, need to supply the required value for the API",
    2030: "Invalid ID",
    2040: "Invalid characters",
    2050: "String length specified does not match the supported length",
    2060: "Invalid Date",
    2070: "Invalid Date Range",
    2090: "Invalid Number",
    2110: "Invalid Type",
    2130: "Invalid Request Id",
    2170: "Invalid Enumeration",
    2180: "Value out of range",
    2220: "Invalid Currency",
    2210: "Invalid Email Address format",
    2230: "Invalid Boolean",
    2250: "Invalid Line",
    2290: "Invalid Amount",
    2300: "Invalid Journal Entry",
    2500: "Invalid Reference Id",
    2600: "Mutually exclusive elements",
    3000: "Invalid custom field",
    3001: "message=ThrottleExceeded; errorCode=003001; statusCode=429",
    3100: "message=ApplicationAuthorizationFailed; errorCode=003100; statusCode=403",
    3200: "message=AuthenticationFailed; errorCode=003200; statusCode=401",
    3202: "message=OAuth parameter missing; errorCode=003202; statusCode=401",
    4000: "Error parsing query",
    4001: "Invalid query",
    5010: "Stale Object Error",
    5020: "Permission Denied Error",
    5030: "Feature Not Supported Error",
    6000: "A business validation error has occurred while processing your request",
    6070: "Amount is not equal to UnitPrice * Qty",
    6080: "Name must be supplied",
    6090: "Discount line is incomplete",
    6100: "Invalid tax code",
    6140: "Duplicate Document Number Error",
    6160: "Invalid TaxCodeRef",
    6180: "Sublevel Error",
    6190: "Invalid Company Status",
    6200: "Account Period Closed, Cannot Update Through Services API",
    6210: "Account Period Closed, Cannot Update Through Services API",
    6240: "Duplicate Name Exists Error",
    6250: "Customer is inactive",
    6270: "Inventory start date is after the transaction",
    6420: "Email address is required",
    6450: "Void failed",
    700: "Invalid Parent",
    800: "Delete Failed",
    900: "Parent is Child",
    6150: "Parent Required",
    6220: "Delete Failed",
    10000: "An application error has occurred while processing your request",
    10100: "Result too large",
}

_SYSTEM_CODES = frozenset({500, 10000, 10100})


def new_tid() -> str:
    """A transaction id for the ``intuit_tid`` header, which every answer carries."""
    return f"1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]}"


class Problem(NamedTuple):
    """One entry of a Fault. ``element`` names the property or is empty."""

    code: int
    detail: str
    element: str = ""

    def as_json(self) -> Json:
        """The shape inside ``Fault.Error``."""
        entry: Json = {
            "Message": MESSAGES[self.code],
            "Detail": self.detail,
            "code": str(self.code),
        }
        if self.element:
            entry["element"] = self.element
        return entry


class Refused(Exception):
    """The request is refused; nothing of it is kept."""

    def __init__(self, *problems: Problem, status: int = 400, kind: str = "") -> None:
        super().__init__("; ".join(f"{p.code} {p.detail}" for p in problems))
        self.problems = problems
        self.status = status
        self.kind = kind or (SYSTEM if problems[0].code in _SYSTEM_CODES else VALIDATION)

    def as_json(self) -> Json:
        """The value of ``Fault``, as single answers and batch items carry it."""
        return {"Error": [problem.as_json() for problem in self.problems], "type": self.kind}


def refused(code: int, detail: str, element: str = "") -> Refused:
    """A refusal with one entry."""
    return Refused(Problem(code, detail, element))


def throttled() -> Refused:
    """Too many requests: 429 unless a switch says otherwise (section 1.11)."""
    detail = "The request limit for this realm was exceeded; try again later"
    return Refused(Problem(3001, detail), status=429, kind=SERVICE)


def not_authorized(detail: str) -> Refused:
    """A token of one realm was used on another."""
    return Refused(Problem(3100, detail), status=403, kind=SERVICE)


def not_authenticated(detail: str, *, code: int = 3200) -> Refused:
    """No bearer, an unknown one or an expired one."""
    return Refused(Problem(code, detail), status=401, kind=AUTHENTICATION)


def upper_envelope(fault: Refused, time: str) -> bytes:
    """The usual ``{"Fault": …, "time": …}``."""
    return write_json({"Fault": fault.as_json(), "time": time})


def lower_envelope(fault: Refused, request_id: str, at_ms: int) -> bytes:
    """The other JSON envelope, which 401 answers use."""
    errors = [
        {
            "message": MESSAGES[problem.code],
            "detail": problem.detail,
            "code": str(problem.code),
            "element": problem.element or None,
        }
        for problem in fault.problems
    ]
    return write_json(
        {
            "warnings": None,
            "intuitObject": None,
            "fault": {"error": errors, "type": fault.kind},
            "report": None,
            "queryResponse": None,
            "batchItemResponse": [],
            "attachableResponse": [],
            "syncErrorResponse": None,
            "requestId": request_id,
            "time": at_ms,
            "status": None,
            "cdcresponse": [],
        }
    )
