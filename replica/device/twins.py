"""Pairs of one name that wait for the office, as a device sees them (decision 0016)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from replica.crdt.documents import DocKey
from replica.crdt.twins import clash
from replica.device.holding import Holding


def asked(holding: Holding, pairs: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Those of ``pairs`` (views) about which nothing was decided and that clash still, as far as
    ``holding`` has both records."""
    for pair in pairs:
        if pair["choice"] != "ask" or not pair["of"]:
            continue
        keys = (DocKey(pair["of"], pair["first"]), DocKey(pair["of"], pair["second"]))
        one, other = map(holding.document, keys)
        if one is None or other is None or clash(one, other):
            yield pair
