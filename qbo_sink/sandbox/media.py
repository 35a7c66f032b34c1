"""Bodies: how much of one is read, and in which form an answer goes back."""

from __future__ import annotations

import zlib
from codecs import BOM_UTF8
from collections.abc import Mapping
from email.message import Message

from starlette.requests import Request

from qbo_sink.sandbox.values import read_json
from qbo_sink.sandbox.xml_codec import XML_TYPE, XML_TYPES, write_xml

JSON_TYPE = "application/json;charset=UTF-8"
_RANGES_MAX = 20
_GZIP, _ZLIB, _RAW = 31, zlib.MAX_WBITS, -zlib.MAX_WBITS  # what zlib calls the three wrappings
_PACKINGS = {"gzip": (_GZIP,), "x-gzip": (_GZIP,), "deflate": (_ZLIB, _RAW)}


async def body_of(request: Request, bytes_max: int) -> bytes:
    """The body; of one that is larger than ``bytes_max`` no more than shows that it is."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > bytes_max:
            break
    return bytes(data)


def unpacked(data: bytes, encoding: str, bytes_max: int) -> bytes:
    """``data`` without its content encoding; at most a byte more than ``bytes_max`` of it.

    Intuit's Java and .NET clients compress what they send, and name the encoding on requests
    without a body too. Raises ``ValueError`` for another encoding and for what is damaged.
    """
    name = encoding.strip().lower()
    if not data or name in ("", "identity"):
        return data
    for wrapping in _PACKINGS.get(name, ()):
        reader = zlib.decompressobj(wrapping)
        try:
            found = reader.decompress(data, bytes_max + 1)
        except zlib.error:
            continue
        if reader.eof or len(found) > bytes_max:
            return found
    raise ValueError(f"the body is not {name}" if name in _PACKINGS else f"{name} is not known")


def as_utf8(data: bytes, content_type: str) -> bytes:
    """A text body in UTF-8, whatever its type says it is in, and without a byte order mark.

    Raises ``ValueError`` when it is not in what the type says.
    """
    head = Message()
    head["Content-Type"] = content_type
    charset = str(head.get_param("charset") or "utf-8").lower()
    if charset in ("utf-8", "utf8"):
        return data.removeprefix(BOM_UTF8)
    try:
        return data.decode(charset).encode()
    except LookupError as problem:
        raise ValueError(f"the character set {charset} is not known") from problem


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
