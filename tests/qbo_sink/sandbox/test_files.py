"""Attachments: notes, uploads in every form that clients send, downloads and their end."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qbo_sink.sandbox.files import _uploads
from qbo_sink.sandbox.values import write_json
from tests.qbo_sink.sandbox.desk import Answer, Desk

BOUNDARY = "-----------------Q"


def _multipart(*parts: tuple[str, bytes], end: bytes = b"\r\n") -> bytes:
    """Parts of (headers split by ``|``, content)."""
    body = b""
    for head, content in parts:
        lines = [b"--" + BOUNDARY.encode(), *(each.encode() for each in head.split("|")), b""]
        body += end.join([*lines, content, b""])
    return body + b"--" + BOUNDARY.encode() + b"--" + end


def _about(**metadata: Any) -> bytes:
    return write_json(metadata)


def _upload(desk: Desk, body: bytes) -> Answer:
    return desk.post("upload", body, f"multipart/form-data; boundary={BOUNDARY}")


META = 'Content-Disposition: form-data; name="file_metadata_01"|Content-Type: application/json'
FILE = 'Content-Disposition: form-data; name="file_content_01"; filename="a.txt"'
TO_VENDOR = {"AttachableRef": [{"EntityRef": {"type": "vendor", "value": "1"}}]}


def test_upload_links_and_downloads_the_same_bytes(desk: Desk) -> None:
    """Metadata and content of one file; found by what it hangs on; fetched; gone when deleted."""
    about = _about(FileName="a.txt", ContentType="text/plain", Note="n", **TO_VENDOR)
    body = _multipart((META, about), (FILE + "|Content-Type: text/plain", b"\x00\r\nhello\xff"))
    made = _upload(desk, body).json["AttachableResponse"][0]["Attachable"]
    assert (made["Size"], made["SyncToken"], made["FileName"]) == (9, "0", "a.txt")
    found = desk.rows(
        "select * from attachable where AttachableRef.EntityRef.Type = 'Vendor' "
        "and AttachableRef.EntityRef.value = '1'",
        "Attachable",
    )
    assert found == [made]
    assert desk.rows("select * from Attachable where FileName like '%.pdf'", "Attachable") == []
    address = desk.get(f"download/{made['Id']}").content.decode()
    fetched = desk.ask("GET", address)
    assert fetched.content == b"\x00\r\nhello\xff"
    assert fetched.headers["x-content-type-options"] == "nosniff"
    changed = desk.save("Attachable", {"Id": "1", "SyncToken": "0", "sparse": True, "Note": "m"})
    assert (changed["Size"], changed["Note"]) == (9, "m")
    desk.post("attachable", {"Id": "1", "SyncToken": "1"}, operation="delete")
    assert desk.ask("GET", address).status == 404
    assert desk.get("download/1").codes == [610]


def test_parts_in_base64_with_bare_line_feeds(desk: Desk) -> None:
    """The form that older Python clients build by hand, metadata in XML, a blank first line."""
    about = b"<Attachable><FileName>b.bin</FileName><AttachableRef><EntityRef type='Invoice'>9"
    about += b"</EntityRef></AttachableRef></Attachable>"
    coded = "Content-Transfer-Encoding: base64|Content-Type: application/octet-stream"
    good = b"<Attachable><FileName>b.bin</FileName></Attachable>"
    for text, faulted in ((about, True), (good, False)):
        body = b"\n" + _multipart(
            ('Content-Disposition: form-data; name="file_metadata_0"', text),
            (
                f'Content-Disposition: form-data; name="file_content_0"|{coded}',
                base64.b64encode(b"\xff\x00"),
            ),
            end=b"\n",
        )
        entry = _upload(desk, body).json["AttachableResponse"][0]
        assert ("Fault" in entry) is faulted
    assert entry["Attachable"]["Size"] == 2
    assert desk.control("count", method="GET")["Attachable"] == 1


def test_a_type_that_is_none_never_becomes_a_header(desk: Desk) -> None:
    """Whatever a client calls its file, fetching it works and sets no header of its own."""
    about = _about(FileName="a.txt", ContentType="text/html\r\nSet-Cookie: a=b ☃")
    made = _upload(desk, _multipart((META, about), (FILE, b"x"))).json["AttachableResponse"][0]
    fetched = desk.ask("GET", made["Attachable"]["TempDownloadUri"])
    assert fetched.headers["content-type"] == "application/octet-stream"
    assert "set-cookie" not in fetched.headers


def test_notes_need_no_file(desk: Desk) -> None:
    """A note on an existing object; neither note nor file, or no such object, is refused."""
    made = desk.save("Attachable", {"Note": "call back", **TO_VENDOR})
    assert made["AttachableRef"][0]["EntityRef"] == {"value": "1", "type": "Vendor"}
    assert desk.post("attachable", TO_VENDOR).codes == [2020]
    lost = {"Note": "n", "AttachableRef": [{"EntityRef": {"type": "Bill", "value": "99"}}]}
    assert desk.post("attachable", lost).codes == [2500]
    assert desk.post("attachable", {"Note": "n", **_ref("Nothing")}).codes == [2170]


def _ref(kind: str) -> dict[str, Any]:
    return {"AttachableRef": [{"EntityRef": {"type": kind, "value": "1"}}]}


@pytest.mark.parametrize(
    ("content_type", "body", "code"),
    [
        ("application/json", b"{}", 1050),
        ("multipart/form-data", b"--x", 1050),
        (f"multipart/form-data; boundary={BOUNDARY}", _multipart((META, b"{}")), 2020),
        (f"multipart/form-data; boundary={BOUNDARY}", _multipart((META, b"{"), (FILE, b"x")), 2000),
    ],
)
def test_uploads_that_are_none(desk: Desk, content_type: str, body: bytes, code: int) -> None:
    """No parts, no content or unreadable metadata are typed faults (issue 4, point 1)."""
    assert desk.post("upload", body, content_type).codes == [code]


@settings(max_examples=100)
@given(st.binary(max_size=80))
def test_every_byte_of_a_file_survives(content: bytes) -> None:
    """Whatever a file holds, its bytes are kept as they were sent."""
    body = _multipart((FILE + "|Content-Type: application/octet-stream", content))
    one = _uploads(f"multipart/form-data; boundary={BOUNDARY}", body)[0]
    assert (one.content, one.name) == (content, "a.txt")
