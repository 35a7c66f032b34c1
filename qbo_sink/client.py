"""The client: one HTTP call at a time, told apart by what is known after it.

It knows addresses, headers, timeouts and pace; it knows nothing about documents. It never raises
for what the network or QuickBooks does: the answer is an ``Answer`` in any of six formats, or
``Lost`` with whether the request can have arrived (:mod:`qbo_sink.wire`).
"""

from __future__ import annotations

from urllib.parse import quote

import httpx2 as httpx

from qbo_sink.model import JsonObject
from qbo_sink.pace import Pace
from qbo_sink.wire import Answer, Lost, Reply, parse
from replica.limits import QBO_ANSWER_BYTES_MAX, QBO_CONNECT_TIMEOUT_S, QBO_READ_TIMEOUT_S

USER_AGENT = "replica-quickbooks-sink/0.1"
# The request certainly never left.
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


def http_client(transport: httpx.AsyncBaseTransport | None = None) -> httpx.AsyncClient:
    """The HTTP client of a sink. ``transport`` replaces the network in tests."""
    timeout = httpx.Timeout(
        connect=QBO_CONNECT_TIMEOUT_S,
        read=QBO_READ_TIMEOUT_S,
        write=QBO_READ_TIMEOUT_S,
        pool=QBO_READ_TIMEOUT_S,
    )
    return httpx.AsyncClient(
        transport=transport,
        timeout=timeout,
        follow_redirects=False,
        trust_env=False,
        headers={"user-agent": USER_AGENT},
    )


class Client:
    """Calls to one company."""

    def __init__(
        self, http: httpx.AsyncClient, *, base: str, realm: str, minor_version: str, pace: Pace
    ) -> None:
        self._http = http
        self._root = f"{base}/v3/company/{quote(realm, safe='')}"
        self._minor_version = minor_version
        self._pace = pace

    async def write(self, token: str, path: str, body: bytes, requestid: str) -> Reply:
        """Create or update. The body is sent as it is: a repetition is byte for byte the same."""
        return await self._call(
            token,
            "POST",
            f"/{path}",
            {"requestid": requestid},
            body=body,
            content_type="application/json",
        )

    async def deliver(self, token: str, path: str, address: str, requestid: str) -> Reply:
        """E-mail a document, such as ``invoice/145``, to ``address``."""
        params = {"sendTo": address, "requestid": requestid}
        kind = "application/octet-stream"
        return await self._call(token, "POST", f"/{path}/send", params, content_type=kind)

    async def read(self, token: str, path: str) -> Reply:
        """One object, such as ``estimate/145`` or ``preferences``. Metered."""
        return await self._call(token, "GET", f"/{path}", {})

    async def query(self, token: str, statement: str) -> Reply:
        """One statement of the query language. Metered."""
        return await self._call(token, "GET", "/query", {"query": statement})

    async def changes(self, token: str, entities: str, since: str) -> Reply:
        """Change data capture since an ISO 8601 time. Metered."""
        return await self._call(token, "GET", "/cdc", {"entities": entities, "changedSince": since})

    async def _call(
        self,
        token: str,
        method: str,
        path: str,
        params: dict[str, str],
        *,
        body: bytes | None = None,
        content_type: str = "",
    ) -> Reply:
        headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
        if content_type:
            headers["content-type"] = content_type
        async with self._pace.call():
            return await send(
                self._http,
                self._http.build_request(
                    method,
                    self._root + path,
                    params={**params, "minorversion": self._minor_version},
                    headers=headers,
                    content=body,
                ),
            )


async def send(http: httpx.AsyncClient, request: httpx.Request) -> Reply:
    """One request, its answer read whole within a bound of bytes."""
    try:
        response = await http.send(request, stream=True)
        try:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > QBO_ANSWER_BYTES_MAX:
                    return Lost(f"the answer passed {QBO_ANSWER_BYTES_MAX} bytes")
        finally:
            await response.aclose()
    except _NEVER_SENT as error:
        return Lost(_words(error), sent=False)
    except httpx.HTTPError as error:
        return Lost(_words(error))
    answer = parse(response.status_code, response.headers, bytes(content))
    return _check_length(answer, response, len(content))


def _check_length(answer: Answer, response: httpx.Response, length: int) -> Reply:
    """A body shorter than announced is no answer, even where it happens to parse."""
    announced = response.headers.get("content-length", "")
    encoded = "content-encoding" in response.headers
    if announced.isdecimal() and not encoded and int(announced) > length:
        return Lost(f"the answer ended after {length} of {announced} bytes")
    return answer


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def entity_of(reply: Reply, name: str) -> JsonObject | None:
    """The object ``name`` of a good answer, None for any other."""
    if isinstance(reply, Lost) or reply.faults or reply.status != 200:
        return None
    found = (reply.body or {}).get(name)
    return found if isinstance(found, dict) else None
