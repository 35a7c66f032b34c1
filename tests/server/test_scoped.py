"""The set of documents in scope: followed change by change, it is the set made anew."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from replica.crdt.documents import DocKey
from replica.crdt.scope import Facet, Scope
from replica.events.payloads import DeviceScoped
from replica.projections.scoping import Row
from replica.server.scoped import Members
from replica.sync.reconcile import Initiator, Responder, Step

DEVICE = bytes(range(16))
OTHER = bytes(8)
CUSTOMERS, PRODUCTS = ("c-1", "c-2", "c-3"), ("p-1", "p-2")
SOME = st.lists(st.sampled_from(CUSTOMERS), max_size=2, unique=True).map(tuple)
SCOPES = st.builds(
    lambda customers, products, orders, without: DeviceScoped(
        DEVICE.hex(), 1, customers, customers, products, orders, without=without
    ),
    st.none() | SOME,
    st.none() | st.lists(st.sampled_from(PRODUCTS), max_size=1).map(tuple),
    st.sampled_from(["team", "own"]),
    SOME,
)
ABOUT = {
    "customer": ("customer", "prospect"),
    "product": ("",),
    "stock": tuple(f"product:{one}" for one in PRODUCTS),
    "order": ("", *(f"customer:{one}" for one in CUSTOMERS)),
    "payment": ("order:o-1", "order:o-2", "customer:c-1"),
    "note": ("customer:c-2", "order:o-1"),
}
IDS = {"customer": CUSTOMERS, "product": PRODUCTS, "stock": PRODUCTS}
CHANGES = st.sampled_from(sorted(ABOUT)).flatmap(
    lambda kind: st.tuples(
        st.sampled_from(IDS.get(kind, ("o-1", "o-2"))).map(lambda name: DocKey(kind, name)),
        st.builds(Facet, st.sampled_from(ABOUT[kind]), st.sampled_from([b"", OTHER, DEVICE[8:]])),
    )
)


def made(scope: Scope, rows: Iterable[Row]) -> Members:
    members = Members(scope)
    assert members.take(rows)
    return members


@given(granted=SCOPES, batches=st.lists(st.lists(CHANGES, max_size=4), max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_followed_set_is_the_set_made_anew(
    granted: DeviceScoped, batches: list[list[tuple[DocKey, Facet]]]
) -> None:
    """Whatever changes in whichever order, a set that was told of each change has the same
    documents, counts, digests and items as one made of all rows (CFG-01 to CFG-06)."""
    scope = Scope(granted)
    rows: dict[DocKey, Row] = {}
    followed = Members(scope)
    position = 0
    for batch in batches:
        fresh: dict[DocKey, Row] = {}
        for key, facet in batch:
            position += 1
            identity = sha256(repr((key, facet, position)).encode()).digest()
            fresh[key] = Row(key, identity, position, facet, 100)
        rows |= fresh
        if not followed.take(fresh.values()):
            followed = made(scope, rows.values())
    anew = made(scope, rows.values())
    assert followed.rows == anew.rows
    assert followed.sections() == anew.sections()
    asking = Initiator(followed.items)
    answer = Responder(anew.items).reconcile(asking.initiate()).reply
    assert answer is not None
    assert asking.reconcile(answer) == Step(None, (), ())
