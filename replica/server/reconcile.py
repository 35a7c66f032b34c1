"""Finding what differs without sending what is equal: reconciliation over HTTP.

``POST /api/v1/reconcile/events`` answers messages of the Negentropy Protocol V1 about the events of
a log, for operators, managers and devices; ``POST /api/v1/reconcile/documents`` about documents,
for devices, which then take those that differ from ``POST /api/v1/documents``
(wire-protocol.md §13). An answer follows from the question and the set; nothing is remembered of
whoever asks. Work runs off the event loop, one question of an account after the other.
"""

from __future__ import annotations

import asyncio

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.errors import Forbidden, Malformed, StoreUnavailable, TooLarge
from replica.events.event import HASH_BYTES, AccountId
from replica.limits import (
    RECONCILE_DOCUMENTS_BYTES_TARGET,
    RECONCILE_DOCUMENTS_MAX,
    RECONCILE_WAIT_S,
    SAFE_INTEGER_MAX,
)
from replica.projections import hashes, layers
from replica.server.answers import bounded_limit, caller_of, device_of, told
from replica.server.auth import NotSignedIn, Right
from replica.server.runtime import Runtime
from replica.server.scoped import bounded
from replica.server.sets import Answer, DocumentSet, LogSet, Sets, snapshot
from replica.store.access import Device

POSITION_HEADER = "replica-position"
FOLD_HEADER = "replica-fold"
_encode = msgspec.msgpack.Encoder().encode


class ReconcileRoutes:
    """The three routes."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        stores = runtime.stores
        self._events = Sets(lambda account: LogSet(stores.log, account))
        self._documents = Sets(lambda account: DocumentSet(stores.views, account))
        self._turns: dict[AccountId, asyncio.Lock] = {}

    def routes(self) -> list[Route]:
        """Errors are told as everywhere in the API."""
        table = {
            "/reconcile/events": self.events,
            "/reconcile/documents": self.documents,
            "/documents": self.states,
        }
        return [
            Route(f"/api/v1{path}", told(handler), methods=["POST"])
            for path, handler in table.items()
        ]

    async def events(self, request: Request) -> Response:
        """The answer to a message about the events of the log. Raises ``Forbidden`` for a device
        that holds a part of them."""
        account = await self._asker(request)
        return _answered(await self._answer(account, self._events, await request.body()))

    async def documents(self, request: Request) -> Response:
        """The answer to a message about documents that include ``position`` of the query."""
        device = await self._device(request)
        asked = request.query_params.get("position")
        position = bounded_limit(asked, 0, SAFE_INTEGER_MAX, least=0)
        if not await self._runtime.projecting.wait(device.account, position, RECONCILE_WAIT_S):
            raise StoreUnavailable("the documents are not at that position yet")
        message = await request.body()
        if bounded(device):
            scoped = self._runtime.scopes.sets
            return _answered(await asyncio.to_thread(scoped.answer, device, message))
        return _answered(await self._answer(device.account, self._documents, message))

    async def states(self, request: Request) -> Response:
        """The documents with the hashes in the body; fewer when they have changed meanwhile, or
        when the answer would be too long."""
        device = await self._device(request)
        body = await request.body()
        wanted = [body[at : at + HASH_BYTES] for at in range(0, len(body), HASH_BYTES)]
        if not wanted or len(wanted[-1]) != HASH_BYTES:
            raise Malformed("body: hashes of 32 bytes, one after the other")
        if len(wanted) > RECONCILE_DOCUMENTS_MAX:
            raise TooLarge("documents", limit=RECONCILE_DOCUMENTS_MAX, actual=len(wanted))
        position, found = await asyncio.to_thread(self._read, device, wanted)
        return Response(
            found,
            media_type="application/octet-stream",
            headers={POSITION_HEADER: str(position)},
        )

    def _read(self, device: Device, wanted: list[bytes]) -> tuple[int, bytes]:
        """Encoded documents, and the position they are as of."""
        limit_bytes = RECONCILE_DOCUMENTS_BYTES_TARGET
        if bounded(device):
            position, found = self._runtime.scopes.sets.states(device, wanted, limit_bytes)
        else:
            with snapshot(self._runtime.stores.views) as connection:
                now = layers.standing(connection, device.account)
                position = now.position if now else 0
                found = hashes.states(connection, device.account, wanted, limit_bytes)
        return position, _encode([(key.type, key.id, state) for key, state in found])

    async def _answer(
        self, account: AccountId, sets: Sets[LogSet] | Sets[DocumentSet], message: bytes
    ) -> Answer:
        # Waiting for one's turn here, not in a thread, of which there are few.
        async with self._turns.setdefault(account, asyncio.Lock()):
            return await asyncio.to_thread(sets.answer, account, message)

    async def _asker(self, request: Request) -> AccountId:
        """The account of whoever may compare logs: the operator, a manager, a device."""
        try:
            return (await caller_of(request, self._runtime.auth, Right.MANAGE)).account
        except NotSignedIn:
            device = await self._device(request)
            if bounded(device):
                raise Forbidden("a device with a scope compares documents, not the log") from None
            return device.account

    async def _device(self, request: Request) -> Device:
        return await device_of(request, self._runtime.stores.control.check_token)


def _answered(answer: Answer) -> Response:
    return Response(
        answer.message,
        media_type="application/octet-stream",
        headers={POSITION_HEADER: str(answer.place.position), FOLD_HEADER: answer.place.fold.hex()},
    )
