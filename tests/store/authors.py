"""Requests to append, as the door would make them, from made-up devices with real events."""

from __future__ import annotations

from replica.events.clock import make_stamp
from replica.events.event import AccountId, DeviceId, Event, encode_event, event_id
from replica.events.ports import AppendRequest, Aside, DeviceHead
from replica.events.record import Origin, encode_record
from replica.store.memory import empty_head

RECEIVED_MS = 1_750_000_000_000


class Author:
    """One device's chain in one epoch, growing with every request it makes."""

    def __init__(self, account: bytes, device: bytes, epoch: int = 0) -> None:
        self.account = AccountId(account)
        self.device = DeviceId(device)
        self.head: DeviceHead = empty_head(epoch)

    def request(self, count: int, *, asides: int = 0, payload: bytes = b"\x80") -> AppendRequest:
        """The next ``count`` accepted events followed by ``asides`` quarantined ones."""
        before = self.head
        accepted: list[bytes] = []
        ids: list[bytes] = []
        kept: list[Aside] = []
        for number in range(count + asides):
            data, stamp = self._event(payload)
            self.head = DeviceHead(before.epoch, self.head.seq + 1, event_id(data), stamp)
            if number < count:
                accepted.append(data)
                ids.append(self.head.hash)
            else:
                kept.append(Aside(self.head.seq, self.head.hash, "malformed", "why", data))
        return AppendRequest(
            account=self.account,
            device=self.device,
            epoch=before.epoch,
            origin=Origin.DEVICE,
            received_ms=RECEIVED_MS,
            before=before,
            after=self.head,
            ids=tuple(ids),
            first_seq=before.seq + 1 if count else 0,
            last_seq=before.seq + count if count else 0,
            records=b"".join(encode_record(data, None, 0) for data in accepted),
            asides=tuple(kept),
        )

    def _event(self, payload: bytes) -> tuple[bytes, bytes]:
        stamp = make_stamp(RECEIVED_MS + self.head.seq, 0, self.device[8:])
        event = Event(
            format=1,
            account=self.account,
            device=self.device,
            epoch=self.head.epoch,
            seq=self.head.seq + 1,
            prev=self.head.hash,
            stamp=stamp,
            kind="test.made",
            version=1,
            deps=(),
            payload=payload,
        )
        return encode_event(event), stamp


def device_id(number: int) -> bytes:
    """The id of a made-up device."""
    return number.to_bytes(16, "big")
