"""What the office may do about one order there: make its invoice, send it to the customer (QB-05).

Each is a command that queues one intent; nothing leaves before the next sync.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from qbo_sink.conversion import AGAIN, CONVERT, DELIVER, Conversions
from qbo_sink.party import valid_email
from qbo_sink.runner import Parts, Runner
from replica.sink import Deed, Offer, Refusal

_OFFERS = {
    CONVERT: Offer(CONVERT, "Convert to invoice", "primary"),
    AGAIN: Offer(AGAIN, "Make the invoice again", "primary"),
    DELIVER: Offer(DELIVER, "Send to the customer", asks="E-mail address"),
}


class Invoicing:
    """The desk over one sink's invoices."""

    def __init__(self, parts: Parts, runner: Runner) -> None:
        self._now_ms = parts.now_ms
        self._runner = runner
        self._store = Conversions(parts.ledger.engine)

    async def offers(self, account: bytes, local_type: str, local_id: str) -> list[Offer]:
        """What may be done now, most likely first."""
        place = (account, local_type, local_id)
        may = await asyncio.to_thread(self._store.may, *place)
        found = [offer for name, offer in _OFFERS.items() if not may[name]]
        if any(one.name == DELIVER for one in found):
            address = await asyncio.to_thread(self._store.address, *place)
            found = [replace(one, value=address) if one.name == DELIVER else one for one in found]
        return found

    async def act(
        self, account: bytes, local_type: str, local_id: str, action: str, deed: Deed
    ) -> None:
        """Carry out a command. Raises ``Refusal`` saying why not."""
        await self._runner.feed(account)
        place, now_ms = (account, local_type, local_id), self._now_ms()
        if action == CONVERT:
            problem = await asyncio.to_thread(self._store.convert, *place, now_ms)
        elif action == AGAIN:
            problem = await asyncio.to_thread(self._store.again, *place, now_ms)
        elif action == DELIVER:
            if not valid_email(deed.text):
                raise Refusal("That is no e-mail address.")
            address = deed.text.strip()
            problem = await asyncio.to_thread(self._store.deliver, *place, address, now_ms)
        else:
            raise Refusal("That cannot be done with a document.")
        if problem:
            raise Refusal(problem)
