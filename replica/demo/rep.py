"""A rep's phone as a process: ``python -m replica.demo.rep JOURNAL`` reads one command a line.

Commands and answers are JSON objects. The phone works like any program that embeds the device SDK:
it knows nothing of the server's state but what its own journal holds.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from typing import Any

from replica.demo.company import CURRENCY, northwind
from replica.demo.plan import Sale, contested, day, doomed
from replica.device import Device, Draft, Mode, Status
from replica.device.status import Progress
from replica.errors import ReplicaError

WAIT_S = 60.0


class Phone:
    """One verb per method; arguments and answers are plain values."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._company = northwind()
        self._orders: list[str] = []
        self._quotes: list[str] = []

    def enrol(self, url: str, code: str, name: str) -> dict[str, Any]:
        """Become a device of the account, take everything in, stay connected."""
        progress: list[tuple[Progress, ...]] = []

        def arrived(status: Status) -> bool:
            if status.fetching and status.fetching not in progress:
                progress.append(status.fetching)
            return status.mode is Mode.ONLINE and not status.fetching

        identity = self._device.enrol(url, code, name)
        self._device.start()
        self._device.wait_until(arrived, WAIT_S)
        result = self._device.sync(WAIT_S)
        return {
            "device": identity.device.hex(),
            "position": result.position,
            "equal": result.equal,
            "progress": progress,
            "sections": {row.section: row.count for row in result.digest},
        }

    def export(self, path: str) -> dict[str, Any]:
        """Write what is unsent to a file."""
        exported = self._device.export(path)
        return {"events": exported.events, "bytes": exported.bytes}

    def take_receipt(self, path: str) -> dict[str, Any]:
        """Take in what the office answered to that file."""
        taken = self._device.take_receipt(path)
        return {"synced": taken.synced, "pending": self._device.status().pending}

    def wait(self, mode: str) -> dict[str, Any]:
        """Wait until the device itself has noticed that it is in ``mode``."""
        status = self._device.wait_until(lambda seen: seen.mode == Mode(mode), WAIT_S)
        return {"mode": status.mode.value, "text": status.text}

    def work(self, rep: int) -> dict[str, Any]:
        """Do the planned day: one durable append for each action."""
        plan = day(self._company, rep)
        for payload in plan.customers:
            self._device.append(payload)
        self._orders = [self._take(self._device.order, sale, rep) for sale in plan.orders]
        self._quotes = [self._take(self._device.quote, sale, rep) for sale in plan.quotes]
        for payload in plan.edits:
            self._device.append(payload)
        return {
            "orders": self._orders,
            "quotes": self._quotes,
            "pending": self._device.status().pending,
            "customers_created": len(plan.customers),
        }

    def _take(self, begin: Any, sale: Sale, rep: int) -> str:
        draft: Draft = begin(customer=sale.customer, currency=CURRENCY, rep=f"Rep {rep + 1}")
        for product, units in sale.lines:
            draft.add(product, units)
        return draft.commit().id

    def receipts(self) -> dict[str, Any]:
        """Number and total of every sale, as the rep's paper copy has them."""
        own = [("order", order) for order in self._orders]
        own += [("quote", quote) for quote in self._quotes]
        contents = [(self._device.get(kind, key) or {})["content"] for kind, key in own]
        return {content["number"]: content["total_minor"] for content in contents}

    def settled(self) -> dict[str, Any]:
        """Wait until this device is back and nothing is unsent, and say where it stands."""
        status = self._device.wait_until(
            lambda seen: seen.pending == 0 and seen.mode is Mode.ONLINE, WAIT_S
        )
        return {"cursor": status.cursor, "mode": status.mode.value}

    def choose(self, wish: dict[str, Any]) -> dict[str, Any]:
        """Hold what ``wish`` says from now on: what it costs, and the counts before and after."""
        before = {row.section: row.count for row in self._device.digest()}
        cost = self._device.scope_cost(**wish)
        self._device.set_scope(**wish)
        result = self._device.sync(WAIT_S)
        after = {row.section: row.count for row in result.digest}
        return {"before": before, "after": after, "cost": cost, "equal": result.equal}

    def prove(self) -> dict[str, Any]:
        """One round of sync that ends in comparing digests with the server."""
        result = self._device.sync(WAIT_S)
        return {"equal": result.equal, "position": result.position}

    def numbered(self) -> dict[str, Any]:
        """Wait until every own order and quote carries its estimate number."""
        while self._unanswered():
            cursor = self._device.status().cursor
            if self._unanswered():
                self._device.wait_until(partial(_moved, cursor), WAIT_S)
        return {}

    def _unanswered(self) -> list[str]:
        own = [("order", order) for order in self._orders]
        own += [("quote", quote) for quote in self._quotes]
        return [
            identity
            for kind, identity in own
            if not (self._device.get(kind, identity) or {}).get("answers")
        ]

    def see(self) -> dict[str, Any]:
        """What this phone shows: counts, the contested facts, its own sales, its digest."""
        status = self._device.status()
        contested_view = self._device.get("customer", contested(self._company)) or {}
        doomed_view = self._device.get("customer", doomed(self._company)) or {}
        return {
            "customers": sum(1 for _ in self._device.list("customer")),
            "products": sum(1 for _ in self._device.list("product")),
            "orders": sum(1 for _ in self._device.list("order")),
            "quotes": sum(1 for _ in self._device.list("quote")),
            "contested_phone": contested_view.get("fields", {}).get("phone"),
            "doomed_exists": bool(doomed_view.get("exists")),
            "overridden": len(contested_view.get("losers", []))
            + len(doomed_view.get("losers", [])),
            "pending": status.pending,
            "rejected": len(status.rejected),
            "position": status.cursor,
            "digest": {row.section: row.digest.hex() for row in status.sections},
            "ladders": [self._ladder(order) for order in self._orders],
        }

    def _ladder(self, order: str) -> dict[str, Any]:
        rung = self._device.ladder(order)
        found = self._device.get("order", order) or {}
        return {
            "order": order,
            "number": rung.number,
            "customer": found.get("content", {}).get("customer"),
            "total_minor": found.get("content", {}).get("total_minor"),
            "position": rung.server_position,
            "estimate": rung.estimate_number,
            "state": rung.state,
        }


def _moved(cursor: int, status: Status) -> bool:
    return status.cursor > cursor


def main(journal: str) -> None:
    """Serve commands until standard input ends."""
    with Device.open(journal) as device:
        phone = Phone(device)
        for line in sys.stdin:
            command = json.loads(line)
            verb = getattr(phone, command.pop("verb"))
            try:
                answer = verb(**command)
            except ReplicaError as error:
                answer = {"error": f"{error.code}: {error}"}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
