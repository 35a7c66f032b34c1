"""Frozen chunks of documents for devices that have far to go, served as they are stored.

``GET /api/v1/snapshot`` says which chunks lead from a device's cursor to where the layers end, and
``GET /api/v1/chunks/{sha256}`` gives one, with ranges (wire-protocol.md §12). A device that has not
far to go, or whose history is another one, is told 204: the log on the websocket serves it.

Everything here is a cache over the read models, in the data directory under ``chunks/``. It may be
deleted at any time: devices fall back on the log.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec
from sqlalchemy import Connection
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from replica.errors import Malformed
from replica.events.event import AccountId, Position, device_node
from replica.events.kinds import catalogue_fingerprint
from replica.events.ports import Log
from replica.limits import (
    CHUNK_BUILD_WAIT_S,
    CHUNKED_EVENTS_MIN,
    CHUNKED_LAYERS_MAX,
    CHUNKED_TAIL_PART,
    MANIFEST_BYTES_MAX,
    SAFE_INTEGER_MAX,
)
from replica.projections import layers
from replica.server.answers import NotFound, device_of, is_hash, told
from replica.server.logs import Logger
from replica.server.scoped import bounded
from replica.server.sets import snapshot
from replica.server.writings import written
from replica.store.access import Device
from replica.store.control import Control
from replica.store.engine import Database
from replica.sync.chunks import (
    Layer,
    Manifest,
    SectionLine,
    cut,
    decode_manifest,
    encode_manifest,
)

MANIFEST_FILE = "manifest.json"


class Whereabouts(NamedTuple):
    """Where a device stands: its cursor, in which history."""

    log_id: str
    generation: int
    cursor: int
    chain: str


class Chunks:
    """The chunk files of all accounts. :meth:`refresh` blocks; one at a time per account."""

    def __init__(self, directory: Path, views: Database, log: Log, logger: Logger) -> None:
        self._directory = directory
        self._views = views
        self._log = log
        self._logger = logger

    def file(self, account: AccountId, name: str) -> Path:
        """Where a chunk is if it is there. ``name`` is 64 hexadecimal digits."""
        return self._directory / account.hex() / name

    def refresh(self, account: AccountId, cursor: int) -> Manifest | None:
        """The layers after ``cursor``, extended by a new one when the read models are far ahead
        of them; None when they would not be worth it. Without the new layer when a document is
        too large for a chunk: the log has it."""
        known = self._known(account)
        with snapshot(self._views) as connection:
            now = layers.standing(connection, account)
            if now is None or now.fingerprint != catalogue_fingerprint():
                return None
            reached = known.position if known else 0
            tail = now.position - max(cursor, reached)
            if tail >= max(CHUNKED_EVENTS_MIN, reached // CHUNKED_TAIL_PART):
                try:
                    known = self._extended(connection, account, known, now)
                except OverflowError as error:
                    self._logger.warning("nothing in bulk", account=account, reason=str(error))
        if known is None or known.position - cursor < CHUNKED_EVENTS_MIN:
            return None
        return known.after(cursor)

    def same_history(self, account: AccountId, where: Whereabouts) -> bool:
        """Whether a device's cursor lies in this log as it is."""
        if where.cursor == 0:
            return True
        head = self._log.head(account)
        chain = self._log.chain_at(account, Position(where.cursor))
        return (where.log_id, where.generation) == (head.log_id.hex(), head.generation) and (
            chain is not None and chain.hex() == where.chain
        )

    def _known(self, account: AccountId) -> Manifest | None:
        """The manifest that was made last, if it is still about this log and this fold."""
        try:
            manifest = decode_manifest(self.file(account, MANIFEST_FILE).read_bytes())
        except (OSError, Malformed):
            return None
        head = self._log.head(account)
        ours = (
            (manifest.log_id, manifest.generation) == (head.log_id.hex(), head.generation)
            and manifest.fingerprint == catalogue_fingerprint().hex()
            and self._log.chain_at(account, Position(manifest.position))
            == bytes.fromhex(manifest.chain)
        )
        whole = all(self.file(account, chunk.sha256).exists() for chunk in manifest.chunks())
        return manifest if ours and whole else None

    def _extended(
        self,
        connection: Connection,
        account: AccountId,
        known: Manifest | None,
        now: layers.Standing,
    ) -> Manifest:
        """``known`` and a layer up to ``now``; all in one layer when there are too many."""
        before = known.layers if known and len(known.layers) < CHUNKED_LAYERS_MAX else ()
        after = before[-1].through if before else 0
        sections = [total.section for total in now.sections]
        found = []
        self.file(account, "").mkdir(parents=True, exist_ok=True)
        with written(self._log, account, Position(after), now.position) as writings:
            for stretch in layers.changed_after(connection, account, sections, after):
                for info, data in cut(stretch.section, stretch.documents, writings):
                    path = self.file(account, info.sha256)
                    if not path.exists():
                        _put(path, data)
                    found.append(info)
        head = self._log.head(account)
        manifest = Manifest(
            log_id=head.log_id.hex(),
            generation=head.generation,
            position=now.position,
            chain=now.chain.hex(),
            fingerprint=now.fingerprint.hex(),
            sections=tuple(
                SectionLine(total.section, total.count, total.digest.hex())
                for total in now.sections
            ),
            layers=(*before, Layer(after, now.position, tuple(found))),
        )
        if len(encode_manifest(manifest)) > MANIFEST_BYTES_MAX:  # by its authors: do without
            manifest = manifest.for_nodes(())
        _put(self.file(account, MANIFEST_FILE), encode_manifest(manifest))
        self._sweep(account, [manifest, *([known] if known else [])])
        return manifest

    def _sweep(self, account: AccountId, manifests: list[Manifest]) -> None:
        """Remove what neither the new manifest nor the one before names: a device may be in the
        middle of that one."""
        named = {chunk.sha256 for one in manifests for chunk in one.chunks()} | {MANIFEST_FILE}
        for path in self.file(account, "").iterdir():
            if path.name not in named:
                with suppress(OSError):
                    path.unlink()


def _put(path: Path, data: bytes) -> None:
    """Whole or not at all. Not flushed: a chunk proves itself by its name when it is read."""
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    new.replace(path)


class ChunkRoutes:
    """The two routes. ``control`` knows the devices."""

    def __init__(self, chunks: Chunks, control: Control) -> None:
        self._chunks = chunks
        self._control = control
        self._check_token = control.check_token
        self._making: set[asyncio.Task[Manifest | None]] = set()
        self._turns: dict[AccountId, asyncio.Lock] = {}

    def routes(self) -> list[Route]:
        """Both, for devices with their token."""
        return [
            Route("/api/v1/snapshot", told(self.snapshot), methods=["GET"]),
            Route("/api/v1/chunks/{sha256:str}", told(self.chunk), methods=["GET"]),
        ]

    async def snapshot(self, request: Request) -> Response:
        """The manifest from the device's cursor on, or 204: the log serves this device better."""
        device = await device_of(request, self._check_token)
        where = _whereabouts(request)
        if bounded(device):  # layers hold the whole account (§14)
            return Response(status_code=204)
        if not await asyncio.to_thread(self._chunks.same_history, device.account, where):
            return Response(status_code=204)
        manifest = await self._manifest(device.account, where.cursor)
        if manifest is None:
            return Response(status_code=204)
        nodes = await asyncio.to_thread(own_nodes, self._control, device)
        ordered = manifest.for_nodes({node.hex() for node in nodes})
        return Response(encode_manifest(ordered), media_type="application/json")

    async def chunk(self, request: Request) -> Response:
        """The bytes of one chunk; they never change, so whoever has them keeps them."""
        device = await device_of(request, self._check_token)
        name = request.path_params["sha256"]
        if not is_hash(name):
            raise Malformed("a chunk's name is 64 hexadecimal digits")
        path = self._chunks.file(device.account, name)
        if bounded(device) or not await asyncio.to_thread(path.exists):
            raise NotFound("there is no such chunk any more", hint="ask for the snapshot again")
        return FileResponse(
            path,
            media_type="application/octet-stream",
            headers={"cache-control": "private, max-age=31536000, immutable"},
        )

    async def _manifest(self, account: AccountId, cursor: int) -> Manifest | None:
        """Making layers goes on when nobody waits any more: the next device finds them."""
        making = asyncio.create_task(self._make(account, cursor))
        self._making.add(making)
        making.add_done_callback(self._made)
        try:
            async with asyncio.timeout(CHUNK_BUILD_WAIT_S):
                return await asyncio.shield(making)
        except TimeoutError:
            return None

    async def _make(self, account: AccountId, cursor: int) -> Manifest | None:
        async with self._turns.setdefault(account, asyncio.Lock()):
            return await asyncio.to_thread(self._chunks.refresh, account, cursor)

    def _made(self, making: asyncio.Task[Manifest | None]) -> None:
        self._making.discard(making)
        if not making.cancelled():
            making.exception()  # whoever still waits is told; nobody else has to be


def own_nodes(control: Control, device: Device) -> set[bytes]:
    """The nodes of the devices that the user of ``device`` sold with, lost ones too; of one that
    nobody has, its own. Blocking."""
    same = [device]
    if device.user is not None:
        same += [one for one in control.devices(device.account) if one.user == device.user]
    return {device_node(one.device) for one in same}


class _Query(msgspec.Struct):
    log_id: str = ""
    generation: int = 0
    cursor: int = 0
    chain: str = ""


def _whereabouts(request: Request) -> Whereabouts:
    try:
        query = msgspec.convert(dict(request.query_params), _Query, strict=False)
    except msgspec.ValidationError as error:
        raise Malformed(f"query: {error}") from error
    if not 0 <= query.cursor <= SAFE_INTEGER_MAX:
        raise Malformed("query: cursor is a position")
    return Whereabouts(query.log_id, query.generation, query.cursor, query.chain)
