"""The fold: one set of records gives one state, and nothing a log may hold stops it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replica.crdt.digest import SectionTotals
from replica.crdt.documents import DOCUMENT_TYPES, DocKey, Document
from replica.crdt.fold import about, document_key, fold, touched
from replica.crdt.retention import RULES
from replica.crdt.view import view
from replica.events import payloads as p
from replica.events.kinds import CATALOGUE, Kind, Registry, encode_payload
from replica.events.record import Origin, Record
from tests.crdt.samples import PAYLOADS, Writer, content, folded, record_sets, states

ROOT = Path(__file__).parent.parent


def deliver(records: list[Record], batches: list[int]) -> dict[DocKey, Document]:
    """Fold in batches; documents are stored and loaded again between them."""
    documents: dict[DocKey, Document] = {}
    rest = list(records)
    for size in [*batches, len(records)]:
        batch, rest = rest[:size], rest[size:]
        for record in batch:
            fold(documents, record)
        documents = {
            key: Document.decode(key, document.encode()) for key, document in documents.items()
        }
    return documents


def totals(documents: dict[DocKey, Document]) -> tuple[object, ...]:
    sums = SectionTotals()
    for key, document in documents.items():
        sums.add(key, document.encode())
    return sums.sections()


def prove_order_does_not_matter(records: list[Record], data: st.DataObject) -> None:
    repeats = data.draw(st.lists(st.sampled_from(records), max_size=10)) if records else []
    delivered = data.draw(st.permutations([*records, *repeats]))
    batches = data.draw(st.lists(st.integers(1, 8), max_size=4))
    expected, found = folded(records), deliver(delivered, batches)
    assert states(found) == states(expected)
    assert totals(found) == totals(expected)
    assert {key: view(document) for key, document in found.items()} == {
        key: view(document) for key, document in expected.items()
    }


@settings(max_examples=80, deadline=None)
@given(records=record_sets(), data=st.data())
def test_any_order_batching_or_repetition_gives_one_state(
    records: list[Record], data: st.DataObject
) -> None:
    """One set of records over all kinds gives one state, digest and view (CON-07, I-10, I-11)."""
    prove_order_does_not_matter(records, data)


@pytest.mark.parametrize("kinds", sorted({rule.kinds for rule in RULES.values()}), ids="+".join)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_dropping_what_no_longer_matters_keeps_one_state(
    kinds: tuple[str, ...], data: st.DataObject
) -> None:
    """Bounds on kept losers, contents and movements do not depend on the order (CON-07, I-11)."""
    prove_order_does_not_matter(data.draw(record_sets(kinds, 14, 36)), data)


@settings(max_examples=60, deadline=None)
@given(
    written=st.lists(
        st.sampled_from([p.OrderFields(), p.OrderFields(memo="x"), p.OrderFields(number="1")]),
        min_size=10,
        max_size=30,
    )
)
def test_edits_that_say_nothing_are_kept_alike(written: list[p.OrderFields]) -> None:
    """Edits without a field stay or go by what is known in the end, not by what was known when
    they came: from the oldest on, from the newest on, and all others after them (I-11)."""
    writer = Writer(1)
    records = [writer.says(p.OrderChanged("o", fields), ms) for ms, fields in enumerate(written, 1)]
    said = list(zip(records, written, strict=True))
    silent = [record for record, fields in said if fields == p.OrderFields()]
    saying = [record for record, fields in said if fields != p.OrderFields()]
    expected = states(folded(records))
    for order in (records[::-1], silent + saying, saying + silent, saying + silent[::-1]):
        assert states(folded(order)) == expected


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_hash_seed_does_not_reach_the_state(hash_seed: str) -> None:
    """A permutation test and the stored vectors hold under two hash seeds (I-11)."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    named = "test_dropping_what_no_longer_matters_keeps_one_state[order.committed]"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"{ROOT}/crdt/test_fold.py::{named}", f"{ROOT}/vectors"],
        env=environment,
        cwd=ROOT.parent,
        capture_output=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout.decode()


@settings(max_examples=60, deadline=None)
@given(records=record_sets())
def test_changed_documents_are_named_and_only_those(records: list[Record]) -> None:
    """What fold returns is what changed, within what touched names: readers may store just that."""
    documents: dict[DocKey, Document] = {}
    for record in records:
        before = states(documents)
        changed = fold(documents, record)
        assert set(changed) <= set(touched(record.event))
        after = states(documents)
        assert set(changed) == {key for key in after if after[key] != before.get(key)}


def test_every_kind_has_a_target_a_retention_rule_and_a_sample() -> None:
    """No kind of the catalogue is forgotten by the fold or by these tests."""
    names = {name for name, _ in CATALOGUE}
    assert names == set(RULES) == set(PAYLOADS)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_every_payload_concerns_one_document_of_a_known_type(data: st.DataObject) -> None:
    """Every payload leads to a document whose type is a section of the digest."""
    payload = data.draw(st.one_of(*PAYLOADS.values()))
    assert document_key(payload).type in DOCUMENT_TYPES


def test_what_breaks_its_rules_touches_nothing() -> None:
    """Work that is not acceptable is about no document to whoever builds on that, so what he says
    later does not wait with it (I-19)."""
    said = p.OrderCommitted("o-1", content())
    wrong = msgspec.structs.replace(said.content, total_minor=said.content.total_minor + 1)
    record = Writer(1).says(said, 1)
    body = encode_payload(p.OrderCommitted("o-1", wrong))[2]
    assert touched(record.event) == (DocKey("order", "o-1"),)
    assert touched(msgspec.structs.replace(record.event, payload=body)) == ()


def test_unknown_kinds_and_versions_touch_nothing() -> None:
    """What this version cannot read is left to the log (architecture §4, I-13)."""
    record = Writer(1).says(p.CustomerDeleted("c1"), 1)
    for change in ({"kind": "customer.merged"}, {"version": 2}):
        event = msgspec.structs.replace(record.event, **change)
        documents: dict[DocKey, Document] = {}
        assert touched(event) == ()
        assert fold(documents, record._replace(event=event)) == ()
        assert documents == {}


def test_a_payload_that_breaks_its_rules_touches_nothing() -> None:
    """An event stored while its kind was unknown is judged when it is read (I-27)."""
    wrong = msgspec.structs.replace(content(), total_minor=1)
    record = Writer(1).says(p.OrderCommitted("o1", wrong), 1)
    assert folded([record]) == {}
    garbage = msgspec.structs.replace(record.event, payload=b"\xc1")
    assert folded([record._replace(event=garbage)]) == {}


def test_an_origin_that_may_not_say_so_is_not_believed() -> None:
    """A device cannot revoke a device by writing the kind before the server knew it (I-17)."""
    record = Writer(1).says(p.DeviceRevoked("00" * 16), 1)
    assert folded([record]) == {}
    assert folded([record._replace(origin=Origin.WEB)]) != {}


class NamedV1(p.Payload, frozen=True):
    customer: str
    title: str


def test_an_older_version_is_upcast_before_the_fold() -> None:
    """Both versions of a kind give the same document (I-12, pitfalls P47)."""
    new = Kind("customer.changed", 2, p.CustomerChanged)
    registry = Registry(
        [Kind("customer.changed", 1, NamedV1), new],
        {
            ("customer.changed", 1): lambda old: p.CustomerChanged(
                old.customer, p.CustomerFields(name=old.title)
            )
        },
    )
    template = Writer(1).says(p.CustomerDeleted("c1"), 1)
    body_v1 = msgspec.msgpack.encode({"customer": "c1", "title": "Acme"})
    body_v2 = registry.encode(p.CustomerChanged("c1", p.CustomerFields(name="Acme")))[2]
    found = []
    for version, body in ((1, body_v1), (2, body_v2)):
        event = msgspec.structs.replace(
            template.event, kind="customer.changed", version=version, payload=body
        )
        documents: dict[DocKey, Document] = {}
        fold(documents, template._replace(event=event), registry)
        found.append(states(documents))
    assert found[0] == found[1] != {}


def test_a_large_order_costs_about_its_own_size() -> None:
    """The state of a sealed order is not larger than its event: content is kept as written."""
    lines = [(f"l{number}", f"p{number}", 1_000, 10_000) for number in range(20)]
    record = Writer(1).says(p.OrderCommitted("o1", content(*lines)), 1)
    (document,) = folded([record]).values()
    assert len(document.encode()) < len(record.event.payload) + 100


def test_a_broken_event_still_says_what_it_is_about() -> None:
    """An event that breaks its kind's rules touches nothing, and yet names the document it means;
    one that nobody can read names none (I-19)."""
    writer = Writer(1)
    good = p.OrderCommitted("o1", content(("l1", "p1", 1_000, 50_000)))
    wrong = msgspec.structs.replace(
        good, content=msgspec.structs.replace(good.content, total_minor=1)
    )
    for payload in (good, wrong):
        assert about(writer.says(payload, 1).event) == DocKey("order", "o1")
    event = writer.says(wrong, 1).event
    assert about(msgspec.structs.replace(event, payload=b"\xc1")) is None
    assert about(msgspec.structs.replace(event, version=9)) is None
    assert about(msgspec.structs.replace(event, kind="order.dreamt")) is None
