"""Saying here what became of something there: pending answers through the door, then marked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from qbo_sink.ledger import Ledger
from replica.errors import ReplicaError

Submit = Callable[[bytes, str, Sequence[tuple[str, bytes]]], Awaitable[None]]


async def say_pending(ledger: Ledger, submit: Submit, account: bytes, name: str) -> str:
    """Submit what the ledger has to say. Again after a crash; the fold takes it once.

    Returns "" or why something still waits to be said.
    """
    while pending := await asyncio.to_thread(ledger.pending_answers, account):
        try:
            await submit(account, name, [(answer.kind, answer.payload) for _, answer in pending])
        except ReplicaError as error:
            return f"an answer waits to be recorded here: {error}"
        await asyncio.to_thread(ledger.answered, [row for row, _ in pending])
    return ""
