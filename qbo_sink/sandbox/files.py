"""Attachments: files that come as multipart uploads, and the addresses they are fetched from."""

from __future__ import annotations

import re
import secrets
from email.message import Message
from email.parser import BytesParser
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from qbo_sink.sandbox.entities import ENTITIES
from qbo_sink.sandbox.faults import Refused, refused
from qbo_sink.sandbox.replay import Reply
from qbo_sink.sandbox.service import Sandbox
from qbo_sink.sandbox.values import Json, read_json, write_json
from qbo_sink.sandbox.writes import Change
from qbo_sink.sandbox.xml_codec import NotXml, read_xml

if TYPE_CHECKING:
    from qbo_sink.sandbox.api import Call

FILES_MAX = 10
_METADATA, _CONTENT = "file_metadata_", "file_content_"
_MEDIA_TYPE = re.compile(r"[a-zA-Z0-9.+-]+/[a-zA-Z0-9.+-]+\Z")


class Upload(NamedTuple):
    """One file of a request: the Attachable's body as sent, and the bytes."""

    metadata: Any
    name: str
    content_type: str
    content: bytes


def upload(call: Call) -> Reply:
    """Keep every file with its Attachable; each gets an entry of its own, an object or a fault."""
    answers: list[Json] = []
    for each in _uploads(call.content_type_line, call.body):
        try:
            with call.sandbox.books.step():
                answers.append({"Attachable": _keep(call, each)})
        except Refused as fault:
            answers.append({"Fault": fault.as_json()})
    return call.envelope("AttachableResponse", write_json(answers))


def address(call: Call, id_: str) -> Reply:
    """Where the file of an Attachable can be fetched from, as plain text."""
    found = call.sandbox.books.live(call.company.realm, "Attachable", id_)
    uri = found.body.get("TempDownloadUri") if found else None
    if uri is None:
        raise refused(610, f"Object Not Found : Attachable {id_} has no file")
    return Reply(200, uri.encode())


async def download(request: Request) -> Response:
    """The bytes behind a download address; whoever has the address may read them."""
    sandbox: Sandbox = request.app.state.sandbox
    kept = sandbox.books.file(request.path_params["token"])
    if kept is None:
        return Response(status_code=404)
    # Whatever was uploaded, a browser must not run it from this address.
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff"}
    content_type, content = kept
    return Response(content, headers=headers, media_type=content_type)


def routes() -> list[Route]:
    """Outside ``/v3``: download addresses carry their own permission."""
    return [Route("/files/{token}", download, methods=["GET"])]


def _keep(call: Call, each: Upload) -> Json:
    company, books = call.company, call.sandbox.books
    entity = ENTITIES["Attachable"]
    body = {"FileName": each.name, "ContentType": each.content_type}
    if each.metadata is not None:
        if not isinstance(each.metadata, dict):
            raise refused(2000, "file_metadata must be one object")
        body |= {name: value for name, value in each.metadata.items() if value not in (None, "")}
    written = call.sandbox.writer(company).save(entity, body, write_json(body))
    token = secrets.token_urlsafe(32)
    id_ = written.reply["Id"]
    kind = written.reply.get("ContentType", "")
    if not _MEDIA_TYPE.match(kind):
        kind = "application/octet-stream"  # it becomes a header when the file is fetched
    books.keep_file(company.realm, id_, token, kind, each.content)
    stored = written.reply | {
        "Size": len(each.content),
        "FileAccessUri": f"/v3/company/{company.realm}/download/{id_}",
        "TempDownloadUri": f"{call.base}/files/{token}",
    }
    stored = books.put(company, entity, stored, bump=False)
    call.sandbox.announce(company, [Change("Attachable", id_, "Create")])
    return stored


def _uploads(content_type: str, body: bytes) -> list[Upload]:
    """The files of a multipart body, in their order. Raises ``Refused``.

    The mail parser is used because clients differ: line ends with and without carriage return,
    parts in base64, names with and without quotes.
    """
    head = b"Content-Type: " + content_type.encode("latin-1", "replace") + b"\r\n\r\n"
    message = BytesParser().parsebytes(head + body)
    if not content_type.lower().startswith("multipart/form-data") or not message.is_multipart():
        raise refused(1050, "An upload is multipart/form-data with file_content parts")
    parts: dict[str, Message] = {}
    for part in message.get_payload():
        if isinstance(part, Message):
            name = part.get_param("name", "", "content-disposition")
            parts[str(name)] = part
    found = [name for name in parts if name.startswith(_CONTENT)]
    if not 0 < len(found) <= FILES_MAX:
        raise refused(2020, f"1 to {FILES_MAX} parts named {_CONTENT}n are needed", "file_content")
    return [_one(parts, name.removeprefix(_CONTENT)) for name in found]


def _one(parts: dict[str, Message], number: str) -> Upload:
    content = parts[_CONTENT + number]
    about = parts.get(_METADATA + number)
    metadata = None if about is None else _metadata(_bytes(about))
    name = str(content.get_filename("") or f"file-{number}")
    return Upload(metadata, name, content.get_content_type(), _bytes(content))


def _bytes(part: Message) -> bytes:
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else b""


def _metadata(data: bytes) -> Any:
    try:
        if data.lstrip()[:1] == b"<":
            return read_xml(data).get("Attachable")
        return read_json(data)
    except (msgspec.DecodeError, NotXml, ValueError, RecursionError) as problem:
        raise refused(2000, f"file_metadata cannot be read: {problem}") from problem
