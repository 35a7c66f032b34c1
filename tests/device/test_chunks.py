"""Documents in bulk and the log lead to the same documents, in whatever mixture they come."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from replica.crdt.digest import SectionTotals
from replica.device import chunks
from replica.device.holding import Holding
from replica.device.journal import Journal
from replica.errors import Malformed
from replica.events.kinds import catalogue_fingerprint
from replica.events.payloads import Payload
from replica.limits import CHUNKED_EVENTS_MIN
from replica.sync.chunks import Kept, Layer, Manifest, SectionLine, cut, encode_manifest
from tests.device.desk import ACCOUNT, NOW_MS, Office, customer, opened, order
from tests.device.test_holding import digest_of, folded, payloads


class Freezer:
    """Layers of an office's log, as a server's read models make them."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.data: dict[str, bytes] = {}
        self.layers: list[Layer] = []

    def freeze(self) -> None:
        """A layer of what changed since the newest one."""
        records = self.office.records()
        after = self.layers[-1].through if self.layers else 0
        if len(records) == after:
            return
        now, before = folded(records), folded(records[:after])
        changed = {
            key: document.encode()
            for key, document in now.items()
            if key not in before or before[key].encode() != document.encode()
        }
        infos = []
        for section in sorted({key.type for key in changed}):
            # One document a chunk, so that there is a place to stop after each.
            for key, state in changed.items():
                if key.type == section:
                    for info, data in cut(section, [Kept(key.id, state)]):
                        self.data[info.sha256] = data
                        infos.append(info)
        self.layers.append(Layer(after, len(records), tuple(infos)))

    def manifest(self, cursor: int = 0) -> Manifest:
        position = self.layers[-1].through
        head = self.office.log.head(ACCOUNT)
        chain = self.office.log.chain_at(ACCOUNT, position)  # type: ignore[arg-type]
        assert chain is not None
        totals = SectionTotals()
        for key, document in folded(self.office.records()[:position]).items():
            totals.add(key, document.encode())
        sections = tuple(
            SectionLine(one.section, one.count, one.digest.hex()) for one in totals.sections()
        )
        return Manifest(
            head.log_id.hex(),
            head.generation,
            position,
            chain.hex(),
            catalogue_fingerprint().hex(),
            sections,
            tuple(self.layers),
        ).after(cursor)

    def give(self, running: chunks.Import, most: int = 1_000) -> None:
        """Up to ``most`` of the wanted chunks."""
        for _ in range(most):
            if running.wanted is None:
                return
            running.take(self.data[running.wanted.sha256])


def begun(holding: Holding, freezer: Freezer) -> chunks.Import:
    cursor = holding.journal.place.cursor
    running = chunks.begin(holding, encode_manifest(freezer.manifest(cursor)))
    assert running is not None
    return running


class Mixture(RuleBasedStateMachine):
    """A device writes, pushes and gets the log and chunks in any order, and is opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.path = Path(self.folder.name) / "device.db"
        self.office = Office()
        self.freezer = Freezer(self.office)
        self.holding = opened(self.path)
        self.now_ms = NOW_MS - 100_000

    def teardown(self) -> None:
        running = chunks.resume(self.holding)
        if running is not None:
            self.freezer.give(running)
        self.office.level(self.holding)
        assert self.holding.base.sections() == digest_of(self.office.records())
        self.holding.close()
        self.folder.cleanup()

    @rule(said=st.lists(payloads, min_size=1, max_size=3))
    def append(self, said: list[Payload]) -> None:
        self.now_ms += 1
        self.holding.append(said, self.now_ms)

    @rule(said=payloads)
    def write(self, said: Payload) -> None:
        self.now_ms += 1
        self.office.now_ms = self.now_ms
        self.office.write(said)
        self.office.now_ms = NOW_MS

    @rule(count=st.integers(1, 3))
    def push(self, count: int) -> None:
        self.office.push(self.holding, count)

    @rule()
    def answer_lost(self) -> None:
        place = self.holding.standing("test")
        page = self.holding.outbox(place.answered_seq, 1 << 20, 2)
        if page.events:
            self.office.admit(self.holding, place.answered_seq + 1, page.events)

    @rule(limit_bytes=st.integers(1, 2_000))
    def pull(self, limit_bytes: int) -> None:
        self.office.pull(self.holding, limit_bytes)

    @rule()
    def freeze(self) -> None:
        self.freezer.freeze()

    @precondition(lambda self: self.freezer.layers)
    @rule(most=st.integers(1, 4))
    def take(self, most: int) -> None:
        """Go on with the import under way, or begin one if there is something to gain."""
        running = chunks.resume(self.holding)
        ahead = self.freezer.layers[-1].through > self.holding.journal.place.cursor
        if running is None and ahead:
            running = begun(self.holding, self.freezer)
        if running is not None:
            self.freezer.give(running, most)

    @precondition(lambda self: self.freezer.layers)
    @rule()
    def begin_anew(self) -> None:
        """The server has newer layers than the ones under way."""
        if self.freezer.layers[-1].through > self.holding.journal.place.cursor:
            begun(self.holding, self.freezer)

    @rule()
    def drop(self) -> None:
        chunks.drop(self.holding)

    @rule()
    def reopen(self) -> None:
        self.holding.close()
        self.holding = Holding(Journal(self.path))


TestMixture = Mixture.TestCase
TestMixture.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestMixture.__doc__ = (
    "However log pages, chunks, own writes and restarts follow each other, the documents end as "
    "the fold of the log (SYN-01, SYN-03, I-10)."
)


@pytest.fixture
def office() -> Office:
    made = Office()
    made.write(*(customer(number) for number in range(1, 4)))
    made.write(*(order(number) for number in range(1, 6)))
    return made


def test_progress_is_monotone_per_section_and_ends_full(office: Office, tmp_path: Path) -> None:
    """A first sync says for each section how many documents are in, of how many, and the numbers
    only grow (SYN-01, SYN-14)."""
    freezer = Freezer(office)
    freezer.freeze()
    holding = opened(tmp_path / "device.db")
    running = begun(holding, freezer)
    seen = [running.progress()]
    while running.wanted is not None:
        freezer.give(running, 1)
        seen.append(running.progress())
    done = [[one.done for one in progress] for progress in seen]
    assert done == sorted(done)
    assert {one.section: one.done for one in seen[-1]} == {"customer": 3, "order": 5}
    assert all(one.done == one.total for one in seen[-1])
    assert holding.journal.place.cursor == len(office.records())
    holding.close()


def test_interrupted_import_goes_on_with_the_next_chunk(office: Office, tmp_path: Path) -> None:
    """A device that dies in the middle of a first sync resumes and does not restart (SYN-01)."""
    freezer = Freezer(office)
    freezer.freeze()
    path = tmp_path / "device.db"
    holding = opened(path)
    freezer.give(begun(holding, freezer), 3)
    holding.close()
    again = Holding(Journal(path))
    running = chunks.resume(again)
    assert running is not None
    assert running.done == 3
    freezer.give(running)
    assert again.base.sections() == digest_of(office.records())
    again.close()


def test_selling_goes_on_while_documents_arrive(office: Office, tmp_path: Path) -> None:
    """An order taken in the middle of a first sync is kept, shown and sent like any other
    (SYN-28)."""
    freezer = Freezer(office)
    freezer.freeze()
    holding = opened(tmp_path / "device.db")
    running = begun(holding, freezer)
    freezer.give(running, 2)
    holding.append([order(77)], NOW_MS)
    freezer.give(running)
    assert "o-77" in {document.key.id for document in holding.documents("order")}
    office.level(holding)
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_wrong_chunk_changes_nothing(office: Office, tmp_path: Path) -> None:
    """Bytes that are not the wanted chunk are refused and the right ones are taken after them."""
    freezer = Freezer(office)
    freezer.freeze()
    holding = opened(tmp_path / "device.db")
    running = begun(holding, freezer)
    assert running.wanted is not None
    data = bytearray(freezer.data[running.wanted.sha256])
    data[len(data) // 2] ^= 1
    with pytest.raises(Malformed):
        running.take(bytes(data))
    assert holding.base.sections() == ()
    freezer.give(running)
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_chunks_that_do_not_add_up_are_not_believed(office: Office, tmp_path: Path) -> None:
    """When the documents are not those whose digests the server promised, the cursor stays, and the
    log leads to the right ones (SYN-03)."""
    freezer = Freezer(office)
    freezer.freeze()
    holding = opened(tmp_path / "device.db")
    false = SectionLine("order", 5, "00" * 32)
    manifest = msgspec.structs.replace(freezer.manifest(), sections=(false,))
    running = chunks.begin(holding, encode_manifest(manifest))
    assert running is not None
    with pytest.raises(Malformed, match="add up"):
        freezer.give(running)
    assert holding.journal.place.cursor == 0
    chunks.drop(holding)
    office.level(holding)
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_own_work_goes_first(tmp_path: Path) -> None:
    """A device with unsent work connects before it fetches anything (SYN-16), a fresh one and one
    that is far behind fetch in bulk, one that is nearly level does not."""
    holding = opened(tmp_path / "device.db")
    assert chunks.wanted(holding, 0)
    holding.append([order(1)], NOW_MS)
    assert not chunks.wanted(holding, 0)
    office = Office()
    office.level(holding)
    holding.met(office.log.head(ACCOUNT).log_id, 1)
    cursor = holding.journal.place.cursor
    assert not chunks.wanted(holding, cursor + CHUNKED_EVENTS_MIN - 1)
    assert chunks.wanted(holding, cursor + CHUNKED_EVENTS_MIN)
    holding.close()


def test_states_of_another_fold_are_left_alone(office: Office, tmp_path: Path) -> None:
    """A manifest folded by other rules than this program's is not begun: its documents could never
    be proved equal (reliability §2.3)."""
    freezer = Freezer(office)
    freezer.freeze()
    holding = opened(tmp_path / "device.db")
    other = msgspec.structs.replace(freezer.manifest(), fingerprint="00" * 32)
    assert chunks.begin(holding, encode_manifest(other)) is None
    assert chunks.resume(holding) is None
    holding.close()


def test_giving_up_keeps_own_later_work(office: Office, tmp_path: Path) -> None:
    """An import that is given up between two layers has not taken away what the device itself said
    behind the first: the log does not bring that (SYN-01, I-10; first seen in a simulation)."""
    freezer = Freezer(office)
    freezer.freeze()
    first = len(freezer.data)
    holding = opened(tmp_path / "device.db")
    holding.append([customer(1, "Bea")], NOW_MS)
    office.push(holding)
    freezer.freeze()
    freezer.give(begun(holding, freezer), first)
    chunks.drop(holding)
    office.level(holding)
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_a_layer_that_the_log_has_passed_is_not_gone_on_with(
    office: Office, tmp_path: Path
) -> None:
    """Where the log went on behind an import that was broken off, its older states would take back
    what the log has brought: they are left (I-10; first seen in a simulation)."""
    freezer = Freezer(office)
    freezer.freeze()
    layer = len(office.records())
    holding = opened(tmp_path / "device.db")
    office.write(customer(1, "Bea"))
    office.write(customer(2, "Cem"))
    freezer.freeze()
    freezer.give(begun(holding, freezer), 1)
    assert chunks.resume(holding) is not None
    while holding.journal.place.cursor <= layer:
        office.pull(holding, 1)
    assert chunks.resume(holding) is None
    freezer.give(begun(holding, freezer))
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_documents_that_go_take_their_import_with_them(office: Office, tmp_path: Path) -> None:
    """A fresh device that sells in the middle of its first sync connects, which makes its base
    anew; the import begins again then, not at the chunk where it stopped (SYN-01, I-10; first seen
    in a simulation)."""
    freezer = Freezer(office)
    freezer.freeze()
    holding = opened(tmp_path / "device.db")
    freezer.give(begun(holding, freezer), 3)
    head = office.log.head(ACCOUNT)
    holding.met(head.log_id, head.generation)
    assert holding.base.sections() == ()
    assert chunks.resume(holding) is None
    freezer.give(begun(holding, freezer))
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_what_an_earlier_life_said_is_heard_from_the_log(office: Office, tmp_path: Path) -> None:
    """After a fork the log tells a device which of its acknowledged events it has; documents in
    bulk would not, and the device would say them a second time (I-3; first seen in a
    simulation)."""
    holding = opened(tmp_path / "device.db")
    head = office.log.head(ACCOUNT)
    holding.met(head.log_id, head.generation)
    holding.append([order(77)], NOW_MS)
    office.level(holding)
    holding.fork(2)
    office.pull(holding, 1)
    behind = holding.journal.place.cursor + CHUNKED_EVENTS_MIN
    assert not chunks.wanted(holding, behind)
    office.level(holding)
    assert not holding.forgotten(len(office.records()))
    assert chunks.wanted(holding, len(office.records()) + CHUNKED_EVENTS_MIN)
    holding.close()
