"""What pages and sinks read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from replica.crdt.documents import DocKey
from replica.crdt.view import view
from replica.errors import MisuseError
from replica.events import payloads as p
from replica.events.event import AccountId, Position
from replica.events.record import Origin, Record
from replica.projections import queries
from replica.projections.queries import Key, Page
from replica.projections.runner import Projector
from replica.store.engine import Database
from tests.crdt.samples import Writer, content
from tests.projections.logs import log_of

QBO = "quickbooks"


@pytest.fixture
def show(views: Database, account: AccountId) -> Callable[[list[Record]], None]:
    """Projects records into the account."""

    def project(records: list[Record]) -> None:
        Projector(views, log_of(account, records)).catch_up(account)

    return project


Show = Callable[[list[Record]], None]


def committed(writer: Writer, identity: str, ms: int, **fields: object) -> Record:
    return writer.says(p.OrderCommitted(identity, content(**fields)), ms)


def test_an_orders_state_follows_from_its_documents(
    views: Database, account: AccountId, show: Show
) -> None:
    """Each order is in exactly one state of the vocabulary, and counts equal lists (SYN-18)."""
    rep, sink = Writer(1), Writer(2, Origin.SINK)
    show(
        [
            rep.says(p.OrderDrafted("o-draft", p.OrderFields(number="7")), 1),
            committed(rep, "o-new", 2),
            committed(rep, "o-sent", 3),
            committed(rep, "o-stuck", 4),
            committed(rep, "o-repaired", 5),
            committed(rep, "o-gone", 6),
            rep.says(p.OrderCancelled("o-gone"), 7),
            sink.says(p.OrderEstimated("o-sent", QBO, "145", "1001", 500), 8),
            sink.says(p.OrderParked("o-stuck", QBO, "6240", "The name is taken.", "Rename."), 9),
            sink.says(p.OrderParked("o-repaired", QBO, "6240", "Taken.", "Rename."), 10),
            sink.says(p.OrderEstimated("o-repaired", QBO, "146", "1002", 500), 11),
            sink.says(p.OrderEstimated("o-gone", QBO, "147", "1003", 500), 12),
        ]
    )
    with views.reading() as connection:
        page = queries.sealed_page(connection, account)
        counts = queries.state_counts(connection, account)["order"]
        only = queries.sealed_page(connection, account, state="in_qbo")
    states = {row["id"]: row["state"] for row in page.rows}
    assert states == {
        "o-draft": "draft",
        "o-new": "on_server",
        "o-sent": "in_qbo",
        "o-stuck": "needs_you",
        "o-repaired": "in_qbo",
        "o-gone": "cancelled",
    }
    assert counts == {state: list(states.values()).count(state) for state in states.values()}
    assert [row["estimate_number"] for row in only.rows] == ["1002", "1001"]


def test_the_ladder_of_an_order_names_device_position_and_estimate(
    views: Database, account: AccountId, show: Show
) -> None:
    """One order shows who sealed it, where the log has it, and its estimate's number."""
    rep, sink = Writer(1), Writer(2, Origin.SINK)
    customer = p.CustomerCreated("c1", p.CustomerFields(name="Ana's Diner", status="prospect"))
    lines = [("l1", "p1", 2_000, 12_345), ("l2", "p2", 1_000, -50)]
    show(
        [
            rep.says(customer, 1),
            rep.says(p.OrderCommitted("o", content(*lines, number="A-1")), 2),
            sink.says(p.OrderEstimated("o", QBO, "145", "1001", 500), 3),
        ]
    )
    with views.reading() as connection:
        order = queries.sealed_one(connection, account, "order", "o")
        assert queries.sealed_one(connection, account, "order", "none") is None
    assert order is not None
    assert order["customer_name"] == "Ana's Diner"
    assert [line["total_minor"] for line in order["lines"]] == [247, -1]
    assert order["total_minor"] == 246
    device, server, books = order["ladder"]
    assert (device.done, device.ref, device.text) == (True, rep.device.hex(), "A-1")
    assert (server.done, server.ref, server.at_ms) == (True, "2", 1)  # its segment came at 1
    assert (books.name, books.done, books.ref) == (QBO, True, "1001")


def test_a_parked_order_says_cause_and_fix(views: Database, account: AccountId, show: Show) -> None:
    """The last rung of a parked order tells what happened and what to do."""
    rep, sink = Writer(1), Writer(2, Origin.SINK)
    show(
        [committed(rep, "o", 1), sink.says(p.OrderParked("o", QBO, "6240", "Taken.", "Rename."), 2)]
    )
    with views.reading() as connection:
        order = queries.sealed_one(connection, account, "order", "o")
    assert order is not None
    assert order["ladder"][-1] == queries.Rung(QBO, False, None, "", "Taken. Rename.")


def test_pages_by_key_give_every_row_once(views: Database, account: AccountId, show: Show) -> None:
    """Walking the pages gives each order once, newest first, and ends."""
    rep = Writer(1)
    show([committed(rep, f"o-{n}", n) for n in range(7)])

    def page(after: Key | None) -> Page:
        with views.reading() as connection:
            return queries.sealed_page(connection, account, after=after, limit=3)

    walked: list[str] = []
    after: Key | None = None
    while True:
        rows, after = page(after)
        walked += [row["id"] for row in rows]
        if after is None:
            break
    assert walked == [f"o-{n}" for n in reversed(range(7))]


def test_wrong_pages_are_refused(views: Database, account: AccountId) -> None:
    """A limit out of range, a key of another list and an unknown type are the caller's mistake."""
    with views.reading() as connection:
        for wrong in ({"limit": 0}, {"limit": 10**6}, {"after": (1,)}, {"kind": "payment"}):
            with pytest.raises(MisuseError):
                queries.sealed_page(connection, account, **wrong)


def test_a_deleted_customer_leaves_the_list_and_its_edit_is_listed(
    views: Database, account: AccountId, show: Show
) -> None:
    """The office's delete wins and the device's edit is shown with the reason (CON-05, CON-10)."""
    rep, office = Writer(1), Writer(2, Origin.WEB)
    show(
        [
            office.says(p.CustomerCreated("c1", p.CustomerFields(name="Ana")), 1),
            office.says(p.CustomerCreated("c2", p.CustomerFields(name="Ben")), 1),
            office.says(p.CustomerDeleted("c1"), 2),
            rep.says(p.CustomerChanged("c1", p.CustomerFields(phone="555")), 3),
        ]
    )
    with views.reading() as connection:
        present = queries.customers_page(connection, account)
        everyone = queries.customers_page(connection, account, deleted=True)
        (lost,) = queries.conflicts_page(connection, account, review=False).rows
    assert [row["name"] for row in present.rows] == ["Ben"]
    assert [row["deleted_by"] for row in everyone.rows] == ["office", ""]
    assert (lost["id"], lost["field"], lost["value"]) == ("c1", "phone", '"555"')
    assert lost["rule"] == "deleted by the office"


def test_products_come_with_their_stock(views: Database, account: AccountId, show: Show) -> None:
    """A product shows what is on the shelf, and its ledger of counts and movements (OFF-13)."""
    rep = Writer(1)
    lamp = p.ProductFields(name="Lamp", sku="L", price_e4=99_900, currency="USD")
    show(
        [
            rep.says(p.ProductCreated("p1", lamp), 1),
            rep.says(p.ProductCreated("p2", p.ProductFields(name="Vase")), 1),
            rep.says(p.StockCounted("p1", 10_000), 2),
            rep.says(p.StockMoved("p1", -1_000, "broken"), 3),
            rep.says(p.OrderCommitted("o", content(("l", "p1", 4_000, 99_900))), 4),
        ]
    )
    with views.reading() as connection:
        rows = queries.products_page(connection, account).rows
        moves = queries.movements_page(connection, account, "p1").rows
        left = queries.on_hand_e3(connection, account, "p1")
    assert [(row["name"], row["on_hand_e3"], bool(row["counted"])) for row in rows] == [
        ("Lamp", 5_000, True),
        ("Vase", 0, False),
    ]
    assert left == 5_000
    assert [(move["kind"], move["qty_e3"], move["reason"]) for move in moves] == [
        ("moved", -1_000, "broken"),
        ("counted", 10_000, ""),
    ]


def test_the_small_lists_show_their_documents(
    views: Database, account: AccountId, show: Show
) -> None:
    """Payments, devices and runs of Sync Now can be listed (SYN-13)."""
    rep, office = Writer(1), Writer(2, Origin.WEB)
    show(
        [
            rep.says(p.PaymentRecorded("pay", "o", "c", "cash", 500, "USD"), 1),
            office.says(p.DeviceEnrolled("ab" * 16, "Ana's phone", "ana"), 2),
            office.says(p.DeviceRevoked("ab" * 16), 3),
            office.says(p.SyncFinished("run", 4, 5, 1, 2, True, {"orders": "1"}), 6),
        ]
    )
    with views.reading() as connection:
        (payment,) = queries.payments_of(connection, account, "o")
        (device,) = queries.devices_page(connection, account).rows
        (run,) = queries.sync_runs_page(connection, account).rows
    assert (payment["amount_minor"], payment["recorded_ms"]) == (500, 1)
    assert (device["name"], device["active"], device["revoked_ms"]) == ("Ana's phone", 0, 3)
    assert (run["pushed"], run["equal"], run["report"]) == (1, 1, '{"orders":"1"}')


def test_sections_and_documents_can_be_read(
    views: Database, account: AccountId, show: Show
) -> None:
    """The list of sections has counts, and the state of any document is at hand (SYN-13)."""
    rep = Writer(1)
    show([committed(rep, "o-1", 1), committed(rep, "o-2", 2), rep.says(p.CustomerDeleted("c"), 3)])
    with views.reading() as connection:
        position, sections = queries.sections(connection, account)
        found = queries.document(connection, account, DocKey("order", "o-1"))
        assert queries.document(connection, account, DocKey("order", "o-9")) is None
        changed = queries.changed_after(connection, account, Position(1))
        orders = queries.changed_after(connection, account, Position(0), types=["order"])
    assert position == 3
    assert [(name, count) for name, count, _ in sections] == [("customer", 1), ("order", 2)]
    assert found is not None
    assert view(found)["content"]["total_minor"] == 500
    assert changed == [(2, ("order", "o-2")), (3, ("customer", "c"))]
    assert [key.id for _, key in orders] == ["o-1", "o-2"]


def test_an_empty_account_has_empty_lists(views: Database, account: AccountId) -> None:
    """Before the first step everything reads as nothing."""
    with views.reading() as connection:
        assert queries.sealed_page(connection, account).rows == []
        assert queries.state_counts(connection, account) == {"order": {}, "quote": {}, "return": {}}
        assert queries.sections(connection, account) == (0, ())
        assert queries.on_hand_e3(connection, account, "p1") == 0
