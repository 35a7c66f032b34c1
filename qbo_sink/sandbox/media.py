"""Bodies: how much of one is read, and in which form an answer goes back."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request

from qbo_sink.sandbox.values import read_json
from qbo_sink.sandbox.xml_codec import XML_TYPE, XML_TYPES, write_xml

JSON_TYPE = "application/json;charset=UTF-8"
_RANGES_MAX = 20


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The body; of one that is larger than ``bytes_max`` no more than shows that it is."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > bytes_max:
            break
    return bytes(data)


def wants_xml(headers: Mapping[str, str], params: Mapping[str, str], default: str) -> bool:
    """``format=`` in the query decides, then Accept, then the body's own type, then ``default``.

    ``default`` is the switch ``default_media``: what a client gets that asks for neither.
    """
    if params.get("format", "").lower() in ("json", "xml"):
        return params["format"].lower() == "xml"
    asked = _preferred(headers.get("accept", ""))
    if asked:
        return asked in XML_TYPES
    sent = headers.get("content-type", "").partition(";")[0].strip().lower()
    if sent in (*XML_TYPES, "application/json"):
        return sent in XML_TYPES
    return default == "xml"


def _preferred(accept: str) -> str:
    """The media type of this API that ``accept`` likes best, the first of equals; or nothing."""
    best, found = 0.0, ""
    for part in accept.lower().split(",")[:_RANGES_MAX]:
        name, *options = (word.strip() for word in part.split(";"))
        if name not in (*XML_TYPES, "application/json"):
            continue
        weight = next((option[2:] for option in options if option.startswith("q=")), "1")
        try:
            quality = float(weight)
        except ValueError:
            quality = 1.0
        if quality > best:
            best, found = quality, name
    return found


def rendered(body: bytes, *, xml: bool) -> tuple[bytes, str]:
    """``body``, which is JSON, in the form asked for, and its content type."""
    return (write_xml(read_json(body)), XML_TYPE) if xml else (body, JSON_TYPE)
