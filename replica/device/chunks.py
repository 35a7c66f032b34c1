"""Taking in documents in bulk: a first sync, or the way back from a long absence.

Chunks come in the order of the manifest. Each is one commit that stores its documents and how
many chunks are in, so that a device that dies or loses the network goes on with the next one.
Reading and selling go on meanwhile (SYN-28); the cursor moves when the last chunk is in, and the
log goes on from there (wire-protocol.md §12).

Documents of a chunk take the place of those in the base. What the device itself said and the log
holds *behind* the manifest's position is folded into them again, because no chunk has it and the
server does not send a device what it wrote.
"""

from __future__ import annotations

from functools import partial

from replica.crdt.digest import SectionTotal
from replica.crdt.documents import DocKey
from replica.device.holding import Holding
from replica.device.journal import Place
from replica.device.status import Progress
from replica.errors import Malformed
from replica.events.kinds import catalogue_fingerprint
from replica.limits import CHUNKED_EVENTS_MIN
from replica.sync.chunks import ChunkInfo, Manifest, decode_manifest, encode_manifest, open_chunk


class Import:
    """One manifest being taken in. Make it with :func:`begin` or :func:`resume`."""

    def __init__(self, holding: Holding, manifest: Manifest, done: int) -> None:
        self.manifest = manifest
        self.done = done
        self._holding = holding
        self._chunks = manifest.chunks()
        self._ends = [layer.through for layer in manifest.layers for _ in layer.chunks]
        self._encoded = encode_manifest(manifest)

    @property
    def wanted(self) -> ChunkInfo | None:
        """The chunk to fetch next; None when everything is in."""
        return self._chunks[self.done] if self.done < len(self._chunks) else None

    @property
    def leads_on(self) -> bool:
        """Whether the wanted chunk holds nothing older than the log has brought meanwhile."""
        ends = self._ends[self.done :]
        return bool(ends) and ends[0] > self._holding.journal.place.cursor

    def progress(self) -> tuple[Progress, ...]:
        """Per section in the order of the manifest, a document once for each layer it is in."""
        done: dict[str, int] = {}
        total: dict[str, int] = {}
        for number, chunk in enumerate(self._chunks):
            total[chunk.section] = total.get(chunk.section, 0) + chunk.count
            done.setdefault(chunk.section, 0)
            if number < self.done:
                done[chunk.section] += chunk.count
        return tuple(Progress(section, done[section], total[section]) for section in total)

    def take(self, data: bytes) -> None:
        """Store the wanted chunk in one commit; with the last one the cursor moves.

        Raises ``Malformed`` when ``data`` is not that chunk, or when the documents would not add up
        in the end to what the manifest says: then :func:`drop` this and let the log bring them.
        """
        info = self.wanted
        assert info is not None, "there is nothing left to take"
        # By id: what lies together in the journal is written together.
        opened = sorted(open_chunk(info, data))
        documents = {DocKey(info.section, one.id): one.state for one in opened}
        holding = self._holding
        with holding.lock:
            journal = holding.journal
            # Of the layer, not of the manifest: the rest of it may never come.
            own = holding.own_behind(self._ends[self.done])
            change = holding.base.adopt(documents, own)
            if self.done + 1 < len(self._chunks):
                count = partial(journal.put_import, self._encoded, self.done + 1)
                holding.store(change, journal.place, count)
            else:
                if not own and not journal.pending_count:
                    self._check_sum(change.totals.sections())
                holding.store(change, self._arrived(journal.place), journal.end_import)
            self.done += 1

    def _arrived(self, place: Place) -> Place:
        manifest = self.manifest
        return place._replace(
            log_id=bytes.fromhex(manifest.log_id),
            generation=manifest.generation,
            cursor=manifest.position,
            chain=bytes.fromhex(manifest.chain),
            reach=max(place.reach, manifest.position),
            fingerprint=bytes.fromhex(manifest.fingerprint),
        )

    def _check_sum(self, sections: tuple[SectionTotal, ...]) -> None:
        """With the last chunk the base is the server's. Where own later events are in it too, or
        the log may hold own events without our knowing it, this cannot be said, and the proof on
        the websocket decides (SYN-03)."""
        told = [(line.section, line.count, line.digest) for line in self.manifest.sections]
        if told != [(one.section, one.count, one.digest.hex()) for one in sections]:
            raise Malformed("the chunks do not add up to what was promised")


def wanted(holding: Holding, server_position: int) -> bool:
    """Whether documents in bulk would lead this device on faster than the log.

    Own work goes first (SYN-16). Not where an earlier life's events have to be heard again one by
    one, nor where the base is being made again from the device's own answers.
    """
    with holding.lock:
        journal = holding.journal
        place = journal.place
        if journal.pending_count or place.scope:
            return False
        if place.cursor == 0:
            return not place.log_id and journal.answered_n == 0
        behind = server_position - place.cursor
        if place.fingerprint != catalogue_fingerprint() or behind < CHUNKED_EVENTS_MIN:
            return False
        return not journal.unheard(journal.lives[-1].first_n)


def begin(holding: Holding, data: bytes) -> Import | None:
    """Start on a manifest as fetched; None when its states were folded by other rules than this
    program's. Raises ``Malformed``."""
    manifest = decode_manifest(data)
    if manifest.fingerprint != catalogue_fingerprint().hex():
        return None
    with holding.lock:
        if manifest.layers[0].after > holding.journal.place.cursor:
            raise Malformed("the manifest begins behind the cursor")
        with holding.journal.commit():
            holding.journal.put_import(encode_manifest(manifest), 0)
        return Import(holding, manifest, 0)


def resume(holding: Holding) -> Import | None:
    """The import that was under way, if it still leads on."""
    with holding.lock:
        running = holding.journal.importing()
        if running is None:
            return None
        data, done = running
        try:
            manifest = decode_manifest(data)
        except Malformed:
            return None
        found = Import(holding, manifest, done)
        fits = manifest.fingerprint == catalogue_fingerprint().hex()
        return found if fits and found.leads_on else None


def drop(holding: Holding) -> None:
    """Forget an import under way; what it brought stays, the log goes over it again."""
    with holding.lock:
        if holding.journal.importing() is not None:
            with holding.journal.commit():
                holding.journal.end_import()
