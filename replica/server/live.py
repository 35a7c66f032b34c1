"""News for open pages, over server-sent events: that something changed, never what.

A page that hears ``position`` fetches itself again, so there is one way to render a page. A tab
keeps no queue here: it hears the newest position and the newest words, whatever it missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from replica.errors import Overloaded
from replica.events.event import AccountId
from replica.limits import LIVE_HEARTBEAT_S, LIVE_STREAMS_MAX


class _Tab:
    def __init__(self) -> None:
        self.news: dict[str, str] = {}
        self.arrived = asyncio.Event()

    def tell(self, event: str, data: str) -> None:
        self.news[event] = data
        self.arrived.set()


class Live:
    """The open tabs by account. Lives on the event loop."""

    def __init__(self) -> None:
        self._tabs: dict[AccountId, set[_Tab]] = {}
        self._closed = False

    def tell(self, account: AccountId, event: str, data: str) -> None:
        """Tell every tab of ``account``. ``data`` is one line."""
        for tab in self._tabs.get(account, ()):
            tab.tell(event, data)

    def check_room(self) -> None:
        """Raise ``Overloaded`` when too many tabs are open already."""
        if sum(map(len, self._tabs.values())) >= LIVE_STREAMS_MAX:
            raise Overloaded("too many pages are open")

    async def stream(self, account: AccountId, mark: str) -> AsyncIterator[bytes]:
        """The lines of one tab until it goes or the server ends, beginning with ``mark``: what is
        true now."""
        tab = _Tab()
        self._tabs.setdefault(account, set()).add(tab)
        try:
            yield f"event: hello\ndata: {mark}\n\n".encode()
            while not self._closed:
                try:
                    async with asyncio.timeout(LIVE_HEARTBEAT_S):
                        await tab.arrived.wait()
                except TimeoutError:
                    yield b": still here\n\n"
                tab.arrived.clear()
                news, tab.news = tab.news, {}
                for event, data in news.items():
                    yield f"event: {event}\ndata: {data}\n\n".encode()
        finally:
            self._tabs[account].discard(tab)

    def close(self) -> None:
        """End every stream; a browser connects again by itself."""
        self._closed = True
        for tabs in self._tabs.values():
            for tab in tabs:
                tab.arrived.set()
