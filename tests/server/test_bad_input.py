"""Bad input over a real websocket: each gets its documented answer and the process goes on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import httpx2
import msgspec
import pytest
from websockets.exceptions import InvalidStatus

from replica.errors import StorageFull
from replica.events.event import decode_event, encode_event
from replica.events.record import Flag
from replica.limits import EVENT_BYTES_MAX, FRAME_BYTES_MAX
from replica.sync import messages as m
from replica.sync.messages import CloseCode, Outcome, encode_frame
from tests.server.raw import RawDevice, customer, wall_ms
from tests.server.world import Company, World

TEN_YEARS_MS = int(timedelta(days=3_653).total_seconds() * 1_000)
MALFORMED = ("malformed", CloseCode.MALFORMED)


@pytest.fixture
def device(world: World, company: Company) -> Iterator[RawDevice]:
    """A live device. Afterwards another one of the same account still gets its work in."""
    made = RawDevice.enrol(world, company)
    made.meet()
    yield made
    made.close()
    other = RawDevice.enrol(world, company, "Witness")
    other.meet()
    assert other.write(customer(999)).verdicts[0].outcome is Outcome.ACCEPTED
    other.close()


def ended(device: RawDevice) -> tuple[str, int]:
    goodbye, close_code = device.farewell()
    return (goodbye.code if goodbye else ""), close_code


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xc1" * 64,
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(range(256)),
        encode_frame(m.Cursor(7))[:-1],
        encode_frame(m.Push(1, 1, (b"x" * 50,)))[:20],
        b"\x91" * 10_000,
        b"\x81\xa1a" * 5_000,
        msgspec.msgpack.encode([99, 1, 2]),
        msgspec.msgpack.encode([21, -1]),
        msgspec.msgpack.encode([21, "one"]),
        msgspec.msgpack.encode({"type": "cursor"}),
    ],
    ids=[
        "empty",
        "zero",
        "garbage",
        "http",
        "all-bytes",
        "truncated-cursor",
        "truncated-push",
        "nested-arrays",
        "nested-maps",
        "unknown-frame",
        "negative-cursor",
        "text-for-a-number",
        "map-for-an-array",
    ],
)
def test_bytes_that_are_no_frame(device: RawDevice, data: bytes) -> None:
    """Garbage, truncated, nested and unknown frames end in a typed goodbye (reliability §2.2)."""
    device.send(data)
    assert ended(device) == MALFORMED


def test_a_text_message(device: RawDevice) -> None:
    """Text where binary is spoken is malformed, not a crash (reliability §2.2)."""
    device.send("hello")
    assert ended(device) == MALFORMED


def test_an_oversized_message(device: RawDevice) -> None:
    """A message above the frame bound is refused before it is decoded (reliability D10)."""
    device.send(bytes(FRAME_BYTES_MAX + 1))
    assert ended(device) == ("", CloseCode.TOO_LARGE)


def test_a_frame_at_the_wrong_moment(world: World, company: Company) -> None:
    """A push before hello is a violation of the protocol (reliability §2.2)."""
    device = RawDevice.enrol(world, company)
    device.open()
    device.push(device.make(customer(1)))
    assert ended(device) == ("protocol_violation", CloseCode.PROTOCOL)


def test_a_protocol_from_the_future(world: World, company: Company) -> None:
    """No common version: told so, with work kept on the device (OFF-23)."""
    device = RawDevice.enrol(world, company)
    device.open()
    device.say(device.hello(version_min=7, version_max=9))
    assert ended(device) == ("upgrade_required", CloseCode.UPGRADE_REQUIRED)


def test_a_wrong_token(world: World, company: Company) -> None:
    """An unknown token opens nothing (reliability I-7)."""
    device = RawDevice.enrol(world, company)
    device.open()
    device.say(device.hello(token="not-a-token"))
    assert ended(device) == ("forbidden", CloseCode.UNAUTHENTICATED)


def test_another_devices_identity_in_hello(world: World, company: Company) -> None:
    """A token is good for its own device alone (reliability I-7)."""
    device, other = RawDevice.enrol(world, company), RawDevice.enrol(world, company)
    device.open()
    device.say(device.hello(device=other.device))
    assert ended(device) == ("forbidden", CloseCode.UNAUTHENTICATED)


def test_another_accounts_identity_in_hello(world: World, company: Company) -> None:
    """A token is good in its own account alone (reliability I-16)."""
    device, other = RawDevice.enrol(world, company), world.company()
    device.open()
    device.say(device.hello(account=other.account))
    assert ended(device) == ("forbidden", CloseCode.UNAUTHENTICATED)


def test_another_devices_event(world: World, company: Company, device: RawDevice) -> None:
    """A forged author is refused, said once, and the chain goes on after it (I-7, P29)."""
    other = RawDevice.enrol(world, company)
    forged = device.follow(other.make(customer(1))[0])
    result = device.settle([forged, *device.make(customer(2))], first_seq=1)
    outcomes = [(verdict.outcome, verdict.code) for verdict in result.verdicts]
    assert outcomes == [(Outcome.REFUSED, "forbidden"), (Outcome.ACCEPTED, "")]


def test_a_kind_that_this_origin_may_not_write(device: RawDevice) -> None:
    """A device cannot speak for the sink (architecture §4)."""
    event = _event(device, "customer.linked", {"customer": "c", "system": "q", "external_id": "1"})
    verdict = device.settle([event]).verdicts[0]
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "forbidden")


def test_an_unknown_kind_is_kept(device: RawDevice) -> None:
    """What this version does not know is stored and forwarded (reliability I-13)."""
    event = _event(device, "loyalty.granted", {"points": 5})
    assert device.settle([event]).verdicts[0].outcome is Outcome.ACCEPTED


def test_an_event_that_breaks_a_rule(device: RawDevice) -> None:
    """A bad payload is quarantined alone; its neighbour is accepted (P29, P30)."""
    bad = _event(device, "customer.changed", {"customer": "spaces are not allowed", "fields": {}})
    result = device.settle([bad, *device.make(customer(1))], first_seq=1)
    outcomes = [verdict.outcome for verdict in result.verdicts]
    assert outcomes == [Outcome.QUARANTINED, Outcome.ACCEPTED]
    assert result.verdicts[0].detail


def test_bytes_that_are_no_event(device: RawDevice) -> None:
    """Garbage inside a push is refused by itself, also when it is asked about again (P30)."""
    garbage = device.follow(b"\xc1 no event")
    pushed = [garbage, *device.make(customer(1))]
    first = device.settle(pushed, first_seq=1)
    again = device.settle(pushed, first_seq=1)
    for result, second in ((first, Outcome.ACCEPTED), (again, Outcome.DUPLICATE)):
        assert result.verdicts[0].outcome is Outcome.REFUSED
        assert result.verdicts[0].code == "malformed"
        assert result.verdicts[1].outcome is second


def test_an_event_that_is_too_large(device: RawDevice) -> None:
    """An event above its bound is refused and said so (reliability I-20)."""
    large = device.follow(bytes(EVENT_BYTES_MAX + 1))
    verdict = device.settle([large]).verdicts[0]
    assert (verdict.outcome, verdict.code) == (Outcome.REFUSED, "too_large")


def test_the_same_push_again(device: RawDevice) -> None:
    """What was taken is answered the same way, once in the log (reliability I-2, I-3)."""
    events = device.make(customer(1), customer(2))
    first = device.settle(events)
    again = device.settle(events, first_seq=1)
    assert again.verdicts[0].outcome is Outcome.DUPLICATE
    assert again.verdicts[0].first_position == first.verdicts[0].first_position


def test_a_seq_with_other_content(device: RawDevice) -> None:
    """Two contents under one seq are a fork, with the epoch that repairs it (I-5)."""
    device.write(customer(1))
    twin = RawDevice(device.world, device.account, device.device, device.token)
    device.push(twin.make(customer(2)), first_seq=1)
    goodbye, close_code = device.farewell()
    assert goodbye is not None
    assert (goodbye.code, close_code) == ("forked", CloseCode.POLICY)
    assert goodbye.next_epoch == 2


def test_a_gap_in_the_chain(device: RawDevice) -> None:
    """A push above the end of the chain is told where to go on (reliability §2.2)."""
    device.make(customer(1))
    device.push(device.make(customer(2)))
    assert ended(device) == ("gap", CloseCode.PROTOCOL)


@pytest.mark.parametrize("skew_ms", [TEN_YEARS_MS, -TEN_YEARS_MS], ids=["ahead", "behind"])
def test_a_clock_ten_years_off(world: World, company: Company, skew_ms: int) -> None:
    """A wrong clock loses nothing: the offset is measured and the time corrected (CON-08)."""
    device = RawDevice.enrol(world, company)
    device.clock_ms = lambda: wall_ms() + skew_ms
    device.meet()
    result = device.write(customer(1))
    assert result.verdicts[0].outcome is Outcome.ACCEPTED
    corrected_ms = int.from_bytes(result.decisions[0].stamp[:6], "big")
    assert abs(corrected_ms - wall_ms()) < 60_000
    assert not result.decisions[0].flags & Flag.DISPUTED
    device.close()


def test_a_stamp_that_nothing_explains(world: World, company: Company) -> None:
    """A future time that the socket's clock contradicts is ordered by receipt (I-8)."""
    device = RawDevice.enrol(world, company)
    device.meet()
    device.clock_ms = lambda: wall_ms() + TEN_YEARS_MS
    events = device.make(customer(1))
    device.clock_ms = wall_ms  # what the server asks meanwhile is answered by the right time
    result = device.settle(events)
    assert result.verdicts[0].outcome is Outcome.ACCEPTED
    assert result.decisions[0].flags & Flag.DISPUTED
    device.close()


def test_a_full_disk(
    world: World, company: Company, device: RawDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is said as retryable; pages go on; the same events get in later (§2.3)."""
    events = device.make(customer(1))

    def full(_: object) -> None:
        raise StorageFull("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(world.stores.log, "append", full)
        device.push(events)
        assert ended(device) == ("storage_full", CloseCode.TRY_AGAIN)
        assert httpx2.get(f"{world.url}/readyz").status_code == 200
        with world.browser(company) as pages:
            assert "Orders" in pages.text("/orders")
    device.meet()
    assert device.settle(events).verdicts[0].outcome is Outcome.ACCEPTED


def test_a_revoked_device(world: World, company: Company) -> None:
    """Revoking ends the live connection and lets no other in (reliability I-18)."""
    device = RawDevice.enrol(world, company)
    device.meet()
    device.write(customer(1))
    with world.operator(company) as office:
        assert office.post(f"/devices/{device.device.hex()}/revoke").status_code == 200
    assert ended(device) == ("revoked", CloseCode.REVOKED)
    device.open()
    device.say(device.hello())
    assert ended(device) == ("revoked", CloseCode.REVOKED)


def test_a_second_connection_of_one_device(world: World, company: Company) -> None:
    """The newer connection takes over, the older one is told (reliability §2.1)."""
    older = RawDevice.enrol(world, company)
    newer = RawDevice(world, older.account, older.device, older.token)
    older.meet()
    newer.meet()
    assert ended(older) == ("taken_over", CloseCode.TAKEN_OVER)
    assert newer.write(customer(1)).verdicts[0].outcome is Outcome.ACCEPTED
    newer.close()


@pytest.mark.parametrize(
    ("headers", "subprotocols", "status"),
    [
        ({"Origin": "https://evil.example"}, [m.SUBPROTOCOL], 403),
        ({"Origin": "null"}, [m.SUBPROTOCOL], 403),
        ({}, ["graphql-ws"], 400),
        ({}, [], 400),
    ],
    ids=["foreign-origin", "null-origin", "other-subprotocol", "no-subprotocol"],
)
def test_a_handshake_that_may_not_be(
    world: World,
    company: Company,
    headers: dict[str, str],
    subprotocols: list[str],
    status: int,
) -> None:
    """A page of somebody else and a stranger's protocol stay outside (reliability D12)."""
    device = RawDevice.enrol(world, company)
    with pytest.raises(InvalidStatus) as caught:
        device.open(additional_headers=headers, subprotocols=subprotocols or None)
    assert caught.value.response.status_code == status


def test_a_cookie_is_no_identity(world: World, company: Company) -> None:
    """A browser's session opens no device connection (reliability D12)."""
    with world.browser(company) as pages:
        cookie = "; ".join(f"{name}={value}" for name, value in pages.client.cookies.items())
    assert cookie
    device = RawDevice.enrol(world, company)
    device.open(additional_headers={"Cookie": cookie})
    device.say(device.hello(token=""))
    assert ended(device) == ("forbidden", CloseCode.UNAUTHENTICATED)
    device.close()


def test_a_page_of_our_own_may_connect(world: World, company: Company) -> None:
    """A browser device on the server's own origin is let in (reliability D12)."""
    device = RawDevice.enrol(world, company)
    device.open(origin=world.url)
    device.say(device.hello())
    device.expect(m.Welcome)
    device.close()


def _event(device: RawDevice, kind: str, body: dict[str, object]) -> bytes:
    """The next event of ``device`` with any kind and body."""
    head = (device.seq, device.prev)
    envelope = decode_event(device.make(customer(0))[0])
    device.seq, device.prev = head
    payload = msgspec.msgpack.encode(body, order="sorted")
    return device.follow(
        encode_event(msgspec.structs.replace(envelope, kind=kind, payload=payload))
    )
