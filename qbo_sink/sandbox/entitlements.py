"""What a company's subscription includes: a route of its own, outside ``/v3``, in XML."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qbo_sink.sandbox.api import company_of
from qbo_sink.sandbox.faults import Refused, new_tid, upper_envelope
from qbo_sink.sandbox.names import TRACKING_LIMITS
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, read_json, stamp_ms
from qbo_sink.sandbox.xml_codec import XML_TYPE, write_xml

_USERS_MAX = {"QuickBooks Online Plus": 5, "QuickBooks Online Essentials": 3}
_USERS_OTHERWISE = 25


async def entitlements(request: Request) -> Response:
    """Plan, users, and which features are on."""
    sandbox: Sandbox = request.app.state.sandbox
    headers = {"intuit_tid": new_tid(), "Content-Type": XML_TYPE}
    try:
        company = company_of(sandbox, request)
    except Refused as fault:
        time = stamp_ms(sandbox.clock.now_ms(), sandbox.home.zone)
        return Response(write_xml(read_json(upper_envelope(fault, time))), fault.status, headers)
    info = sandbox.books.single(company.realm, "CompanyInfo")
    plan = {row["Name"]: row["Value"] for row in info["NameValue"]}.get("OfferingSku", "")
    features = {"Class Tracking": TRACKING_LIMITS.get(plan) != 0, "Estimates": True}
    answer: Json = {
        "QboCompany": True,
        "PlanName": plan,
        "MaxUsers": _USERS_MAX.get(plan, _USERS_OTHERWISE),
        "CurrentUsers": 1,
        "DaysRemainingTrial": 0,
        "Entitlement": [
            {"id": str(number), "name": [name], "term": ["On" if on else "Off"]}
            for number, (name, on) in enumerate(features.items(), start=1)
        ],
    }
    return Response(write_xml(answer), 200, headers)


def routes() -> list[Route]:
    """The one route."""
    return [Route("/manage/entitlements/v3/{realm}", entitlements, methods=["GET"])]
