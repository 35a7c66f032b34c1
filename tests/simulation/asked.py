"""The server that a phone asks over HTTP, without HTTP: documents in bulk, and those that differ.

What is asked and what is done with an answer is the product's; the answers are made here from the
read models by the words of wire-protocol.md §12 and §13. Between two questions the world goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.client import HTTPMessage
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import msgpack

from replica.crdt.digest import document_hash
from replica.crdt.documents import DocKey
from replica.device import chunks as device_chunks
from replica.device.asking import OK, Answer, Line
from replica.errors import PeerGone
from replica.events.event import Position
from replica.events.kinds import catalogue_fingerprint
from replica.limits import CHUNKED_LAYERS_MAX, CHUNKED_TAIL_PART
from replica.sync.chunks import Kept, Layer, Manifest, SectionLine, cut, encode_manifest
from replica.sync.reconcile import ItemSet, Responder
from replica.sync.reconcile.sets import document_items
from tests.simulation.disk import DiskLog
from tests.simulation.readmodels import ReadModels
from tests.simulation.server import ID

NOT_FOUND, NOTHING, UNAVAILABLE = 404, 204, 503


@contextmanager
def asking(ask: Callable[[str, bytes | None], Answer]) -> Iterator[None]:
    """Questions of devices go to ``ask(path, body)`` while this lasts."""

    class Asked:
        def ask(self, path: str, most: int, body: bytes | None = None) -> Answer:
            answer = ask(path, body)
            assert len(answer.data) <= most
            return answer

    @contextmanager
    def server(_: Line) -> Iterator[Asked]:
        try:
            yield Asked()
        except OSError as error:
            raise PeerGone("the line is gone") from error

    with patch.object(Line, "server", server):
        yield


class Answers:
    """What the servers of one log answer, from their read models as they stand."""

    def __init__(self, log: DiskLog, views: ReadModels) -> None:
        self._log, self._views = log, views
        self._layers: tuple[Manifest, dict[DocKey, bytes]] | None = None
        self._files: dict[str, bytes] = {}

    def answer(self, path: str, body: bytes | None) -> Answer:
        """The answer to a question of a device that holds everything."""
        asked = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if asked.path == "snapshot":
            return self._snapshot(query)
        if asked.path.startswith("chunks/"):
            data = self._files.get(asked.path.removeprefix("chunks/"))
            return answered(data, status=NOT_FOUND)
        self._views.catch_up()
        if self._views.position < int(query.get("position", "0")):
            return answered(None, status=UNAVAILABLE)
        states = {key: one.encode() for key, one in self._views.documents.items()}
        hashes = {document_hash(key, state): (key, state) for key, state in states.items()}
        if asked.path == "reconcile/documents":
            reply = Responder(ItemSet(document_items(hashes))).reconcile(body or b"").reply
            return answered(reply, {"replica-fold": catalogue_fingerprint().hex()})
        wanted = [(body or b"")[at : at + 32] for at in range(0, len(body or b""), 32)]
        found = [(*hashes[one][0], hashes[one][1]) for one in wanted if one in hashes]
        return answered(msgpack.packb(found), {"replica-position": str(self._views.position)})

    # Bulk -----------------------------------------------------------------------------------------

    def _snapshot(self, query: dict[str, str]) -> Answer:
        """The layers behind a cursor of this history, the newest made now if it is worth it."""
        head, cursor = self._log.head(ID), int(query["cursor"])
        if cursor:
            chain = self._log.chain_at(ID, Position(cursor))
            ours = (head.log_id.hex(), str(head.generation), chain.hex() if chain else "")
            if (query.get("log_id"), query["generation"], query.get("chain")) != ours:
                return answered(None, status=NOTHING)
        least: int = vars(device_chunks)["CHUNKED_EVENTS_MIN"]  # of this world
        known = self._still_true()
        reached = known.position if known else 0
        tail = self._views.position - max(cursor, reached)
        if tail >= max(least, reached // CHUNKED_TAIL_PART):
            known = self._extended(known)
        if known is None or known.position - cursor < least:
            return answered(None, status=NOTHING)
        return answered(encode_manifest(known.after(cursor)))

    def _still_true(self) -> Manifest | None:
        if self._layers is None:
            return None
        manifest, head = self._layers[0], self._log.head(ID)
        chain = self._log.chain_at(ID, Position(manifest.position))
        same = (manifest.log_id, manifest.generation) == (head.log_id.hex(), head.generation)
        return manifest if same and chain == bytes.fromhex(manifest.chain) else None

    def _extended(self, known: Manifest | None) -> Manifest:
        before: tuple[Layer, ...] = ()
        there: dict[DocKey, bytes] = {}
        if known is not None and self._layers and len(known.layers) < CHUNKED_LAYERS_MAX:
            before, there = known.layers, self._layers[1]
        states = {key: one.encode() for key, one in self._views.documents.items()}
        changed: dict[str, list[Kept]] = {}
        for key, state in sorted(states.items()):
            if there.get(key) != state:
                changed.setdefault(key.type, []).append(Kept(key.id, state))
        made = [one for section, kept in changed.items() for one in cut(section, kept)]
        named = {one.sha256 for one in known.chunks()} if known else set()
        self._files = {name: data for name, data in self._files.items() if name in named}
        self._files.update((one.info.sha256, one.data) for one in made)
        position = self._views.position
        chain = self._log.chain_at(ID, Position(position))
        assert chain is not None, "read models are of this log"
        head = self._log.head(ID)
        layer = Layer(before[-1].through if before else 0, position, tuple(o.info for o in made))
        manifest = Manifest(
            head.log_id.hex(),
            head.generation,
            position,
            chain.hex(),
            catalogue_fingerprint().hex(),
            tuple(
                SectionLine(s, count, digest.hex()) for s, count, digest in self._views.sections()
            ),
            (*before, layer),
        )
        self._layers = manifest, states
        return manifest


def answered(
    data: bytes | None, headers: dict[str, str] | None = None, *, status: int = OK
) -> Answer:
    """``data``, or ``status`` where there is none."""
    found: Message = HTTPMessage()
    for name, value in (headers or {}).items():
        found[name] = value
    assert isinstance(found, HTTPMessage)
    return Answer(OK, data, found) if data is not None else Answer(status, b"", found)
