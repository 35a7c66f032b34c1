"""Base and overlay: what a device shows is the fold of everything it knows, at every moment."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from replica.crdt.digest import SectionTotals
from replica.crdt.documents import DocKey, Document
from replica.crdt.fold import fold
from replica.crdt.stock import on_hand_e3
from replica.crdt.view import view
from replica.device.holding import Holding
from replica.device.journal import Journal, Place, State
from replica.device.sales import sale
from replica.errors import MisuseError
from replica.events.clock import Stamp, stamp_ms
from replica.events.event import decode_event, event_id
from replica.events.payloads import (
    CustomerChanged,
    CustomerDeleted,
    CustomerFields,
    OrderCancelled,
    OrderEstimated,
    Payload,
    PaymentRecorded,
    ProductCreated,
    ProductFields,
    StockCounted,
    StockMoved,
)
from replica.events.record import Origin, Record
from replica.limits import DEPS_MAX
from tests.device.desk import ACCOUNT, NOW_MS, Office, customer, identity, opened, order

TYPES = ("customer", "product", "stock", "order", "quote", "return", "payment")


def pending_records(holding: Holding) -> list[Record]:
    """Own undecided events under their raw stamps."""
    found = []
    for row in holding.journal.pending():
        event = decode_event(row.data)
        stamp = Stamp(event.stamp)
        found.append(Record(event_id(row.data), event, stamp, 0, Origin.DEVICE, 0))
    return found


def folded(records: list[Record]) -> dict[DocKey, Document]:
    documents: dict[DocKey, Document] = {}
    for record in records:
        fold(documents, record)
    return documents


def digest_of(records: list[Record]) -> object:
    totals = SectionTotals()
    for key, document in folded(records).items():
        totals.add(key, document.encode())
    return totals.sections()


def check_chain(holding: Holding) -> None:
    """Own events are gapless and linked in each life (I-5)."""
    for life in holding.journal.lives:
        prev = bytes(32)
        rows = holding.journal.own(life.first_n, holding.journal.last_n)
        for seq, row in enumerate(rows, 1):
            event = decode_event(row.data)
            if (event.device, event.epoch) != (life.device, life.epoch):
                break
            assert (event.seq, event.prev) == (seq, prev)
            prev = event_id(row.data)


numbers = st.integers(1, 3)
payloads: st.SearchStrategy[Payload] = st.one_of(
    numbers.map(customer),
    st.builds(
        lambda n, name: CustomerChanged(f"c-{n}", CustomerFields(name=name)),
        numbers,
        st.sampled_from(["Ana", "Bo", None]),
    ),
    numbers.map(lambda n: CustomerDeleted(f"c-{n}")),
    st.builds(order, numbers, st.sampled_from([1_000, 2_000])),
    numbers.map(lambda n: OrderCancelled(f"o-{n}")),
    st.sampled_from([1_000, 5_000]).map(lambda qty_e3: StockCounted("p-1", qty_e3)),
    st.just(StockMoved("p-1", -1_000, "broken")),
    numbers.map(lambda n: PaymentRecorded(f"y-{n}", "o-1", "", "cash", 100, "EUR")),
)


class Convergence(RuleBasedStateMachine):
    """Two devices and an office write, push in part, pull in part and are opened again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = TemporaryDirectory()
        self.office = Office()
        self.paths = [Path(self.folder.name) / f"{number}.db" for number in (1, 2)]
        self.holdings = [opened(path, number) for number, path in enumerate(self.paths, 1)]
        self.seen = [0, 0]  # the highest cursor each device has had
        self.now_ms = NOW_MS - 100_000

    def teardown(self) -> None:
        for holding in self.holdings:
            self.office.level(holding)
        for holding in self.holdings:
            self.office.level(holding)
            assert holding.base.sections() == digest_of(self.office.records())
            holding.close()
        self.folder.cleanup()

    @rule(which=st.integers(0, 1), said=st.lists(payloads, min_size=1, max_size=3))
    def append(self, which: int, said: list[Payload]) -> None:
        self.now_ms += 1
        self.holdings[which].append(said, self.now_ms)

    @rule(said=payloads)
    def write(self, said: Payload) -> None:
        self.now_ms += 1
        self.office.now_ms = self.now_ms
        self.office.write(said)
        self.office.now_ms = NOW_MS

    @rule(which=st.integers(0, 1), count=st.integers(1, 3))
    def push(self, which: int, count: int) -> None:
        self.office.push(self.holdings[which], count)

    @rule(which=st.integers(0, 1))
    def answer_lost(self, which: int) -> None:
        """The server commits, the device dies before the answer."""
        place = self.holdings[which].standing("test")
        page = self.holdings[which].outbox(place.answered_seq, 1 << 20, 2)
        if page.events:
            self.office.admit(self.holdings[which], place.answered_seq + 1, page.events)

    @rule(which=st.integers(0, 1), limit_bytes=st.integers(1, 2_000))
    def pull(self, which: int, limit_bytes: int) -> None:
        self.office.pull(self.holdings[which], limit_bytes)
        cursor = self.holdings[which].journal.place.cursor
        self.seen[which] = max(self.seen[which], cursor)

    @rule(which=st.integers(0, 1))
    def reopen(self, which: int) -> None:
        self.holdings[which].close()
        self.holdings[which] = Holding(Journal(self.paths[which]))

    @precondition(lambda self: self.office.log.head(ACCOUNT).position)
    @rule(which=st.integers(0, 1))
    def behind(self, which: int) -> None:
        """The cursor of an older backup: everything comes again and changes nothing."""
        holding = self.holdings[which]
        holding._put(holding.journal.place._replace(cursor=0, chain=Place().chain))

    @invariant()
    def shows_what_it_knows(self) -> None:
        """The view of every document is the fold of base and own events, in any order (I-11)."""
        for holding, seen in zip(self.holdings, self.seen, strict=True):
            known = self._known(holding, seen)
            expected = folded(known)
            for kind in TYPES:
                shown = {document.key: view(document) for document in holding.documents(kind)}
                wanted = {key: view(one) for key, one in expected.items() if key.type == kind}
                assert shown == wanted
                assert list(shown) == sorted(shown)
            sales = [
                (sold.tag, sold.quantities_e3.get("p-1", 0))
                for document in expected.values()
                if (sold := sale(document)).tag
            ]
            stock = expected.get(DocKey("stock", "p-1"))
            assert holding.on_hand_e3("p-1") == on_hand_e3(stock, sales)

    @invariant()
    def chains_hold(self) -> None:
        for holding in self.holdings:
            check_chain(holding)

    def _known(self, holding: Holding, seen: int) -> list[Record]:
        """What others wrote up to position ``seen``, own answered events, own pending ones."""
        device = holding.author.device
        answered = {
            event_id(row.data)
            for row in holding.journal.own(1, holding.journal.answered_n)
            if row.state == State.ACKNOWLEDGED
        }
        known = []
        for position, record in enumerate(self.office.records(), 1):
            own = record.event.device == device
            if record.id in answered or (not own and position <= seen):
                known.append(record)
        return known + pending_records(holding)


Convergence.TestCase.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
test_convergence = Convergence.TestCase


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_append_is_all_or_none(path: Path) -> None:
    """One payload that breaks a rule keeps the whole unit out, and the clock still (I-9, P13)."""
    holding = opened(path)
    head = holding.journal.head
    broken = order(1, qty_e3=-1_000)
    with pytest.raises(MisuseError, match="quantity"):
        holding.append([customer(1), broken], NOW_MS)
    assert holding.journal.head == head
    assert holding.document(DocKey("customer", "c-1")) is None
    holding.close()


@pytest.mark.parametrize(
    "fields",
    [
        {"order": "no id"},
        {"order": 7},
        {"content": None},
        {"content": "text"},
        {"content": object()},
        {"content": {"number": "1"}},
        {"lines": None},
        {"lines": ["text"]},
        {"lines": [["1", "p-1", 1.0, 1]]},
        {"lines": [["1", "p-1", 2**70, 1]]},
        {"number": "\ud800"},
        {"date": 20_260_504},
        {"total_minor": 1},
        {"offline": False, "fees_minor": 0.0},
    ],
)
def test_a_mistaken_payload_is_told_so(path: Path, fields: dict[str, object]) -> None:
    """Whatever a payload's fields were given, it is checked as the door will check it, and nothing
    was saved: no type is taken on trust (I-9, CON-04)."""
    holding = opened(path)
    good = order(1)
    inside = {name: fields[name] for name in fields.keys() - {"order", "content"}}
    values = {name: fields[name] for name in fields.keys() - inside.keys()}
    values.setdefault("content", msgspec.structs.replace(good.content, **inside))
    broken = msgspec.structs.replace(good, **values)
    with pytest.raises(MisuseError):
        holding.append([broken], NOW_MS)
    assert holding.journal.last_n == 0
    holding.append([good], NOW_MS)
    holding.close()


def test_what_cannot_be_a_payload_is_told_so(path: Path) -> None:
    """Something that is in no catalogue is the caller's mistake, not a crash."""
    holding = opened(path)
    with pytest.raises(MisuseError, match="catalogue"):
        holding.append([CustomerFields(name="Teahouse")], NOW_MS)
    holding.close()


def test_sink_kinds_are_not_a_devices_to_say(path: Path) -> None:
    """What only the sink may say is refused before it is stored."""
    holding = opened(path)
    with pytest.raises(MisuseError, match="not a device's"):
        holding.append([OrderEstimated("o-1", "quickbooks", "1", "1001", 5)], NOW_MS)
    holding.close()


def test_nothing_is_said_before_enrolment(path: Path) -> None:
    """Without an identity there is no chain to write in."""
    holding = Holding(Journal(path))
    with pytest.raises(MisuseError, match="enrol"):
        holding.append([customer(1)], NOW_MS)
    holding.close()


def test_order_depends_on_its_unsent_customer(path: Path) -> None:
    """An order names the undecided events it builds on, and none that the log has (P27, ORD-08)."""
    holding, office = opened(path), Office()
    holding.append([ProductCreated("p-1", ProductFields(name="Tea"))], NOW_MS)
    office.level(holding)
    (created,) = holding.append([customer(1)], NOW_MS)
    (sealed,) = holding.append([order(1)], NOW_MS)
    assert sealed.event.deps == (created.id,)
    holding.close()


def test_events_of_one_append_name_each_other(path: Path) -> None:
    """A customer and an order appended together: the order names the customer, and of two events
    about one document the newer is named, as if they had been appended one by one (P27)."""
    holding = opened(path)
    created, changed, sealed = holding.append([customer(1), customer(1), order(1)], NOW_MS)
    assert created.event.deps == ()
    assert changed.event.deps == (created.id,)
    assert sealed.event.deps == (changed.id,)
    holding.close()


def test_named_deps_come_first_and_are_bounded(path: Path) -> None:
    """What the caller names is in the event; what the device adds fills up to the bound."""
    holding = opened(path)
    (created,) = holding.append([customer(1)], NOW_MS)
    named = [bytes([at]) * 32 for at in range(DEPS_MAX)]
    (few,) = holding.append([order(1)], NOW_MS, deps=named[:2])
    assert few.event.deps == (*named[:2], created.id)
    (full,) = holding.append([order(2)], NOW_MS, deps=named)
    assert full.event.deps == tuple(named)
    with pytest.raises(MisuseError):
        holding.append([order(3)], NOW_MS, deps=[named[0][:31]])
    with pytest.raises(MisuseError):
        holding.append([order(3)], NOW_MS, deps=[*named, bytes([99]) * 32])
    holding.close()


def test_quarantine_holds_dependants_only(path: Path) -> None:
    """A held order stays visible to its author with the reason; an unrelated one goes through."""
    holding, office = opened(path), Office()
    (created,) = holding.append([customer(1)], NOW_MS)
    office.quarantined.add(created.id)
    holding.append([order(1)], NOW_MS)
    holding.append([StockCounted("p-9", 5)], NOW_MS)
    office.level(holding)
    (row,) = holding.journal.aside()
    assert row.state == State.QUARANTINED
    assert row.answer is not None
    assert "quarantine" in row.answer.detail
    assert holding.journal.pending_count == 0
    assert holding.document(DocKey("order", "o-1")) is not None
    assert holding.base.document(DocKey("order", "o-1")) is None
    assert holding.base.document(DocKey("stock", "p-9")) is not None
    holding.close()
    reopened = Holding(Journal(path))
    assert reopened.document(DocKey("order", "o-1")) is not None
    reopened.close()


def test_answers_told_twice_change_nothing(path: Path) -> None:
    """Pushing again after a lost answer gives duplicates with one effect (I-2, I-3, P31)."""
    holding, office = opened(path), Office()
    holding.append([StockMoved("p-1", 5_000), StockMoved("p-1", -1_000)], NOW_MS)
    events = holding.outbox(0, 1 << 20, 500).events
    office.admit(holding, 1, events)
    office.level(holding)
    before = (holding.base.sections(), holding.on_hand_e3("p-1"))
    holding.settled(1, office.admit(holding, 1, events))
    assert (holding.base.sections(), holding.on_hand_e3("p-1")) == before
    assert holding.on_hand_e3("p-1") == 4_000
    assert len(office.records()) == 2
    holding.close()


def test_slow_clock_reads_its_own_writes(path: Path) -> None:
    """A device a year behind sees its own edit before and after the decision (I-29, CON-08)."""
    holding, office = opened(path), Office()
    year_ms = 31_536_000_000
    office.write(customer(1, "Office"))
    office.pull(holding)
    holding.measured(-year_ms)
    edit = CustomerChanged("c-1", CustomerFields(name="Rep"))
    holding.append([edit], NOW_MS + 1_000 - year_ms)

    def name() -> object:
        document = holding.document(DocKey("customer", "c-1"))
        assert document is not None
        return view(document)["fields"]["name"]

    assert name() == "Rep"
    office.now_ms = NOW_MS + 2_000
    office.push(holding, offset_ms=-year_ms)
    assert name() == "Rep"
    (record,) = [one for one in office.records() if one.origin == Origin.DEVICE]
    assert stamp_ms(record.stamp) == NOW_MS + 1_000
    assert holding.base.sections() == digest_of(office.records())
    holding.close()


def test_fork_goes_on_in_a_new_epoch(path: Path) -> None:
    """Undecided events are said again under the epoch, decided ones stay; nothing is lost (D6)."""
    holding, office = opened(path), Office()
    holding.append([customer(1)], NOW_MS)
    office.level(holding)
    holding.append([order(1), order(2)], NOW_MS + 1)
    said = {kind: view(document) for kind, document in shown(holding).items()}
    holding.fork(4)
    assert holding.standing("test")[3:6] == (4, 2, 0)
    assert {key: fields_of(one) for key, one in shown(holding).items()} == {
        key: content(found) for key, found in said.items()
    }
    holding.fork(4)
    assert holding.journal.pending_count == 2
    check_chain(holding)
    office.level(holding)
    assert holding.base.sections() == digest_of(office.records())
    assert len(office.records()) == 3
    holding.close()


def shown(holding: Holding) -> dict[DocKey, Document]:
    return {one.key: one for kind in TYPES for one in holding.documents(kind)}


def content(found: dict[str, object]) -> object:
    return found.get("content") or found.get("fields")


def fields_of(document: Document) -> object:
    return content(view(document))


def test_enrolling_anew_takes_the_work_along(path: Path) -> None:
    """A device that was enrolled again says its unsent work as the new device (P59, T6)."""
    holding, office = opened(path), Office()
    holding.append([customer(1)], NOW_MS)
    holding.enrol(identity(1))
    assert holding.journal.head.seq == 1
    holding.enrol(identity(2))
    assert (holding.journal.head.epoch, holding.journal.pending_count) == (1, 1)
    office.level(holding)
    (record,) = office.records()
    assert record.event.device == identity(2).device
    holding.close()


def test_journal_of_another_account_stays_closed(path: Path) -> None:
    """Work of one company never reaches another one (I-16)."""
    holding = opened(path)
    stranger = type(identity())(bytes(16), bytes(16), "t", "n", "http://x")
    with pytest.raises(MisuseError, match="another account"):
        holding.enrol(stranger)
    holding.close()


def test_server_that_forgot_is_told_again(path: Path) -> None:
    """After a restore acknowledged events are offered again and stand once (D5, P35, I-1)."""
    holding, office = opened(path), Office()
    holding.append([customer(1)], NOW_MS)
    office.level(holding)
    restored = Office()
    restored.admit(holding, 1, holding.outbox(0, 1 << 20, 1).events)
    holding.append([order(1), order(2)], NOW_MS + 1)
    office.level(holding)
    holding.start_over(restored.log.head(ACCOUNT).log_id, 2, known_seq=1)
    assert holding.journal.pending_count == 2
    place = holding.standing("test")
    assert (place.cursor, place.answered_through, place.answered_seq) == (0, 1, 1)
    assert holding.base.sections() == digest_of(restored.records())
    restored.level(holding)
    restored.level(holding)
    assert len(restored.records()) == 3
    assert holding.base.sections() == digest_of(restored.records())
    holding.close()


def test_what_an_earlier_life_said_is_said_again(path: Path) -> None:
    """A server restored to before a fork has forgotten what the first epoch said; the device,
    once level with it, says it again in an epoch of its own, undecided and under the same time
    (I-1, wire-protocol.md §6.2)."""
    office, holding = Office(), opened(path)
    holding.append([customer(1)], NOW_MS)
    office.level(holding)
    holding.fork(2)
    office.level(holding)
    assert not holding.forgotten(1)
    restored = Office()
    holding.start_over(restored.log.head(ACCOUNT).log_id, 2, known_seq=0)
    assert holding.forgotten(0)
    holding.say_again(3)
    (row,) = holding.journal.pending()
    assert (decode_event(row.data).epoch, decode_event(row.data).seq) == (3, 1)
    assert stamp_ms(Stamp(decode_event(row.data).stamp)) == NOW_MS
    check_chain(holding)
    restored.level(holding)
    assert [one.event.kind for one in restored.records()] == ["customer.created"]
    assert not holding.forgotten(1)
    holding.close()


def test_other_merge_rules_fetch_everything_again(path: Path) -> None:
    """A base folded by other rules stays readable, and is fetched again when the server is met."""
    holding, office = opened(path), Office()
    log_id = office.log.head(ACCOUNT).log_id
    holding.met(log_id, 1)
    office.write(customer(1))
    holding.append([customer(2)], NOW_MS)
    office.level(holding)
    holding._put(holding.journal.place._replace(fingerprint=b"older rules"))
    holding.close()
    holding = Holding(Journal(path))
    assert len(shown(holding)) == 2
    assert holding.standing("test").cursor == 0
    holding.met(log_id, 1)
    assert [key.id for key in shown(holding)] == ["c-2"]
    office.level(holding)
    assert holding.base.sections() == digest_of(office.records())
    assert holding.standing("test").cursor == 2
    holding.close()


def test_event_let_out_of_quarantine_counts(path: Path) -> None:
    """An own event that comes back in the log is on the server, whatever was said before (P29)."""
    holding, office = opened(path), Office()
    (created,) = holding.append([customer(1)], NOW_MS)
    office.quarantined.add(created.id)
    holding.append([order(1)], NOW_MS)
    office.push(holding)
    assert [row.state for row in holding.journal.aside()] == [State.QUARANTINED]
    other = Office()
    other.admit(holding, 1, holding.outbox(0, 1 << 20, 2).events)
    page = other.log.read(ACCOUNT, 0, 1 << 20)  # type: ignore[arg-type]
    holding.received(page, page[-1].last, page[-1].chain)
    assert holding.journal.aside() == []
    assert holding.base.document(DocKey("order", "o-1")) is not None
    holding.close()


def test_what_was_noted_survives_closing(path: Path) -> None:
    """The measured skew and the time of the last exchange are kept when the program ends."""
    holding, office = opened(path), Office()
    office.write(customer(1))
    office.level(holding)
    holding.measured(7_000)
    holding.exchanged(2, NOW_MS)
    assert holding.journal.place.synced_ms == 0
    holding.exchanged(1, NOW_MS)
    holding.close()
    holding = Holding(Journal(path))
    assert (holding.journal.place.skew_ms, holding.journal.place.synced_ms) == (7_000, NOW_MS)
    holding.close()
    holding.close()
