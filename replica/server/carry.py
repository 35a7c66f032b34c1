"""Files carried by hand come in here: previewed, then through the one door (docs/carry-file.md).

A file speaks for the device that wrote it, which its seal proves; whoever brings it decides only
that it is brought. So its events have the device's origin and the outcomes they would have had on
a connection, and a later sync of the same events finds them known.
"""

from __future__ import annotations

import asyncio
import base64
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from replica.crdt.fold import about
from replica.errors import Forbidden, PeerError, Revoked
from replica.events.event import AccountId, DeviceId, Event, decode_event, event_id
from replica.events.ports import Aside, DeviceHead
from replica.events.record import Origin
from replica.ingest import Context, foresee, through
from replica.limits import CARRY_FILE_BYTES_MAX, CARRY_PROBLEMS_SHOWN_MAX
from replica.server import aside
from replica.server.answers import Json, caller_of, told
from replica.server.auth import Principal, Right
from replica.server.door import Author
from replica.server.runtime import Runtime
from replica.store.access import Device
from replica.sync import carry
from replica.sync.effects import Append
from replica.sync.heads import head_in, next_epoch
from replica.sync.messages import Outcome
from replica.sync.remedies import fix
from replica.sync.verdicts import Settlement, answers

Decide = Callable[[carry.Part], Awaitable[Settlement]]

SORTS = {
    Outcome.ACCEPTED: "new",
    Outcome.DUPLICATE: "known",
    Outcome.QUARANTINED: "invalid",
    Outcome.REFUSED: "invalid",
}
_SORTS = ("new", "known", "invalid")


class Carried(NamedTuple):
    """A file that was read, and the device it speaks for."""

    work: carry.Work
    sum: bytes
    device: Device
    key: bytes
    heads: Sequence[DeviceHead]


class CarryRoutes:
    """``POST /api/v1/carry``: the file as the body; ``?preview=1`` takes nothing."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.turn = asyncio.Lock()  # a file may be large: hold this while one is in memory

    def routes(self) -> list[Route]:
        room = Middleware(RequestBodyLimitMiddleware, max_body_size=CARRY_FILE_BYTES_MAX)
        return [Route("/api/v1/carry", told(self.answer), methods=["POST"], middleware=[room])]

    async def answer(self, request: Request) -> Response:
        """``revoked=1`` takes the work of a device that was shut out since."""
        asked = request.query_params
        who = await caller_of(request, self._runtime.auth, Right.MANAGE)
        async with self.turn:
            data = await request.body()
            if asked.get("preview"):
                return Json(await self.preview(who.account, data))
            return Json(await self.take(who, data, revoked=bool(asked.get("revoked"))))

    async def preview(self, account: AccountId, data: bytes) -> dict[str, Any]:
        """What :meth:`take` would do now. Raises as it does, but for a revoked device."""
        carried = await asyncio.to_thread(self._open, account, data)
        decide = _Foresight(self._runtime, carried).decide
        found, _ = await _through(carried, decide)
        return found

    async def take(self, who: Principal, data: bytes, *, revoked: bool) -> dict[str, Any]:
        """Take the work in a file through the door: every outcome is durable when this returns,
        and the answer has the receipt for the device, in base 64.

        Doing it again gives the same outcomes, as duplicates. Raises ``Malformed`` and its kin for
        a file that cannot be read, ``Forbidden`` when it is not from a device of this account,
        ``Revoked`` when that was shut out and ``revoked`` does not say to take its work anyway;
        then nothing was taken.
        """
        carried = await asyncio.to_thread(self._open, who.account, data)
        if carried.device.revoked_ms is not None and not revoked:
            raise Revoked(
                f"{carried.device.name} was revoked",
                hint="if this is work done before that, import it with revoked=1 (--revoked)",
            )
        found, answered = await _through(carried, partial(self._submit, carried, {}))
        receipt = await asyncio.to_thread(self._receipt, carried, answered)
        self._runtime.logger.info(
            "carried",
            account=who.account,
            device=carried.device.device,
            by=who.name,
            file=carried.sum.hex(),
            **{sort: found[sort] for sort in _SORTS},
        )
        return {**found, "receipt": base64.b64encode(receipt).decode()}

    def _open(self, account: AccountId, data: bytes) -> Carried:
        """Blocking."""
        stores = self._runtime.stores
        header = carry.read_header(data)
        device = DeviceId(header.device)
        known = stores.control.device(account, device) if header.account == account else None
        if known is None:
            raise Forbidden(
                "the file is not from a device of this account",
                hint="import it in the account that the device was enrolled in",
            )
        found, key = known
        if not carry.is_sealed(data, key):
            raise Forbidden(
                f"the file was not written by the device it names, {found.name}",
                hint="export the work again on the device itself",
            )
        heads = stores.log.device_heads(account, device)
        return Carried(carry.decode_work(data), carry.file_sum(data), found, key, heads)

    async def _submit(
        self, carried: Carried, authors: dict[int, Author], part: carry.Part
    ) -> Settlement:
        device = carried.device
        author = authors.get(part.epoch)
        if author is None:
            whose = (device.account, device.device, part.epoch)
            author = authors[part.epoch] = Author(*whose, Origin.DEVICE, carried.heads)
        push = Append(part.first_seq, part.events, device.offset_ms, self._runtime.now_ms())
        return await self._runtime.door.submit_push(author, push)

    def _receipt(self, carried: Carried, answered: Sequence[carry.Answered]) -> bytes:
        log = self._runtime.stores.log.head(carried.device.account)
        header = carry.Header(
            format=carry.FORMAT,
            sort=carry.RECEIPT,
            account=carried.device.account,
            device=carried.device.device,
            made_ms=self._runtime.now_ms(),
            software="replica",
            events=sum(one.count for one in answered),
            log_id=log.log_id,
            generation=log.generation,
            answers=carried.sum,
        )
        return carry.encode_receipt(header, answered, carried.key)


class _Foresight:
    """What the door would say about the parts of one file, one after the other."""

    def __init__(self, runtime: Runtime, carried: Carried) -> None:
        self._runtime = runtime
        self._carried = carried
        self._heads: dict[int, DeviceHead] = {}
        self._held: set[bytes] | None = None

    async def decide(self, part: carry.Part) -> Settlement:
        return await asyncio.to_thread(self._decide, part)

    def _decide(self, part: carry.Part) -> Settlement:
        stores, device = self._runtime.stores, self._carried.device
        if self._held is None:
            self._held = aside.quarantined(stores.database, device.account)
        heads = self._carried.heads
        context = Context(
            account=device.account,
            device=device.device,
            epoch=part.epoch,
            origin=Origin.DEVICE,
            next_epoch=next_epoch(heads, part.epoch),
            offset_ms=device.offset_ms,
            received_ms=self._runtime.now_ms(),
            quarantined=self._held,
        )
        head = self._heads.get(part.epoch) or head_in(heads, part.epoch)
        routine = foresee(context, head, part.first_seq, part.events)
        seen = through(stores.log, routine)
        self._heads[part.epoch] = seen.head
        self._held.update(_quarantined(seen.asides))
        return seen.settlement


def _quarantined(asides: Sequence[Aside]) -> Iterator[bytes]:
    return (one.id for one in asides if one.event)


async def _through(carried: Carried, decide: Decide) -> tuple[dict[str, Any], list[carry.Answered]]:
    """Every part in order, up to one that the door stops at."""
    kinds: dict[str, Counter[str]] = {}
    problems: list[Mapping[str, Any]] = []
    answered: list[carry.Answered] = []
    stopped: PeerError | None = None
    for part in carried.work.parts:
        settlement = await decide(part)
        told = list(answers(settlement.verdicts, settlement.decisions))
        for place, (data, said) in enumerate(zip(part.events, told, strict=False)):
            event, sort = _readable(data), SORTS[said.outcome]
            kinds.setdefault(event.kind if event else "", Counter())[sort] += 1
            if sort == "invalid" and len(problems) < CARRY_PROBLEMS_SHOWN_MAX:
                reason = {"code": said.code, "reason": said.detail, "fix": fix(said.code)}
                where = {"epoch": part.epoch, "seq": part.first_seq + place}
                problems.append({**where, **_named(data, event), **reason})
        if told:
            head = event_id(part.events[len(told) - 1])
            verdicts, decisions = settlement.verdicts, settlement.decisions
            answered.append(carry.Answered(part.epoch, part.first_seq, head, verdicts, decisions))
        if settlement.error is not None:
            stopped = settlement.error
            break
    return _report(carried, kinds, problems, stopped), answered


def _report(
    carried: Carried,
    kinds: Mapping[str, Counter[str]],
    problems: Sequence[Mapping[str, Any]],
    stopped: PeerError | None,
) -> dict[str, Any]:
    header, device = carried.work.header, carried.device
    return {
        "device": device.device.hex(),
        "name": device.name,
        "revoked": device.revoked_ms is not None,
        "software": header.software,
        "made_ms": header.made_ms,
        "file": carried.sum.hex(),
        "events": header.events,
        **{sort: sum(found[sort] for found in kinds.values()) for sort in _SORTS},
        "kinds": {kind: {sort: kinds[kind][sort] for sort in _SORTS} for kind in sorted(kinds)},
        "problems": problems,
        "stopped": None if stopped is None else {"code": stopped.code, "message": _words(stopped)},
    }


def _words(stopped: PeerError) -> str:
    if stopped.code == "gap":
        return "earlier work of this device is missing: import a file with everything of it"
    if stopped.code == "forked":
        return "this device was copied or restored: its work continues when it syncs itself"
    return str(stopped)


def _readable(data: bytes) -> Event | None:
    try:
        return decode_event(data)
    except PeerError:
        return None


def _named(data: bytes, event: Event | None) -> dict[str, Any]:
    """Id and, where it can be read, kind and document of an event."""
    key = about(event) if event else None
    return {
        "id": event_id(data).hex(),
        "kind": event.kind if event else "",
        "about": f"{key.type}/{key.id}" if key else "",
    }
