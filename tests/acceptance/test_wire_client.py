"""The protocol page is complete: a client written from it alone reads every test vector and works
with a real server process."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.acceptance import wire_format as page
from tests.acceptance.running import Server, running
from tests.acceptance.wire_client import Goodbye, Notebook, NotEnrolled, Wire, enrol, exchange
from tests.acceptance.wire_format import ACCEPTED, DUPLICATE, QUARANTINED, REFUSED

pytestmark = pytest.mark.process

VECTORS = Path(__file__).parent.parent / "vectors"
DIGITS = {"USD": 2, "JPY": 0, "KWD": 3}


def vectors(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


def hexed(value: Any) -> Any:
    """`value` with bytes as hex, as the vectors have them."""
    if isinstance(value, dict):
        return {key: hexed(one) for key, one in value.items()}
    if isinstance(value, list):
        return [hexed(one) for one in value]
    return value.hex() if isinstance(value, bytes) else value


def clock() -> int:
    return time.time_ns() // 1_000_000


def clock_ahead() -> int:
    """A device whose owner set it a minute ahead."""
    return clock() + 60_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    one = Server(tmp_path_factory.mktemp("server"))
    with running(one):
        yield one


def new_device(server: Server, name: str) -> Notebook:
    return enrol(server.url, server.code(name), name)


def content(customer: str, number: str, qty_e3: int = 6_000) -> dict[str, Any]:
    """A Content of one line in dollars."""
    lines = [["1", "p-1", qty_e3, 25_500, "Heart holder"]]
    said = {"number": number, "customer": customer, "currency": "USD", "date": "2026-03-01"}
    body: dict[str, Any] = {**said, "lines": lines, "shipping_minor": 499, "offline": True}
    return {**body, "total_minor": page.content_minor(body, 2)}


def take_order(book: Notebook, name: str) -> list[bytes]:
    """A new customer and an order of theirs; the ids of the two events."""
    customer = {"customer": f"c-{name}", "fields": {"name": f"Łódź {name}", "tax_exempt": False}}
    created = book.write(clock(), "customer.created", customer)
    order = {"order": f"o-{name}", "content": content(f"c-{name}", name)}
    return [created, book.write(clock(), "order.committed", order, (created,))]


# --- the vectors -------------------------------------------------------------------------------


def test_frames_and_the_events_in_them_are_as_the_page_says() -> None:
    """Every frame of the vectors decodes to its named fields and encodes to the same bytes, and
    ids and chain agree (SYN-17, I-5)."""
    known = vectors("frames")
    for frame in known["frames"]:
        name, fields = page.decode_frame(bytes.fromhex(frame["hex"]))
        assert (name, hexed(fields)) == (frame["name"], frame["frame"])
        assert page.encode_frame(name, **fields).hex() == frame["hex"]
    for frame in known["shorter"]:
        name, fields = page.decode_frame(bytes.fromhex(frame["hex"]))
        assert (name, hexed(fields)) == (frame["name"], frame["frame"])
    assert {frame["name"] for frame in known["frames"]} == set(page.NUMBERS)
    for one in known["events"]:
        data = bytes.fromhex(one["hex"])
        assert hexed(page.decode_event(data)) == one["event"]
        assert sha256(data).hexdigest() == one["id"]
    ids = [bytes.fromhex(one) for one in known["chain"]["ids"]]
    before = bytes.fromhex(known["chain"]["before"])
    assert page.chain_after(before, ids).hex() == known["chain"]["after"]


def test_events_payloads_and_records_are_as_the_page_says() -> None:
    """Canonical bytes of events, payloads and records come out of their values again (I-13)."""
    for one in vectors("event"):
        event = page.decode_event(bytes.fromhex(one["event"]))
        assert hexed(event) == {**{key: one[key] for key in event if key != "format"}, "format": 1}
        assert page.encode_event(event).hex() == one["event"]
        assert sha256(bytes.fromhex(one["event"])).hexdigest() == one["id"]
    for one in vectors("payload"):
        data = bytes.fromhex(one["payload"])
        assert page.pack(page.in_order(page.unpack(data))) == data
        assert one["kind"] in page.KINDS
    known = vectors("record")
    for name in ("raw_stamp_stands", "corrected", "disputed"):
        data = bytes.fromhex(known[name])
        ((written, merge, flags),) = page.unpack_records(data)
        assert page.pack([written, merge, flags]) == data
        assert (merge is None, flags) == (name == "raw_stamp_stands", int(name == "disputed"))
    stamp = page.decode_event(written)["stamp"]
    assert page.Record(written, stamp, page.DEVICE_ORIGIN).tag.hex() == known["tag"]
    ids = [bytes.fromhex(one["id"]) for one in vectors("event")[:2]]
    chains = [page.chain_after(page.NO_HASH, ids[:count]).hex() for count in range(3)]
    assert chains == known["chains"]


def test_stamps_and_totals_are_as_the_page_says() -> None:
    """Next stamps, the door's corrections and totals in three kinds of currency agree (CON-08,
    I-8, I-27)."""
    known = vectors("stamp")
    for one in known["stamps"]:
        assert (
            page.stamp_of(one["ms"], one["counter"], bytes.fromhex(one["node"])).hex()
            == (one["stamp"])
        )
    for one in known["ticks"]:
        node = bytes.fromhex(one["stamp"])[8:]
        assert (
            page.next_stamp(bytes.fromhex(one["last"]), one["now_ms"], node).hex() == (one["stamp"])
        )
    for one in known["corrections"]:
        raw, last = bytes.fromhex(one["raw"]), bytes.fromhex(one["last"])
        stamp, disputed = page.merge_stamp(raw, one["offset_ms"], one["received_ms"], last)
        assert (stamp.hex(), disputed) == (one["stamp"], one["disputed"])
    for one in vectors("money")["lines"]:
        digits = DIGITS[one["currency"]]
        assert page.line_minor(one["qty_e3"], one["price_e4"], digits) == one["total_minor"]
    (sealed,) = [one for one in vectors("payload") if one["kind"] == "order.committed"]
    whole = page.unpack(bytes.fromhex(sealed["payload"]))["content"]
    assert page.content_minor(whole, 2) == whole["total_minor"]
    assert whole["total_minor"] == vectors("money")["content_total_minor"]


def test_documents_and_digests_are_as_the_page_says() -> None:
    """States, hashes and section digests computed from records agree with the vectors (SYN-03,
    I-10)."""
    known = vectors("document")
    records = [
        page.Record(bytes.fromhex(one["event"]), bytes.fromhex(one["stamp"]), one["origin"])
        for one in known["records"]
    ]
    documents = page.states(records)
    assert documents == page.states(reversed(records))
    for one in known["documents"]:
        key = (one["type"], one["id"])
        assert documents[key].hex() == one["state"]
        assert page.document_hash(key, documents[key]).hex() == one["hash"]
    assert hexed(page.sections(documents)) == known["sections"]


# --- a real server -----------------------------------------------------------------------------


def test_one_device_pushes_and_another_reads_the_same_bytes(server: Server) -> None:
    """What one device built, hashed and pushed is acknowledged with positions, and another
    device receives exactly those bytes and the same digest (SYN-03, SYN-16, SYN-17, I-13)."""
    writer, reader = new_device(server, "Writer"), new_device(server, "Reader")
    ids = take_order(writer, "first")
    ids.append(writer.write(clock(), "weather.seen", {"sky": "grey"}))
    with Wire(server.url, reader, clock) as watching:
        watching.sync()
        with Wire(server.url, writer, clock) as wire:
            assert wire.welcome["version"] == 1
            assert (wire.welcome["device_seq"], wire.welcome["device_hash"]) == (0, page.NO_HASH)
            wire.sync()
            assert [one.outcome for one in writer.answers] == [ACCEPTED] * 3
            first = writer.answers[0].position
            assert [one.position for one in writer.answers] == [first, first + 1, first + 2]
            assert wire.digest() == writer.digest()
        watching.until(lambda: set(ids) <= set(reader.records))
        assert [reader.records[one].event for one in ids] == writer.events
        assert (reader.cursor, reader.chain) == (writer.cursor, writer.chain)
        assert watching.digest() == reader.digest()


def test_a_lost_result_is_asked_again_and_answered_the_same(server: Server) -> None:
    """A device that lost the connection before it stored RESULT pushes the same bytes again and
    gets position, time of receipt and decision of the first time (SYN-23, SYN-25, I-2, I-3)."""
    book = new_device(server, "Tunnel")
    with Wire(server.url, book, clock) as wire:
        wire.sync()
        take_order(book, "tunnel")
        wire.push()
        wire.until(lambda: bool(wire.results))
        (first,) = wire.results
        book.answers.clear()  # as if it had crashed before it stored them
        wire.drop()
    exchange(server.url, book, clock)
    assert [one.outcome for one in first] == [ACCEPTED, ACCEPTED]
    assert [one.outcome for one in book.answers] == [DUPLICATE, DUPLICATE]
    assert [one[1:] for one in map(told, book.answers)] == [one[1:] for one in map(told, first)]
    other = new_device(server, "Witness")
    exchange(server.url, other, clock)
    assert {sha256(event).digest() for event in book.events} <= set(other.records)


def told(answer: Any) -> tuple[Any, ...]:
    return (answer.outcome, answer.position, answer.received_ms, answer.stamp, answer.flags)


def test_a_connection_cut_at_any_push_loses_and_doubles_nothing(server: Server) -> None:
    """Cut after every push, whether or not it arrived, the next connections complete the work and
    the log holds each event once (SYN-23, I-1, I-2)."""
    book = new_device(server, "Trade fair")
    ids = []
    for number in range(4):
        ids += take_order(book, f"fair-{number}")
        with Wire(server.url, book, clock) as wire:
            wire.push()
            wire.drop()
    exchange(server.url, book, clock)
    positions = [one.position for one in book.answers]
    assert positions == sorted(set(positions))
    other = new_device(server, "Auditor")
    exchange(server.url, other, clock)
    assert set(ids) <= set(other.records)
    exchange(server.url, book, clock)
    assert other.chain == book.chain


def test_bad_events_hold_up_nothing_but_themselves(server: Server) -> None:
    """One push with good, rule-breaking, forbidden and malformed events gets an outcome for each,
    the chain goes on over their bytes, and asking again gives the same answers (SYN-17, I-19)."""
    book, other = new_device(server, "Odd"), new_device(server, "Even")
    good = take_order(book, "odd")
    floats = page.pack({"customer": "c-odd", "fields": {"name": 1.5}})
    aside = book.add(
        "customer.changed", floats, page.next_stamp(book.stamp, clock(), book.device[8:])
    )
    book.write(clock(), "customer.deleted", {"customer": "c-odd"}, (aside,))
    answer = {"order": "o-odd", "system": "quickbooks", "external_id": "1", "number": "1"}
    book.write(clock(), "order.estimated", {**answer, "total_minor": 1})
    book.events.append(b"no event")
    good.append(book.write(clock(), "stock.moved", {"product": "p-1", "qty_e3": -6_000}))
    exchange(server.url, book, clock)
    said = [(one.outcome, one.code) for one in book.answers]
    assert said == [
        (ACCEPTED, ""),
        (ACCEPTED, ""),
        (QUARANTINED, "payload"),
        (QUARANTINED, "waits_on"),
        (REFUSED, "forbidden"),
        (REFUSED, "malformed"),
        (ACCEPTED, ""),
    ]
    book.answers.clear()
    exchange(server.url, book, clock)
    again = [(one.outcome, one.code) for one in book.answers]
    assert again == [(DUPLICATE, "") if one[0] == ACCEPTED else one for one in said]
    exchange(server.url, other, clock)
    here = {sha256(event).digest() for event in book.events} & set(other.records)
    assert here == set(good)


def test_a_wrong_clock_is_measured_and_corrected_for_everybody(server: Server) -> None:
    """A clock a minute ahead is measured by the probes, its events get the corrected stamp on the
    author and on others alike, and a stamp beyond five minutes is disputed (CON-08, I-8)."""
    book, other = new_device(server, "Fast"), new_device(server, "Exact")
    created = book.write(clock_ahead(), "product.created", {"product": "p-fast", "fields": {}})
    with Wire(server.url, book, clock_ahead) as wire:
        wire.sync()
        wire.until(lambda: wire.offset_ms is not None)
        assert abs((wire.offset_ms or 0) - 60_000) < 2_000
        book.stamp = page.stamp_of(clock() + 3_600_000, 0, book.device[8:])
        moved = book.write(0, "stock.counted", {"product": "p-fast", "qty_e3": 1_000})
        wire.sync()
    corrected, disputed = book.answers
    assert (corrected.flags, disputed.flags) == (0, 1)
    assert corrected.stamp is not None
    assert disputed.stamp is not None
    raw = page.decode_event(book.events[0])["stamp"]
    shift = int.from_bytes(raw[:6], "big") - int.from_bytes(corrected.stamp[:6], "big")
    assert abs(shift - 60_000) < 2_000
    last = page.decode_event(book.events[1])["stamp"]
    expected = page.merge_stamp(last, shift, disputed.received_ms, corrected.stamp)
    assert (disputed.stamp, True) == expected
    exchange(server.url, other, clock)
    for one in (created, moved):
        assert other.records[one] == book.records[one]


def test_a_copied_device_goes_on_under_the_next_epoch(server: Server) -> None:
    """Two copies of one device that wrote different events both keep them: the later one learns
    of the fork and says its own again in the next epoch (SYN-17, I-5)."""
    book = new_device(server, "Original")
    take_order(book, "before")
    exchange(server.url, book, clock)
    copy = Notebook(book.account, book.device, book.token)
    copy.events, copy.answers = list(book.events), list(book.answers)
    copy.records, copy.stamp = dict(book.records), book.stamp
    copy.log_id, copy.generation = book.log_id, book.generation
    copy.cursor, copy.chain = book.cursor, book.chain
    mine = take_order(book, "original")
    exchange(server.url, book, clock)
    take_order(copy, "copy")
    exchange(server.url, copy, clock)
    assert copy.epoch == 2
    assert [one.outcome for one in copy.answers] == [ACCEPTED, ACCEPTED]
    assert page.decode_event(copy.events[0])["seq"] == 1
    assert set(mine) <= set(copy.records)
    with Wire(server.url, copy, clock) as wire:
        wire.sync()
        assert wire.digest() == copy.digest()


def test_a_restored_device_gets_its_own_lost_events_back(server: Server) -> None:
    """A device put back from an older copy learns from WELCOME that the server knows more, takes
    the next epoch and receives what it lost (SYN-23, I-1)."""
    book = new_device(server, "Restored")
    first = take_order(book, "kept")
    old = Notebook(book.account, book.device, book.token)
    exchange(server.url, book, clock)
    exchange(server.url, old, clock)
    assert old.epoch == 2
    assert set(first) <= set(old.records)


def test_facts_that_cannot_matter_are_dropped_as_the_page_says(server: Server) -> None:
    """After many changes of the same documents the digest computed from the page's table of what
    is kept is the server's (SYN-03, I-10, I-14)."""
    book = new_device(server, "Busy")
    for number in range(30):
        fields: dict[str, Any] = {"name": f"N{number}"}
        if number % 3 == 0:
            fields["phone"] = None if number % 2 else str(number)
        if number < 4:
            fields["rep"] = "Ana"
        book.write(clock(), "customer.changed", {"customer": "c-busy", "fields": fields})
        kind = "customer.deleted" if number % 2 else "customer.restored"
        book.write(clock(), kind, {"customer": "c-busy"})
        book.write(clock(), "stock.moved", {"product": "p-busy", "qty_e3": -number})
        if number % 2:
            book.write(clock(), "stock.counted", {"product": "p-busy", "qty_e3": number})
        payment = {"payment": "m-busy", "order": "o-busy", "customer": "", "method": "cash"}
        money = {"amount_minor": number, "currency": "USD"}
        book.write(clock(), "payment.recorded", {**payment, **money})
        order = {"order": "o-busy", "content": content("c-busy", "B", 1_000 + number)}
        book.write(clock(), "order.committed", order, (page.NO_HASH,))
        book.write(clock(), "order.amended", order)
        book.write(clock(), "order.cancelled", {"order": "o-busy"})
        quote = {"quote": "q-busy", "content": content("c-busy", "Q", 1_000 + number)}
        book.write(clock(), "quote.committed", quote)
        draft = {"order": "o-draft", "fields": {"memo": str(number), "class": "a"}}
        book.write(clock(), "order.drafted" if number == 0 else "order.changed", draft)
        line = {"order": "o-draft", "line": str(number % 4), "fields": {"qty_e3": number}}
        book.write(clock(), "order.line_put", line)
    with Wire(server.url, book, clock) as wire:
        wire.sync()
        assert {one.outcome for one in book.answers} == {ACCEPTED}
        assert wire.digest() == book.digest()


def test_sync_now_reaches_the_device_and_waits_for_its_digest(server: Server) -> None:
    """Sync Now in the office asks a connected device to push and to send its digest, and calls
    them equal (SYN-07, SYN-13, SYN-22)."""
    book = new_device(server, "Counter")
    with Wire(server.url, book, clock) as wire:
        wire.sync()
        created, ordered = take_order(book, "counter")
        with ThreadPoolExecutor(1) as office:
            pressed = office.submit(server.call, "POST", "/api/v1/sync-now?wait=1")
            wire.until(lambda: "sync.finished" in kinds(book))
            report = pressed.result()
        assert {created, ordered} <= set(book.records)
    assert (report["state"], report["equal"], report["received"]) == ("done", True, 2)
    (told,) = [one for one in report["devices"] if one["device"] == book.device.hex()]
    assert told["state"] == "equal"


def kinds(book: Notebook) -> set[str]:
    return {page.decode_event(one.event)["kind"] for one in book.records.values()}


# --- ends --------------------------------------------------------------------------------------


def test_an_unknown_token_is_forbidden(server: Server) -> None:
    """A token that the server does not know gets GOODBYE forbidden and close code 4003 (I-7)."""
    book = new_device(server, "Thief")
    book.token = "nothing the server gave"
    with pytest.raises(Goodbye) as end, Wire(server.url, book, clock):
        pass
    assert (end.value.code, end.value.close_code, end.value.closed_with) == (
        "forbidden",
        4003,
        4003,
    )


def test_a_code_is_good_once(server: Server) -> None:
    """The second use of a code is refused with 403 and no second device comes of it (I-7)."""
    code = server.code("Once")
    enrol(server.url, code, "Once")
    with pytest.raises(NotEnrolled, match="403"):
        enrol(server.url, code, "Twice")


def test_a_newer_connection_takes_over(server: Server) -> None:
    """A second connection of the same device ends the first with taken_over (SYN-23, I-25)."""
    book = new_device(server, "Twin")
    with (
        Wire(server.url, book, clock) as old,
        Wire(server.url, book, clock),
        pytest.raises(Goodbye) as end,
    ):
        old.until(lambda: False)
    assert (end.value.code, end.value.closed_with) == ("taken_over", 4009)


def test_the_subprotocol_is_required(server: Server) -> None:
    """A websocket without the subprotocol is answered 400 before anything is said (I-20)."""
    address = server.url.replace("http", "ws", 1) + "/api/v1/sync"
    with pytest.raises(InvalidStatus) as end, connect(address, proxy=None):
        pass
    assert end.value.response.status_code == 400


@pytest.mark.parametrize(
    ("data", "code", "close_code"),
    [
        (b"\xc1", "malformed", 1007),
        (page.pack([99]), "malformed", 1007),
        (page.encode_frame("CURSOR", position=10**9), "protocol_violation", 1002),
        (page.encode_frame("PUSH", number=1, first_seq=9, events=[b""]), "gap", 1002),
        (
            page.encode_frame("RESULT", number=1, verdicts=[], decisions=[]),
            "protocol_violation",
            1002,
        ),
        (page.encode_frame("PUSH", number=1, first_seq=1, events=[b""] * 501), "too_large", 1009),
    ],
    ids=["no frame", "unknown frame", "cursor beyond", "gap", "wrong way", "too large"],
)
def test_bad_frames_end_the_connection_with_their_code(
    server: Server, data: bytes, code: str, close_code: int
) -> None:
    """Every kind of bad frame gets the GOODBYE and close code of the page's table, and the next
    connection works (I-20)."""
    book = new_device(server, "Broken")
    with Wire(server.url, book, clock) as wire:
        wire.sync()
        wire.socket.send(data)
        with pytest.raises(Goodbye) as end:
            wire.until(lambda: False)
    assert (end.value.code, end.value.close_code, end.value.closed_with) == (
        code,
        close_code,
        close_code,
    )
    exchange(server.url, book, clock)


def test_a_server_that_restarts_says_so_and_keeps_what_it_acknowledged(server: Server) -> None:
    """SIGTERM gives a device GOODBYE restart with a time to come back, and after the restart the
    device goes on where it was without sending anything twice (SYN-25, I-1)."""
    book = new_device(server, "Steady")
    take_order(book, "steady")
    with Wire(server.url, book, clock) as wire:
        wire.sync()
        server.process.child.terminate()
        with pytest.raises(Goodbye) as end:
            wire.until(lambda: False)
    server.stop()
    assert (end.value.code, end.value.closed_with) == ("restart", 1012)
    assert end.value.retry_after_ms > 0
    cursor = book.cursor
    server.start()
    with Wire(server.url, book, clock) as wire:
        assert wire.welcome["device_seq"] == len(book.events)
        assert wire.welcome["resume_after"] == cursor
        wire.sync()
        assert wire.results == []
