"""Reading a device's heads: the end of one epoch, and which epoch would be new (§6)."""

from __future__ import annotations

from collections.abc import Sequence

from replica.events.clock import ZERO_STAMP
from replica.events.event import GENESIS
from replica.events.ports import DeviceHead


def head_in(heads: Sequence[DeviceHead], epoch: int) -> DeviceHead:
    """The head of ``epoch``; the beginning of a chain when nothing was written in it yet."""
    for head in heads:
        if head.epoch == epoch:
            return head
    return DeviceHead(epoch, 0, GENESIS, ZERO_STAMP)


def next_epoch(heads: Sequence[DeviceHead], epoch: int) -> int:
    """The smallest epoch above every known one and above ``epoch``, which is in use."""
    return max([epoch, *(head.epoch for head in heads)]) + 1
