"""The process that decides a part of large pushes, while the event loop decides the rest of them.

Deciding is a pure function (:func:`replica.ingest.judge`): it hashes, decodes and checks, which is
two thirds of what a push costs. Two processors do it in half of the time. The process knows nothing
and holds nothing. While it is at work, or gone, pushes are decided here alone.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256

from replica.errors import PeerError
from replica.events.event import decode_event
from replica.events.ports import AppendRequest, DeviceHead
from replica.ingest import Judge, Judged, Run, judge
from replica.limits import JUDGE_APART_EVENTS_MIN, JUDGE_HERE_TENTHS
from replica.server.child import LENGTH_BYTES, Channel, Child, enframe, unframe
from replica.server.logs import Logger
from replica.sync.messages import Outcome


class JudgeProcess:
    """The server's end; make it as a :class:`Child`, ``start`` it inside the event loop."""

    def __init__(self) -> None:
        self._child = Child(_serve, "judge")
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._asked: asyncio.Task[Judged | None] | None = None
        self._logger: Logger | None = None

    async def start(self, logger: Logger) -> None:
        """Be of use from now on."""
        self._logger = logger
        self._child.end.setblocking(False)
        self._streams = await asyncio.open_connection(sock=self._child.end.dup())

    def stop(self) -> None:
        """Decide everything here from now on; before the event loop ends."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    def close(self) -> None:
        """End the process."""
        self._child.close()

    async def judge(self, question: Judge) -> Judged:
        """:func:`replica.ingest.judge`, in two places at once where that is worth it."""
        idle = self._streams is not None and self._asked is None
        parts = split(question) if idle else None
        if parts is None:
            return judge(*question)
        mine, theirs = parts
        self._tell(theirs)
        # Who asked may go away; the answer has to be heard all the same.
        self._asked = asyncio.create_task(self._hear())
        first = judge(*mine)
        second = await asyncio.shield(self._asked)
        return (second and join(first, second)) or judge(*question)

    def _tell(self, question: Judge) -> None:
        """Send at once what the pipe takes, which is nearly always all: it begins while we do."""
        assert self._streams is not None, "asked while idle only"
        data, sent = enframe(question), 0
        with suppress(OSError):  # full, or gone; the second is heard soon enough
            sent = self._child.end.send(data)
        if sent < len(data):
            self._streams[1].write(data[sent:])

    async def _hear(self) -> Judged | None:
        """The answer; None when the process ended over it."""
        assert self._streams is not None, "asked while idle only"
        try:
            length = int.from_bytes(await self._streams[0].readexactly(LENGTH_BYTES), "big")
            judged: Judged = unframe(await self._streams[0].readexactly(length))
        except (EOFError, OSError):
            assert self._logger is not None, "started"
            self._logger.warning("the process that decides has ended; deciding here")
            self.stop()
            return None
        finally:
            self._asked = None
        return judged


def split(question: Judge) -> tuple[Judge, Judge] | None:
    """Two parts that can be judged beside each other: the second takes for granted that all of the
    first is accepted as it is. None where that is not worth it."""
    context, head, events = question
    # What is in quarantine can be thousands of ids, and nearly always is nothing.
    if len(events) < JUDGE_APART_EVENTS_MIN or context.quarantined:
        return None
    at = len(events) * JUDGE_HERE_TENTHS // 10
    try:
        last = decode_event(events[at - 1])
    except PeerError:
        return None
    between = DeviceHead(context.epoch, last.seq, sha256(events[at - 1]).digest(), last.stamp)
    return Judge(context, head, events[:at]), Judge(context, between, events[at:])


def join(first: Judged, second: Judged) -> Judged | None:
    """What :func:`replica.ingest.judge` says of both parts together; None when it has to be asked,
    as one of them is not accepted as it is."""
    one, two = _plain(first), _plain(second)
    if one is None or two is None or one.after != two.before:
        return None
    request = one._replace(
        after=two.after,
        ids=one.ids + two.ids,
        last_seq=two.last_seq,
        records=one.records + two.records,
    )
    return Judged(request, (Run(Outcome.ACCEPTED, len(request.ids), "", ""),), (), None)


def _plain(judged: Judged) -> AppendRequest | None:
    """The request of events that are all accepted, each as it is."""
    accepted = len(judged.runs) == 1 and judged.runs[0].outcome is Outcome.ACCEPTED
    if judged.error is not None or judged.decisions or not accepted:
        return None
    return judged.request


def _serve(questions: Channel) -> None:
    while (question := questions.receive()) is not None:
        questions.send(judge(*question))
